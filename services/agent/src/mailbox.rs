//! Where a measurement waits for the uplink. There is room for one: the newest.
//!
//! This is the place of a spool: until there is one, what could not be sent before the next
//! measurement came is dropped, and counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::collect::scheduler::Pace;
use crate::measurement::Measurement;

/// Between the thread that collects and the task that sends.
#[derive(Debug, Default)]
pub struct Mailbox {
    slots: Mutex<Slots>,
    arrived: Notify,
    /// How the thread that fills it is told to hurry, or to end.
    pub pace: Pace,
}

#[derive(Debug, Default)]
struct Slots {
    waiting: Option<Measurement>,
    /// One that was sent: its room is used again.
    spare: Option<Measurement>,
}

impl Mailbox {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty measurement to fill.
    pub fn spare(&self) -> Measurement {
        self.slots().spare.take().unwrap_or_default()
    }

    /// Puts in the newest measurement. Says whether one was waiting, which is now lost.
    pub fn put(&self, measurement: Measurement) -> bool {
        let mut slots = self.slots();
        let lost = slots.waiting.replace(measurement);
        let was_waiting = lost.is_some();
        slots.spare = lost.or(slots.spare.take());
        drop(slots);
        self.arrived.notify_one();
        was_waiting
    }

    /// Takes out what waits.
    pub fn take(&self) -> Option<Measurement> {
        self.slots().waiting.take()
    }

    /// Gives back one that is no longer needed.
    pub fn give_back(&self, measurement: Measurement) {
        self.slots().spare = Some(measurement);
    }

    /// Completes when something was put in since the last time.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
