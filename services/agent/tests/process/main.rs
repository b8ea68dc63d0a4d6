//! The `agent` binary as a process: signals, exit codes, settings, health.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "these tests start the agent; collectors never start anything")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what went wrong by panicking")]

mod spool;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use protocol::frame::{Ack, Acked, Hello, Limits, Push, Stream, Welcome};
use protocol::limits::LINE_BYTES_MAX;
use protocol::{LineDecoder, ToAgent, ToAggregator, encode};
use rustix::fs::{FileType, Mode};

fn agent(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(arguments).env_clear().envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = agent(arguments, settings).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("it ended by itself"), text(stdout), text(stderr))
}

/// Ends with the test, whatever happens in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Running {
    fn start(settings: &[(&str, &str)]) -> Self {
        Self(agent(&[], settings).spawn().unwrap())
    }

    /// Reads the log up to a line with these words.
    fn says(&mut self, words: &str) {
        let log = self.0.stderr.as_mut().unwrap();
        // One byte at a time: what comes after the line stays for the next reader.
        let mut line = Vec::new();
        let mut byte = [0];
        while log.read(&mut byte).unwrap() > 0 {
            line.push(byte[0]);
            if byte[0] == b'\n' {
                if String::from_utf8_lossy(&line).contains(words) {
                    return;
                }
                line.clear();
            }
        }
        panic!("the agent ended without saying {words:?}");
    }

    /// SIGTERM; gives the exit code and how long it took.
    fn terminate(mut self) -> (i32, Duration) {
        let start = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.0.wait().unwrap();
        (status.code().expect("no signal killed it"), start.elapsed())
    }
}

#[track_caller]
fn check_stops(agent: Running) {
    let (code, took) = agent.terminate();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

/// A port where nobody listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn sigterm_ends_it_while_nobody_answers() {
    let mut agent = Running::start(&[("FLEETGAUGE_AGGREGATOR", &format!("127.0.0.1:{}", dead_port()))]);
    agent.says("trying again for ever");
    check_stops(agent);
}

#[test]
fn sigterm_ends_it_while_the_aggregator_hangs() {
    // Listens, and never accepts.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut agent = Running::start(&[("FLEETGAUGE_AGGREGATOR", &address)]);
    let mut stream = listener.accept().unwrap().0;
    let mut first = [0; 9];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"{\"hello\":");
    agent.says("agent starts");
    check_stops(agent);
}

/// An aggregator of one connection, on a thread of the test.
struct Aggregator {
    stream: TcpStream,
    decoder: LineDecoder,
}

impl Aggregator {
    fn accept(listener: &TcpListener) -> Self {
        Self { stream: listener.accept().unwrap().0, decoder: LineDecoder::new(LINE_BYTES_MAX) }
    }

    fn next(&mut self) -> Option<ToAggregator> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).unwrap() {
                0 => return None,
                read => self.decoder.buffer().extend_from_slice(&bytes[..read]),
            }
        }
    }

    fn say(&mut self, frame: &ToAgent) {
        let mut line = Vec::new();
        encode(frame, &mut line);
        self.stream.write_all(&line).unwrap();
    }

    fn welcome(&mut self) {
        self.welcome_from(Acked::default());
    }

    /// Welcomes an agent of whose session it has so much.
    fn welcome_from(&mut self, acked: Acked) -> Hello {
        let Some(ToAggregator::Hello(hello)) = self.next() else { panic!("a hello comes first") };
        self.say(&ToAgent::Welcome(Welcome {
            version: 1,
            features: vec![],
            aggregator: "test".into(),
            now_ms: 0,
            acked,
            limits: Limits { line_bytes: 65536, sets: 1024, series: 100_000, live_unacked: 2, late_unacked: 16 },
            late_rate: 10.0,
        }));
        hello
    }

    /// Takes one push and acknowledges it; gives its head, and the sets in it.
    fn take_any(&mut self) -> (Push, usize) {
        let (mut head, mut sets) = (None, 0);
        loop {
            match self.next() {
                Some(ToAggregator::Push(push)) => head = Some(push),
                Some(ToAggregator::Values(_)) => sets += 1,
                Some(ToAggregator::End(end)) => {
                    let head = head.expect("a push has a head");
                    self.say(&ToAgent::Ack(Ack { stream: head.stream, seq: end.seq }));
                    return (head, sets);
                }
                Some(_) => {}
                None => panic!("the agent is still there"),
            }
        }
    }

    /// Takes one push and acknowledges it.
    fn take_push(&mut self) -> u64 {
        loop {
            if let Some(ToAggregator::End(end)) = self.next() {
                self.say(&ToAgent::Ack(Ack { stream: Stream::Live, seq: end.seq }));
                return end.seq;
            }
        }
    }
}

#[test]
fn it_pushes_beats_and_says_bye() {
    let directory = tempfile::tempdir().unwrap();
    let heartbeat = directory.path().join("heartbeat");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = [
        ("FLEETGAUGE_AGGREGATOR", address.as_str()),
        ("FLEETGAUGE_INTERVAL", "100ms"),
        ("FLEETGAUGE_HEARTBEAT_FILE", heartbeat.to_str().unwrap()),
    ];
    let (code, _, said) = output(&["health"], &settings);
    assert_eq!(code, 1);
    assert!(said.contains("no push was acknowledged yet"), "{said}");

    let agent = Running::start(&settings);
    let mut aggregator = Aggregator::accept(&listener);
    aggregator.welcome();
    let first = aggregator.take_push();
    assert!(aggregator.take_push() > first);
    // The third push is begun after the ack of the second was handled.
    aggregator.take_push();
    assert_eq!(output(&["health"], &settings), (0, String::new(), String::new()));

    let ending = std::thread::spawn(move || agent.terminate());
    let mut last = None;
    while let Some(frame) = aggregator.next() {
        if let ToAggregator::End(end) = &frame {
            aggregator.say(&ToAgent::Ack(Ack { stream: Stream::Live, seq: end.seq }));
        }
        last = Some(frame);
    }
    drop(aggregator);
    assert!(matches!(last, Some(ToAggregator::Bye(_))), "{last:?}");
    let (code, took) = ending.join().unwrap();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(1), "it took {took:?}");

    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(&heartbeat).unwrap().set_modified(old).unwrap();
    let (code, _, said) = output(&["health"], &settings);
    assert_eq!(code, 1);
    assert!(said.contains("the last push was acknowledged"), "{said}");
}

/// Copies the host made of files, with a file that hangs whoever opens it.
fn host_with_a_hung(file: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path, hung: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if target == hung {
                // A pipe that nobody writes to: opening it waits for ever.
                rustix::fs::mknodat(rustix::fs::CWD, &target, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            } else if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target, hung);
            } else {
                std::fs::copy(entry.path(), &target).unwrap();
            }
        }
    }
    let root = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vm");
    copy(&fixture, root.path(), &root.path().join(file));
    root
}

#[test]
fn what_hangs_keeps_nobody_neither_at_work_nor_at_the_end() {
    let root = host_with_a_hung("proc/diskstats");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut agent = Running::start(&[
        ("FLEETGAUGE_AGGREGATOR", &address),
        ("FLEETGAUGE_HOST_ROOT", root.path().to_str().unwrap()),
        ("FLEETGAUGE_INTERVAL", "500ms"),
    ]);
    agent.says("does not come back in time");
    let mut aggregator = Aggregator::accept(&listener);
    aggregator.welcome();
    let mut sets = Vec::new();
    let mut pushes = 0;
    while pushes < 2 {
        match aggregator.next() {
            Some(ToAggregator::Declare(declare)) => sets.push(declare.name),
            Some(ToAggregator::End(end)) => {
                pushes += 1;
                aggregator.say(&ToAgent::Ack(Ack { stream: Stream::Live, seq: end.seq }));
            }
            Some(_) => {}
            None => panic!("the agent is still there"),
        }
    }
    assert!(!sets.contains(&"diskstats".to_owned()), "{sets:?}");
    for set in ["vitals", "cpu", "filesystem", "meminfo", "netdev", "agent"] {
        assert!(sets.contains(&set.to_owned()), "{set} is missing in {sets:?}");
    }
    check_stops(agent);
}

#[track_caller]
fn check_refused(settings: &[(&str, &str)], code: i32, words: &str) {
    let (got, stdout, stderr) = output(&[], settings);
    assert_eq!((got, stdout.as_str()), (code, ""));
    assert_eq!(stderr.trim_end().lines().count(), 1, "one sentence: {stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(words), "{stderr}");
}

#[test]
fn wrong_settings_end_it_with_one_sentence() {
    check_refused(&[("FLEETGAUGE_AGGREGATER", "a:1")], 78, "did you mean FLEETGAUGE_AGGREGATOR?");
    check_refused(&[("FLEETGAUGE_AGGREGATOR", "nonsense")], 78, "host:port");
    check_refused(&[("FLEETGAUGE_INTERVAL", "1ms")], 78, "100ms to 10m");
    check_refused(&[("FLEETGAUGE_HOST_ROOT", "/nowhere")], 78, "absolute path");
    check_refused(&[("FLEETGAUGE_LOG_FORMAT", "xml")], 78, "text or json");
    check_refused(&[("FLEETGAUGE_TOKEN", "a b")], 78, "FLEETGAUGE_TOKEN is not usable: a token has visible ASCII");
    check_refused(&[("FLEETGAUGE_TOKEN_FILE", "/nowhere")], 78, "/nowhere: No such file");
    check_refused(&[("FLEETGAUGE_TLS_CA_FILE", "/nowhere")], 78, "FLEETGAUGE_TLS=on must be set too");
    check_refused(
        &[("FLEETGAUGE_TLS", "on"), ("FLEETGAUGE_TLS_CA_FILE", "/nowhere")],
        78,
        "error: FLEETGAUGE_TLS_CA_FILE=\"/nowhere\" is not usable: /nowhere: No such file",
    );
}

#[test]
fn wrong_usage_ends_it_with_2_and_help_helps() {
    for arguments in [&["--fast"][..], &["run"], &["health", "now"]] {
        let (code, _, said) = output(arguments, &[]);
        assert_eq!(code, 2, "{said}");
    }
    let (code, help, _) = output(&["--help"], &[]);
    assert_eq!(code, 0);
    for words in ["Examples:", "FLEETGAUGE_AGGREGATOR=", "health"] {
        assert!(help.contains(words), "{help}");
    }
    assert_eq!(output(&["--version"], &[]).1, format!("agent {}\n", env!("CARGO_PKG_VERSION")));
    let (code, _, said) = output(&["health"], &[]);
    assert_eq!(code, 1);
    assert!(said.contains("FLEETGAUGE_HEARTBEAT_FILE is not set"), "{said}");
}

#[test]
fn the_log_can_be_json() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut agent = Running::start(&[("FLEETGAUGE_AGGREGATOR", &address), ("FLEETGAUGE_LOG_FORMAT", "json")]);
    let mut line = String::new();
    BufReader::new(agent.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "agent starts");
    check_stops(agent);
}
