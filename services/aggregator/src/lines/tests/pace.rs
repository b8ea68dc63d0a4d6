//! Long answers: how slowly they may be read, and how many one address may have.

use std::net::IpAddr;

use super::*;

/// Puts some megabytes, and gives the answer to `get *`.
async fn some_megabytes(inside: &Inside) -> String {
    let key = "k".repeat(10_000);
    let mut writer = inside.connect_through(1 << 20);
    for ts in 0..300 {
        writer.say(format!("put {key} 0.5 {ts}\n")).await;
    }
    assert_eq!(writer.end().await, "ok\n\n".repeat(300));
    let rows: String = (0..300).map(|ts| format!("{key} 0.5 {ts}\n")).collect();
    format!("ok\n{rows}\n")
}

/// Reads the answer to `get *` through a pipe of so many bytes, which it empties every 8 s. Gives
/// what it got, and how long that took.
async fn read_slowly(inside: &Inside, bytes: usize) -> (usize, Duration) {
    let mut client = inside.connect_through(bytes);
    client.say("get *\n").await;
    let mut buffer = vec![0; bytes];
    let mut heard = client.stream.read(&mut buffer).await.unwrap();
    client.stream.shutdown().await.unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(8)).await;
        match client.stream.read(&mut buffer).await.unwrap() {
            0 => break,
            more => heard += more,
        }
    }
    client.task.await.unwrap();
    (heard, began.elapsed())
}

#[tokio::test]
async fn who_reads_a_long_answer_drop_by_drop_is_given_up() {
    let inside = Inside::new();
    let rows = some_megabytes(&inside).await;
    let (heard, took) = read_slowly(&inside, 140 * 1024).await;
    assert!(heard < rows.len() / 2 && took < Duration::from_secs(60), "{heard} bytes in {took:?}");
    assert_eq!(inside.metric("closed_total{reason=\"unread\"}"), 1.0);
    assert_eq!(inside.lines.long_answers.taken(LONG_ANSWERS_MAX), 0);
}

#[tokio::test]
async fn who_reads_it_slowly_gets_it() {
    let inside = Inside::new();
    let rows = some_megabytes(&inside).await;
    let (heard, took) = read_slowly(&inside, 400 * 1024).await;
    assert_eq!(heard, rows.len());
    assert!(took > STALL_MAX, "{took:?}");
    assert_eq!(inside.metric("closed_total{reason=\"closed\"}"), 2.0);
}

#[tokio::test]
async fn one_address_does_not_take_all_turns() {
    let inside = Inside::new();
    let (puts, rows) = many_points(10_000);
    let mut client = inside.connect_through(1 << 20);
    client.ask(&puts, "ok\n\n".repeat(10_000)).await;
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let taken: Vec<_> = (0..LONG_ANSWERS_MAX).filter_map(|_| inside.lines.long_answers.try_take(address)).collect();
    assert_eq!(taken.len(), LONG_ANSWERS_EACH_MAX);
    let mut other = inside.connect_from("192.0.2.2", 1 << 20);
    other.ask("get *\n", &rows).await;
    client.say("foo\nget *\n").await;
    client.hear("error\nwrong command\n\n").await;
    tokio::time::pause();
    client.hear("error\ntoo many long answers are under way, ask again later\n\n").await;
    drop(taken);
    tokio::time::resume();
    client.ask("get *\n", &rows).await;
}
