//! What a well-behaved server is told, and what its answers become.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::line_server;
use crate::scripted::{Script, Server};
use client::{Client, ClientError, KeyError, Point, blocking};

const TIMEOUT: Duration = Duration::from_secs(60);

fn points(pairs: &[(i64, f64)]) -> Vec<Point> {
    pairs.iter().map(|(timestamp, value)| Point { timestamp: *timestamp, value: *value }).collect()
}

#[tokio::test]
async fn each_command_is_one_write_of_these_bytes() {
    let server = Server::start(vec![Script::say("ok\n\n")]).await;
    let mut client = Client::connect(&server.address, TIMEOUT).await.unwrap();
    client.put("test", 0.5, Some(1)).await.unwrap();
    client.put("load", 301.0, Some(3)).await.unwrap();
    assert!(client.get("test").await.unwrap().is_empty());
    assert!(client.get("*").await.unwrap().is_empty());
    let key = "k".repeat(10_000);
    client.put(&key, 1.0, Some(-1)).await.unwrap();
    let long = format!("put {key} 1 -1\n");
    assert_eq!(server.reads(), ["put test 0.5 1\n", "put load 301 3\n", "get test\n", "get *\n", &long]);
}

#[tokio::test]
async fn nothing_is_sent_for_a_key_that_cannot_be() {
    let server = Server::start(vec![Script::say("ok\n\n")]).await;
    let mut client = Client::connect(&server.address, TIMEOUT).await.unwrap();
    for (key, expected) in [("", KeyError::Empty), ("a b", KeyError::WhiteSpace), ("*", KeyError::Star)] {
        let error = client.put(key, 1.0, None).await.unwrap_err();
        assert!(matches!(error, ClientError::Key(found) if found == expected), "{error}");
    }
    client.get("a\nput b 1 1").await.unwrap_err();
    client.put("k", 1.0, Some(1)).await.unwrap();
    assert_eq!(server.reads(), ["put k 1 1\n"]);
}

#[tokio::test]
async fn no_timestamp_is_now_in_whole_seconds() {
    let server = Server::start(vec![Script::say("ok\n\n")]).await;
    let mut client = Client::connect(&server.address, TIMEOUT).await.unwrap();
    let now = || i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let before = now();
    client.put("k", 1.0, None).await.unwrap();
    let sent: i64 = server.reads()[0].split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!((before..=now()).contains(&sent), "{sent}");
}

#[tokio::test]
async fn what_other_servers_answer_is_sorted_and_kept() {
    let reply = "ok \nb 2 9\na 1e1 10\nb 0.5 10\na 3.0 9\na 4 10 \n\n\n";
    for script in [Script::say(reply), Script::Drip(reply.into())] {
        let server = Server::start(vec![script]).await;
        let mut client = Client::connect(&server.address, TIMEOUT).await.unwrap();
        for _ in 0..3 {
            let found = client.get("*").await.unwrap();
            assert_eq!(found["a"], points(&[(9, 3.0), (10, 10.0), (10, 4.0)]));
            assert_eq!(found["b"], points(&[(9, 2.0), (10, 0.5)]));
            assert_eq!(found.len(), 2);
        }
    }
}

#[tokio::test]
async fn a_long_answer_can_be_read_row_by_row_and_left() {
    let rows: String = (0..200_000).map(|second| format!("k 1.0 {second}\n")).collect();
    let server = Server::start(vec![Script::say(&format!("ok\n{rows}\n"))]).await;
    let mut client = Client::connect(&server.address, TIMEOUT).await.unwrap();
    let mut next = 0;
    let all = client.get_each("k", |row| {
        assert_eq!((row.key, row.point.timestamp, row.text), ("k", next, format!("k 1.0 {next}").as_str()));
        next += 1;
        ControlFlow::<()>::Continue(())
    });
    assert!(all.await.unwrap().is_continue());
    assert_eq!(next, 200_000);
    let left = client.get_each("k", |row| {
        if row.point.timestamp == 1000 { ControlFlow::Break(row.point) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(left.await.unwrap(), ControlFlow::Break(Point { timestamp: 1000, value: 1.0 }));
    assert_eq!(client.get("k").await.unwrap()["k"].len(), 200_000);
}

#[test]
fn the_blocking_client_has_the_same_verbs() {
    let mut client = blocking::Client::connect(line_server::start().to_string(), TIMEOUT).unwrap();
    client.put("k", 2.0, Some(2)).unwrap();
    client.put("k", f64::NEG_INFINITY, Some(1)).unwrap();
    client.put("k", 3.0, Some(2)).unwrap();
    assert_eq!(client.get("k").unwrap()["k"], points(&[(1, f64::NEG_INFINITY), (2, 3.0)]));
    assert!(client.get("other").unwrap().is_empty());
    let mut rows = Vec::new();
    let all = client.get_each("*", |row| {
        rows.push(row.text.to_owned());
        ControlFlow::<()>::Continue(())
    });
    assert!(all.unwrap().is_continue());
    assert_eq!(rows, ["k -inf 1", "k 3.0 2"]);
    let error = client.put("refused", 1.0, Some(1)).unwrap_err();
    assert!(matches!(&error, ClientError::Error(text) if text == "no such luck"), "{error}");
    client.set_collect_bytes_max(10);
    assert!(matches!(client.get("k").unwrap_err(), ClientError::TooMuch(10)));
    client.put("k", 1.0, None).unwrap();
}

#[test]
fn the_blocking_client_sees_that_the_server_left_while_nobody_looked() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (closed, was_closed) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let length = stream.read(&mut [0; 100]).unwrap();
            assert_eq!(length, "put k 1 1\n".len());
            stream.write_all(b"ok\n\n").unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let mut client = blocking::Client::connect(&address, TIMEOUT).unwrap();
    for _ in 0..20 {
        client.put("k", 1.0, Some(1)).unwrap();
        was_closed.recv().unwrap();
    }
}
