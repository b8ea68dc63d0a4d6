//! The spool's folder: the only place of an agent that writes files. Each function says what it
//! promises when it comes back; nothing here decides anything.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What a file that is being written is called until it is whole.
const UNFINISHED: &str = "tmp";
/// No file of a spool is larger: what is, is none.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Where files are kept. The tests have others.
pub(super) trait Files: Send {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The contents of one.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes a file, or replaces it: afterwards it is there whole, even if the power fails, and
    /// after a failure it is as it was.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Appends to a file: afterwards it is there, even if the power fails.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Renames one.
    fn rename(&self, name: &str, to: &str) -> io::Result<()>;
    /// Removes one.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// Names survive a loss of power once the folder is synced.
    fn sync(&self) -> io::Result<()> {
        #[cfg(unix)]
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type().is_ok_and(|kind| kind.is_file())
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(name))?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.path(name).with_extension(UNFINISHED);
        let written = write_synced(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, self.path(name)));
        if written.is_err() {
            // It takes room where there is none.
            let _gone_or_not = fs::remove_file(&unfinished);
        }
        written.and_then(|()| self.sync())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::options().append(true).open(self.path(name))?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(name), self.path(to))?;
        self.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
