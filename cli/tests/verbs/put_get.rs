//! One number in, rows out.

use std::io::{BufRead, BufReader};

use crate::binary::{command, end, nobody, run, says};
use crate::line_server;

#[test]
fn what_was_put_is_got() {
    let server = line_server::start().to_string();
    let put = |key, value, timestamp| run(&["put", "--server", &server, key, value, timestamp]).well();
    assert_eq!(put("huginn.cpu", "10.6", "1642667947"), "");
    put("huginn.cpu", "-3", "1642667946");
    put("huginn.cpu", "1e300", "2022-01-20T09:39:08+01:00");
    put("odd,\"key\"", "nan", "-5");
    let get = |arguments: &[&str]| run(&[&["get", "--server", &server], arguments].concat()).well();
    let rows = "huginn.cpu -3.0 1642667946\nhuginn.cpu 10.6 1642667947\nhuginn.cpu 1e300 1642667948\n";
    assert_eq!(get(&["huginn.cpu"]), rows);
    assert_eq!(get(&["*"]), format!("{rows}odd,\"key\" nan -5\n"));
    assert_eq!(get(&["nobody"]), "");
    assert_eq!(get(&["nobody", "--csv"]), "key,timestamp,value\n");
    assert_eq!(
        get(&["*", "--csv", "--to", "1642667947"]),
        "key,timestamp,value\nhuginn.cpu,1642667946,-3.0\nhuginn.cpu,1642667947,10.6\n\"odd,\"\"key\"\"\",-5,nan\n"
    );
    assert_eq!(
        get(&["*", "--json", "--from", "-5", "--to", "2022-01-20T08:39:06Z"]),
        "{\"key\":\"huginn.cpu\",\"timestamp\":1642667946,\"value\":-3.0}\n\
         {\"key\":\"odd,\\\"key\\\"\",\"timestamp\":-5,\"value\":\"nan\"}\n"
    );
}

#[test]
fn values_may_begin_with_a_sign() {
    let server = line_server::start().to_string();
    for (value, timestamp) in [("-inf", "1"), ("-5", "2"), ("-1e3", "3"), ("-.5", "4"), ("-Infinity", "-5")] {
        run(&["put", "--server", &server, "k", value, timestamp]).well();
    }
    run(&["put", "k", "-inf", "--server", &server]).well();
    let found = run(&["get", "--server", &server, "k", "--to", "9"]).well();
    assert_eq!(found, "k -inf -5\nk -inf 1\nk -5.0 2\nk -1000.0 3\nk -0.5 4\n");
    run(&["put", "k", "-x", "--server", &server]).badly(2, "accepted: a number such as 10.6");
}

#[test]
fn milliseconds_are_not_taken_for_seconds() {
    let server = line_server::start().to_string();
    let put = |arguments: &[&str]| run(&[&["put", "--server", &server, "k", "1"], arguments].concat());
    let sentence = "error: the timestamp 1642667947000 is more than a day ahead and looks like milliseconds";
    put(&["1642667947000"]).badly(2, sentence).badly(2, "--allow-future stores it all the same\n");
    put(&["2300-01-01T00:00:00Z"]).badly(2, "error: the timestamp 10413792000 is more than a day ahead; --allow");
    assert_eq!(run(&["get", "--server", &server, "k"]).well(), "");
    put(&["1642667947000", "--allow-future"]).well();
    assert_eq!(run(&["get", "--server", &server, "k"]).well(), "k 1.0 1642667947000\n");
}

/// A server that reads a command and closes.
fn leaves() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            BufReader::new(stream).read_line(&mut String::new()).unwrap();
        }
    });
    address
}

#[test]
fn a_put_without_an_answer_names_the_second_to_try_again_with() {
    let server = leaves();
    let error = run(&["put", "--server", &server, "k", "1"]).badly(69, "the connection was lost").error;
    let again = error.split("with the timestamp ").nth(1).unwrap_or_else(|| panic!("{error}"));
    let second: i64 = again.strip_suffix(" does no harm\n").unwrap().parse().unwrap();
    let now = lifecycle::clock::unix_ms() / 1000;
    assert!((now - 60..=now).contains(&second), "{second}");
    run(&["put", "--server", &server, "k", "1", "17"]).badly(69, "with the timestamp 17 does no harm\n");
    let error = run(&["get", "--server", &server, "k"]).badly(69, "the connection was lost").error;
    assert!(!error.contains("harm"), "{error}");
}

#[test]
fn without_a_timestamp_it_is_now() {
    let server = line_server::start().to_string();
    run(&["put", "--server", &server, "k", "1"]).well();
    run(&["put", "--server", &server, "k", "2", "2h"]).well();
    let found = run(&["get", "--server", &server, "k", "--from", "1h"]).well();
    assert!(found.starts_with("k 1.0 ") && found.lines().count() == 1, "{found}");
    assert_eq!(run(&["get", "--server", &server, "k"]).well().lines().count(), 2);
}

#[test]
fn the_server_comes_from_the_option_or_the_environment() {
    let server = line_server::start().to_string();
    let with = |name: &str, value: &str, arguments: &[&str]| end(command(arguments).env(name, value).spawn().unwrap());
    with("FLEETGAUGE_SERVER", &server, &["put", "k", "1", "1"]).well();
    assert_eq!(with("FLEETGAUGE_SERVER", &nobody(), &["get", "k", "--server", &server]).well(), "k 1.0 1\n");
    let bad = "FLEETGAUGE_SERVER=\"aggregator\" is not usable: accepted: a host and a port such as aggregator:8888";
    with("FLEETGAUGE_SERVER", "http://aggregator:8888", &["put", "k", "1"]).badly(78, "without http://");
    for arguments in [&["put", "k", "1"][..], &["get", "k"], &["export"], &["import", "-"]] {
        with("FLEETGAUGE_SERVER", "aggregator", arguments).badly(78, bad);
        with("FLEETGAUGE_SERVERR", &server, arguments).badly(78, "did you mean FLEETGAUGE_SERVER?");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_code() {
    let nobody = nobody();
    let unreachable = format!(
        "error: cannot connect to {nobody}: Connection refused (os error 111); does an aggregator run there? \
         --server HOST:PORT or FLEETGAUGE_SERVER names another address\n"
    );
    for arguments in [&["put", "k", "1"][..], &["get", "k"], &["export"], &["import", "/dev/null"]] {
        run(&[arguments, &["--server", &nobody]].concat()).badly(69, &unreachable);
    }
    let server = line_server::start().to_string();
    let refused = run(&["put", "--server", &server, "refused", "1"]);
    refused.badly(1, &format!("error: {server}: the server answered with an error: no such luck\n"));
    let other = says("HTTP/1.1 400 Bad Request\r\n\r\n");
    run(&["get", "--server", &other, "k"]).badly(1, "is this the port of put and get");
    let silent = says("ok\n");
    run(&["get", "--server", &silent, "--timeout", "1s", "k"]).badly(69, "no answer within 1s");
}

#[test]
fn wrong_usage() {
    let check = |arguments: &[&str], sentence: &str| {
        run(arguments).badly(2, sentence);
    };
    check(&["put", "k"], "<VALUE>");
    check(&["put", "k", "much"], "accepted: a number such as 10.6");
    check(&["put", "k", "1", "1.5"], "accepted: Unix seconds, a time such as 2026-01-31T10:00:00Z");
    check(&["put", "a b", "1"], "the key has white space in it");
    check(&["put", "*", "1"], "which stands for all keys");
    check(&["get"], "<KEY>");
    check(&["get", "k", "--json", "--csv"], "cannot be used with");
    check(&["get", "k", "--from", "10", "--to", "9"], "--from 10 is later than --to 9");
    check(&["export", "--from", "10", "--to", "9"], "--from 10 is later than --to 9");
    check(&["get", "k", "--server", "aggregator"], "accepted: a host and a port");
    check(
        &["get", "k", "--server", "http://aggregator:8888"],
        "such as aggregator:8888 or [::1]:8888, without http://",
    );
    check(&["get", "k", "--timeout", "0s"], "accepted: a duration");
    check(&["import"], "<FILE>");
    check(&["import", "-", "--window", "0"], "0 is not in 1..=100000");
}

#[test]
fn what_came_before_a_cut_is_printed() {
    let cut = says("ok\nk 1.0 1\nk 2.0");
    let ended = run(&["get", "--server", &cut, "--timeout", "1s", "k"]).badly(69, "no answer within 1s");
    assert_eq!(ended.out, "k 1.0 1\n");
}

#[test]
fn nobody_reads_on_and_that_is_no_fault() {
    let rows: String = (0..200_000).map(|second| format!("k 1.0 {second}\n")).collect();
    let server = says(format!("ok\n{rows}\n"));
    for verb in [&["get", "*"][..], &["get", "*", "--csv"], &["get", "*", "--json"], &["export"]] {
        let mut child = command(&[verb, &["--server", &server]].concat()).spawn().unwrap();
        let mut first = String::new();
        BufReader::with_capacity(10, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("k 1.0 0") || first.starts_with("key,") || first.starts_with("{\"key\""), "{first}");
        // The reader is gone with this line, long before all rows were written.
        assert_eq!(end(child).well(), "");
    }
}

#[test]
fn every_verb_has_a_help_with_examples() {
    let (put_get, http) = (["put", "get", "import", "export"], ["agents", "explain", "forget"]);
    let of = |verbs, option| std::iter::zip(verbs, std::iter::repeat(option));
    let all = of(&put_get[..], "--server <HOST:PORT>").chain(of(&http[..], "--http <URL>"));
    for (verb, whom) in all {
        let help = run(&[verb, "--help"]).well();
        for part in ["Examples:\n  fleetgauge ", whom, "--timeout <TIME>", "--token-file <FILE>", "--tls-ca <FILE>"] {
            assert!(help.contains(part), "{help}");
        }
    }
}
