//! Servers that misbehave: each gives an error of its own, soon, and the next call works again.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::scripted::{Script, Server};
use client::reply::Violation;
use client::{Client, ClientError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than any of these tests may take: whoever waits for it fails.
const LONG: Duration = Duration::from_secs(60);
/// For those in which the time has to pass; long enough for the call after that on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

const GOOD: &str = "ok\nk 1.0 7\n\n";

#[derive(Clone, Copy)]
enum Call {
    Get,
    GetEach,
}

async fn call(client: &mut Client, call: Call) -> Result<usize, ClientError> {
    match call {
        Call::Get => client.get("k").await.map(|found| found.values().map(Vec::len).sum()),
        Call::GetEach => {
            let mut rows = 0;
            let each = client.get_each("k", |_| {
                rows += 1;
                ControlFlow::<()>::Continue(())
            });
            assert!(each.await?.is_continue());
            Ok(rows)
        }
    }
}

/// Asks a server that misbehaves on its first connection, then once more.
async fn fault(script: Script, timeout: Duration, how: Call) -> ClientError {
    let server = Server::start(vec![script, Script::say(GOOD)]).await;
    let mut client = Client::connect(&server.address, timeout).await.unwrap();
    client.set_collect_bytes_max(1 << 20);
    let began = Instant::now();
    let error = call(&mut client, how).await.unwrap_err();
    assert!(began.elapsed() < LONG / 2, "{:?} until {error}", began.elapsed());
    assert_eq!(call(&mut client, how).await.unwrap(), 1, "after {error}");
    error
}

async fn violation(reply: impl Into<Vec<u8>>, expected: Violation) {
    let reply = reply.into();
    for how in [Call::Get, Call::GetEach] {
        for script in [Script::Say(reply.clone()), Script::SayAndClose(reply.clone())] {
            match fault(script, LONG, how).await {
                ClientError::Protocol(found) => assert_eq!(found, expected),
                other => panic!("{other}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_the_protocol() {
    violation("HTTP/1.1 400 Bad Request\r\n\r\n", Violation::Status("HTTP/1.1 400 Bad Request".into())).await;
    violation("OK\n\n", Violation::Status("OK".into())).await;
    violation("\0\u{1}\n", Violation::Status("\0\u{1}".into())).await;
    violation("ok\nk 1.0\n\n", Violation::Row("k 1.0".into())).await;
    violation("ok\nk 1.0 7\nk much 8\n\n", Violation::Row("k much 8".into())).await;
    violation("ok\nk 1.0 7\n\nok\nk 1.0 8\n\n", Violation::Unasked).await;
    violation("ok\nk 1.0 7\n\nk", Violation::Unasked).await;
}

#[tokio::test]
async fn what_is_too_long() {
    let row = format!("ok\n{} 1.0 7\n\n", "k".repeat(2 << 20));
    violation(row, Violation::LineTooLong).await;
    let text = format!("error\n{}\n\n", "x".repeat(2 << 20));
    violation(text, Violation::ErrorTooLong).await;
    for (flood, expected) in [("ok", Violation::LineTooLong), ("error\n", Violation::ErrorTooLong)] {
        match fault(Script::Flood(flood.into()), LONG, Call::Get).await {
            ClientError::Protocol(found) => assert_eq!(found, expected),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn more_than_may_be_collected() {
    let mut reply = b"ok\n".to_vec();
    reply.extend(b"k 1.0 7\n".repeat(100_000));
    let error = fault(Script::Say(reply), LONG, Call::Get).await;
    assert!(matches!(error, ClientError::TooMuch(max) if max == 1 << 20), "{error}");
    let keys: String = (0..20_000).map(|number| format!("{number} 1.0 7\n")).collect();
    let error = fault(Script::say(&format!("ok\n{keys}\n")), LONG, Call::Get).await;
    assert!(matches!(error, ClientError::TooMuch(_)), "{error}");
}

#[tokio::test]
async fn silence_and_what_never_ends() {
    let mut faults = tokio::task::JoinSet::new();
    for how in [Call::Get, Call::GetEach] {
        let half_rows = ["", "o", "ok\n", "ok\nk 1.0 7\n", "ok\nk 1.0", "error\nwrong comm"];
        for script in half_rows.map(Script::say).into_iter().chain([Script::Flood(b"\n".into())]) {
            faults.spawn(fault(script, SHORT, how));
        }
    }
    for error in faults.join_all().await {
        assert!(matches!(error, ClientError::Timeout(SHORT)), "{error}");
    }
}

#[tokio::test]
async fn what_is_cut() {
    for reply in ["", "o", "ok\n", "ok\nk 1.0 7\n", "ok\nk 1.0", "error\nwrong comm"] {
        for how in [Call::Get, Call::GetEach] {
            let error = fault(Script::SayAndClose(reply.into()), LONG, how).await;
            assert!(matches!(error, ClientError::Lost(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn errors_leave_the_connection_as_it_is() {
    let server = Server::start(vec![Script::say("error\nyour quota\nis used up\n\n"), Script::say(GOOD)]).await;
    let mut client = Client::connect(&server.address, LONG).await.unwrap();
    for _ in 0..3 {
        let error = client.put("k", 1.0, Some(7)).await.unwrap_err();
        assert!(matches!(&error, ClientError::Error(text) if text == "your quota\nis used up"), "{error}");
        assert_eq!(error.to_string(), "the server answered with an error: your quota is used up");
    }
}

#[tokio::test]
async fn rows_for_a_put_are_a_fault() {
    let server = Server::start(vec![Script::say(GOOD), Script::say("ok\n\n")]).await;
    let mut client = Client::connect(&server.address, LONG).await.unwrap();
    let error = client.put("k", 1.0, Some(7)).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(Violation::RowsForPut)), "{error}");
    client.put("k", 1.0, Some(7)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_closes_between_two_calls_costs_neither() {
    for reply in ["ok\n\n", "ok\n\n\n", "error\nwrong command\n\n"] {
        let server = Server::start(vec![Script::SayAndClose(reply.into())]).await;
        let mut client = Client::connect(&server.address, LONG).await.unwrap();
        for _ in 0..20 {
            let answered = client.put("k", 1.0, Some(7)).await;
            assert!(matches!(answered, Ok(()) | Err(ClientError::Error(_))), "{answered:?}");
            // The server's task closes as soon as it runs again.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let server = Server::start(vec![Script::silence(), Script::say(GOOD)]).await;
    let mut client = Client::connect(&server.address, LONG).await.unwrap();
    tokio::time::timeout(SHORT, client.get("k")).await.unwrap_err();
    assert_eq!(client.get("k").await.unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Client::connect(&address, LONG).await.unwrap_err();
    assert!(matches!(&error, ClientError::Connect { address: named, .. } if *named == address), "{error}");
    for address in ["no port", "127.0.0.1:99999", "name.invalid:8888"] {
        let error = Client::connect(address, LONG).await.unwrap_err();
        assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_found() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = Client::connect(address.to_string(), LONG).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    drop((stream, listener));
    let error = client.put("k", 1.0, Some(7)).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. } | ClientError::Lost(_)), "{error}");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = [0; 100];
        let length = stream.read(&mut piece).await.unwrap();
        stream.write_all(b"ok\n\n").await.unwrap();
        piece[..length].to_vec()
    });
    client.put("k", 1.0, Some(7)).await.unwrap();
    assert_eq!(answering.await.unwrap(), b"put k 1 7\n");
}
