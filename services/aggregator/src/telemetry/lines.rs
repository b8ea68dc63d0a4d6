//! What put/get says about itself.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Maker;
use super::table::{
    LINE_ACCEPTED, LINE_CLOSED, LINE_COMMANDS, LINE_CONNECTIONS, LINE_CONNECTIONS_LIMIT, LINE_ERRORS, LINE_RECEIVED,
};
use crate::lines::Ended;

/// Why a line was answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// It is no command.
    WrongCommand,
    /// It is longer than a line may be.
    TooLong,
    /// There was no room to receive it.
    NoRoom,
    /// There is no history.
    NoHistory,
    /// The history did not take the point.
    NotStored,
    /// The history could not be read.
    Unreadable,
    /// Too many long answers were under way.
    Busy,
    /// No good token was shown before it.
    Unauthorized,
    /// The token is for other things.
    Forbidden,
}

impl LineError {
    const ALL: [(Self, &'static str); 9] = [
        (Self::WrongCommand, "wrong_command"),
        (Self::TooLong, "too_long"),
        (Self::NoRoom, "no_room"),
        (Self::NoHistory, "no_history"),
        (Self::NotStored, "not_stored"),
        (Self::Unreadable, "unreadable"),
        (Self::Busy, "busy"),
        (Self::Unauthorized, "unauthorized"),
        (Self::Forbidden, "forbidden"),
    ];
}

/// The metrics of put/get.
#[derive(Debug)]
pub struct Lines {
    /// Open connections.
    pub(crate) connections: IntGauge,
    connections_limit: IntGauge,
    /// Connections accepted.
    pub(crate) accepted: IntCounter,
    /// Bytes received.
    pub(crate) received: IntCounter,
    /// `put` lines.
    pub(crate) put: IntCounter,
    /// `get KEY` lines.
    pub(crate) get: IntCounter,
    /// `get *` lines.
    pub(crate) get_all: IntCounter,
    closed: IntCounterVec,
    errors: Vec<IntCounter>,
}

impl Lines {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let (commands, errors) = (make.counters(&LINE_COMMANDS)?, make.counters(&LINE_ERRORS)?);
        let [put, get, get_all] = ["put", "get", "get_all"].map(|command| commands.with_label_values(&[command]));
        let lines = Self {
            connections: make.gauge(&LINE_CONNECTIONS)?,
            connections_limit: make.gauge(&LINE_CONNECTIONS_LIMIT)?,
            accepted: make.counter(&LINE_ACCEPTED)?,
            received: make.counter(&LINE_RECEIVED)?,
            put,
            get,
            get_all,
            closed: make.counters(&LINE_CLOSED)?,
            errors: LineError::ALL.iter().map(|(_, reason)| errors.with_label_values(&[reason])).collect(),
        };
        for reason in Ended::REASONS {
            let _zero = lines.closed.with_label_values(&[reason]);
        }
        Ok(lines)
    }

    /// So many may be open.
    pub(crate) fn set_connections_max(&self, max: usize) {
        self.connections_limit.set(super::level(max));
    }

    /// A connection ended.
    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.with_label_values(&[reason]).inc();
    }

    /// A line was answered with an error.
    pub(crate) fn error(&self, error: LineError) {
        let at = LineError::ALL.iter().position(|(one, _)| *one == error);
        if let Some(counter) = at.and_then(|at| self.errors.get(at)) {
            counter.inc();
        }
    }
}
