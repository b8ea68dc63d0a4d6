//! Who is let in, and for how long.

use std::path::Path;

use security::proof::Claim;
use security::{Secret, Source};

use super::*;
use crate::access::Rules;

const TOKEN: &str = "0123456789abcdef";

fn one() -> Inside {
    Inside::with_access(Rules { tokens: Source::One(Secret::new(TOKEN).unwrap()), tls: None })
}

fn of_file(path: &Path) -> Inside {
    Inside::with_access(Rules { tokens: Source::File(path.into()), tls: None })
}

/// Says hello and hears the challenge.
async fn challenged(talk: &mut Talk, agent: &str) -> String {
    talk.say(hello(agent, "s", 1)).await;
    let heard = talk.hear().await;
    heard["challenge"]["nonce"].as_str().unwrap_or_else(|| panic!("{heard}")).to_owned()
}

fn proof(token: &str, nonce: &str, agent: &str) -> Value {
    let hmac = Claim { nonce, agent, session: "s" }.prove(&Secret::new(token).unwrap());
    json!({"proof": {"hmac": hmac}})
}

/// Comes in with this token.
async fn prove(inside: &Inside, token: &str, agent: &str) -> Talk {
    let mut talk = inside.connect();
    let nonce = challenged(&mut talk, agent).await;
    talk.say(proof(token, &nonce, agent)).await;
    talk
}

fn failures(inside: &Inside, reason: &str) -> f64 {
    inside.metric(&format!("fleetgauge_auth_failures_total{{listener=\"link\",reason=\"{reason}\"}}"))
}

#[tokio::test(start_paused = true)]
async fn a_proof_lets_an_agent_in() {
    let inside = one();
    let mut talk = prove(&inside, TOKEN, "huginn").await;
    assert!(talk.hear().await["welcome"].is_object());
    talk.say(declare(1, "s", &["a", "b"])).await;
    talk.push(1, &[1.0, 2.0]).await;
    assert_eq!(inside.page("huginn"), ["a 1", "b 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_proof_does_not_and_costs_five_seconds() {
    let inside = one();
    let mut talk = prove(&inside, "another-token-of-16", "huginn").await;
    let heard = talk.hear().await;
    assert_eq!((&heard["refuse"]["code"], &heard["refuse"]["retry_after_ms"]), (&json!("auth"), &json!(5000)));
    assert!(inside.view("huginn").is_none(), "a name that was not proved is not taken");
    for bad in ["", "00", "zz", &"0".repeat(64)] {
        let mut talk = inside.connect();
        challenged(&mut talk, "huginn").await;
        talk.say(json!({"proof": {"hmac": bad}})).await;
        talk.expect_refusal("auth").await;
    }
    assert_eq!(failures(&inside, "wrong"), 5.0);
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_good_once() {
    let inside = one();
    let mut first = inside.connect();
    let nonce = challenged(&mut first, "huginn").await;
    let heard = proof(TOKEN, &nonce, "huginn");
    first.say(heard.clone()).await;
    assert!(first.hear().await["welcome"].is_object());
    let mut second = inside.connect();
    assert_ne!(challenged(&mut second, "huginn").await, nonce);
    second.say(heard).await;
    second.expect_refusal("auth").await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_for_one_name() {
    let inside = one();
    let mut talk = inside.connect();
    let nonce = challenged(&mut talk, "huginn").await;
    talk.say(proof(TOKEN, &nonce, "muninn")).await;
    talk.expect_refusal("auth").await;
}

#[tokio::test(start_paused = true)]
async fn who_proves_nothing_is_told_what_is_missing() {
    let inside = one();
    let mut impatient = inside.connect();
    challenged(&mut impatient, "huginn").await;
    impatient.say(declare(1, "s", &["a"])).await;
    let reason = impatient.expect_refusal("auth").await;
    assert!(reason.contains("FLEETGAUGE_TOKEN_FILE"), "{reason}");
    let mut silent = inside.connect();
    challenged(&mut silent, "huginn").await;
    let began = Instant::now();
    silent.expect_refusal("auth").await;
    assert_eq!(began.elapsed(), limits::HELLO_WITHIN);
    assert_eq!(failures(&inside, "missing"), 2.0);
}

fn entry(name: &str, token: &str, more: &str) -> String {
    format!("[[token]]\nname = \"{name}\"\ntoken = \"{token}\"\n{more}\n")
}

#[tokio::test(start_paused = true)]
async fn a_token_is_for_its_scope_its_names_and_its_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = [
        entry("web", "web-web-web-web-web", "scopes = [\"push\"]\nagents = [\"web-*\"]"),
        entry("read", "read-read-read-read", "scopes = [\"read\"]"),
        entry("old", "old-old-old-old-old", "scopes = [\"push\"]\nexpires = 2020-01-01"),
    ];
    std::fs::write(file.path(), text.concat()).unwrap();
    let inside = of_file(file.path());
    assert!(prove(&inside, "web-web-web-web-web", "web-1").await.hear().await["welcome"].is_object());
    let reason = prove(&inside, "web-web-web-web-web", "db-1").await.expect_refusal("auth").await;
    assert!(reason.contains("not for agents called \"db-1\""), "{reason}");
    let reason = prove(&inside, "read-read-read-read", "web-2").await.expect_refusal("auth").await;
    assert!(reason.contains("scope push"), "{reason}");
    let reason = prove(&inside, "old-old-old-old-old", "web-2").await.expect_refusal("auth").await;
    assert!(reason.contains("expired"), "{reason}");
    let counted = ["agent", "scope", "expired", "missing"].map(|reason| failures(&inside, reason));
    assert_eq!(counted, [1.0, 1.0, 1.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_taken_away_ends_its_connections_and_no_others() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let push = "scopes = [\"push\"]";
    let (a, b) = (entry("a", "aaaa-aaaa-aaaa-aaaa", push), entry("b", "bbbb-bbbb-bbbb-bbbb", push));
    std::fs::write(file.path(), a.clone() + &b).unwrap();
    let inside = of_file(file.path());
    let watching = tokio::spawn(Arc::clone(&inside.shared.access).watch(inside.stop.clone()));
    let mut goes = prove(&inside, "aaaa-aaaa-aaaa-aaaa", "goes").await;
    let mut stays = prove(&inside, "bbbb-bbbb-bbbb-bbbb", "stays").await;
    for talk in [&mut goes, &mut stays] {
        assert!(talk.hear().await["welcome"].is_object());
    }
    std::fs::write(file.path(), b).unwrap();
    let reason = goes.expect_refusal("auth").await;
    assert!(reason.contains("\"a\"") && !reason.contains("aaaa"), "{reason}");
    stays.say(declare(1, "s", &["a"])).await;
    stays.push(1, &[1.0]).await;
    // A file that cannot be used changes nothing, and is a metric.
    std::fs::write(file.path(), "token").unwrap();
    while inside.metric("fleetgauge_credentials_up{what=\"tokens\"}") > 0.0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stays.push(2, &[2.0]).await;
    inside.stopper.stop();
    watching.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tls_on_a_plain_port_is_told_so_at_once() {
    let inside = Inside::new();
    let mut talk = inside.connect();
    talk.say_raw(&[0x16, 3, 1, 2, 0, 1]).await;
    let began = Instant::now();
    let heard = talk.hear().await;
    assert_eq!(heard["refuse"]["code"], "bad_frame", "{heard}");
    let reason = heard["refuse"]["reason"].as_str().unwrap();
    assert!(reason.contains("does not speak TLS") && began.elapsed() < Duration::from_secs(1), "{reason}");
}
