//! Why something was not stored, not read, or not opened: what callers see of it.

use std::io;

use super::damage::Failure;
use super::keys::NoRoom;

/// Why points were not stored. The text is for whoever sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// There are too many keys.
    #[error("{0}")]
    NoRoom(#[from] NoRoom),
    /// The disk is full, but for what is left free on purpose.
    #[error("the disk is full: {free} bytes are free, the history leaves {reserve}")]
    Full {
        /// Bytes free.
        free: u64,
        /// Bytes that are left free.
        reserve: u64,
    },
    /// The history cannot be written now.
    #[error("the history cannot be written now: {0}")]
    Unavailable(String),
    /// Too much waits to be written.
    #[error("too much waits to be written, try again")]
    Busy,
    /// This aggregator stops.
    #[error("this aggregator stops")]
    Closed,
}

impl PutError {
    /// The `reason` label of `fleetgauge_history_refused_points_total`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRoom(_) => "too_many_keys",
            Self::Full { .. } => "disk_full",
            Self::Unavailable(_) => "unavailable",
            Self::Busy => "busy",
            Self::Closed => "closed",
        }
    }
}

impl From<&Failure> for PutError {
    fn from(failure: &Failure) -> Self {
        if failure.is_full() { Self::Full { free: 0, reserve: 0 } } else { Self::Unavailable(failure.to_string()) }
    }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history cannot be read now: {0}")]
pub struct ReadError(pub(super) String);

impl ReadError {
    /// One for tests of what becomes of it.
    #[cfg(test)]
    pub(crate) fn of(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// Why a history cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is of a newer version.
    #[error("its history was written by a newer version of this program ({0}; this one knows {1})")]
    Newer(u32, u32),
}
