//! Files with a line for each socket or neighbour, of which a host may have hundreds of thousands:
//! they pass through a small buffer and are never held whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::error::{CollectError, Faults};

/// How much is asked of the kernel at once. It gives a page or two.
const CHUNK_BYTES: usize = 16 * 1024;
/// Longest line. Those of sockets have about 200 bytes.
const LINE_BYTES_MAX: usize = 4096;

/// A file of such lines below a head of one line, which shows every reader its own namespace
/// (`/proc/net/tcp`): the host's is that of process 1. Where that is hidden, our own is read.
#[derive(Debug)]
pub(super) struct HostLines {
    host: &'static str,
    own: &'static str,
    /// How the head begins, blanks aside.
    head: &'static str,
    is_own: bool,
}

impl HostLines {
    /// The file at these paths: that of process 1 (`1/…`) and our own (`self/…`). Its head begins
    /// with this.
    #[must_use]
    pub(super) fn new(host: &'static str, own: &'static str, head: &'static str) -> Self {
        Self { host, own, head, is_own: false }
    }

    /// Was our own read, the last time?
    #[must_use]
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Reads it, and hands up to `max` lines to `take`, which says `None` to what makes no sense.
    /// That is a fault; lines over the limit, which are not read, are one too.
    ///
    /// # Errors
    /// When neither file can be opened (of the host's), or not be read to its end; when its head is
    /// missing, which the kernel always writes.
    pub(super) fn each(
        &mut self,
        base: &Path,
        max: usize,
        faults: &mut Faults,
        mut take: impl FnMut(&str) -> Option<()>,
    ) -> Result<(), CollectError> {
        let open = |path: &str| File::open(base.join(path)).map_err(|error| CollectError::at(&base.join(path), &error));
        let host = open(self.host);
        self.is_own = host.is_err();
        let (path, file) = match host {
            Ok(file) => (self.host, file),
            Err(error) => (self.own, open(self.own).map_err(|_| error)?),
        };
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, file);
        let mut line = Vec::with_capacity(LINE_BYTES_MAX);
        let mut count = 0;
        let mut next =
            |line: &mut Vec<u8>| next(&mut reader, line).map_err(|error| CollectError::at(&base.join(path), &error));
        if !next(&mut line)? {
            return Err(CollectError::empty(path));
        }
        if !line.trim_ascii_start().starts_with(self.head.as_bytes()) {
            return Err(CollectError::malformed(path, &String::from_utf8_lossy(&line)));
        }
        while next(&mut line)? {
            if line.len() == LINE_BYTES_MAX {
                faults.note(CollectError::TooLong { what: path.to_owned(), max: LINE_BYTES_MAX });
                break;
            }
            if count == max {
                faults.note(CollectError::TooMany { what: path, max });
                break;
            }
            count += 1;
            if std::str::from_utf8(&line).ok().and_then(&mut take).is_none() {
                faults.note(CollectError::malformed(path, &String::from_utf8_lossy(&line)));
            }
        }
        Ok(())
    }
}

/// Reads a line, or the beginning of one that is too long. `false`: there is none left.
fn next(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let got = reader.take(LINE_BYTES_MAX as u64).read_until(b'\n', line)?;
    Ok(got > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a file with this in it, and the fault.
    fn lines(text: &[u8], max: usize) -> (Vec<String>, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x"), text).unwrap();
        let (mut lines, mut faults) = (vec![], Faults::default());
        let mut file = HostLines::new("hidden", "x", "head");
        let take = |line: &str| (line != "bad\n").then(|| lines.push(line.to_owned()));
        file.each(directory.path(), max, &mut faults, take).unwrap();
        assert!(file.is_own());
        (lines, faults.into_result().err().map(|error| error.to_string()))
    }

    #[test]
    fn every_line_but_the_head_is_handed_on() {
        assert_eq!(lines(b"  head line\n", 2), (vec![], None));
        assert_eq!(lines(b"head\none\ntwo", 2), (vec!["one\n".into(), "two".into()], None));
        let many = String::from("head\n") + &"a line\n".repeat(CHUNK_BYTES);
        assert_eq!(lines(many.as_bytes(), CHUNK_BYTES).0.len(), CHUNK_BYTES);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (got, fault) = lines(b"head\none\nbad\n\xff\ntwo\n", 9);
        assert_eq!(got, ["one\n", "two\n"]);
        assert_eq!(fault.as_deref(), Some("x: cannot make sense of \"bad\\n\""));
        let (got, fault) = lines(b"head\none\ntwo\n", 1);
        assert_eq!(got, ["one\n"]);
        assert_eq!(fault.as_deref(), Some("x: more than 1, the others are not shown"));
        let (got, fault) = lines(&[b"head\none\n".as_slice(), &[b'x'; 10 * LINE_BYTES_MAX]].concat(), 9);
        assert_eq!(got, ["one\n"]);
        assert_eq!(fault.as_deref(), Some("x: longer than 4096 bytes, the rest is not read"));
    }

    #[test]
    fn without_a_head_nothing_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        for (text, fault) in [("", "x: empty"), ("one\ntwo\n", "x: cannot make sense of \"one\\n\"")] {
            std::fs::write(directory.path().join("x"), text).unwrap();
            let take = |_: &str| -> Option<()> { panic!("not a line of it") };
            let read = HostLines::new("x", "own", "head").each(directory.path(), 9, &mut Faults::default(), take);
            assert_eq!(read.unwrap_err().to_string(), fault);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_the_hosts() {
        let error =
            HostLines::new("1/x", "self/x", "").each(Path::new("/nowhere"), 1, &mut Faults::default(), |_| Some(()));
        assert!(error.unwrap_err().to_string().starts_with("/nowhere/1/x: "));
    }
}
