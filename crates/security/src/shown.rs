//! The token that a client shows: an agent's, or the command line's.

use std::path::PathBuf;

use crate::secret::Secret;
use crate::store::read;

/// Where it comes from.
#[derive(Debug, Clone, Default)]
pub enum Shown {
    /// There is none.
    #[default]
    Nothing,
    /// This one.
    Token(Secret),
    /// The first line of this file.
    File(PathBuf),
}

impl Shown {
    /// The token as it is now. A file is read again each time, so this may wait for a disk.
    ///
    /// # Errors
    /// A sentence, when the file cannot be used; it never tells what is in it.
    pub fn read(&self) -> Result<Option<Secret>, String> {
        match self {
            Self::Nothing => Ok(None),
            Self::Token(secret) => Ok(Some(secret.clone())),
            Self::File(path) => {
                let secret = Secret::first_line(&read(path)?);
                secret.map(Some).map_err(|bad| format!("{}: {bad}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let shown = Shown::File(file.path().into());
        assert!(shown.read().unwrap_err().contains("the token is empty"));
        for token in ["the-first-of-them", "the-second-of-them"] {
            std::fs::write(file.path(), format!("{token}\n")).unwrap();
            assert_eq!(shown.read().unwrap().unwrap().expose(), token);
        }
        drop(file);
        shown.read().unwrap_err();
        assert!(Shown::Nothing.read().unwrap().is_none());
    }
}
