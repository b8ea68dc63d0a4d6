//! The disk under a folder: which file system it is, what plain writes with `fdatasync`
//! take there, and how much room files take.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Error, Result, process};

/// What a write of the plain loop has: about a line as it arrives.
const WRITE_BYTES: usize = 64;
/// The kernel counts room in these.
const BLOCK_BYTES: u64 = 512;

/// A fresh folder below `parent`, which is made if it is missing; it goes with what is returned.
/// Without `parent` it is below the target directory: what is temporary elsewhere may be no disk.
///
/// # Errors
/// When it cannot be made.
pub fn fresh_folder(parent: Option<&Path>) -> Result<TempDir> {
    let parent = parent.map_or_else(|| process::workspace().join("target/bench"), Path::to_owned);
    let doing = || format!("making a folder in {}", parent.display());
    fs::create_dir_all(&parent).map_err(Error::io(doing()))?;
    tempfile::Builder::new().prefix("data-").tempdir_in(&parent).map_err(Error::io(doing()))
}

/// The type of the file system that a folder is on, and its device.
///
/// # Errors
/// When the system does not say.
pub fn file_system(folder: &Path) -> Result<String> {
    let doing = || format!("looking where {} is", folder.display());
    let folder = folder.canonicalize().map_err(Error::io(doing()))?;
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(Error::io(doing()))?;
    Ok(mount_of(&mounts, &folder).unwrap_or_else(|| "unknown".to_owned()))
}

/// The mount point that is the longest beginning of the path; of several on one point the last.
fn mount_of(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, found)| found)
}

/// Waits until what was written to the file system of a folder is on its disk: only then is known
/// how much room it takes.
///
/// # Errors
/// When the system refuses.
pub fn settle(folder: &Path) -> Result<()> {
    let folder = File::open(folder).map_err(Error::io(format!("opening {}", folder.display())))?;
    rustix::fs::syncfs(&folder).map_err(|error| Error::io("syncing the file system")(error.into()))
}

/// Bytes that the files right in a folder take whose names end so.
///
/// # Errors
/// When it cannot be listed.
pub fn bytes_of_files(folder: &Path, suffix: &str) -> Result<u64> {
    let doing = || format!("listing {}", folder.display());
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(Error::io(doing()))? {
        let entry = entry.map_err(Error::io(doing()))?;
        if entry.file_name().to_string_lossy().ends_with(suffix) {
            bytes += entry.metadata().map_err(Error::io(doing()))?.blocks() * BLOCK_BYTES;
        }
    }
    Ok(bytes)
}

/// A file that is written to from its begin on, and synced each time: what the disk takes by itself.
#[derive(Debug)]
pub struct Synced {
    file: File,
    path: PathBuf,
}

impl Synced {
    /// A new file of this name, which grows with each write.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        Self::with_room(folder, name, 0)
    }

    /// A new file that has room for so many writes of 64 bytes already: a sync then has nothing to
    /// say of the file itself, and is as fast as syncs get.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn with_room(folder: &Path, name: &str, writes: usize) -> Result<Self> {
        let path = folder.join(name);
        let made = fs::write(&path, vec![0; writes * WRITE_BYTES]).and_then(|()| {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.sync_all()?;
            Ok(file)
        });
        Ok(Self { file: made.map_err(Error::io(format!("making {}", path.display())))?, path })
    }

    /// Writes 64 bytes and syncs. Says how long that took.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn write_once(&mut self) -> Result<Duration> {
        self.write(&[b'.'; WRITE_BYTES])
    }

    /// Writes these bytes behind the last ones and syncs. Says how long that took.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Duration> {
        let began = Instant::now();
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(format!("writing {}", self.path.display())))?;
        Ok(began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n";
        for (path, expected) in
            [("/home", "ext4 on /dev/a"), ("/tmp/y", "tmpfs on tmpfs"), ("/tmp/x/y", "xfs on /dev/b")]
        {
            assert_eq!(mount_of(mounts, Path::new(path)).as_deref(), Some(expected));
        }
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn room_is_what_is_on_the_disk() {
        let folder = fresh_folder(None).unwrap();
        let mut growing = Synced::create(folder.path(), "growing").unwrap();
        growing.write(&[7; 10_000]).unwrap();
        assert!(growing.write_once().unwrap() > Duration::ZERO);
        assert_eq!(fs::metadata(folder.path().join("growing")).unwrap().len(), 10_064);
        let mut roomy = Synced::with_room(folder.path(), "roomy", 3).unwrap();
        roomy.write_once().unwrap();
        assert_eq!(fs::metadata(folder.path().join("roomy")).unwrap().len(), 3 * 64);
        settle(folder.path()).unwrap();
        let bytes = bytes_of_files(folder.path(), "growing").unwrap();
        assert!((10_000..200_000).contains(&bytes), "{bytes}");
        assert_eq!(bytes_of_files(folder.path(), ".sealed").unwrap(), 0);
        assert!(file_system(folder.path()).unwrap().contains(" on "));
    }
}
