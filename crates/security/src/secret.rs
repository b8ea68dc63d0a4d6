//! Text that is never printed, and wiped from memory when it is dropped.

use std::fmt;

use zeroize::Zeroizing;

/// Longest token. A line of put/get and a head of HTTP have room for more.
pub const SECRET_BYTES_MAX: usize = 512;
/// A shorter one can be guessed by somebody who has heard a proof of it.
pub const SECRET_BYTES_ADVISED: usize = 16;

/// A token. Neither `Debug` nor anything else here prints it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Why a text cannot be a token. It says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// There is none.
    #[error("the token is empty")]
    Empty,
    /// More than [`SECRET_BYTES_MAX`].
    #[error("the token is longer than {SECRET_BYTES_MAX} characters")]
    TooLong,
    /// White space or what is not ASCII: it could not be sent on a line of put/get.
    #[error("a token has visible ASCII characters only, and no white space")]
    Characters,
}

impl Secret {
    /// Takes a text as it is.
    ///
    /// # Errors
    /// When it cannot be a token.
    pub fn new(text: &str) -> Result<Self, BadSecret> {
        if text.is_empty() {
            return Err(BadSecret::Empty);
        }
        if text.len() > SECRET_BYTES_MAX {
            return Err(BadSecret::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadSecret::Characters);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The first line of a file, without white space around it.
    ///
    /// # Errors
    /// As [`Secret::new`].
    pub fn first_line(bytes: &[u8]) -> Result<Self, BadSecret> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = std::str::from_utf8(line).map_err(|_| BadSecret::Characters)?;
        Self::new(text.trim())
    }

    /// The text, to be sent or compared, not to be kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Should whoever runs this be told to take a longer one?
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.0.len() < SECRET_BYTES_ADVISED
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_it() {
        let secret = Secret::new("hunter2-hunter2").unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
        assert_eq!(secret.expose(), "hunter2-hunter2");
        assert!(secret.is_short() && !Secret::new("0123456789abcdef").unwrap().is_short());
    }

    #[test]
    fn what_cannot_be_sent_is_no_token() {
        for (text, why) in [
            ("", BadSecret::Empty),
            ("a b", BadSecret::Characters),
            ("a\n", BadSecret::Characters),
            ("schlüssel", BadSecret::Characters),
            (&"x".repeat(SECRET_BYTES_MAX + 1), BadSecret::TooLong),
        ] {
            assert_eq!(Secret::new(text).unwrap_err(), why);
        }
        Secret::new(&"x".repeat(SECRET_BYTES_MAX)).unwrap();
    }

    #[test]
    fn of_a_file_the_first_line_counts() {
        assert_eq!(Secret::first_line(b" abc \r\nsecond\n").unwrap().expose(), "abc");
        assert_eq!(Secret::first_line(b"abc").unwrap().expose(), "abc");
        assert_eq!(Secret::first_line(b"\nabc").unwrap_err(), BadSecret::Empty);
        assert_eq!(Secret::first_line(b"\xff").unwrap_err(), BadSecret::Characters);
    }
}
