//! Put and get over TCP, on real sockets.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use aggregator::{App, Settings};
use tokio::sync::oneshot;

/// An aggregator in this process, on free ports.
struct Running {
    http: SocketAddr,
    line: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

fn start(pairs: &[(&str, &str)]) -> Running {
    let listen = ["FLEETGAUGE_HTTP_LISTEN", "FLEETGAUGE_LINK_LISTEN", "FLEETGAUGE_LINE_LISTEN"];
    let pairs = listen.map(|name| (name, "127.0.0.1:0")).into_iter().chain(pairs.iter().copied());
    let settings = Settings::resolve(&lifecycle::Settings::from_pairs(pairs).unwrap()).unwrap();
    let (bound, addresses) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let app = App::bind(settings).await.unwrap();
            bound.send((app.http_addr(), app.line_addr())).unwrap();
            let ended = app.run(async {
                let _dropped_means_stop = stopped.await;
            });
            ended.await.unwrap();
        });
    });
    let (http, line) = addresses.recv().unwrap();
    Running { http, line, stop, thread }
}

impl Running {
    /// Stops it; gives how long that took.
    fn stop(self) -> Duration {
        let began = Instant::now();
        drop(self.stop);
        self.thread.join().unwrap();
        began.elapsed()
    }
}

fn page(http: SocketAddr) -> String {
    let mut stream = connect(http);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn connect(line: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(line).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Says it on a connection of its own, and gives all that comes back.
fn ask(line: SocketAddr, said: &str) -> String {
    let mut stream = connect(line);
    stream.write_all(said.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

/// Asks until this is the answer.
#[track_caller]
fn ask_until(line: SocketAddr, said: &str, expected: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let heard = ask(line, said);
        if heard == expected {
            return;
        }
        assert!(Instant::now() < until, "{heard:?}");
        std::thread::yield_now();
    }
}

/// With a data directory that goes with it.
fn start_in(dir: &tempfile::TempDir, more: &[(&str, &str)]) -> Running {
    let mut pairs = vec![("FLEETGAUGE_DATA_DIR", dir.path().to_str().unwrap())];
    pairs.extend_from_slice(more);
    start(&pairs)
}

#[test]
fn who_puts_and_goes_need_not_listen_and_who_breaks_off_hurts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_in(&dir, &[]);
    let mut puts = String::new();
    let mut rows = String::from("ok\n");
    for ts in 0..100 {
        puts += &format!("put k 1 {ts}\n");
        rows += &format!("k 1.0 {ts}\n");
    }
    rows += "\n";
    let mut other = connect(running.line);
    let mut goes = connect(running.line);
    goes.write_all(puts.as_bytes()).unwrap();
    drop(goes);
    ask_until(running.line, "get k\n", &rows);
    for _ in 0..50 {
        let mut breaks = connect(running.line);
        breaks.write_all(b"put r 1 1\nget *\nput r 1").unwrap();
        // Closing sends a reset instead of an end.
        socket2::SockRef::from(&breaks).set_linger(Some(Duration::ZERO)).unwrap();
    }
    other.write_all(b"get k\n").unwrap();
    let mut heard = vec![0; rows.len()];
    other.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), rows);
}

#[test]
fn one_connection_too_many_is_told_so_and_a_place_that_is_free_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_in(&dir, &[("FLEETGAUGE_MAX_LINE_CONNECTIONS", "2")]);
    let mut here = [connect(running.line), connect(running.line)];
    for stream in &mut here {
        stream.write_all(b"get k\n").unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ok\n\n");
    }
    let mut heard = String::new();
    connect(running.line).read_to_string(&mut heard).unwrap();
    assert!(heard.starts_with("error\n2 connections are open, FLEETGAUGE_MAX_LINE_CONNECTIONS"), "{heard:?}");
    assert!(heard.ends_with("\n\n"), "{heard:?}");
    drop(here);
    // Who is refused may find the connection reset.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let mut stream = connect(running.line);
        let mut heard = String::new();
        let said = stream.write_all(b"get k\n").and_then(|()| stream.shutdown(Shutdown::Write));
        if said.and_then(|()| stream.read_to_string(&mut heard)).is_ok() && heard == "ok\n\n" {
            break;
        }
        assert!(Instant::now() < until, "{heard:?}");
    }
    let page = page(running.http);
    assert!(page.contains("\nfleetgauge_line_connections_limit 2\n"), "{page}");
    assert!(!page.contains("\nfleetgauge_line_closed_total{reason=\"refused\"} 0\n"), "{page}");
}

#[test]
fn a_thousand_idle_connections_are_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_in(&dir, &[]);
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| connect(running.line)).collect();
    assert_eq!(ask(running.line, "put k 1 1\nget k\n"), "ok\n\nok\nk 1.0 1\n\n");
    for stream in &mut idle {
        stream.write_all(b"get k\n").unwrap();
    }
    for stream in &mut idle {
        let mut heard = [0; 12];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ok\nk 1.0 1\n\n");
    }
}

#[test]
fn what_was_answered_survives_a_stop_which_takes_less_than_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_in(&dir, &[]);
    let (mut open, mut half) = (connect(running.line), connect(running.line));
    half.write_all(b"put k 2").unwrap();
    open.write_all(b"put k 1 1\n").unwrap();
    let mut heard = [0; 4];
    open.read_exact(&mut heard).unwrap();
    let took = running.stop();
    assert!(took < Duration::from_secs(1), "{took:?}");
    for mut stream in [open, half] {
        assert_eq!(stream.read(&mut heard).unwrap(), 0, "closed in order");
    }
    let running = start_in(&dir, &[]);
    assert_eq!(ask(running.line, "get *\n"), "ok\nk 1.0 1\n\n");
}

#[test]
fn without_a_data_directory_a_client_is_told() {
    let running = start(&[]);
    let error = "error\nthis aggregator keeps no history: its FLEETGAUGE_DATA_DIR is not set\n\n";
    assert_eq!(ask(running.line, "put k 1 1\nget k\nx\n"), [error, error, "error\nwrong command\n\n"].concat());
}
