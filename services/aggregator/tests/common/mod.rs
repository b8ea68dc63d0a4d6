//! The binary, started and spoken to from outside.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]
#![expect(unreachable_pub, reason = "shared by test binaries")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// The binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_aggregator");

/// The binary, without settings of this environment.
pub fn command() -> Command {
    program(BINARY)
}

/// A program, without settings of this environment.
#[expect(clippy::disallowed_methods, reason = "the test runs the binary")]
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLEETGAUGE_")) {
        command.env_remove(name);
    }
    command.env("FLEETGAUGE_LOG_FORMAT", "json");
    command
}

/// A running aggregator; killed when dropped.
pub struct Running {
    pub child: Child,
    pub http: SocketAddr,
    pub link: SocketAddr,
}

/// Starts the binary on free ports, with these settings.
pub fn start(pairs: &[(&str, &str)]) -> Running {
    let (child, listening) = listen(command().envs(pairs.iter().copied()));
    let address = |name: &str| listening[name].as_str().unwrap().parse().unwrap();
    Running { child, http: address("http"), link: address("link") }
}

/// Starts the binary, or what runs it, on free ports; gives what it says about where it listens.
pub fn listen(command: &mut Command) -> (Child, serde_json::Value) {
    for name in ["FLEETGAUGE_HTTP_LISTEN", "FLEETGAUGE_LINK_LISTEN", "FLEETGAUGE_LINE_LISTEN"] {
        command.env(name, "127.0.0.1:0");
    }
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = log.by_ref().map(Result::unwrap).find(|line| line.contains("\"listening\"")).expect("it listens");
    // The pipe must not fill up.
    std::thread::spawn(move || log.for_each(drop));
    (child, serde_json::from_str(&listening).unwrap())
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Says hello, pushes one sample, and hears its ack.
pub fn agent(link: SocketAddr, name: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(link).unwrap());
    let said = format!(
        "{{\"hello\":{{\"versions\":[1,1],\"agent\":\"{name}\",\"interval_ms\":60000,\"now_ms\":0,\"mono_ms\":0,\"session\":\"s\",\"incarnation\":1}}}}
{{\"declare\":{{\"set\":1,\"name\":\"s\",\"total\":1,\"families\":[{{\"name\":\"x\",\"type\":\"gauge\",\"series\":[{{}}]}}]}}}}
{{\"push\":{{\"stream\":\"live\",\"seq\":1,\"measured_ms\":0,\"now_ms\":0,\"mono_ms\":0}}}}
{{\"values\":{{\"set\":1,\"values\":[1]}}}}
{{\"end\":{{\"seq\":1}}}}
"
    );
    stream.get_mut().write_all(said.as_bytes()).unwrap();
    hear_ack(&mut stream);
    stream
}

/// Pushes another value.
pub fn push(stream: &mut BufReader<TcpStream>, seq: u64, value: i64) {
    let said = format!(
        "{{\"push\":{{\"stream\":\"live\",\"seq\":{seq},\"measured_ms\":0,\"now_ms\":0,\"mono_ms\":0}}}}
{{\"values\":{{\"set\":1,\"values\":[{value}]}}}}
{{\"end\":{{\"seq\":{seq}}}}}
"
    );
    stream.get_mut().write_all(said.as_bytes()).unwrap();
    hear_ack(stream);
}

fn hear_ack(stream: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while !line.contains("\"ack\"") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the connection closed without an ack");
    }
}

/// The whole page, with the head of the answer.
pub fn page(http: SocketAddr) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}
