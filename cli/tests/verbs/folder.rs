// A file to import, and a server that leaves in the middle.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener};
use std::path::{Path, PathBuf};

/// A folder with one file of lines.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn with(lines: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.file(), lines).unwrap();
        folder
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("points.txt")
    }

    pub(crate) fn path(&self) -> String {
        self.file().to_str().unwrap().to_owned()
    }

    pub(crate) fn position(&self) -> PathBuf {
        self.0.path().join("points.txt.fleetgauge-import")
    }

    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(self.0.path()).unwrap().count()
    }
}

pub(crate) fn lines(count: u64) -> String {
    (0..count).map(|second| format!("k {}.5 {second}\n", second % 100)).collect()
}

/// A server that answers the first lines of its first connection, reads the rest of that without a
/// word and closes; later connections are answered. Gives what each connection read.
pub(crate) fn gives_up_once(after: usize) -> (String, std::sync::mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (connections, receiver) = std::sync::mpsc::sync_channel(10);
    std::thread::spawn(move || {
        let mut answers = after;
        for stream in listener.incoming().flatten() {
            let mut read = Vec::new();
            for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                read.push(line);
                if read.len() <= answers {
                    (&stream).write_all(b"ok\n\n").unwrap();
                }
                if read.len() == 3 * answers {
                    stream.shutdown(Shutdown::Write).unwrap();
                }
            }
            connections.send(read).unwrap();
            answers = usize::MAX / 3;
        }
    });
    (address, receiver)
}
