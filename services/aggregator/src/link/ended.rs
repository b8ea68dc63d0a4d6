//! How a connection ended, and what is said about it: to the agent, in the log, in metrics.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::ToAgent;
use protocol::declare::Unfit;
use protocol::frame::{Goaway, Refuse, RefuseCode};

/// How long an agent is asked to stay away when this aggregator stops.
const AWAY_MS: u64 = 500;
/// The same when it was forgotten: time enough to see that it is.
const FORGOTTEN_MS: u64 = 5_000;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The agent said `bye`.
    Bye,
    /// The agent closed the connection without a word.
    Closed,
    /// The system says that the connection broke.
    Failed(io::ErrorKind),
    /// The agent takes none of our bytes.
    Unread,
    /// This aggregator stops.
    Stopping,
    /// An operator had the agent forgotten.
    Forgotten,
    /// The agent did something that it may not do, or there is no room for it.
    Refused {
        /// For a program.
        code: RefuseCode,
        /// For a person.
        reason: String,
        /// When it may come back.
        retry_after_ms: u64,
    },
}

impl Ended {
    pub(super) fn refused(code: RefuseCode, reason: String) -> Self {
        Self::Refused { code, reason, retry_after_ms: 0 }
    }

    pub(super) fn retry_after(self, after: Duration) -> Self {
        match self {
            Self::Refused { code, reason, .. } => {
                let retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                Self::Refused { code, reason, retry_after_ms }
            }
            other => other,
        }
    }

    /// The `reason` label of `fleetgauge_link_closed_total`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
            Self::Unread => "unread",
            Self::Stopping => "stopping",
            Self::Forgotten => "forgotten",
            Self::Refused { .. } => "refused",
        }
    }

    pub(super) fn superseded(by: SocketAddr) -> Self {
        let reason = format!("a newer connection of this agent, from {by}, took over");
        Self::Refused { code: RefuseCode::Superseded, reason, retry_after_ms: 0 }
    }

    pub(super) fn silent(what: &str, after: Duration) -> Self {
        let reason = format!("{what} for {after:?}");
        Self::Refused { code: RefuseCode::Silent, reason, retry_after_ms: 0 }
    }

    /// What the agent is told before the connection closes.
    pub(super) fn last_word(&self) -> Option<ToAgent> {
        match self {
            Self::Refused { code, reason, retry_after_ms } => {
                Some(ToAgent::Refuse(Refuse { code: *code, reason: reason.clone(), retry_after_ms: *retry_after_ms }))
            }
            Self::Stopping => {
                Some(ToAgent::Goaway(Goaway { reason: "this aggregator stops".to_owned(), retry_after_ms: AWAY_MS }))
            }
            Self::Forgotten => {
                let reason = "an operator had this agent forgotten; it may come back".to_owned();
                Some(ToAgent::Goaway(Goaway { reason, retry_after_ms: FORGOTTEN_MS }))
            }
            Self::Bye | Self::Closed | Self::Failed(_) | Self::Unread => None,
        }
    }
}

impl From<Unfit> for Ended {
    fn from(unfit: Unfit) -> Self {
        Self::refused(unfit.code, unfit.reason)
    }
}
