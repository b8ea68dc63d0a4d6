//! The binary as an operator meets it: settings, signals, exit codes.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "process/crash.rs"]
mod crash;
#[path = "process/disk.rs"]
mod disk;
#[path = "process/lines.rs"]
mod lines;
#[path = "process/opening.rs"]
mod opening;
#[path = "process/refusals.rs"]
mod refusals;
#[path = "process/syncs.rs"]
mod syncs;
#[path = "process/warnings.rs"]
mod warnings;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};

use common::{Running, agent, command, page, push, start};

/// Sends a signal; gives how long the end took, and the exit code.
fn signal(running: &mut Running, signal: rustix::process::Signal) -> (Duration, Option<i32>) {
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, signal).unwrap();
    let status = running.child.wait().unwrap();
    (began.elapsed(), status.code())
}

fn output(pairs: &[(&str, &str)], arguments: &[&str]) -> (Output, String) {
    let output = command().args(arguments).envs(pairs.iter().copied()).output().unwrap();
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    (output, error)
}

#[test]
fn stop_signals_end_it_at_once_and_cleanly() {
    for which in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut running = start(&[]);
        // An agent that is connected, so that it is no longer waiting to be accepted.
        let mut connected = agent(running.link, "a");
        let mut idle = TcpStream::connect(running.http).unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        idle.read_exact(&mut [0; 20]).unwrap();
        let (took, code) = signal(&mut running, which);
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(1), "{took:?}");
        let mut last_word = String::new();
        connected.read_to_string(&mut last_word).unwrap();
        assert!(last_word.starts_with("{\"goaway\""), "{last_word}");
    }
}

#[track_caller]
fn check_refused(pairs: &[(&str, &str)], arguments: &[&str], code: i32, sentence: &str) {
    let (output, error) = output(pairs, arguments);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let last = error.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(sentence), "{error}");
}

#[test]
fn wrong_settings_are_named_in_one_sentence() {
    check_refused(&[("FLEETGAUGE_HTTP_LISTENN", "x")], &[], 78, "did you mean FLEETGAUGE_HTTP_LISTEN?");
    check_refused(&[("FLEETGAUGE_HTTP_LISTEN", "9400")], &[], 78, "FLEETGAUGE_HTTP_LISTEN=\"9400\" is not usable");
    check_refused(&[("FLEETGAUGE_TOMBSTONE", "long")], &[], 78, "accepted: a duration");
    check_refused(&[("FLEETGAUGE_MAX_SCRAPES", "0")], &[], 78, "a whole number from 1 to");
    check_refused(&[("FLEETGAUGE_LOG", "=x=")], &[], 78, "FLEETGAUGE_LOG");
    check_refused(&[("FLEETGAUGE_TOKEN", "a b")], &[], 78, "FLEETGAUGE_TOKEN is not usable: a token has visible ASCII");
    check_refused(&[("FLEETGAUGE_TOKENS_FILE", "/nowhere")], &[], 78, "FLEETGAUGE_TOKENS_FILE: /nowhere: No such file");
    check_refused(&[("FLEETGAUGE_REMOTE_WRITE", "all")], &[], 78, "FLEETGAUGE_REMOTE_WRITE_URL must be set too");
    check_refused(&[("FLEETGAUGE_TLS_CERT_FILE", "/nowhere")], &[], 78, "FLEETGAUGE_TLS_KEY_FILE must be set too");
    check_refused(&[], &["frobnicate"], 2, "unknown argument \"frobnicate\"");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_refused(&[("FLEETGAUGE_HTTP_LISTEN", &address)], &[], 78, "FLEETGAUGE_HTTP_LISTEN sets another address");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let pairs = [
        ("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0"),
        ("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0"),
        ("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0"),
        ("FLEETGAUGE_DATA_DIR", file.to_str().unwrap()),
    ];
    check_refused(&pairs, &[], 78, "FLEETGAUGE_DATA_DIR sets another directory");
}

#[test]
fn health_tells_the_truth() {
    let running = start(&[]);
    let address = running.http.to_string();
    let (healthy, error) = output(&[("FLEETGAUGE_HTTP_LISTEN", &address)], &["health"]);
    assert!(healthy.status.success(), "{error}");
    drop(running);
    check_refused(&[("FLEETGAUGE_HTTP_LISTEN", &address)], &["health"], 1, "no aggregator answers");
}

#[test]
fn help_and_version() {
    let (help, _) = output(&[], &["--help"]);
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
    let (version, _) = output(&[], &["--version"]);
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("aggregator {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_dead_host_stays_dead_over_a_restart_even_a_hard_one() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [("FLEETGAUGE_DATA_DIR", dir.path().to_str().unwrap()), ("FLEETGAUGE_NAME", "muninn")];
    let mut running = start(&pairs);
    let mut dead = agent(running.link, "dead");
    let _alive = agent(running.link, "alive");
    dead.get_mut().write_all(b"{\"bye\":{}}\n").unwrap();
    dead.read_to_string(&mut String::new()).unwrap();
    // Written at most about a second after the change.
    let until = Instant::now() + Duration::from_secs(10);
    let file = dir.path().join("agents.json");
    let says = |text: &str| std::fs::read_to_string(&file).is_ok_and(|kept| kept.contains(text));
    while !(says("alive") && says("\\\"forget_at_ms\\\":1")) {
        assert!(Instant::now() < until, "{:?}", std::fs::read_to_string(&file));
        std::thread::yield_now();
    }
    signal(&mut running, rustix::process::Signal::KILL);
    let running = start(&pairs);
    let page = page(running.http);
    assert!(page.contains("fleetgauge_agent_up{aggregator=\"muninn\",instance=\"dead\",job=\"node\"} 0\n"), "{page}");
    assert!(!page.contains("instance=\"alive\""), "who was there is expected back, and not called dead: {page}");
}

/// Waits until the list of known agents on disk says all of this; it is written about a second
/// after a change.
fn wait_until_kept(dir: &tempfile::TempDir, says: impl Fn(&str) -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    let file = dir.path().join("agents.json");
    while !std::fs::read_to_string(&file).is_ok_and(|kept| says(&kept)) {
        assert!(Instant::now() < until, "{:?}", std::fs::read_to_string(&file));
        std::thread::yield_now();
    }
}

#[test]
fn who_came_back_from_the_dead_is_not_dead_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [("FLEETGAUGE_DATA_DIR", dir.path().to_str().unwrap()), ("FLEETGAUGE_NAME", "muninn")];
    let mut running = start(&pairs);
    let mut first = agent(running.link, "phoenix");
    first.get_mut().write_all(b"{\"bye\":{}}\n").unwrap();
    first.read_to_string(&mut String::new()).unwrap();
    wait_until_kept(&dir, |kept| kept.contains("forget_at_ms\\\":1"));
    let mut again = agent(running.link, "phoenix");
    push(&mut again, 2, 5);
    wait_until_kept(&dir, |kept| kept.contains("forget_at_ms\\\":null"));
    signal(&mut running, rustix::process::Signal::KILL);
    let running = start(&pairs);
    assert!(!page(running.http).contains("phoenix"), "it is expected back");
}

#[test]
fn who_is_awaited_in_vain_is_dead_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [("FLEETGAUGE_DATA_DIR", dir.path().to_str().unwrap()), ("FLEETGAUGE_NAME", "muninn")];
    let mut running = start(&pairs);
    let _agent = agent(running.link, "host");
    wait_until_kept(&dir, |kept| kept.contains("host"));
    signal(&mut running, rustix::process::Signal::KILL);
    let mut running = start(&pairs);
    wait_until_kept(&dir, |kept| kept.contains("forget_at_ms\\\":1"));
    signal(&mut running, rustix::process::Signal::KILL);
    let running = start(&pairs);
    let up = "fleetgauge_agent_up{aggregator=\"muninn\",instance=\"host\",job=\"node\"} 0\n";
    assert!(page(running.http).contains(up), "not awaited once more");
}

#[test]
fn a_disk_that_cannot_be_written_is_counted_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let running = start(&[("FLEETGAUGE_DATA_DIR", data.to_str().unwrap())]);
    let until = Instant::now() + Duration::from_secs(30);
    // Something may be written there at this moment.
    while std::fs::remove_dir_all(&data).is_err() && data.exists() {
        assert!(Instant::now() < until, "the directory can be removed");
    }
    let _agent = agent(running.link, "host");
    while page(running.http).contains("\nfleetgauge_known_agents_write_errors_total 0\n") {
        assert!(Instant::now() < until, "a failed write is counted");
    }
    std::fs::create_dir(&data).unwrap();
    while !std::fs::read_to_string(data.join("agents.json")).is_ok_and(|kept| kept.contains("host")) {
        assert!(Instant::now() < until, "it is written as soon as that is possible");
        std::thread::yield_now();
    }
}

#[test]
fn agents_are_not_blamed_for_the_time_that_this_process_did_not_run() {
    let running = start(&[]);
    let began = Instant::now();
    let mut stream = TcpStream::connect(running.link).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let push = |seq: u64| {
        let mono_ms = began.elapsed().as_millis();
        format!(
            "{{\"push\":{{\"stream\":\"live\",\"seq\":{seq},\"measured_ms\":0,\"now_ms\":0,\"mono_ms\":{mono_ms}}}}}\n{{\"values\":{{\"set\":1,\"values\":[{seq}]}}}}\n{{\"end\":{{\"seq\":{seq}}}}}\n"
        )
    };
    let hello = "{\"hello\":{\"versions\":[1,1],\"agent\":\"a\",\"interval_ms\":1000,\"now_ms\":0,\"mono_ms\":0,\"session\":\"s\",\"incarnation\":1}}
{\"declare\":{\"set\":1,\"name\":\"s\",\"total\":1,\"families\":[{\"name\":\"x\",\"type\":\"gauge\",\"series\":[{}]}]}}\n";
    stream.write_all(format!("{hello}{}", push(1)).as_bytes()).unwrap();
    let mut heard = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    assert!(heard.find(|line| line.contains("ack")).is_some());
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // Longer than the three seconds after which a silent connection ends; it pushes meanwhile.
    for seq in 2..6 {
        std::thread::sleep(Duration::from_secs(1));
        stream.write_all(push(seq).as_bytes()).unwrap();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let acks: Vec<String> = heard.take(4).collect();
    assert!(acks.iter().all(|line| line.starts_with("{\"ack\"")), "{acks:?}");
}
