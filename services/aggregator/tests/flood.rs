//! Ten thousand connections that say nothing, while an agent goes on pushing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod common;

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Running, agent, page, push, start};

/// This process needs a file for each connection, and some for itself.
fn connections() -> usize {
    let limit = lifecycle::limits::raise_open_files().unwrap_or(u64::MAX);
    let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(200);
    if room < 10_000 {
        println!("only {room} connections instead of 10000: more files may not be open here");
    }
    room.min(10_000)
}

fn metric(running: &Running, name: &str) -> f64 {
    let page = page(running.http);
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn silent_connections_cost_nobody_anything_and_go() {
    let running = start(&[]);
    let mut talker = agent(running.link, "talker");
    let count = connections();
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(running.link).unwrap()).collect();
    println!("{count} connections open after {:?}", began.elapsed());
    let began = Instant::now();
    push(&mut talker, 2, 42);
    assert!(began.elapsed() < Duration::from_secs(1), "an agent waits {:?} among silent ones", began.elapsed());
    assert!(page(running.http).contains("\nx{instance=\"talker\",job=\"node\"} 42\n"));
    let newcomer = agent(running.link, "newcomer");
    drop(newcomer);
    // All are told why, within the five seconds that a hello may take and some to spare.
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut last_word = String::new();
        stream.read_to_string(&mut last_word).unwrap();
        assert!(last_word.starts_with("{\"refuse\":{\"code\":\"too_slow\""), "{last_word}");
    }
    println!("all refused {:?} later", began.elapsed());
    assert_eq!(metric(&running, "fleetgauge_link_refused_total{code=\"too_slow\"}"), count as f64);
    push(&mut talker, 3, 43);
    assert!(page(running.http).contains("\nx{instance=\"talker\",job=\"node\"} 43\n"));
}

#[test]
fn over_the_limit_of_connections_one_is_told_so() {
    let running = start(&[("FLEETGAUGE_MAX_CONNECTIONS", "2")]);
    let (_one, two) = (agent(running.link, "one"), agent(running.link, "two"));
    let mut third = String::new();
    TcpStream::connect(running.link).unwrap().read_to_string(&mut third).unwrap();
    assert!(third.contains("\"code\":\"overloaded\"") && third.contains("\"retry_after_ms\":5000"), "{third}");
    assert_eq!(metric(&running, "fleetgauge_link_refused_total{code=\"overloaded\"}"), 1.0);
    drop(two);
    let until = Instant::now() + Duration::from_secs(5);
    while metric(&running, "fleetgauge_link_connections ") > 1.0 {
        assert!(Instant::now() < until, "a connection that is gone gives its place back");
    }
    agent(running.link, "three");
}
