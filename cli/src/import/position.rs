//! How far an import came, kept in a small file beside the one that is imported.
//!
//! It counts only for the same file, unchanged, and the same server. It is behind rather than ahead:
//! points before it are stored, and to store some behind it once more does no harm. Lines before it
//! that are no points are counted in it, so that an import which goes on does not end as if all was
//! well.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::lines::Place;
use crate::output::{beside, put_in_place};

/// A position is a few hundred bytes; what is longer is none.
const BYTES_MAX: u64 = 4096;

/// Which file, as it was, and which server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    server: String,
    size: u64,
    /// Nanoseconds since 1970; 0 where the system does not know.
    modified: u64,
}

impl Identity {
    pub(super) fn new(server: &str, metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            server: server.to_owned(),
            size: metadata.len(),
            modified: modified.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    identity: Identity,
    #[serde(flatten)]
    reached: Reached,
}

/// How far an import came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// Every line before it is stored, or named, or says nothing.
    #[serde(flatten)]
    pub(super) place: Place,
    /// Lines before it that are no points. They were named.
    pub(super) misread: u64,
}

/// The file beside, for one import.
pub(super) struct Position {
    path: PathBuf,
    identity: Identity,
}

/// What an earlier import left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// It is of no use, for this reason.
    Useless(&'static str),
    Reached(Reached),
}

impl Position {
    pub(super) fn new(of: &Path, identity: Identity) -> Self {
        let mut name = of.as_os_str().to_owned();
        name.push(".fleetgauge-import");
        Self { path: name.into(), identity }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn find(&self) -> Found {
        let Ok(file) = File::open(&self.path) else { return Found::Nothing };
        let mut text = Vec::new();
        let read = file.take(BYTES_MAX).read_to_end(&mut text);
        let kept: Kept = match read.ok().and_then(|_| serde_json::from_slice(&text).ok()) {
            Some(kept) => kept,
            None => return Found::Useless("it cannot be read"),
        };
        if kept.identity.server != self.identity.server {
            return Found::Useless("it is about another server");
        }
        if kept.identity != self.identity || kept.reached.place.offset > kept.identity.size {
            return Found::Useless("the file has changed since");
        }
        Found::Reached(kept.reached)
    }

    /// Replaces what was kept, in one step.
    pub(super) fn keep(&self, reached: Reached) -> io::Result<()> {
        let kept = Kept { identity: self.identity.clone(), reached };
        let mut file = beside(&self.path)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        put_in_place(file, &self.path)
    }

    /// After the end there is nothing to go on with.
    pub(super) fn forget(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACHED: Reached = Reached { place: Place { offset: 6, lines: 1 }, misread: 3 };

    fn position(of: &Path, server: &str) -> Position {
        Position::new(of, Identity::new(server, &of.metadata().unwrap()))
    }

    #[test]
    fn a_place_is_found_again_for_the_same_file_and_server_only() {
        let folder = tempfile::tempdir().unwrap();
        let of = folder.path().join("points.txt");
        std::fs::write(&of, "k 1 1\nk 1 2\n").unwrap();
        let here = position(&of, "a:1");
        assert_eq!(here.find(), Found::Nothing);
        here.keep(Reached { place: Place { offset: 0, lines: 0 }, misread: 0 }).unwrap();
        here.keep(REACHED).unwrap();
        assert_eq!(position(&of, "a:1").find(), Found::Reached(REACHED));
        assert_eq!(position(&of, "b:1").find(), Found::Useless("it is about another server"));
        std::fs::write(&of, "k 1 1\nk 1 2\nk 1 3\n").unwrap();
        assert_eq!(position(&of, "a:1").find(), Found::Useless("the file has changed since"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
        here.forget().unwrap();
        here.forget().unwrap();
        assert_eq!(here.find(), Found::Nothing);
    }

    #[test]
    fn what_is_damaged_is_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let of = folder.path().join("points.txt");
        std::fs::write(&of, "k 1 1\nk 1 2\n").unwrap();
        let here = position(&of, "a:1");
        here.keep(REACHED).unwrap();
        let whole = std::fs::read(here.path()).unwrap();
        for length in 0..whole.len() {
            std::fs::write(here.path(), &whole[..length]).unwrap();
            assert_eq!(here.find(), Found::Useless("it cannot be read"));
        }
        std::fs::write(here.path(), vec![b' '; 1 << 20]).unwrap();
        assert_eq!(here.find(), Found::Useless("it cannot be read"));
        here.keep(Reached { place: Place { offset: 13, lines: 1 }, misread: 0 }).unwrap();
        assert_eq!(here.find(), Found::Useless("the file has changed since"));
    }
}
