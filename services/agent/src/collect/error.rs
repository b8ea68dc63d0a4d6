//! What can go wrong with a reading. A collector reports what it can read all the same.

use std::io;
use std::path::Path;

/// Why a collector has nothing, or not everything, to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// A file or a system call that gave an error.
    #[error("{what}: {error}")]
    Unreadable {
        /// The path or the call.
        what: String,
        /// The system's words.
        error: String,
        /// Is it that there is no such file, or that the system says that it does not have this?
        missing: bool,
    },
    /// A file with something else in it than expected.
    #[error("{what}: cannot make sense of {text:?}")]
    Malformed {
        /// The file.
        what: String,
        /// What stands there, its beginning.
        text: String,
    },
    /// A file over the limit; what came before the limit was used.
    #[error("{what}: longer than {max} bytes, the rest is not read")]
    TooLong {
        /// The file.
        what: String,
        /// The limit.
        max: usize,
    },
    /// More of something than is shown; the first ones are.
    #[error("{what}: more than {max}, the others are not shown")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A mistake in the collector itself.
    #[error("the collector panicked")]
    Panicked,
}

impl CollectError {
    /// An error of the system at a path.
    #[must_use]
    pub fn at(path: &Path, error: &io::Error) -> Self {
        Self::call(&path.display().to_string(), error)
    }

    /// An error of a system call.
    #[must_use]
    pub fn call(what: &str, error: &io::Error) -> Self {
        let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported);
        Self::Unreadable { what: what.to_owned(), error: error.to_string(), missing }
    }

    /// Is it only that a file is not there, or not supported?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable { missing: true, .. })
    }

    /// Text that makes no sense.
    #[must_use]
    pub fn malformed(what: &str, text: &str) -> Self {
        Self::Malformed { what: what.to_owned(), text: text.chars().take(80).collect() }
    }

    /// Which kind it is: the log is told of kinds, whatever paths and texts are in the errors.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Malformed { .. } => "malformed",
            Self::TooLong { .. } => "too_long",
            Self::TooMany { .. } => "too_many",
            Self::Panicked => "panicked",
        }
    }
}

/// The first `max` items; if there are more, an error follows them.
pub(super) fn at_most<T>(
    max: usize,
    what: &'static str,
    items: impl Iterator<Item = Result<T, CollectError>>,
) -> impl Iterator<Item = Result<T, CollectError>> {
    let one = move |(place, item)| if place < max { item } else { Err(CollectError::TooMany { what, max }) };
    items.take(max + 1).enumerate().map(one)
}

/// Keeps the first thing that went wrong while a collector goes on with the rest.
#[derive(Debug, Default)]
pub struct Faults {
    first: Option<CollectError>,
}

impl Faults {
    /// Remembers an error, unless there was one before.
    pub fn note(&mut self, error: CollectError) {
        self.first.get_or_insert(error);
    }

    /// The value, or `None` and the error remembered.
    pub fn check<T>(&mut self, result: Result<T, CollectError>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }

    /// The same for what a host need not have: that it is not there is no error.
    pub fn check_if_there<T>(&mut self, result: Result<T, CollectError>) -> Option<T> {
        result
            .map_err(|error| {
                if !error.is_missing() {
                    self.note(error);
                }
            })
            .ok()
    }

    /// Did nothing go wrong?
    ///
    /// # Errors
    /// The first thing that did.
    pub fn into_result(self) -> Result<(), CollectError> {
        self.first.map_or(Ok(()), Err)
    }
}
