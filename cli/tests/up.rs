//! `fleetgauge up` as a newcomer meets it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

#[cfg(feature = "tls")]
#[path = "verbs/keys.rs"]
mod keys;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "the test runs the binary")]
fn command(state: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetgauge"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLEETGAUGE_")) {
        command.env_remove(name);
    }
    command.env("XDG_STATE_HOME", state.path()).env("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0");
    command.env("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0");
    command
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn page(http: SocketAddr) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn a_first_look_works_within_two_seconds_and_ends_within_one() {
    let state = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut command = command(&state);
    command.args(["up", "--agents", "3"]).env("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0").env("FLEETGAUGE_AGENT", "h");
    let mut up = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = said.find(|line| line.contains("the page")).unwrap();
    let http: SocketAddr = line.split("http://").nth(1).unwrap().trim_end_matches("/metrics").parse().unwrap();
    let is_full = |page: &str| {
        (1..=3).all(|n| {
            page.contains(&format!("fleetgauge_agent_up{{aggregator=\"{}\"", lifecycle::host::name()))
                && page.contains(&format!("instance=\"h-{n}\",job=\"node\"}} 1\n"))
                && page.contains(&format!("host_load1{{instance=\"h-{n}\""))
        })
    };
    while !is_full(&page(http)) {
        assert!(began.elapsed() < Duration::from_secs(2), "{}", page(http));
        std::thread::yield_now();
    }
    assert!(state.path().join("fleetgauge").is_dir() || !cfg!(target_os = "linux"));
    let stopped = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&up.0), rustix::process::Signal::TERM).unwrap();
    assert_eq!(up.0.wait().unwrap().code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
}

#[test]
fn what_is_printed_about_put_and_get_works() {
    let state = tempfile::tempdir().unwrap();
    let mut command = command(&state);
    command.args(["up", "--agents", "2"]).env("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0").env("FLEETGAUGE_AGENT", "h");
    command.env("FLEETGAUGE_INTERVAL", "100ms");
    let mut up = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = said.take_while(|line| !line.contains("Ctrl-C")).collect();
    let find = |begin: &str| said.iter().find(|line| line.contains(begin)).unwrap_or_else(|| panic!("{said:?}"));
    // A shell would make a line break of it, and a number of $(date +%s).
    let sent = |line: &str| line.split('\'').nth(1).unwrap().replace("\\n", "\n").replace("%s", "1642667947");
    let address = find("'put ").split(" | nc -w1 ").nth(1).unwrap().replace(' ', ":");
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut ask = |command: &str| {
        stream.write_all(command.as_bytes()).unwrap();
        answers.by_ref().take_while(|line| !line.is_empty()).collect::<Vec<String>>()
    };
    assert_eq!(ask(&sent(find("'put "))), ["ok"]);
    assert_eq!(ask("get backup.seconds\n"), ["ok", "backup.seconds 42.5 1642667947"]);
    let began = Instant::now();
    assert_eq!(sent(find("'get ")), "get h-1.cpu\n");
    while ask(&sent(find("'get "))).len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "the key that was printed has no points");
        std::thread::yield_now();
    }
}

#[track_caller]
fn check_refused(pairs: &[(&str, &str)], arguments: &[&str], code: i32, sentence: &str) {
    let state = tempfile::tempdir().unwrap();
    let output = command(&state).args(arguments).envs(pairs.iter().copied()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(sentence), "{error}");
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sentence = format!(
        "cannot listen on {address} (Address already in use (os error 98)); FLEETGAUGE_HTTP_LISTEN sets another"
    );
    check_refused(&[("FLEETGAUGE_HTTP_LISTEN", &address)], &["up"], 78, &sentence);
    check_refused(&[("FLEETGAUGE_INTERVALL", "5s")], &["up"], 78, "did you mean FLEETGAUGE_INTERVAL?");
    check_refused(&[], &["up", "--agents", "0"], 2, "0 is not in 1..=1000");
    check_refused(&[], &["down"], 2, "unrecognized subcommand 'down'");
    check_refused(&[], &[], 2, "Usage: fleetgauge <COMMAND>");
}

#[test]
#[cfg(target_os = "linux")]
fn with_a_token_everybody_needs_it_and_nobody_prints_it() {
    const TOKEN: &str = "up-0123456789abcdef";
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let log = std::fs::File::create(state.path().join("log")).unwrap();
    let line = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut up = command(&state);
    up.arg("up").env("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0").env("FLEETGAUGE_LINE_LISTEN", &line);
    up.env("FLEETGAUGE_TOKEN_FILE", &file).env("FLEETGAUGE_LOG", "trace");
    let mut up = Killed(up.stdout(Stdio::piped()).stderr(log).spawn().unwrap());
    let said = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = said.take_while(|line| !line.contains("Ctrl-C")).collect();
    assert!(!said.iter().any(|line| line.contains("put a number")), "it would not work so: {said:?}");
    let run = |arguments: &[&str]| command(&state).args(arguments).args(["--server", &line]).output().unwrap();
    let shown = file.display().to_string();
    let put = run(&["put", "k", "1.5", "7", "--token-file", &shown]);
    assert!(put.status.success(), "{put:?}");
    assert_eq!(run(&["get", "k", "--token-file", &shown]).stdout, b"k 1.5 7\n");
    let without = run(&["get", "k"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&without.stderr).contains("this server wants a token: --token-file"),
        "{without:?}"
    );
    let wrong = state.path().join("wrong");
    std::fs::write(&wrong, "wrong-0123456789abcdef").unwrap();
    let wrong = run(&["get", "k", "--token-file", &wrong.display().to_string()]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("does not take the token"), "{wrong:?}");
    let log = || std::fs::read_to_string(state.path().join("log")).unwrap();
    let began = Instant::now();
    while !log().contains("token=\"proved\"") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", log());
        std::thread::yield_now();
    }
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", up.0.id())).unwrap();
    for text in [log(), arguments, format!("{without:?} {wrong:?}")] {
        assert!(!text.contains("0123456789abcdef"), "{text}");
    }
}

#[test]
#[cfg(feature = "tls")]
fn with_a_certificate_its_agents_and_the_verbs_speak_tls() {
    const TOKEN: &str = "up-0123456789abcdef";
    let (state, keys) = (tempfile::tempdir().unwrap(), keys::Keys::new());
    keys.sign("server", "127.0.0.1", 2999);
    let mut up = command(&state);
    up.arg("up").env("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0").env("FLEETGAUGE_AGENT", "h");
    up.env("FLEETGAUGE_TLS_CERT_FILE", keys.path("server.pem"));
    up.env("FLEETGAUGE_TLS_KEY_FILE", keys.path("server.key"));
    // That its agents speak TLS goes without saying.
    up.env("FLEETGAUGE_TLS_CA_FILE", keys.path("ca.pem")).env("FLEETGAUGE_TOKEN", TOKEN);
    let mut up = Killed(up.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = said.find(|line| line.contains("the page")).unwrap();
    let http = line.split_whitespace().last().unwrap().trim_end_matches("/metrics").to_owned();
    assert!(http.starts_with("https://"), "{http}");
    let run = |verb: &[&str]| {
        let options = ["--http", &http, "--tls-ca", &keys.text("ca.pem")];
        command(&state).args(verb).args(options).env("FLEETGAUGE_TOKEN", TOKEN).output().unwrap()
    };
    let began = Instant::now();
    loop {
        let agents = run(&["agents"]);
        assert!(agents.status.success(), "{agents:?}");
        if String::from_utf8_lossy(&agents.stdout).contains("h     yes") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{agents:?}");
    }
    let explained = run(&["explain", "h"]);
    assert!(explained.stdout.starts_with(b"h is on the page\n"), "{explained:?}");
    // An aggregator with one token gives it all scopes.
    let forgotten = run(&["forget", "h", "--dry-run"]);
    assert!(forgotten.stdout.starts_with(b"h would be forgotten"), "{forgotten:?}");
}
