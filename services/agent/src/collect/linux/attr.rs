//! Small files of devices below `/sys` that are read again and again.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::files::read_at;

/// No attribute is longer: a page of memory, as the kernel has it.
const BYTES_MAX: usize = 4096;
/// Most of these files that a process keeps open; others are opened anew each time. A process may
/// have 1,024 files open where nobody raised the limit.
const OPEN_MAX: usize = 400;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Room for one attribute's text, for all that are read in turn.
#[derive(Debug)]
pub(super) struct Scratch(Box<[u8; BYTES_MAX]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Box::new([0; BYTES_MAX]))
    }
}

/// One file. It stays open and is read anew from its start, which makes the kernel write it anew.
#[derive(Debug)]
pub(super) struct Attr {
    path: PathBuf,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept(File);

impl Kept {
    /// Keeps it, unless too many are.
    fn new(file: File) -> Result<Self, File> {
        let room = |open: usize| (open < OPEN_MAX).then_some(open + 1);
        match OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(_) => Ok(Self(file)),
            Err(_) => Err(file),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Attr {
    /// The file at a path. It is not touched yet.
    #[must_use]
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, kept: None }
    }

    /// Its path.
    #[must_use]
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Its text without blanks at the end. What is no UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// When it cannot be read. Not being there is an error too, of kind `NotFound`, and what a
    /// driver does not support `InvalidInput` or another.
    pub(super) fn read<'a>(&mut self, scratch: &'a mut Scratch) -> io::Result<Cow<'a, str>> {
        let bytes = scratch.0.as_mut_slice();
        let got = match &self.kept {
            // The device may be gone and have come back: then it is another file.
            Some(kept) => match read_at(&kept.0, bytes, 0) {
                Ok(got) => got,
                Err(_) => {
                    self.kept = None;
                    self.open(bytes)?
                }
            },
            None => self.open(bytes)?,
        };
        Ok(String::from_utf8_lossy(bytes.get(..got).unwrap_or_default().trim_ascii_end()))
    }

    /// Its text as a whole number that may have a sign; `None` when it is none or cannot be read.
    pub(super) fn number(&mut self, scratch: &mut Scratch) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "samples are f64; numbers beyond 2^53 are rounded")]
        self.read(scratch).ok()?.parse::<i64>().ok().map(|number| number as f64)
    }

    fn open(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let file = File::open(&self.path)?;
        let got = read_at(&file, bytes, 0)?;
        self.kept = Kept::new(file).ok();
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_anew_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mtu");
        let (mut attr, mut scratch) = (Attr::new(path.clone()), Scratch::default());
        assert_eq!(attr.read(&mut scratch).unwrap_err().kind(), io::ErrorKind::NotFound);
        for (text, number) in [("1500\n", Some(1500.0)), ("-1 \n", Some(-1.0)), ("x\n", None), ("", None)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(attr.number(&mut scratch), number);
            assert_eq!(attr.read(&mut scratch).unwrap(), text.trim_end());
        }
        std::fs::write(&path, b"a\xffb").unwrap();
        assert_eq!(attr.read(&mut scratch).unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn files_over_the_limit_are_read_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "1").unwrap();
        let mut scratch = Scratch::default();
        let mut attrs: Vec<Attr> = (0..OPEN_MAX + 10).map(|_| Attr::new(path.clone())).collect();
        assert!(attrs.iter_mut().all(|attr| attr.number(&mut scratch) == Some(1.0)));
        assert!(attrs.iter().any(|attr| attr.kept.is_none()));
        assert!(OPEN.load(Ordering::Relaxed) <= OPEN_MAX);
    }
}
