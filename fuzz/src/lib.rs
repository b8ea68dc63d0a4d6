//! What several fuzzers need. They run in processes of their own, one thread each.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use protocol::{LineDecoder, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The frames of a stream up to the first that is none; the same however it is split.
pub fn frames<T: DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Vec<T> {
    let read = |pieces: &[&[u8]]| {
        let mut decoder = LineDecoder::new(protocol::limits::LINE_BYTES_MAX);
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece);
            loop {
                match decoder.next_frame::<T>() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return frames,
                }
            }
        }
        frames
    };
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let whole = read(&[bytes]);
    assert_eq!(whole, read(&[first, second]));
    whole
}

/// What is said again is understood as the same.
pub fn same_again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(all: &[T]) {
    for frame in all {
        let mut line = Vec::new();
        encode(frame, &mut line);
        let again: T = serde_json::from_slice(&line).expect("what was understood can be said");
        assert_eq!(&again, frame);
    }
}

/// Where the aggregator of this process listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub http: SocketAddr,
    pub link: SocketAddr,
    pub line: SocketAddr,
}

/// A whole aggregator, on threads of its own; the first who asks starts it. What it is told leaves no
/// more traces than its limits allow.
pub fn aggregator() -> Ports {
    static PORTS: OnceLock<Ports> = OnceLock::new();
    *PORTS.get_or_init(|| {
        let folder = Box::leak(Box::new(tempfile::tempdir_in(memory()).expect("a folder")));
        let pairs = [
            ("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0"),
            ("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0"),
            ("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0"),
            ("FLEETGAUGE_NAME", "fuzz"),
            ("FLEETGAUGE_DATA_DIR", folder.path().to_str().expect("a path of ASCII")),
            ("FLEETGAUGE_MAX_AGENTS", "50"),
            ("FLEETGAUGE_MAX_KEYS", "1000"),
            ("FLEETGAUGE_DURABILITY", "os"),
            ("FLEETGAUGE_DISK_RESERVE", "0"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = lifecycle::Settings::from_pairs(pairs).expect("known names");
        let settings = aggregator::Settings::resolve(&settings).expect("good values");
        let (ready, ports) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("threads").block_on(async {
                let app = aggregator::App::bind(settings).await.expect("ports are free");
                let (http, link, line) = (app.http_addr(), app.link_addr(), app.line_addr());
                ready.send(Ports { http, link, line }).expect("somebody waits");
                app.run(std::future::pending()).await.expect("nobody stops it");
            });
        });
        ports.recv().expect("it starts")
    })
}

/// Says all of it on a connection of its own, ends its side, and hears all that is answered. One that is
/// not closed in ten seconds is a hang.
pub fn ask(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    exchange(to, bytes, true)
}

/// The same, but the other side is to close: HTTP drops a request whose client ends its side.
pub fn request(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    exchange(to, bytes, false)
}

fn exchange(to: SocketAddr, bytes: &[u8], is_ended: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket has timeouts");
    // It may have had enough before all was said.
    let said = stream.write_all(bytes);
    if is_ended {
        let _enough = said.and_then(|()| stream.shutdown(Shutdown::Write));
    }
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection was not closed"),
        _ => heard,
    }
}

/// Works in a folder that is empty before and gone afterwards, and is in memory where there is such.
pub fn in_folder(work: impl FnOnce(&Path) -> std::io::Result<()>) {
    let folder = tempfile::tempdir_in(memory()).expect("a folder");
    work(folder.path()).expect("the folder can be used");
}

fn memory() -> &'static Path {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared } else { Path::new("/tmp") }
}
