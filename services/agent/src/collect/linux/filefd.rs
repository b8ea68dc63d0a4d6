//! `node_filefd_*` from `/proc/sys/fs/file-nr`: open files of the whole host, and how many there
//! may be.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, whole};

/// The kernel's table of open files.
#[derive(Debug)]
pub(super) struct Filefd {
    file: Source,
}

impl Filefd {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: Source::new("sys/fs/file-nr") }
    }
}

impl Collector for Filefd {
    fn name(&self) -> &'static str {
        "filefd"
    }

    fn source(&self) -> &'static str {
        "`/proc/sys/fs/file-nr`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults)
            && let Some((allocated, maximum)) = faults.check(parse(text))
        {
            out.gauge("node_filefd_allocated", "Open files of the whole host.", &[], allocated);
            out.gauge("node_filefd_maximum", "Most files that may be open at one time.", &[], maximum);
        }
        faults.into_result()
    }
}

/// The first and the third number; the second is that of the free ones, since Linux 2.6 always 0.
fn parse(text: &str) -> Result<(f64, f64), CollectError> {
    let mut words = text.split_ascii_whitespace().map(whole);
    match [words.next(), words.next(), words.next()] {
        [Some(Some(allocated)), Some(_), Some(Some(maximum))] => Ok((allocated, maximum)),
        _ => Err(CollectError::malformed("sys/fs/file-nr", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse("2176\t0\t9223372036854775807\n"), Ok((2176.0, 9_223_372_036_854_775_807.0)));
        for text in ["", "1 0", "1 0 x", "-1 0 2"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
