//! Points on their way to the history: checked for room for their keys, not stored yet.

use tokio::sync::OwnedSemaphorePermit;

use super::hot::Write;
use super::{History, Point, PutError, Space};

/// Points that are to be stored together.
#[derive(Debug)]
pub struct Batch<'a> {
    history: &'a History,
    pub(super) writes: Vec<Write>,
    /// `None`: there is no room for it.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(history: &'a History, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { history, writes: Vec::new(), permit }
    }

    /// Adds a point.
    ///
    /// # Errors
    /// When there is no room for another key, or for this batch.
    pub fn put(&mut self, key: &str, value: f64, ts: i64) -> Result<(), PutError> {
        let write = match self.permit {
            Some(_) => self.history.write(Space::Put, key, Point { ts, value }),
            None => Err(PutError::Busy),
        };
        let write = write.inspect_err(|error| self.history.shared.telemetry.history.refused(error.reason(), 1))?;
        self.writes.push(write);
        Ok(())
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Has it none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// How many points were asked for.
pub(super) struct Received {
    pub(super) puts: u64,
    pub(super) vitals: u64,
}

impl Received {
    pub(super) fn of(writes: &[Write]) -> Self {
        let puts = writes.iter().filter(|write| write.key.space == Space::Put).count() as u64;
        Self { puts, vitals: writes.len() as u64 - puts }
    }
}
