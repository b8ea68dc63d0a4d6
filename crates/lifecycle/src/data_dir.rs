//! The folder of what must survive a restart. It belongs to one process: two that write to it would
//! each undo what the other acknowledged.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";
/// A process id and a newline fit.
const LOCK_BYTES_MAX: u64 = 32;

/// A folder that no other process has, as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another process has it.
    #[error("another process{0} uses it")]
    Taken(String),
    /// The system refuses the file that says whose it is.
    #[error("{}: {_1}", _0.display())]
    File(PathBuf, io::Error),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl DataDir {
    /// Takes the folder, which is made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made or written to, or when another process has it.
    pub fn take(path: &Path) -> Result<Self, Refused> {
        fs::create_dir_all(path)?;
        let file = path.join(LOCK_FILE);
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&file);
        let mut lock = opened.map_err(|error| Refused::File(file, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _only_to_help = lock.take(LOCK_BYTES_MAX).read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { String::new() } else { format!(" ({holder})") };
                return Err(Refused::Taken(holder));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // For whoever finds it taken. In a full disk the lock holds all the same.
        let _only_to_help = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(format!("process {}\n", std::process::id()).as_bytes()));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_process_s() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/on/demand");
        let first = DataDir::take(&path).unwrap();
        let refused = DataDir::take(first.path()).unwrap_err().to_string();
        assert_eq!(refused, format!("another process (process {}) uses it", std::process::id()));
        drop(first);
        DataDir::take(&path).unwrap();
    }
}
