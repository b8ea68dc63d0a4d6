//! Where rows go: standard output, or a file that is there as a whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lifecycle::exit;
use tempfile::NamedTempFile;

/// Written a piece at a time; what is written is not there before [`Output::finish`].
pub(crate) enum Output {
    Stdout(BufWriter<Stdout>),
    /// What is no ordinary file, such as a pipe, cannot be replaced by one.
    Special(BufWriter<File>),
    File {
        part: BufWriter<NamedTempFile>,
        path: PathBuf,
    },
}

const BUFFER_BYTES: usize = 64 * 1024;

impl Output {
    pub(crate) fn stdout() -> Self {
        Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
    }

    /// A file that replaces the one of that name, if there is one, when it is finished.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        // A link stays, and what it leads to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let file = File::options().write(true).open(&path)?;
            return Ok(Self::Special(BufWriter::with_capacity(BUFFER_BYTES, file)));
        }
        let part = beside(&path)?;
        Ok(Self::File { part: BufWriter::with_capacity(BUFFER_BYTES, part), path })
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::Special(mut file) => file.flush(),
            Self::File { part, path } => {
                put_in_place(part.into_inner().map_err(io::IntoInnerError::into_error)?, &path)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::Special(file) => file.write(bytes),
            Self::File { part, .. } => part.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Special(file) => file.flush(),
            Self::File { part, .. } => part.flush(),
        }
    }
}

/// A file without a name that anybody looks for, in the folder of another. It goes away by itself.
pub(crate) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fleetgauge-");
    // As any new file; the system takes away what the user's mask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(|error| {
        // Behind the system's sentence stands the name that it would have had, which nobody knows.
        let sentence = error.to_string();
        let why = sentence.split(" at path ").next().unwrap_or_default();
        io::Error::new(error.kind(), format!("in the directory {}: {why}", folder.display()))
    })
}

/// Gives a file its name, in one step, once all of it is on disk.
pub(crate) fn put_in_place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// What the end of an output means for the process: one that nobody reads any more is no fault.
pub(crate) fn ended(done: io::Result<()>, whereto: &str) -> Result<(), ExitCode> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(exit::because(exit::FAILED, format!("cannot write to {whereto}: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// `1 point`, `2 points`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
