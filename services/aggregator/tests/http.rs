//! HTTP as a client sees it: real sockets, raw bytes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::io::Read;
use std::time::{Duration, Instant};

use aggregator::{App, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An aggregator in this process, on free ports.
struct Running {
    http: std::net::SocketAddr,
    link: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn start(pairs: &[(&str, &str)]) -> Running {
    let mut all = vec![
        ("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0"),
        ("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0"),
        ("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0"),
        ("FLEETGAUGE_NAME", "muninn"),
    ];
    all.extend_from_slice(pairs);
    let settings = lifecycle::Settings::from_pairs(all).unwrap();
    let app = App::bind(Settings::resolve(&settings).unwrap()).await.unwrap();
    let (http, link) = (app.http_addr(), app.link_addr());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async {
        let ended = app.run(async {
            let _dropped_means_stop = stopped.await;
        });
        ended.await.unwrap();
    });
    Running { http, link, stop: Some(stop), task }
}

/// An answer: status, head in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Running {
    async fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: fleet.example:9400\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // A refusal may come before all of the request was read; then the rest is reset.
        let _reset = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body =
            if head.contains("transfer-encoding: chunked") { unchunk(&bytes[end..]) } else { bytes[end..].to_vec() };
        Answer { status, head, body }
    }

    /// An agent with this many series; it stays until dropped.
    async fn agent(&self, name: &str, series: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.link).await.unwrap();
        let mut said = format!(
            "{{\"hello\":{{\"versions\":[1,1],\"agent\":\"{name}\",\"interval_ms\":5000,\"now_ms\":0,\"mono_ms\":0,\"session\":\"s\",\"incarnation\":1}}}}\n"
        );
        for at in 0..series {
            said += &format!(
                "{{\"declare\":{{\"set\":1,\"name\":\"s\",\"offset\":{at},\"total\":{series},\"families\":[{{\"name\":\"x\",\"type\":\"gauge\",\"help\":\"X.\",\"series\":[{{\"labels\":{{\"i\":\"{at}\"}}}}]}}]}}}}\n"
            );
        }
        said += "{\"push\":{\"stream\":\"live\",\"seq\":1,\"measured_ms\":0,\"now_ms\":0,\"mono_ms\":0}}\n";
        let values: Vec<protocol::frame::Values> = (0..series)
            .step_by(1000)
            .map(|offset| protocol::frame::Values {
                set: 1,
                offset: offset as u64,
                values: protocol::values::Vector((offset..series.min(offset + 1000)).map(|i| i as f64).collect()),
            })
            .collect();
        let mut bytes = said.into_bytes();
        for part in values {
            protocol::encode(&protocol::ToAggregator::Values(part), &mut bytes);
        }
        bytes.extend_from_slice(b"{\"end\":{\"seq\":1}}\n");
        stream.write_all(&bytes).await.unwrap();
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains("\"ack\"") {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "{}", String::from_utf8_lossy(&heard));
        }
        stream
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[..length]);
        bytes = &bytes[length + 2..];
    }
}

#[tokio::test]
async fn paths_methods_and_heads() {
    let running = start(&[]).await;
    for (request, status) in [
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("GET /", 200),
        ("GET /metrics", 200),
        ("GET /api/v1/agents", 200),
        ("GET /api/v1/targets", 200),
        ("GET /nope", 404),
        ("GET /metrics/x", 404),
        ("POST /nope", 404),
        ("POST /metrics", 405),
        ("DELETE /api/v1/agents", 405),
        ("GET /metrics?agent=nobody", 404),
        ("GET /metrics?agent=%0a%22", 404),
        ("GET /metrics?timestamps=1", 200),
        ("GET /metrics?timestamps=2", 400),
        ("GET /metrics?name=x", 400),
    ] {
        let answer = running.ask(&format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.text());
    }
    assert_eq!(running.get("/healthz", "").await.text(), "ok");
    assert_eq!(running.get("/readyz", "").await.text(), "ok");
    assert!(
        running.ask("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.head.contains("allow: get")
    );
    assert_eq!(running.get("/", &format!("X: {}\r\n", "x".repeat(20_000))).await.status, 431);
    assert_eq!(running.get("/", &"X: y\r\n".repeat(200)).await.status, 431);
    assert_eq!(running.ask("nonsense\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn one_gzip_member_holds_the_same_page() {
    let running = start(&[]).await;
    let _agent = running.agent("huginn", 20_000).await;
    let plain = running.get("/metrics?agent=huginn", "").await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", plain.head);
    assert_eq!(plain.text().lines().count(), 20_002);
    let gzip = running.get("/metrics?agent=huginn", "Accept-Encoding: gzip\r\n").await;
    assert!(gzip.head.contains("content-encoding: gzip"), "{}", gzip.head);
    let mut decoder = flate2::bufread::GzDecoder::new(gzip.body.as_slice());
    let mut inflated = Vec::new();
    decoder.read_to_end(&mut inflated).unwrap();
    assert!(inflated == plain.body, "the same text");
    assert!(decoder.into_inner().is_empty(), "and nothing behind it");
    let open_metrics = running.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(
        open_metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        open_metrics.head
    );
    assert!(open_metrics.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn agents_and_targets_as_json() {
    let running = start(&[("FLEETGAUGE_JOB", "hosts")]).await;
    let agent = running.agent("huginn", 3).await;
    let agents: serde_json::Value = serde_json::from_slice(&running.get("/api/v1/agents", "").await.body).unwrap();
    let one = &agents["agents"][0];
    assert_eq!(
        (one["name"].as_str(), one["up"].as_bool(), one["series"].as_u64()),
        (Some("huginn"), Some(true), Some(3))
    );
    let targets: serde_json::Value = serde_json::from_slice(&running.get("/api/v1/targets", "").await.body).unwrap();
    let expected = serde_json::json!([{"targets": ["fleet.example:9400"], "labels": {"__metrics_path__": "/metrics",
        "__param_agent": "huginn", "instance": "huginn", "job": "hosts"}}]);
    assert_eq!(targets, expected);
    // Gone: its target stays, and answers 503.
    let mut agent = agent;
    agent.write_all(b"{\"bye\":{}}\n").await.unwrap();
    agent.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(running.get("/metrics?agent=huginn", "").await.status, 503);
    let page = running.get("/metrics", "").await.text();
    let up = "fleetgauge_agent_up{aggregator=\"muninn\",instance=\"huginn\",job=\"hosts\"} 0\n";
    assert!(page.contains(up) && !page.contains("\nx{"), "{page}");
    let targets: serde_json::Value = serde_json::from_slice(&running.get("/api/v1/targets", "").await.body).unwrap();
    assert_eq!(targets, expected);
}

#[tokio::test]
async fn a_reader_that_stops_holds_no_more_than_its_slot() {
    let running = start(&[("FLEETGAUGE_MAX_SCRAPES", "1")]).await;
    let _agent = running.agent("huginn", 100_000).await;
    let mut stuck = TcpStream::connect(running.http).await.unwrap();
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 100];
    stuck.read_exact(&mut first).await.unwrap();
    let busy = running.get("/metrics", "").await;
    assert_eq!(busy.status, 503);
    assert!(busy.head.contains("retry-after: 1"), "{}", busy.head);
    assert!(busy.text().contains("FLEETGAUGE_MAX_SCRAPES"));
    assert_eq!(running.get("/healthz", "").await.status, 200);
    drop(stuck);
    let until = Instant::now() + Duration::from_secs(5);
    while running.get("/metrics", "").await.status == 503 {
        assert!(Instant::now() < until, "the slot is free again soon after its reader has gone");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_anybody() {
    let mut running = start(&[]).await;
    let _agent = running.agent("huginn", 100_000).await;
    let mut stuck = TcpStream::connect(running.http).await.unwrap();
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stuck.read_exact(&mut [0; 100]).await.unwrap();
    let _silent = TcpStream::connect(running.link).await.unwrap();
    let began = Instant::now();
    drop(running.stop.take());
    running.task.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let running = start(&[]).await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(TcpStream::connect(running.http).await.unwrap());
    }
    for _ in 0..10 {
        assert_eq!(running.get("/healthz", "").await.status, 200);
    }
}

#[tokio::test]
async fn one_agents_pages_do_not_wait_for_those_of_the_fleet() {
    let running = start(&[("FLEETGAUGE_MAX_SCRAPES", "1")]).await;
    let _agent = running.agent("huginn", 100_000).await;
    let _small = running.agent("muninn", 1).await;
    let mut stuck = TcpStream::connect(running.http).await.unwrap();
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stuck.read_exact(&mut [0; 100]).await.unwrap();
    for _ in 0..100 {
        assert_eq!(running.get("/metrics?agent=muninn", "").await.status, 200);
    }
}
