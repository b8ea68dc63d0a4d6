//! A text file that others write: read only when it has changed, and never waited for.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::exposition::{Family, Flaw, note, parse};
use super::files::FILE_BYTES_MAX;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// One file and what was in it when it was read last.
#[derive(Debug)]
pub(super) struct TextSource {
    path: PathBuf,
    label: String,
    /// When it was written, in whole seconds; `None` when that is not known.
    pub(super) mtime: Option<f64>,
    /// Set by whoever knows the time.
    pub(super) is_expired: bool,
    stamp: Option<Stamp>,
    families: Vec<Family>,
    flaws: Vec<Flaw>,
}

impl TextSource {
    /// The file at a path. It is not touched yet.
    pub(super) fn new(path: PathBuf) -> Self {
        let label = path.to_string_lossy().into_owned();
        Self { path, label, mtime: None, is_expired: false, stamp: None, families: vec![], flaws: vec![] }
    }

    /// Its path as text.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// What it holds.
    pub(super) fn families(&self) -> &[Family] {
        &self.families
    }

    /// What is wrong with it.
    pub(super) fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// Reads it if it has changed; says whether what it holds may be another. Takes its size out
    /// of `room`, the bytes that all files may still have.
    pub(super) fn refresh(&mut self, room: &mut u64) -> bool {
        let found = std::fs::metadata(&self.path).and_then(|found| regular(&found).map(|()| found));
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.fails(&error),
        };
        let stamp = Stamp::of(&found);
        if found.size() > *room {
            return self.fails(&io::Error::other("the text files before it are too long together, it is not read"));
        }
        *room -= found.size();
        if self.stamp == Some(stamp) {
            return false;
        }
        match self.load() {
            Err(error) => self.fails(&error),
            // What was there before is right, what is there now may be half of it.
            Ok((_, after)) if after != stamp => {
                self.stamp = None;
                note(&mut self.flaws, Flaw::at(0, "it was written while it was read: a new file should be renamed"));
                true
            }
            Ok((bytes, _)) => {
                self.take(bytes);
                self.stamp = Some(stamp);
                #[expect(clippy::cast_precision_loss, reason = "whole seconds are exact for very long")]
                let mtime = found.mtime() as f64;
                self.mtime = Some(mtime);
                true
            }
        }
    }

    /// Opens it without waiting for anybody (a pipe would wait for its writer) and reads up to one
    /// byte over the limit.
    fn load(&self) -> io::Result<(Vec<u8>, Stamp)> {
        let without_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(&self.path)?;
        regular(&file.metadata()?)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut (&file)).take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok((bytes, Stamp::of(&File::metadata(&file)?)))
    }

    fn take(&mut self, mut bytes: Vec<u8>) {
        let is_cut = bytes.len() > FILE_BYTES_MAX;
        if is_cut {
            let end = bytes.iter().take(FILE_BYTES_MAX).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(end);
        }
        (self.families, self.flaws) = parse(&bytes, is_cut);
        if is_cut {
            let text = format!("longer than {FILE_BYTES_MAX} bytes, the rest is not read");
            note(&mut self.flaws, Flaw { line: 0, kind: "a file that is too long", text });
        }
    }

    /// It cannot be read: nothing that it held is true any more.
    fn fails(&mut self, error: &io::Error) -> bool {
        let held = !self.families.is_empty();
        (self.stamp, self.mtime) = (None, None);
        self.families.clear();
        self.flaws = vec![Flaw { line: 0, kind: "a file that cannot be read", text: error.to_string() }];
        held
    }
}

fn regular(found: &Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(io::Error::other("it is no regular file")) }
}
