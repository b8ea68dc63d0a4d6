//! What can go wrong with a reading. A collector reports what it can read all the same.
//!
//! Names of files come from the host and may hold anything: no line for the log is broken or hidden
//! by a control character in them.

use std::borrow::Cow;
use std::io;
use std::path::Path;

/// Why a collector has nothing, or not everything, to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// A file or a system call that gave an error.
    #[error("{}: {}", plain(what), plain(error))]
    Unreadable {
        /// The path or the call.
        what: String,
        /// The system's words.
        error: String,
        /// Is it that there is no such file, or that the system says that it does not have this?
        missing: bool,
    },
    /// A file with something else in it than expected.
    #[error("{}: cannot make sense of {text:?}", plain(what))]
    Malformed {
        /// The file.
        what: String,
        /// What stands there, its beginning.
        text: String,
    },
    /// A file that must hold something and does not.
    #[error("{}: empty", plain(what))]
    Empty {
        /// The file.
        what: String,
    },
    /// Something that the host does not let the agent see.
    #[error("{}", plain(what))]
    Hidden {
        /// What is hidden, and by what.
        what: String,
    },
    /// A file over the limit; what came before the limit was used.
    #[error("{}: longer than {max} bytes, the rest is not read", plain(what))]
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

    /// A file with nothing in it.
    #[must_use]
    pub fn empty(what: &str) -> Self {
        Self::Empty { what: what.to_owned() }
    }

    /// A sentence on what is hidden.
    #[must_use]
    pub fn hidden(what: impl Into<String>) -> Self {
        Self::Hidden { what: what.into() }
    }

    /// Which kind it is: the log is told of kinds, whatever paths and texts are in the errors.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Malformed { .. } | Self::Empty { .. } => "malformed",
            Self::Hidden { .. } => "hidden",
            Self::TooLong { .. } => "too_long",
            Self::TooMany { .. } => "too_many",
            Self::Panicked => "panicked",
        }
    }
}

/// The same text with control characters, and those that turn the direction of writing, escaped.
fn plain(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| {
        c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_bad(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    Cow::Owned(plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_a_file_is_called() {
        let gone = io::Error::from(io::ErrorKind::NotFound);
        let path = Path::new("/x\n2026 ERROR \u{1b}[31m\u{202e}a\tb\u{85}\u{e9}");
        let plain = "/x\\n2026 ERROR \\u{1b}[31m\\u{202e}a\\tb\\u{85}\u{e9}";
        let what = path.display().to_string();
        for error in [
            CollectError::at(path, &gone),
            CollectError::malformed(&what, "\n\u{1b}"),
            CollectError::empty(&what),
            CollectError::hidden(&what),
            CollectError::TooLong { what, max: 1 },
        ] {
            let said = error.to_string();
            assert!(said.starts_with(plain) && !said.contains(char::is_control), "{said}");
        }
    }
}
