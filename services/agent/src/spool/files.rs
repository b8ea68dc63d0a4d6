//! The spool's folder: the only place of an agent that writes files. Each function says what it
//! promises when it comes back; nothing here decides anything.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What a file that is being written is called until it is whole.
const UNFINISHED: &str = "tmp";
/// No file of a spool is larger: what is, is none.
pub(super) const FILE_BYTES_MAX: usize = 64 << 20;

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
        let file = open_regular(File::options().read(true), &self.path(name))?;
        // It may grow meanwhile.
        let (most, mut bytes) = (FILE_BYTES_MAX as u64 + 1, Vec::new());
        if file.metadata()?.len() < most {
            file.take(most).read_to_end(&mut bytes)?;
            if bytes.len() <= FILE_BYTES_MAX {
                return Ok(bytes);
            }
        }
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than any file of a spool"))
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
        let mut file = open_regular(File::options().append(true), &self.path(name))?;
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
    // What is there is what a former process left, or a link that somebody planted: nothing is written
    // through it.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens a regular file and nothing else: a pipe would keep the agent waiting, a link lead elsewhere.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;

        options.custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed());
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

/// Makes the folder, for the agent alone, unless it is there.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let folder = Folder(dir.path().to_owned());
        (dir, folder)
    }

    #[test]
    fn nothing_is_written_or_read_through_a_link() {
        let (dir, folder) = folder();
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, dir.path().join("identity.tmp")).unwrap();
        folder.write("identity", b"mine").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert_eq!(folder.read("identity").unwrap(), b"mine");
        symlink(&precious, dir.path().join("1.seg")).unwrap();
        assert!(folder.read("1.seg").is_err() && folder.append("1.seg", b"more").is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let (dir, folder) = folder();
        mknodat(CWD, dir.path().join("identity"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(folder.read("identity").unwrap_err().kind(), io::ErrorKind::InvalidInput, "nobody waits for a pipe");
        assert!(folder.append("identity", b"more").is_err());
        folder.write("identity", b"mine").unwrap();
        assert_eq!(folder.read("identity").unwrap(), b"mine");
        let sparse = File::create(dir.path().join("1.seg")).unwrap();
        sparse.set_len(FILE_BYTES_MAX as u64 + 1).unwrap();
        assert_eq!(folder.read("1.seg").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        sparse.set_len(FILE_BYTES_MAX as u64).unwrap();
        assert_eq!(folder.read("1.seg").unwrap().len(), FILE_BYTES_MAX);
    }

    #[test]
    fn a_folder_that_is_made_is_the_agent_s_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("made/on/demand");
        make(&made).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        make(&made).unwrap();
    }
}
