//! What went wrong with a partition: the system refused, or what is on disk is not what was written.
//! The first passes, and nothing may be thrown away for it; the second does not.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::sealed::OpenError;

/// Why a partition could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The system refuses: no room, no rights, no more open files.
    #[error("{0}")]
    System(io::Error),
    /// What is on disk cannot be what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A write failed before: it takes no more until it is opened again.
    #[error("a write failed before")]
    Poisoned,
    /// It has more to write than it should, and does not get on with it.
    #[error("the database does not catch up with what it has to write")]
    Behind,
    /// This aggregator stops.
    #[error("stopping")]
    Stopping,
}

impl Failure {
    /// Is the disk full?
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::System(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory => Self::Damaged(error.to_string()),
            // A place of the disk that cannot be read will not become readable by waiting.
            _ if is_of_the_medium(&error) => Self::Damaged(error.to_string()),
            _ => Self::System(error),
        }
    }
}

fn is_of_the_medium(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    cfg!(unix) && error.raw_os_error() == Some(EIO)
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => error.into(),
            fjall::Error::Poisoned => Self::Poisoned,
            fjall::Error::Locked => Self::System(io::ErrorKind::WouldBlock.into()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => error.into(),
            OpenError::Damaged(why) => Self::Damaged(why.to_owned()),
            newer @ OpenError::Newer { .. } => Self::System(io::Error::other(newer)),
        }
    }
}

/// Runs what reads bytes that may be anything. The database's code expects some of them to be
/// right, and panics where they are not.
pub(super) fn catch<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What was half made is dropped with the panic; nothing of it is used again.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Failure::Damaged(text.unwrap_or("the database gave up").to_owned()))
    })
}
