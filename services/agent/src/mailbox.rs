//! Where a measurement waits for the uplink. There is room for one, the newest, and not for long:
//! what cannot be sent at once goes to the spool.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::collect::scheduler::Pace;
use crate::measurement::Measurement;
use crate::spool::Spool;

/// How long a measurement may wait to be sent live while there is no connection that takes it: one
/// is made within this, and what a crash of the host may cost is no more.
pub(crate) const IN_HAND: Duration = Duration::from_millis(500);

/// Between the thread that collects and the task that sends.
#[derive(Debug)]
pub struct Mailbox {
    slots: Mutex<Slots>,
    arrived: Notify,
    /// The same for who sees to it that nothing waits for long.
    waits: Notify,
    spool: Arc<Spool>,
    /// How the thread that fills it is told to hurry, or to end.
    pub pace: Pace,
}

#[derive(Debug)]
struct Slots {
    waiting: Option<(Measurement, Instant)>,
    /// How long it may.
    patience: Duration,
    /// One that was sent: its room is used again.
    spare: Option<Measurement>,
}

impl Mailbox {
    /// An empty one before this spool.
    #[must_use]
    pub fn new(spool: Arc<Spool>) -> Self {
        let (arrived, waits) = (Notify::new(), Notify::new());
        let slots = Mutex::new(Slots { waiting: None, patience: IN_HAND, spare: None });
        Self { slots, arrived, waits, spool, pace: Pace::default() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is behind it.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// An empty measurement to fill.
    pub fn spare(&self) -> Measurement {
        self.slots().spare.take().unwrap_or_default()
    }

    /// Puts in the newest measurement. Says whether one was waiting, which is in the spool now.
    pub fn put(&self, measurement: Measurement) -> bool {
        let older = self.slots().waiting.replace((measurement, Instant::now()));
        self.arrived.notify_one();
        self.waits.notify_one();
        let was_waiting = older.is_some();
        if let Some((older, _)) = older {
            self.keep(older);
        }
        was_waiting
    }

    /// Puts one that cannot be sent now into the spool; gives its number there.
    pub fn keep(&self, measurement: Measurement) -> Option<u64> {
        let seq = self.spool.put(&measurement);
        self.give_back(measurement);
        seq
    }

    /// Takes out what waits.
    pub fn take(&self) -> Option<Measurement> {
        self.slots().waiting.take().map(|(measurement, _)| measurement)
    }

    /// Does one wait?
    pub fn is_waiting(&self) -> bool {
        self.slots().waiting.is_some()
    }

    /// Gives back one that is no longer needed.
    pub fn give_back(&self, measurement: Measurement) {
        self.slots().spare = Some(measurement);
    }

    /// How long what waits may wait: on a slow line that is busy with what goes before it, as long as
    /// it is worth a live push. The next measurement takes its place at the latest.
    pub(crate) fn be_patient(&self, patience: Duration) {
        let before = std::mem::replace(&mut self.slots().patience, patience);
        if before != patience {
            self.waits.notify_one();
        }
    }

    /// Completes when something was put in since the last time.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Completes, and gives what waited, when something has waited for too long.
    pub async fn overdue(&self) -> Measurement {
        loop {
            let until = {
                let mut slots = self.slots();
                let (now, patience) = (Instant::now(), slots.patience);
                if let Some((overdue, _)) = slots.waiting.take_if(|(_, since)| *since + patience <= now) {
                    return overdue;
                }
                slots.waiting.as_ref().map(|(_, since)| *since + patience)
            };
            match until {
                // It may be told meanwhile to wait for longer, or not so long.
                Some(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = self.waits.notified() => {}
                },
                None => self.waits.notified().await,
            }
        }
    }
}
