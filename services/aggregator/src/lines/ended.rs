//! How a connection of put/get ended.

use std::io;

/// Why a connection ended. None but `Http`, `Tls` and `Unauthorized` is the fault of a line: an error is answered,
/// and the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed it.
    Closed,
    /// The system says that it broke.
    Failed(io::ErrorKind),
    /// Nothing came for too long.
    Idle,
    /// The client speaks HTTP.
    Http,
    /// The client speaks TLS, which this port does not.
    Tls,
    /// The client showed a bad token, or none in time.
    Unauthorized,
    /// The client takes nothing of its replies.
    Unread,
    /// A part of an answer was sent, and the rest could not be read from the history.
    Unfinished,
    /// This aggregator stops.
    Stopping,
}

impl Ended {
    /// All reasons that `fleetgauge_line_closed_total` knows.
    pub(crate) const REASONS: [&'static str; 10] =
        ["closed", "failed", "idle", "http", "tls", "unauthorized", "unread", "unfinished", "stopping", "refused"];

    /// The `reason` label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
            Self::Idle => "idle",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Unread => "unread",
            Self::Unfinished => "unfinished",
            Self::Stopping => "stopping",
        }
    }

    /// Would somebody who runs the aggregator want to know?
    pub(super) fn is_remarkable(self) -> bool {
        matches!(self, Self::Http | Self::Unread | Self::Unfinished)
    }
}
