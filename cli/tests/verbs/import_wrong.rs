//! Lines that are wrong, or that the server refuses, over several runs of one import: none is lost.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::binary::{Ended, run};
use crate::folder::{Folder, gives_up_once, lines};
use crate::line_server;

/// A server that has room for some keys, and refuses others.
struct Narrow {
    address: String,
    room: Arc<AtomicUsize>,
    keys: Arc<Mutex<BTreeSet<String>>>,
}

impl Narrow {
    fn with_room_for(keys: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (room, keys) = (Arc::new(AtomicUsize::new(keys)), Arc::default());
        let server = Self { address, room: Arc::clone(&room), keys: Arc::clone(&keys) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    let key = line.split(' ').nth(1).unwrap().to_owned();
                    let mut keys = keys.lock().unwrap();
                    let is_taken = keys.contains(&key) || keys.len() < room.load(Ordering::SeqCst);
                    if is_taken {
                        keys.insert(key);
                    }
                    drop(keys);
                    let reply: &[u8] = if is_taken { b"ok\n\n" } else { b"error\nno room for another key\n\n" };
                    // The client may be gone by now.
                    let _left = (&stream).write_all(reply);
                }
            }
        });
        server
    }

    fn keys(&self) -> usize {
        self.keys.lock().unwrap().len()
    }
}

fn distinct(count: usize) -> String {
    (1..=count).map(|number| format!("key{number} 1 1\n")).collect()
}

fn import(server: &str, folder: &Folder, arguments: &[&str]) -> Ended {
    run(&[&["import", "--server", server, &folder.path()], arguments].concat())
}

#[test]
fn what_was_refused_is_put_again() {
    let server = Narrow::with_room_for(10);
    let folder = Folder::with(&distinct(30_000));
    for _ in 0..2 {
        let ended = import(&server.address, &folder, &[]).badly(1, "--max-errors allows 100\n");
        assert!(ended.error.ends_with("the same command goes on at line 11\n"), "{ended:?}");
        assert!(ended.error.contains("points.txt:11: the server answered with an error: no room"), "{ended:?}");
    }
    server.room.store(usize::MAX, Ordering::SeqCst);
    let ended = import(&server.address, &folder, &[]);
    assert!(ended.code == Some(0) && ended.out.starts_with("imported 29990 points"), "{ended:?}");
    assert_eq!(server.keys(), 30_000);
    assert!(!folder.position().exists());
}

#[test]
fn an_import_with_refused_lines_comes_to_its_end_and_then_begins_anew() {
    let server = Narrow::with_room_for(10);
    let folder = Folder::with(&distinct(60));
    for _ in 0..2 {
        let ended = import(&server.address, &folder, &[]).badly(1, "error: 50 wrong lines, not stored\n");
        assert_eq!(ended.error.matches("no room for another key").count(), 50, "{ended:?}");
        assert!(!folder.position().exists());
    }
    server.room.store(usize::MAX, Ordering::SeqCst);
    assert!(import(&server.address, &folder, &[]).well().starts_with("imported 60 points"));
    assert_eq!(server.keys(), 60);
}

#[test]
fn a_wrong_line_that_may_not_be_passed_is_met_again() {
    let server = line_server::start().to_string();
    let folder = Folder::with("a 1 1\n\nbroken\nb 1 1\n");
    let stored = || run(&["get", "--server", &server, "*"]).well();
    for _ in 0..3 {
        let ended = import(&server, &folder, &["--max-errors", "0"]).badly(1, "points.txt:3: \"broken\" is not a key");
        assert!(ended.error.contains("error: 1 wrong line, and --max-errors allows 0\n"), "{ended:?}");
        assert!(ended.error.ends_with("the same command goes on at line 2\n"), "{ended:?}");
        assert_eq!(stored(), "a 1.0 1\n");
    }
    import(&server, &folder, &["--max-errors", "1"]).badly(1, "error: 1 wrong line, not stored\n");
    assert_eq!(stored(), "a 1.0 1\nb 1.0 1\n");
    assert!(!folder.position().exists());
}

#[test]
fn wrong_lines_that_were_passed_are_remembered() {
    let (server, connections) = gives_up_once(1000);
    let folder = Folder::with(&format!("broken\n{}", lines(3000)));
    import(&server, &folder, &[]).badly(69, "the same command goes on at line 1002\n");
    assert_eq!(connections.recv().unwrap().len(), 3000);
    let ended = import(&server, &folder, &[]).badly(1, "going on at line 1002 of ");
    assert!(ended.error.contains("(1 wrong line before it)"), "{ended:?}");
    assert!(ended.error.ends_with("error: 1 wrong line, not stored\n"), "{ended:?}");
    assert_eq!(connections.recv().unwrap().len(), 2000);
    assert!(!folder.position().exists());
}
