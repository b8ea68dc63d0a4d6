//! While the history opens, which takes seconds when it is long.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::common::{Running, command, program};
use crate::signal;

/// An aggregator that opens its data directory until what is given is dropped: a file there is a
/// pipe, and nothing comes out of it.
fn open_for_ever(dir: &tempfile::TempDir) -> (Running, File) {
    let pipe = dir.path().join("agents.json");
    assert!(program("mkfifo").arg(&pipe).status().unwrap().success());
    // A loopback address of this process alone: its port is free when it is given back.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let free = TcpListener::bind((Ipv4Addr::new(127, a | 64, b, c), 0)).unwrap();
    let http = free.local_addr().unwrap();
    drop(free);
    let child = command()
        .env("FLEETGAUGE_HTTP_LISTEN", http.to_string())
        .env("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0")
        .env("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0")
        .env("FLEETGAUGE_DATA_DIR", dir.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running { child, http, link: http };
    // The pipe can be opened as soon as somebody reads it.
    let until = Instant::now() + Duration::from_secs(30);
    let pipe = loop {
        match rustix::fs::open(&pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(pipe) => break File::from(pipe),
            Err(error) => assert!(Instant::now() < until, "it does not open the data directory: {error}"),
        }
    };
    (running, pipe)
}

#[test]
fn a_stop_ends_it_at_once_and_http_is_refused_instead_of_hanging() {
    let dir = tempfile::tempdir().unwrap();
    let (mut running, _hangs) = open_for_ever(&dir);
    let refused = TcpStream::connect(running.http).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let (took, code) = signal(&mut running, rustix::process::Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
}
