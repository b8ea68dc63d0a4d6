//! `auth TOKEN`, byte for byte.

use security::{Secret, Source};

use super::*;
use crate::access::{Rules, now_ms};

const UNAUTHORIZED: &str = "error\nunauthorized\n\n";

fn one() -> Inside {
    Inside::with_access(Rules { tokens: Source::One(Secret::new("0123456789abcdef").unwrap()), tls: None })
}

#[tokio::test]
async fn nothing_is_answered_before_a_token() {
    let inside = one();
    let mut client = inside.connect();
    for line in ["put k 1 1\n", "get k\n", "get *\n", "got k\n", "auth\n", "auth a b\n", " \n", "AUTH x\n"] {
        client.ask(line, UNAUTHORIZED).await;
    }
    client.ask("\n\r\nauth  0123456789abcdef \r\n", "ok\n\n").await;
    client.ask("get k\n", "ok\n\n").await;
    client.ask("put k 1 1\nget k\ngot k\n", "ok\n\nok\nk 1.0 1\n\nerror\nwrong command\n\n").await;
    client.ask("auth\n", "error\nwrong command\n\n").await;
    client.ask("auth 0123456789abcdef\n", "ok\n\n").await;
    assert_eq!(client.end().await, "");
    assert_eq!(inside.metric("errors_total{reason=\"unauthorized\"}"), 8.0);
}

#[tokio::test]
async fn all_in_one_segment_is_answered_in_order() {
    let inside = one();
    let mut client = inside.connect();
    client.say("put k 1 1\nauth 0123456789abcdef\nput k 2 2\nget k\n").await;
    client.hear("error\nunauthorized\n\nok\n\nok\n\nok\nk 2.0 2\n\n").await;
}

#[tokio::test]
async fn a_wrong_token_is_answered_and_the_connection_closed() {
    let inside = one();
    for wrong in ["0123456789abcdeF", "x", "0123456789abcdef0"] {
        let mut client = inside.connect();
        client.say(format!("auth {wrong}\nauth 0123456789abcdef\nput k 1 1\n")).await;
        let heard = client.rest().await;
        assert_eq!(heard, "error\nthe token is not one of this aggregator's\n\n");
    }
    assert_eq!(inside.metric("closed_total{reason=\"unauthorized\"}"), 3.0);
    let mut client = inside.connect();
    client.ask("auth 0123456789abcdef\nget *\n", "ok\n\nok\n\n").await;
    client.say("put k 1 1\nauth wrong\nput k 2 2\n").await;
    assert_eq!(client.rest().await, "ok\n\nerror\nthe token is not one of this aggregator's\n\n");
}

#[tokio::test]
async fn without_tokens_auth_is_a_wrong_command() {
    let inside = Inside::new();
    inside.connect().ask("auth abc\nget k\n", "error\nwrong command\n\nok\n\n").await;
}

#[tokio::test]
async fn a_token_is_for_its_scopes_and_as_long_as_it_is_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = |name: &str, scopes: &str| {
        format!("[[token]]\nname = \"{name}\"\ntoken = \"{name}-{name}-{name}-{name}\"\nscopes = [\"{scopes}\"]\n")
    };
    std::fs::write(file.path(), entry("puts", "put") + &entry("reads", "read")).unwrap();
    let inside = Inside::with_access(Rules { tokens: Source::File(file.path().into()), tls: None });
    let forbidden = "error\nthis token is not for that: put needs the scope put, get the scope read\n\n";
    let mut puts = inside.connect();
    puts.ask("auth puts-puts-puts-puts\nput k 1 1\n", "ok\n\nok\n\n").await;
    puts.ask("get k\nget *\n", format!("{forbidden}{forbidden}")).await;
    let mut reads = inside.connect();
    reads.ask("auth reads-reads-reads-reads\nget k\n", "ok\n\nok\nk 1.0 1\n\n").await;
    reads.ask("put k 2 2\nget k\n", format!("{forbidden}ok\nk 1.0 1\n\n")).await;

    std::fs::write(file.path(), entry("reads", "read")).unwrap();
    let watching = tokio::spawn(Arc::clone(&inside.lines.shared.access).watch(inside.stop.clone()));
    let mut changes = inside.lines.access().changes();
    changes.changed().await.unwrap();
    puts.ask("put k 3 3\n", UNAUTHORIZED).await;
    reads.ask("get k\n", "ok\nk 1.0 1\n\n").await;
    inside.stopper.stop();
    watching.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_holds_no_place_for_long() {
    let inside = one();
    let began = tokio::time::Instant::now();
    assert_eq!(inside.connect().rest().await, "");
    assert_eq!(began.elapsed(), AUTH_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn nor_does_who_reads_nothing_of_its_errors() {
    let inside = one();
    let mut client = inside.connect_through(512);
    let began = tokio::time::Instant::now();
    // More replies than the pipe takes, and never one is read.
    client.say("x\n".repeat(90)).await;
    client.task.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), AUTH_WITHIN.as_secs());
    assert_eq!(inside.metric("closed_total{reason=\"unauthorized\"}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_answered_a_hundred_times() {
    let inside = one();
    let began = tokio::time::Instant::now();
    let mut client = inside.connect();
    client.say("get k\n".repeat(101)).await;
    assert_eq!(client.rest().await, UNAUTHORIZED.repeat(100) + "error\nno token was shown\n\n");
    assert!(began.elapsed() < Duration::from_secs(1));
    let mut client = inside.connect();
    client.ask("get k\n".repeat(99), UNAUTHORIZED.repeat(99)).await;
    client.ask("auth 0123456789abcdef\nget k\n", "ok\n\nok\n\n").await;
    client.ask("get k\n".repeat(200), "ok\n\n".repeat(200)).await;
}

/// The tokens of this file are read again, until something has changed.
async fn read_again(inside: &Inside, now_ms: i64) {
    let mut changes = inside.lines.access().changes();
    inside.lines.access().look(now_ms);
    assert!(changes.has_changed().unwrap(), "the tokens have not changed");
    changes.mark_unchanged();
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_token_has_ten_seconds_to_show_another() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = |name: &str, more: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\ntoken = \"{name}-{name}-{name}-{name}\"\nscopes = [\"put\", \"read\"]\n{more}"
        )
    };
    std::fs::write(file.path(), entry("gone", "") + &entry("kept", "")).unwrap();
    let inside = Inside::with_access(Rules { tokens: Source::File(file.path().into()), tls: None });
    let mut clients = [inside.connect(), inside.connect(), inside.connect()];
    for (client, token) in clients.iter_mut().zip(["gone", "gone", "kept"]) {
        client.ask(format!("auth {token}-{token}-{token}-{token}\n"), "ok\n\n").await;
    }
    let [idle, mut other, mut kept] = clients;
    std::fs::write(file.path(), entry("kept", "")).unwrap();
    read_again(&inside, now_ms()).await;
    let began = tokio::time::Instant::now();
    other.ask("get k\nauth kept-kept-kept-kept\n", format!("{UNAUTHORIZED}ok\n\n")).await;
    assert_eq!(idle.rest().await, "");
    assert_eq!(began.elapsed().as_secs(), AUTH_WITHIN.as_secs());
    assert_eq!(inside.metric("closed_total{reason=\"unauthorized\"}"), 1.0);
    for client in [&mut other, &mut kept] {
        client.ask("get k\n", "ok\n\n").await;
    }
}

#[tokio::test]
async fn tls_on_a_plain_port_is_told_so_at_once() {
    let inside = Inside::new();
    let mut client = inside.connect();
    client.say([0x16, 3, 1, 2, 0]).await;
    let heard = client.rest().await;
    assert_eq!(heard, "error\nthis port does not speak TLS: FLEETGAUGE_TLS=off speaks to it\n\n");
}
