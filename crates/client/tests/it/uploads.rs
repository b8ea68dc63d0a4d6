//! Uploads over a pipeline, to servers that can and to servers that cannot.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::line_server;
use crate::scripted::{Script, Server};
use client::reply::Violation;
use client::{Client, ClientError, Pipeline, Refusal, Window};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A server of one connection that does with it what it is told.
fn serve(with: impl FnOnce(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || with(listener.accept().unwrap().0));
    address
}

#[tokio::test]
async fn every_point_arrives_and_every_refusal_has_its_number() {
    let address = line_server::start().to_string();
    for window in [Window::default(), Window { lines: 1, bytes: 1 }, Window { lines: 7, bytes: 100 }] {
        let mut upload = Pipeline::connect(&address, TIMEOUT, window).await.unwrap();
        let mut refusals = Vec::new();
        for second in 0..20_000 {
            let key = if second % 5000 == 3 { "refused" } else { "k" };
            upload.put(key, 1.5, second).await.unwrap();
            assert!(upload.unanswered() <= window.lines);
            refusals.extend(upload.take_refusals());
        }
        upload.finish().await.unwrap();
        refusals.extend(upload.take_refusals());
        let refusal = |number| Refusal { number, text: "no such luck".into() };
        assert_eq!(refusals, [3, 5003, 10_003, 15_003].map(refusal));
        assert_eq!((upload.answered(), upload.refused(), upload.unanswered()), (20_000, 4, 0));
    }
    let mut client = Client::connect(&address, TIMEOUT).await.unwrap();
    assert_eq!(client.get("*").await.unwrap()["k"].len(), 20_000 - 4);
}

#[tokio::test]
async fn one_line_at_a_time_is_never_two() {
    let server = Server::start(vec![Script::say("ok\n\n\n")]).await;
    let window = Window { lines: 1, ..Window::default() };
    let mut upload = Pipeline::connect(&server.address, TIMEOUT, window).await.unwrap();
    for second in 0..100 {
        upload.put("k", 1.0, second).await.unwrap();
    }
    upload.finish().await.unwrap();
    let expected: Vec<String> = (0..100).map(|second| format!("put k 1 {second}\n")).collect();
    assert_eq!(server.reads(), expected);
}

#[tokio::test]
async fn a_server_that_waits_until_its_answers_are_read_is_no_deadlock() {
    // 60 MB of answers to 20,000 lines: far more than the system keeps between the two.
    let address = serve(|mut stream| {
        let reply = format!("error\n{}\n\n", "x".repeat(3000));
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(_)) = lines.next() {
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let window = Window { lines: 50_000, bytes: 64 << 20 };
    let mut upload = Pipeline::connect(&address, TIMEOUT, window).await.unwrap();
    for second in 0..20_000 {
        upload.put(&"k".repeat(1000), 1.0, second).await.unwrap();
    }
    upload.finish().await.unwrap();
    assert_eq!(upload.refused(), 20_000);
    assert_eq!(upload.take_refusals().len(), 10_000, "the rest is only counted");
}

#[tokio::test]
async fn what_was_answered_before_the_end_is_known() {
    let address = serve(|mut stream| {
        stream.read_exact(&mut [0; 30]).unwrap();
        stream.write_all(b"ok\n\nerror\nfull\n\nok\n\nok\n").unwrap();
    });
    let mut upload = Pipeline::connect(&address, TIMEOUT, Window::default()).await.unwrap();
    for second in 0..3 {
        upload.put("k", 1.0, second).await.unwrap();
    }
    upload.answer().await.unwrap();
    upload.put("k", 1.0, 3).await.unwrap();
    let error = upload.finish().await.unwrap_err();
    assert!(matches!(error, ClientError::Lost(_)), "{error}");
    assert_eq!((upload.answered(), upload.unanswered(), upload.refused()), (3, 1, 1));
    let error = upload.put("k", 1.0, 4).await.unwrap_err();
    assert!(matches!(error, ClientError::Lost(None)), "{error}");
}

#[tokio::test]
async fn keys_that_cannot_be_sent_have_no_number() {
    let mut upload = Pipeline::connect(line_server::start().to_string(), TIMEOUT, Window::default()).await.unwrap();
    upload.put("k", 1.0, 1).await.unwrap();
    assert!(matches!(upload.put("a b", 1.0, 2).await, Err(ClientError::Key(_))));
    upload.put("k", 1.0, 3).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(upload.answered(), 2);
    upload.answer().await.unwrap();
    upload.flush().await.unwrap();
}

async fn fault(script: Script, timeout: Duration) -> ClientError {
    let server = Server::start(vec![script]).await;
    let mut upload = Pipeline::connect(&server.address, timeout, Window::default()).await.unwrap();
    for second in 0..3 {
        upload.put("k", 1.0, second).await.unwrap();
    }
    upload.finish().await.unwrap_err()
}

#[tokio::test]
async fn servers_that_cannot_are_found_out() {
    let short = Duration::from_millis(100);
    // One answer for all that came in one segment.
    let error = fault(Script::say("error\nwrong command\n\n"), short).await;
    assert!(matches!(error, ClientError::Timeout(_)), "{error}");
    let error = fault(Script::silence(), short).await;
    assert!(matches!(error, ClientError::Timeout(_)), "{error}");
    let error = fault(Script::say(&"ok\n\n".repeat(4)), TIMEOUT).await;
    assert!(matches!(error, ClientError::Protocol(Violation::Unasked)), "{error}");
    let error = fault(Script::say("ok\nk 1 1\n\n"), TIMEOUT).await;
    assert!(matches!(error, ClientError::Protocol(Violation::RowsForPut)), "{error}");
    let error = fault(Script::Flood(b"ok".into()), TIMEOUT).await;
    assert!(matches!(error, ClientError::Protocol(Violation::LineTooLong)), "{error}");
    let error = fault(Script::SayAndClose(b"ok\n\n".into()), TIMEOUT).await;
    assert!(matches!(error, ClientError::Lost(_)), "{error}");
}
