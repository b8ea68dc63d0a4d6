//! Text files that others write: found by their names, read only when they have changed, and never
//! waited for.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{CollectError, Faults};
use super::exposition::{Family, Flaw, TOO_MANY, note, parse};
use super::files::FILE_BYTES_MAX;

/// Most samples that are taken of a file.
const SAMPLES_MAX: usize = 10_000;
/// Most names in a directory that are looked at, and most of them that may be of text files.
const ENTRIES_MAX: usize = 200_000;
const NAMES_MAX: usize = 10_000;

/// The names of the text files in directories, each with its directory's number, in order. A
/// directory that is named twice counts once.
pub(super) fn find(directories: &[PathBuf], faults: &mut Faults) -> Vec<(usize, String)> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (number, directory) in directories.iter().enumerate() {
        if std::fs::metadata(directory).is_ok_and(|known| !seen.insert((known.dev(), known.ino()))) {
            continue;
        }
        let listed = list(directory, faults).map_err(|error| CollectError::at(directory, &error));
        found.extend(faults.check(listed).into_iter().flatten().map(|name| (number, name)));
    }
    found
}

fn list(directory: &Path, faults: &mut Faults) -> io::Result<Vec<String>> {
    let (mut entries, mut names) = (0, vec![]);
    for entry in std::fs::read_dir(directory)?.filter_map(Result::ok) {
        entries += 1;
        if entries > ENTRIES_MAX {
            faults.note(CollectError::TooMany { what: "names in a directory of text files", max: ENTRIES_MAX });
            break;
        }
        let name = entry.file_name();
        if !name.as_encoded_bytes().ends_with(b".prom") {
            continue;
        }
        if names.len() >= NAMES_MAX {
            faults.note(CollectError::TooMany { what: "text files in a directory", max: NAMES_MAX });
            break;
        }
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// What the text files that are still to come may have, all together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) samples: usize,
}

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

    /// Was something written between the two? That a file is renamed, or loses its name to another, changes
    /// it too, but not what is in it.
    fn is_of_other_bytes_than(&self, other: Self) -> bool {
        (self.size, self.written) != (other.size, other.written)
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
    /// How many samples it could have had when it was read, and how many it has.
    samples_max: usize,
    samples: usize,
    families: Vec<Family>,
    flaws: Vec<Flaw>,
}

impl TextSource {
    /// The file at a path. It is not touched yet.
    pub(super) fn new(path: PathBuf) -> Self {
        let label = path.to_string_lossy().into_owned();
        let (stamp, families, flaws) = (None, vec![], vec![]);
        Self { path, label, mtime: None, is_expired: false, stamp, samples_max: 0, samples: 0, families, flaws }
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

    /// Reads it if it has changed; says whether what it holds may be another. Takes what it
    /// has out of `room`.
    pub(super) fn refresh(&mut self, room: &mut Room) -> bool {
        let is_other = self.refresh_within(room);
        room.samples = room.samples.saturating_sub(self.samples);
        is_other
    }

    fn refresh_within(&mut self, room: &mut Room) -> bool {
        let found = std::fs::metadata(&self.path).and_then(|found| regular(&found).map(|()| found));
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.fails(&error),
        };
        let stamp = Stamp::of(&found);
        let size = found.size().min(FILE_BYTES_MAX as u64);
        if size > room.bytes {
            return self.fails(&io::Error::other("the text files before it are too long together, it is not read"));
        }
        room.bytes -= size;
        let samples_max = room.samples.min(SAMPLES_MAX);
        let is_cut = self.flaws.iter().any(|flaw| flaw.kind == TOO_MANY);
        let has_other_room = self.samples > samples_max || (is_cut && self.samples_max != samples_max);
        if self.stamp == Some(stamp) && !has_other_room {
            return false;
        }
        match self.load() {
            Err(error) => self.fails(&error),
            // What was there before is right, what is there now may be half of it.
            Ok((_, found, after)) if Stamp::of(&found).is_of_other_bytes_than(after) => {
                self.stamp = None;
                note(&mut self.flaws, Flaw::at(0, "it was written while it was read: a new file should be renamed"));
                true
            }
            Ok((bytes, found, _)) => {
                self.take(bytes, samples_max);
                self.stamp = Some(Stamp::of(&found));
                #[expect(clippy::cast_precision_loss, reason = "whole seconds are exact for very long")]
                let mtime = found.mtime() as f64;
                self.mtime = Some(mtime);
                true
            }
        }
    }

    /// Opens it without waiting for anybody (a pipe would wait for its writer) and reads up to one
    /// byte over the limit. Second is what it was before, third what it was after that: a file that takes
    /// its place meanwhile is read the next time.
    fn load(&self) -> io::Result<(Vec<u8>, Metadata, Stamp)> {
        let without_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(&self.path)?;
        let found = file.metadata()?;
        regular(&found)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut (&file)).take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok((bytes, found, Stamp::of(&File::metadata(&file)?)))
    }

    fn take(&mut self, mut bytes: Vec<u8>, samples_max: usize) {
        let is_cut = bytes.len() > FILE_BYTES_MAX;
        if is_cut {
            let end = bytes.iter().take(FILE_BYTES_MAX).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(end);
        }
        (self.families, self.flaws) = parse(&bytes, is_cut, samples_max);
        self.samples = self.families.iter().map(|family| family.samples.len()).sum();
        self.samples_max = samples_max;
        if is_cut {
            let text = format!("longer than {FILE_BYTES_MAX} bytes, the rest is not read");
            note(&mut self.flaws, Flaw { line: 0, kind: "a file that is too long", text });
        }
    }

    /// It cannot be read: nothing that it held is true any more.
    fn fails(&mut self, error: &io::Error) -> bool {
        let held = !self.families.is_empty();
        (self.stamp, self.mtime, self.samples, self.families) = (None, None, 0, vec![]);
        self.flaws = vec![Flaw { line: 0, kind: "a file that cannot be read", text: error.to_string() }];
        held
    }
}

fn regular(found: &Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(io::Error::other("it is no regular file")) }
}
