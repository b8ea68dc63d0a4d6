// A server of the put/get protocol for tests and examples: real TCP, a free port, everything in
// memory. It answers each line, so commands may be pipelined.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Store = Arc<Mutex<BTreeMap<String, BTreeMap<i64, f64>>>>;

/// Starts a server that lives as long as the process.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let store = Store::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = store.clone();
            std::thread::spawn(move || serve(&stream, &store));
        }
    });
    address
}

fn serve(mut stream: &TcpStream, store: &Store) {
    // Answers are short: without this the system would hold back each for the last one's acknowledgement.
    stream.set_nodelay(true).expect("it is connected");
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if stream.write_all(reply(&line, store).as_bytes()).is_err() {
            return;
        }
    }
}

fn reply(line: &str, store: &Store) -> String {
    let mut store = store.lock().expect("no thread panics with it");
    match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        ["put", "refused", ..] => "error\nno such luck\n\n".to_owned(),
        ["put", key, value, timestamp] => match (value.parse(), timestamp.parse()) {
            (Ok(value), Ok(timestamp)) => {
                store.entry((*key).to_owned()).or_default().insert(timestamp, value);
                "ok\n\n".to_owned()
            }
            _ => "error\nwrong command\n\n".to_owned(),
        },
        ["get", wanted] => {
            let mut reply = "ok\n".to_owned();
            for (key, points) in store.iter().filter(|(key, _)| *wanted == "*" || wanted == key) {
                for (timestamp, value) in points {
                    reply.push_str(&format!("{key} {value:?} {timestamp}\n").replace("NaN", "nan"));
                }
            }
            reply + "\n"
        }
        _ => "error\nwrong command\n\n".to_owned(),
    }
}
