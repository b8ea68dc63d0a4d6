//! Tokens, and what they are needed for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use agent::{Agent, Settings};
use tokio::sync::oneshot;

use crate::agents::start;
use crate::binary::{Ended, command, end, run};

pub(crate) const AGENTS: &str = "agents-0123456789abcdef";
pub(crate) const READS: &str = "reads-0123456789abcdef";
pub(crate) const OPS: &str = "ops-0123456789abcdef";

/// A folder with a file of tokens, and a file for each of those that commands show.
pub(crate) fn tokens() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let all = [("agents", AGENTS, "\"push\""), ("reads", READS, "\"read\""), ("ops", OPS, "\"admin\"")];
    let text = all.map(|(name, token, scope)| {
        std::fs::write(dir.path().join(name), format!("{token}\n")).unwrap();
        format!("[[token]]\nname = \"{name}\"\ntoken = \"{token}\"\nscopes = [{scope}]\n")
    });
    std::fs::write(dir.path().join("tokens.toml"), text.concat()).unwrap();
    dir
}

pub(crate) fn with(pairs: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let ended = end(command(arguments).envs(pairs.iter().copied()).spawn().unwrap());
    assert!(!format!("{ended:?}").contains("0123456789abcdef"), "a token is printed: {ended:?}");
    ended
}

/// An agent in this process, until the sender is dropped; then it says nothing any more.
pub(crate) fn agent(link: SocketAddr, name: &str, more: &[(&str, &str)]) -> oneshot::Sender<()> {
    let link = link.to_string();
    let pairs = [("FLEETGAUGE_AGGREGATOR", &*link), ("FLEETGAUGE_AGENT", name), ("FLEETGAUGE_TOKEN", AGENTS)];
    let pairs = lifecycle::Settings::from_pairs(pairs.into_iter().chain(more.iter().copied())).unwrap();
    let agent = Agent::new(Settings::resolve(&pairs).unwrap()).unwrap();
    let (stop, stopping) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(agent.run(async {
            let _dropped = stopping.await;
        }));
    });
    stop
}

/// Asks until the answer is this.
#[track_caller]
pub(crate) fn until(ask: impl Fn() -> String, is: impl Fn(&str) -> bool) {
    let began = Instant::now();
    loop {
        let answer = ask();
        if is(&answer) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{answer}");
    }
}

#[test]
fn who_asks_shows_a_token() {
    let dir = tokens();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (http, _) = start(&[("FLEETGAUGE_TOKENS_FILE", &path("tokens.toml"))]);
    let http = format!("http://{http}");
    let gives = "--token-file FILE, FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN\n";
    for verb in [&["agents"][..], &["explain", "huginn"], &["forget", "huginn"]] {
        let ask = |pairs: &[(&str, &str)], more: &[&str]| with(pairs, &[verb, &["--http", &http], more].concat());
        ask(&[], &[]).badly(1, &format!("error: {http} answered 401: no token was shown; a token is given by {gives}"));
        let wrong = "answered 401: the token is not one of this aggregator's; another is given by ";
        ask(&[("FLEETGAUGE_TOKEN", "wrong")], &[]).badly(1, &format!("{wrong}{gives}"));
        ask(&[("FLEETGAUGE_TOKEN", AGENTS)], &[]).badly(1, "answered 403: the token has not the scope ");
        let both = [("FLEETGAUGE_TOKEN", READS), ("FLEETGAUGE_TOKEN_FILE", "/x")];
        ask(&both, &[]).badly(78, "only one of them can count");
        ask(&[], &["--token-file", "/nowhere"]).badly(78, "/nowhere");
    }
    for verb in [&["agents"][..], &["explain", "huginn"]] {
        let ask = |pairs: &[(&str, &str)], more: &[&str]| with(pairs, &[verb, &["--http", &http], more].concat());
        ask(&[("FLEETGAUGE_TOKEN", READS)], &[]).well();
        ask(&[("FLEETGAUGE_TOKEN_FILE", &path("reads"))], &[]).well();
        ask(&[("FLEETGAUGE_TOKEN", "wrong")], &["--token-file", &path("reads")]).well();
    }
}

#[test]
fn who_is_gone_for_good_is_forgotten() {
    let dir = tokens();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (http, link) = start(&[("FLEETGAUGE_TOKENS_FILE", &path("tokens.toml"))]);
    let http = format!("http://{http}");
    let agents = || with(&[("FLEETGAUGE_TOKEN", READS)], &["agents", "--http", &http]).well();
    let forget =
        |arguments: &[&str]| with(&[("FLEETGAUGE_TOKEN", OPS)], &[&["forget", "--http", &http], arguments].concat());
    let (one, _two) = (agent(link, "web-1", &[]), agent(link, "web-2", &[]));
    until(agents, |table| table.matches(" yes ").count() == 2);
    drop(one);
    until(agents, |table| table.contains("web-1  no"));

    let back = ", and comes back unless it is stopped: it is connected";
    let would = format!("web-1 would be forgotten\nweb-2 would be forgotten{back}\n");
    assert_eq!(forget(&["web-?", "--dry-run"]).well(), would);
    assert!(agents().contains("web-1"), "it was dry");
    forget(&["db-*"]).badly(1, "answered 404: no agent that is known is called \"db-*\"\n");
    assert_eq!(forget(&["*-1"]).well(), "web-1 forgotten\n");
    assert!(!agents().contains("web-1") && agents().contains("web-2"));
    assert_eq!(forget(&["web-2"]).well(), format!("web-2 forgotten{back}\n"));
    let reads = with(&[("FLEETGAUGE_TOKEN", READS)], &["forget", "*", "--http", &http]);
    reads.badly(1, "answered 403: the token has not the scope admin; a token that may is given by --token-file FILE");
}

#[test]
fn forgetting_goes_wrong_in_a_sentence() {
    let (http, _) = start(&[]);
    let sentence = "answered 403: removing needs a token of the scope admin, and this aggregator has no tokens";
    run(&["forget", "huginn", "--http", &format!("http://{http}")]).badly(1, sentence);
    run(&["forget", "huginn", "--http", &format!("http://{}", crate::binary::nobody())])
        .badly(69, "does an aggregator");
    for bad in ["", "a b", "a/b", "../x", "a%2a"] {
        run(&["forget", bad]).badly(2, "accepted: a name such as huginn, or a pattern such as web-* or web-?");
    }
}

#[test]
#[cfg(not(feature = "tls"))]
fn without_tls_that_is_said() {
    let sentence = "this program was built without TLS (its feature `tls`)";
    run(&["agents", "--http", "https://127.0.0.1:1"]).badly(78, sentence);
    run(&["agents", "--tls-ca", "/ca.pem"]).badly(78, sentence);
    with(&[("FLEETGAUGE_TLS", "on")], &["agents"]).badly(78, sentence);
}
