//! The folder of a partition, which stays, goes or is put aside when nobody uses it any more.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::partitions;

/// The folder of a partition, which goes with it when it is over.
pub(super) struct Folder {
    dir: PathBuf,
    end: Mutex<End>,
}

/// What becomes of a folder that nobody uses any more.
#[derive(Debug)]
pub(super) enum End {
    /// It stays.
    Stays,
    /// It is removed.
    Goes,
    /// It is put aside in the folder of the history, for a person to look at.
    Aside(PathBuf),
}

impl Folder {
    /// One that stays, until something else is decided.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), end: Mutex::new(End::Stays) }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Decides what becomes of it.
    pub(super) fn ends(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let outcome = match self.end.get_mut().unwrap_or_else(PoisonError::into_inner) {
            End::Stays => Ok(()),
            End::Goes => std::fs::remove_dir_all(&self.dir),
            End::Aside(dir) => partitions::set_aside(dir, &self.dir).map(|_| ()),
        };
        // What is left of it is found, and removed, at the next start.
        if let Err(error) = outcome {
            tracing::warn!(%error, dir = %self.dir.display(), "a partition that is over was not removed");
        }
    }
}
