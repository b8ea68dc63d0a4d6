//! Asking over TLS, and what is heard when that does not work.

use std::net::SocketAddr;

use crate::access::{AGENTS, OPS, READS, agent, tokens, until, with};
use crate::agents::start;
use crate::binary::{Ended, run};
use crate::keys::Keys;

/// An aggregator with this certificate.
fn start_tls(keys: &Keys, file: &str, more: &[(&str, &str)]) -> (SocketAddr, SocketAddr) {
    let (cert, key) = (keys.text(&format!("{file}.pem")), keys.text(&format!("{file}.key")));
    start(&[&[("FLEETGAUGE_TLS_CERT_FILE", &*cert), ("FLEETGAUGE_TLS_KEY_FILE", &*key)], more].concat())
}

#[test]
fn all_that_is_asked_goes_over_tls() {
    let (keys, dir) = (Keys::new(), tokens());
    keys.sign("server", "aggregator.test", 2999);
    let ca = keys.text("ca.pem");
    let tokens = dir.path().join("tokens.toml").display().to_string();
    let (http, link) = start_tls(&keys, "server", &[("FLEETGAUGE_TOKENS_FILE", &tokens)]);
    let http = format!("https://{http}");
    let name = ("FLEETGAUGE_TLS_SERVER_NAME", "aggregator.test");
    let ask = |token, arguments: &[&str]| {
        let options = ["--http", &http, "--tls-ca", &ca];
        with(&[name, ("FLEETGAUGE_TOKEN", token)], &[arguments, &options].concat())
    };
    let _huginn = agent(link, "huginn", &[name, ("FLEETGAUGE_TLS", "on"), ("FLEETGAUGE_TLS_CA_FILE", &ca)]);
    until(|| ask(READS, &["agents"]).well(), |table| table.contains("huginn  yes"));
    let page = ask(READS, &["explain", "huginn"]).well();
    assert!(page.starts_with("huginn is on the page\n"), "{page}");
    assert!(ask(OPS, &["forget", "huginn", "--dry-run"]).well().starts_with("huginn would be forgotten"));
    ask(AGENTS, &["agents"]).badly(1, &format!("{http} answered 403: the token has not the scope read"));
    // All of it from the environment.
    let pairs = [name, ("FLEETGAUGE_HTTP", &http), ("FLEETGAUGE_TLS_CA_FILE", &ca), ("FLEETGAUGE_TOKEN", READS)];
    with(&pairs, &["agents"]).well();
    with(&[&pairs[..], &[("FLEETGAUGE_TLS", "on")]].concat(), &["agents"]).well();
}

#[test]
fn each_kind_of_error_is_told_from_the_others() {
    let (keys, others) = (Keys::new(), Keys::new());
    keys.sign("server", "127.0.0.1", 2999);
    keys.sign("expired", "127.0.0.1", 2021);
    keys.sign("named", "aggregator.test", 2999);
    let ca = keys.text("ca.pem");
    let (server, plain) = (start_tls(&keys, "server", &[]).0, start(&[]).0);
    let ask = |address: SocketAddr, ca: &str| run(&["agents", "--http", &format!("https://{address}"), "--tls-ca", ca]);
    ask(server, &ca).well();
    ask(server, &others.text("ca.pem")).badly(69, "is not from a CA that is trusted here; FLEETGAUGE_TLS_CA_FILE");
    ask(start_tls(&keys, "expired", &[]).0, &ca).badly(69, "the other end's certificate has expired");
    ask(start_tls(&keys, "named", &[]).0, &ca).badly(69, "is for another name; FLEETGAUGE_TLS_SERVER_NAME");
    ask(plain, &ca).badly(69, "does not speak TLS on this port; without TLS the URL begins with http://");
    ask(server, "/nowhere.pem").badly(78, "/nowhere.pem");
    run(&["agents", "--http", &format!("http://{server}")])
        .badly(1, "answered 400: this port speaks TLS: use https://");
}

#[test]
fn who_wants_tls_never_speaks_plainly() {
    let plain = format!("http://{}", start(&[]).0);
    let sentence = format!("{plain}: --tls-ca or FLEETGAUGE_TLS=on asks for TLS, and this URL does not begin with");
    run(&["agents", "--http", &plain, "--tls-ca", "/ca.pem"]).badly(78, &sentence);
    with(&[("FLEETGAUGE_TLS", "on")], &["agents", "--http", &plain]).badly(78, &sentence);
    with(&[("FLEETGAUGE_TLS", "on"), ("FLEETGAUGE_HTTP", &plain)], &["agents"]).badly(78, &sentence);
    let ca = [("FLEETGAUGE_TLS_CA_FILE", "/ca.pem")];
    with(&ca, &["agents", "--http", &plain]).badly(78, "FLEETGAUGE_TLS=on must be set too");
    with(&[ca[0], ("FLEETGAUGE_TLS", "off")], &["agents", "--http", &plain]).well();
}

#[test]
fn a_client_certificate_is_shown() {
    let (keys, others) = (Keys::new(), Keys::new());
    keys.sign("server", "127.0.0.1", 2999);
    keys.sign("client", "huginn", 2999);
    others.sign("client", "huginn", 2999);
    let ca = keys.text("ca.pem");
    let http = format!("https://{}", start_tls(&keys, "server", &[("FLEETGAUGE_TLS_CLIENT_CA_FILE", &ca)]).0);
    let ask = |pairs: &[(&str, &str)]| with(pairs, &["agents", "--http", &http, "--tls-ca", &ca]);
    let shown = |keys: &Keys| -> Ended {
        let (cert, key) = (keys.text("client.pem"), keys.text("client.key"));
        ask(&[("FLEETGAUGE_TLS_CLIENT_CERT_FILE", &cert), ("FLEETGAUGE_TLS_CLIENT_KEY_FILE", &key)])
    };
    shown(&keys).well();
    shown(&others).badly(69, "does not take this client's certificate");
    let sentence = "answered 403: a client certificate is needed here; FLEETGAUGE_TLS_CLIENT_CERT_FILE and";
    ask(&[]).badly(1, sentence);
    ask(&[("FLEETGAUGE_TLS_CLIENT_CERT_FILE", "/c")]).badly(78, "FLEETGAUGE_TLS_CLIENT_KEY_FILE must be set too");
}
