//! The tokens of an aggregator, kept up to date with their file. Whoever calls [`TokenStore::look`]
//! decides when, on a thread that may block.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::file::{self, FILE_BYTES_MAX};
use crate::secret::Secret;
use crate::tokens::{Token, Tokens};

/// What tokens there are comes from here.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// There are none, and none is asked for.
    #[default]
    None,
    /// One for everything.
    One(Secret),
    /// One for everything, the first line of this file.
    OneFile(PathBuf),
    /// A file of tokens.
    File(PathBuf),
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// The file changed, and holds.
    Changed,
    /// A token has expired.
    Expired,
    /// The file cannot be used, for this reason; what it said before holds. Said at each look.
    Failed(String),
}

/// The tokens that hold now.
#[derive(Debug)]
pub struct TokenStore {
    source: Source,
    /// Sent anew whenever something that was allowed may be no more.
    current: watch::Sender<Arc<Tokens>>,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    /// What the file was, as it came; empty where there is none.
    bytes: zeroize::Zeroizing<Vec<u8>>,
    valid: usize,
}

/// What stands for the token where there is only one.
const THE_ONE: &str = "FLEETGAUGE_TOKEN";

impl TokenStore {
    /// Reads the tokens for the first time.
    ///
    /// # Errors
    /// A sentence, when the file cannot be used.
    pub fn open(source: Source, now_ms: i64) -> Result<Self, String> {
        let named = |why| source.named(why);
        let bytes = source.path().map(read).transpose().map_err(named)?.unwrap_or_default();
        let tokens = Arc::new(tokens(&source, &bytes).map_err(named)?);
        let valid = tokens.valid(now_ms);
        if valid == 0 {
            source.warn_of_none();
        }
        let last = Mutex::new(Last { bytes: bytes.into(), valid });
        Ok(Self { source, current: watch::Sender::new(tokens), last })
    }

    /// Are tokens asked for at all?
    #[must_use]
    pub fn is_required(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    /// The tokens that hold now.
    #[must_use]
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells when something that was allowed may be no more.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Tokens>> {
        self.current.subscribe()
    }

    /// Reads the file again, and takes it if it changed and is good. It may wait for a disk.
    pub fn look(&self, now_ms: i64) -> Look {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let look = self.look_at_file(&mut last);
        let valid = self.tokens().valid(now_ms);
        if look == Look::Changed && valid == 0 {
            self.source.warn_of_none();
        }
        if std::mem::replace(&mut last.valid, valid) > valid && look != Look::Changed {
            self.current.send_modify(|_| {});
            return if look == Look::Same { Look::Expired } else { look };
        }
        look
    }

    fn look_at_file(&self, last: &mut Last) -> Look {
        let Some(path) = self.source.path() else { return Look::Same };
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(why) => return Look::Failed(self.source.named(why)),
        };
        if bytes == *last.bytes {
            return Look::Same;
        }
        match tokens(&self.source, &bytes) {
            Ok(tokens) => {
                last.bytes = bytes.into();
                self.current.send_replace(Arc::new(tokens));
                Look::Changed
            }
            Err(why) => Look::Failed(self.source.named(why)),
        }
    }
}

impl Source {
    /// The file, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::None | Self::One(_) => None,
            Self::OneFile(path) | Self::File(path) => Some(path),
        }
    }

    /// A sentence on its file, with the setting that names the file.
    fn named(&self, why: String) -> String {
        match self {
            Self::None | Self::One(_) => why,
            Self::OneFile(_) => format!("FLEETGAUGE_TOKEN_FILE: {why}"),
            Self::File(_) => format!("FLEETGAUGE_TOKENS_FILE: {why}"),
        }
    }

    /// A file whose tokens have all expired is in order, and lets nobody in.
    fn warn_of_none(&self) {
        if let Some(file) = self.path() {
            tracing::warn!(file = %file.display(), "no token of this file holds, all have expired: nobody is let in");
        }
    }
}

fn tokens(source: &Source, bytes: &[u8]) -> Result<Tokens, String> {
    let warn_short = |name: &str| {
        tracing::warn!(
            token = name,
            "a token of less than 16 characters can be guessed; openssl rand -hex 32 makes a good one"
        );
    };
    let one = |secret: &Secret| {
        if secret.is_short() {
            warn_short(THE_ONE);
        }
        Tokens::new(vec![Token::for_all(THE_ONE, secret)])
    };
    match source {
        Source::None => Ok(Tokens::default()),
        Source::One(secret) => one(secret),
        Source::OneFile(path) => one(&Secret::first_line(bytes).map_err(|bad| said(path, &bad))?),
        Source::File(path) => {
            let file::Read { tokens, short } = file::read(bytes).map_err(|why| said(path, &why))?;
            for name in short {
                warn_short(&name);
            }
            Ok(tokens)
        }
    }
}

fn said(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

/// Reads a small file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let whole = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    whole.map_err(|error| said(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(said(path, &format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// May everybody on this host read the file? Always false where files have no such rights.
#[must_use]
pub fn is_readable_by_all(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }
    #[cfg(not(unix))]
    {
        let _no_rights = path;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Denied, Scope};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn entry(token: &str) -> String {
        format!("[[token]]\nname = \"a\"\ntoken = \"{token}\"\nscopes = [\"read\"]\nexpires = 1970-01-02\n")
    }

    #[test]
    fn a_file_that_changes_counts_and_a_bad_one_does_not() {
        let file = file(&entry("the-first-token-of-all"));
        let store = TokenStore::open(Source::File(file.path().into()), 0).unwrap();
        let mut changes = store.changes();
        let grant = store.tokens().recognise(b"the-first-token-of-all", 0).unwrap();
        assert_eq!((store.look(0), changes.has_changed().unwrap()), (Look::Same, false));
        std::fs::write(file.path(), entry("the-first-token-of-all\"\"")).unwrap();
        for _ in 0..2 {
            let Look::Failed(why) = store.look(0) else { panic!("it is no TOML") };
            assert!(why.contains("line 3 is not TOML") && !why.contains("the-first"), "{why}");
        }
        assert_eq!(store.tokens().may(&grant, Scope::Read, None, 0), Ok(()));
        std::fs::write(file.path(), entry("the-second-token-of-all")).unwrap();
        assert_eq!((store.look(0), changes.has_changed().unwrap()), (Look::Changed, true));
        assert_eq!(store.tokens().may(&grant, Scope::Read, None, 0), Err(Denied::Wrong));
        std::fs::remove_file(file.path()).unwrap();
        assert!(matches!(store.look(0), Look::Failed(_)));
        store.tokens().recognise(b"the-second-token-of-all", 0).unwrap();
        changes.mark_unchanged();
        let day_ms = 86_400_000;
        assert!(matches!(store.look(day_ms), Look::Failed(_)));
        assert!(changes.has_changed().unwrap(), "it has expired, whatever the file says");
    }

    #[test]
    fn a_token_that_expires_is_told_once() {
        let file = file(&entry("the-first-token-of-all"));
        let store = TokenStore::open(Source::File(file.path().into()), 0).unwrap();
        let looks = [1, 86_399_999, 86_400_000, 86_400_001].map(|now| store.look(now));
        assert_eq!(looks, [Look::Same, Look::Same, Look::Expired, Look::Same]);
    }

    #[test]
    fn one_token_for_everything() {
        let none = TokenStore::open(Source::None, 0).unwrap();
        assert!(!none.is_required());
        let one = TokenStore::open(Source::One(Secret::new("0123456789abcdef").unwrap()), 0).unwrap();
        let grant = one.tokens().recognise(b"0123456789abcdef", 0).unwrap();
        assert_eq!(one.tokens().may(&grant, Scope::Admin, None, 0), Ok(()));
        let file = file("0123456789abcdef\n");
        let of_file = TokenStore::open(Source::OneFile(file.path().into()), 0).unwrap();
        assert!(of_file.is_required() && of_file.tokens().recognise(b"0123456789abcdef", 0).is_ok());
        std::fs::write(file.path(), "fedcba9876543210\n").unwrap();
        assert_eq!(of_file.look(0), Look::Changed);
        assert!(of_file.tokens().recognise(b"0123456789abcdef", 0).is_err());
    }

    #[test]
    fn a_file_without_an_end_is_not_read() {
        let file = file(&"#".repeat(FILE_BYTES_MAX as usize + 1));
        let error = TokenStore::open(Source::File(file.path().into()), 0).unwrap_err();
        assert!(error.starts_with("FLEETGAUGE_TOKENS_FILE: ") && error.contains("more than 2097152 bytes"), "{error}");
        let error = TokenStore::open(Source::OneFile("/does/not/exist".into()), 0).unwrap_err();
        assert!(error.starts_with("FLEETGAUGE_TOKEN_FILE: /does/not/exist: No such"), "{error}");
    }
}
