//! More than there is room for: a fleet that comes at one moment, and one that memory does not hold.
#![expect(clippy::unwrap_used, reason = "test code")]

#[expect(dead_code, reason = "this binary speaks to agents' sockets without blocking")]
mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{page, start};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// Connects from an address of this host. All of 127.0.0.0/8 is this host, on Linux.
async fn connect(link: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if cfg!(target_os = "linux") {
        socket.bind((from, 0).into()).unwrap();
    }
    socket.connect(link).await.unwrap()
}

/// Says hello, declares so many series, and pushes them; the refusal if it is refused.
async fn come(link: SocketAddr, from: [u8; 4], name: &str, series: usize) -> Result<BufReader<TcpStream>, Value> {
    let mut stream = BufReader::new(connect(link, from).await);
    let mut said = format!(
        "{{\"hello\":{{\"versions\":[1,1],\"agent\":\"{name}\",\"interval_ms\":60000,\"now_ms\":0,\"mono_ms\":0,\"session\":\"{name}\",\"incarnation\":1}}}}\n"
    );
    for at in (0..series).step_by(500) {
        let of_line: Vec<_> =
            (at..series.min(at + 500)).map(|i| format!("{{\"labels\":{{\"i\":\"{i:060}\"}}}}")).collect();
        let of_line = of_line.join(",");
        said += &format!(
            "{{\"declare\":{{\"set\":1,\"name\":\"s\",\"offset\":{at},\"total\":{series},\"families\":[{{\"name\":\"x\",\"type\":\"gauge\",\"series\":[{of_line}]}}]}}}}\n"
        );
    }
    said += &pushed(1, series);
    // Who is refused meanwhile says so below.
    let _refused = stream.get_mut().write_all(said.as_bytes()).await;
    hear_ack(&mut stream).await?;
    Ok(stream)
}

fn pushed(seq: u64, series: usize) -> String {
    let mut said =
        format!("{{\"push\":{{\"stream\":\"live\",\"seq\":{seq},\"measured_ms\":0,\"now_ms\":0,\"mono_ms\":0}}}}\n");
    for at in (0..series).step_by(5000) {
        let values = vec!["1"; series.min(at + 5000) - at].join(",");
        said += &format!("{{\"values\":{{\"set\":1,\"offset\":{at},\"values\":[{values}]}}}}\n");
    }
    said + &format!("{{\"end\":{{\"seq\":{seq}}}}}\n")
}

async fn hear_ack(stream: &mut BufReader<TcpStream>) -> Result<(), Value> {
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.unwrap_or_default();
        if line.contains("\"ack\"") {
            return Ok(());
        }
        if line.contains("\"refuse\"") || read == 0 {
            return Err(serde_json::from_str(&line).unwrap_or_default());
        }
    }
}

/// Comes until it is let in, and stays away as long as it is told.
async fn insist(link: SocketAddr, from: [u8; 4], name: String) -> (BufReader<TcpStream>, u32) {
    let mut refused = 0;
    loop {
        match come(link, from, &name, 3).await {
            Ok(stream) => return (stream, refused),
            Err(refusal) => {
                refused += 1;
                let away = refusal.pointer("/refuse/retry_after_ms").and_then(Value::as_u64).unwrap_or(250);
                tokio::time::sleep(Duration::from_millis(away)).await;
            }
        }
    }
}

/// So many agents come at one moment, from so many addresses; gives how long it took until all were acknowledged, and how
/// often any was refused.
async fn herd(agents: usize, addresses: usize, settings: &[(&str, &str)]) -> (Duration, u32) {
    let running = start(settings);
    let began = Instant::now();
    let from = |at: usize| [127, 0, 1, u8::try_from(at % addresses).unwrap()];
    let coming: Vec<_> =
        (0..agents).map(|at| tokio::spawn(insist(running.link, from(at), format!("agent-{at}")))).collect();
    let (mut there, mut refused) = (Vec::new(), 0);
    for agent in coming {
        let (stream, times) = agent.await.unwrap();
        there.push(stream);
        refused += times;
    }
    let took = began.elapsed();
    assert!(page(running.http).contains(&format!("\nfleetgauge_agents_connected {agents}\n")));
    (took, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_agents_are_back_within_ten_seconds() {
    lifecycle::limits::raise_open_files();
    // Behind one address, as a NAT has it.
    let (took, refused) = herd(1000, 1, &[]).await;
    println!("1,000 agents: {took:?}, {refused} refusals");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_herd_beyond_the_pace_comes_in_in_its_turn() {
    lifecycle::limits::raise_open_files();
    let (took, refused) = herd(600, 200, &[("FLEETGAUGE_MAX_WELCOMES", "100")]).await;
    println!("600 agents, 100 each second: {took:?}, {refused} refusals");
    // 200 at once and 100 each second: not before four seconds, and not long after.
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
    assert!((400..4000).contains(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn memory_stays_within_its_limit_and_who_is_there_stays() {
    const LIMIT: f64 = (96 << 20) as f64;
    const SERIES: usize = 20_000;
    let running = start(&[("FLEETGAUGE_MEMORY_LIMIT", "96MiB")]);
    let (mut there, mut refused) = (Vec::new(), Vec::new());
    for at in 0..60 {
        match come(running.link, [127, 0, 0, 1], &format!("agent-{at}"), SERIES).await {
            Ok(stream) => there.push(stream),
            Err(refusal) => refused.push(refusal),
        }
        if refused.len() == 5 {
            break;
        }
        // House-keeping looks four times a second.
        tokio::time::sleep(Duration::from_millis(260)).await;
    }
    assert_eq!(refused.len(), 5, "{} agents found room", there.len());
    for refusal in &refused {
        assert_eq!(refusal.pointer("/refuse/code").unwrap(), "overloaded", "{refusal}");
        assert!(refusal.pointer("/refuse/retry_after_ms").and_then(Value::as_u64).unwrap() >= 10_000, "{refusal}");
    }
    println!("{} agents with {SERIES} series each found room", there.len());
    assert!(there.len() > 3);
    // Those that came first are not the ones that go.
    for agent in there.iter_mut().take(3) {
        agent.get_mut().write_all(pushed(2, SERIES).as_bytes()).await.unwrap();
        hear_ack(agent).await.unwrap();
    }
    let page = page(running.http);
    let metric = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(metric("fleetgauge_overload_state ") >= 1.0);
    assert_eq!(metric("fleetgauge_memory_limit_bytes "), LIMIT);
    assert!(metric("fleetgauge_memory_bytes ") < LIMIT * 1.1 && metric("fleetgauge_memory_bytes ") > LIMIT * 0.6);
    assert!(metric("fleetgauge_overload_refused_total{what=\"agent\"}") >= 1.0);
}
