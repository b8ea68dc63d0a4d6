//! Where a host's files are, and how they are read: bounded, and without a new buffer each time.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::error::{CollectError, Faults};

/// Longest file that is read. The largest known is `/proc/stat` of a host with thousands of
/// interrupts, at about 100 KiB.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest file that is read as an attribute. Those of `/sys` have at most a page; what udev knows
/// of a disk with many links to it is some tens of KiB.
const ATTRIBUTE_BYTES_MAX: u64 = 64 * 1024;
/// Most symbolic links that are followed on the way to one file, as in the kernel.
const LINKS_MAX: usize = 40;
/// Most entries of a directory that are looked at to find those that are shown.
const ENTRIES_MAX: usize = 65_536;

/// Where the files of the measured host are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Its `/`.
    pub root: PathBuf,
    /// Its `/proc`.
    pub proc: PathBuf,
    /// Its `/sys`.
    pub sys: PathBuf,
    /// The agent's own `/`: in a container the container's.
    pub own: PathBuf,
    /// Is it another system than the one that this process sees as its own (a container that
    /// looks at its host)?
    pub foreign: bool,
}

impl Roots {
    /// The host on which the process runs, or the one whose `/` is mounted at `host_root`.
    #[must_use]
    pub fn new(host_root: Option<&Path>) -> Self {
        let root = host_root.unwrap_or(Path::new("/")).to_path_buf();
        let foreign = root != Path::new("/");
        Self { proc: root.join("proc"), sys: root.join("sys"), own: PathBuf::from("/"), foreign, root }
    }

    /// The same with a `/proc` or a `/sys` that lies elsewhere.
    #[must_use]
    pub fn with(mut self, proc: Option<&Path>, sys: Option<&Path>) -> Self {
        if let Some(proc) = proc {
            self.foreign |= proc != Path::new("/proc");
            self.proc = proc.to_path_buf();
        }
        if let Some(sys) = sys {
            self.sys = sys.to_path_buf();
        }
        self
    }

    /// A path of the host, symbolic links resolved as the host would: an absolute one starts at
    /// the host's root, not at ours, and `..` does not lead out of that. Behind too many links
    /// there is a path that nothing can be at.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        let mut at = PathBuf::new();
        let mut ahead = parts(Path::new(path));
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part);
            let Ok(target) = std::fs::read_link(self.root.join(&at)) else { continue };
            links += 1;
            if links > LINKS_MAX {
                return self.root.join("too many links\0");
            }
            if target.is_absolute() {
                at.clear();
            } else {
                at.pop();
            }
            ahead.extend(parts(&target));
        }
        self.root.join(at)
    }
}

/// What a path is made of, its last part first: names, and `..`.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// A file below `/proc` or `/sys` that is read again and again: it stays open and is read anew
/// from its start, which makes the kernel write it anew.
#[derive(Debug)]
pub struct Source {
    path: &'static str,
    file: Option<File>,
    buffer: Vec<u8>,
    lossy: String,
    max: usize,
}

impl Source {
    /// The file at a path relative to the base that it is read below.
    #[must_use]
    pub fn new(path: &'static str) -> Self {
        Self { path, file: None, buffer: Vec::new(), lossy: String::new(), max: FILE_BYTES_MAX }
    }

    /// The same for a file that may be longer than [`FILE_BYTES_MAX`].
    #[must_use]
    pub fn with_max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Its path below the base.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Reads all of it; [`Source::bytes`] and [`Source::text`] then give what was read. Of a file
    /// over the limit the whole lines within the limit are kept, and that is a fault.
    ///
    /// # Errors
    /// When it cannot be opened or read.
    pub fn load(&mut self, base: &Path, faults: &mut Faults) -> Result<(), CollectError> {
        let failed = |error: &io::Error| CollectError::at(&base.join(self.path), error);
        let mut reopened = self.file.is_none();
        loop {
            let file = match self.file.take() {
                Some(file) => file,
                None => File::open(base.join(self.path)).map_err(|error| failed(&error))?,
            };
            match fill(&file, &mut self.buffer, self.max) {
                Ok(()) => {
                    self.file = Some(file);
                    break;
                }
                // What it was opened for may be gone and have come back.
                Err(_) if !reopened => reopened = true,
                Err(error) => return Err(failed(&error)),
            }
        }
        if self.buffer.len() > self.max {
            let end = self.buffer.iter().take(self.max).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.buffer.truncate(end);
            faults.note(CollectError::TooLong { what: self.path.to_owned(), max: self.max });
        }
        Ok(())
    }

    /// What was read last.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// What was read last, as text; what is no UTF-8 becomes U+FFFD and a fault.
    pub fn text(&mut self, faults: &mut Faults) -> &str {
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => text,
            Err(error) => {
                faults.note(CollectError::Malformed { what: self.path.to_owned(), text: error.to_string() });
                self.lossy.clear();
                self.lossy.push_str(&String::from_utf8_lossy(&self.buffer));
                &self.lossy
            }
        }
    }

    /// Reads all of it as text. `None` (and a fault) when it cannot be read, or when it is empty: no
    /// file of the kernel that is read this way ever is, unless something is wrong.
    pub fn read(&mut self, base: &Path, faults: &mut Faults) -> Option<&str> {
        let loaded = self.load(base, faults).and_then(|()| self.filled());
        faults.check(loaded)?;
        Some(self.text(faults))
    }

    /// The same where not being there only means that the host has no such thing: no fault then.
    pub fn read_if_there(&mut self, base: &Path, faults: &mut Faults) -> Option<&str> {
        let loaded = self.load(base, faults).and_then(|()| self.filled());
        faults.check_if_there(loaded)?;
        Some(self.text(faults))
    }

    /// Is there anything in it?
    fn filled(&self) -> Result<(), CollectError> {
        if self.buffer.is_empty() { Err(CollectError::empty(self.path)) } else { Ok(()) }
    }
}

/// A file that shows every reader its own namespace (`/proc/net/…`, `mountinfo`): the host's is
/// that of process 1. Where that is hidden, our own is read.
#[derive(Debug)]
pub struct HostSource {
    host: Source,
    own: Source,
    is_own: bool,
}

impl HostSource {
    /// The file at these paths: that of process 1 (`1/…`) and our own (`self/…`).
    #[must_use]
    pub fn new(host: &'static str, own: &'static str) -> Self {
        Self { host: Source::new(host), own: Source::new(own), is_own: false }
    }

    /// The same for a file that may be longer than [`FILE_BYTES_MAX`].
    #[must_use]
    pub fn with_max(mut self, max: usize) -> Self {
        (self.host.max, self.own.max) = (max, max);
        self
    }

    /// Reads it; see [`Source::load`].
    ///
    /// # Errors
    /// When neither can be read: of the host's, or that there is none where we have none either
    /// and cannot look at the host's (the files of modules that are not loaded).
    pub fn load(&mut self, base: &Path, faults: &mut Faults) -> Result<(), CollectError> {
        let host = self.host.load(base, faults);
        self.is_own = host.is_err();
        if !self.is_own {
            return host;
        }
        self.own.load(base, faults).or_else(|own| if own.is_missing() { Err(own) } else { host })
    }

    /// Was our own read, the last time?
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// What was read last.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.is_own { self.own.bytes() } else { self.host.bytes() }
    }

    /// What was read last, as text; see [`Source::text`].
    pub fn text(&mut self, faults: &mut Faults) -> &str {
        if self.is_own { self.own.text(faults) } else { self.host.text(faults) }
    }

    /// Reads all of it as text. `None` (and a fault) when it cannot be read, or when it is empty;
    /// see [`Source::read`].
    pub fn read(&mut self, base: &Path, faults: &mut Faults) -> Option<&str> {
        let loaded = self.load(base, faults).and_then(|()| self.filled());
        faults.check(loaded)?;
        Some(self.text(faults))
    }

    /// The same where not being there only means that the host has no such thing: no fault then.
    pub fn read_if_there(&mut self, base: &Path, faults: &mut Faults) -> Option<&str> {
        let loaded = self.load(base, faults).and_then(|()| self.filled());
        faults.check_if_there(loaded)?;
        Some(self.text(faults))
    }

    fn filled(&self) -> Result<(), CollectError> {
        if self.is_own { self.own.filled() } else { self.host.filled() }
    }
}

/// Reads from the start of a file up to one byte over the limit.
fn fill(file: &File, buffer: &mut Vec<u8>, max: usize) -> io::Result<()> {
    if buffer.is_empty() {
        buffer.resize(4096, 0);
    } else {
        buffer.resize(buffer.capacity(), 0);
    }
    let mut len = 0;
    loop {
        let room = buffer.get_mut(len..).unwrap_or_default();
        let got = read_at(file, room, len as u64)?;
        len += got;
        if got == 0 || len > max {
            buffer.truncate(len);
            return Ok(());
        }
        if len == buffer.len() {
            buffer.resize((buffer.len() * 2).min(max + 1 + 4096), 0);
        }
    }
}

/// Reads once from a place in a file.
#[cfg(unix)]
pub(super) fn read_at(file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, room, offset)
}

/// Reads once from a place in a file.
#[cfg(not(unix))]
pub(super) fn read_at(file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::io::{Seek, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    file.read(room)
}

/// Reads a small file once (an attribute of a device): its text without the last newline.
///
/// # Errors
/// When it cannot be read. Not being there is an error too, of kind `NotFound`.
pub fn attribute(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(ATTRIBUTE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// The names in a directory that are wanted, sorted: the first `max` of them; that there are more
/// is a fault, and so are names that are no text.
///
/// # Errors
/// When it cannot be read.
pub fn listed(
    path: &Path,
    what: &'static str,
    max: usize,
    mut is_wanted: impl FnMut(&str) -> bool,
    faults: &mut Faults,
) -> Result<Vec<String>, CollectError> {
    let failed = |error: io::Error| CollectError::at(path, &error);
    let mut names = Vec::new();
    for (place, entry) in std::fs::read_dir(path).map_err(failed)?.enumerate() {
        if place == ENTRIES_MAX {
            faults.note(CollectError::TooMany { what, max: ENTRIES_MAX });
            break;
        }
        let Some(entry) = faults.check(entry.map_err(failed)) else { break };
        match entry.file_name().into_string() {
            Ok(name) if is_wanted(&name) => names.push(name),
            Ok(_) => {}
            Err(name) => {
                faults.note(CollectError::malformed(&path.display().to_string(), &name.to_string_lossy()));
            }
        }
    }
    names.sort_unstable();
    if names.len() > max {
        names.truncate(max);
        faults.note(CollectError::TooMany { what, max });
    }
    Ok(names)
}

/// The first `max` names in a directory, sorted.
///
/// # Errors
/// When it cannot be read.
pub fn names(path: &Path, max: usize) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(path)?.take(ENTRIES_MAX).filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names.truncate(max);
    Ok(names)
}

#[cfg(test)]
#[cfg(unix)]
#[path = "files_tests.rs"]
mod tests;
