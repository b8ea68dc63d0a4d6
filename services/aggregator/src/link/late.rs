//! What becomes of a late push: it is written remotely where that can do no harm, else its vital
//! signs are all that is kept of it. Each sample is counted once, under what became of it.

use std::sync::Arc;
use std::time::Duration;

use protocol::frame::{Push, Stream};
use tokio::sync::oneshot;

use super::Shared;
use super::vitals::Stored;
use crate::fleet::Moment;
use crate::fleet::agent::PushedSet;
use crate::fleet::dropped::Dropped;
use crate::fleet::seat::Seat;
use crate::forward::{Forwarder, Held, Moments, Vector, Which};
use crate::pending::Pending;

/// A late push may have been measured so much after it was sent: clocks are read one after another.
const AHEAD_MAX_MS: i64 = 1_000;

/// What a late push waits for until it is safe.
#[derive(Debug)]
pub(super) struct Unsafe {
    /// Its vital signs on their way to the disk, and how many samples are decided by that.
    stored: Option<Stored>,
    of_history: u64,
    pending: Arc<Pending>,
    settled: Option<oneshot::Receiver<()>>,
}

impl Unsafe {
    /// Waits until it is safe. Cancelling it loses nothing.
    pub(super) async fn wait(&mut self) {
        if let Some(stored) = &mut self.stored {
            let stored = matches!(stored.await, Ok(Ok(())));
            self.decide(stored);
        }
        if let Some(settled) = &mut self.settled {
            let _decided_or_ended = settled.await;
            self.settled = None;
        }
    }

    /// Is it safe already?
    pub(super) fn is_safe(&mut self) -> bool {
        if let Some(stored) = &mut self.stored {
            match stored.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return false,
                answer => self.decide(matches!(answer, Ok(Ok(())))),
            }
        }
        // What has been told once must not be waited for again.
        self.settled.take_if(|settled| !matches!(settled.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        self.settled.is_none()
    }

    /// It is acknowledged although it is not safe: the history is not waited for any longer, and what
    /// is to be written stays until it is.
    pub(super) fn give_up(&mut self) {
        self.pending.keep();
        if self.stored.is_some() {
            self.decide(false);
        }
    }

    /// Has the history answered?
    pub(super) fn is_stored(&self) -> bool {
        self.stored.is_none()
    }

    fn decide(&mut self, is_stored: bool) {
        self.stored = None;
        match self.of_history {
            0 => {}
            samples if is_stored => self.pending.stored(samples),
            samples => self.pending.dropped(Dropped::History, samples),
        }
    }
}

/// A late push, and what is known of it.
pub(super) struct Late<'a> {
    pub(super) shared: &'a Shared,
    pub(super) seat: &'a Seat,
    /// Which stream it came on: what came live is not held up by a receiver that is down.
    pub(super) stream: Stream,
    /// When it was measured, by our wall clock.
    pub(super) at_ms: i64,
    pub(super) samples: u64,
    pub(super) sets: Vec<PushedSet>,
    /// Could a scrape see its agent then?
    pub(super) was_seen: bool,
    /// Its vital signs on their way to the disk; `Err`: the history does not even let them wait.
    pub(super) stored: Result<Option<Stored>, ()>,
    /// How many of its samples they are made of.
    pub(super) of_vitals: u64,
    pub(super) now: Moment,
}

/// Can nobody have measured this, or does nobody take it any more?
pub(super) fn is_absurd(head: &Push, at_ms: i64, shared: &Shared, now: Moment) -> bool {
    let ahead_ms = head.measured_ms.saturating_sub(head.now_ms);
    let oldest_ms = now.wall_ms.saturating_sub(millis(shared.late_max));
    (head.stream == Stream::Late && ahead_ms > AHEAD_MAX_MS) || at_ms < oldest_ms
}

impl Late<'_> {
    /// Gives it where it belongs; what is to be waited for comes back.
    pub(super) fn take(self) -> Unsafe {
        let (telemetry, agent) = (Arc::clone(&self.shared.telemetry), self.seat.agent());
        let pending = Pending::new(agent, telemetry, self.samples);
        let settled = Some(pending.settled());
        let (stored, of_history) = match self.destination() {
            Ok(forward) => {
                forward.submit(self.moments(&pending));
                (self.stored.ok().flatten(), 0)
            }
            Err(reason) => {
                let of_history = if matches!(self.stored, Ok(None)) { 0 } else { self.of_vitals.min(self.samples) };
                pending.dropped(reason, self.samples - of_history);
                match self.stored {
                    Ok(stored) => (stored, of_history),
                    Err(()) => {
                        pending.dropped(Dropped::History, of_history);
                        (None, 0)
                    }
                }
            }
        };
        Unsafe { stored, of_history, pending, settled }
    }

    /// Where its samples are written, or why not.
    fn destination(&self) -> Result<&Forwarder, Dropped> {
        let forward = self.shared.forward.as_ref().ok_or(Dropped::Late)?;
        let rules = forward.rules();
        // Where measurements bear their own times, the same sample seen twice is one sample.
        let may_overlap = self.shared.exact || rules.which == Which::All;
        if self.was_seen && !may_overlap {
            return Err(Dropped::OnPage);
        }
        if self.at_ms < self.now.wall_ms.saturating_sub(millis(rules.window)) {
            return Err(Dropped::TooOld);
        }
        Ok(forward)
    }

    fn moments(&self, pending: &Arc<Pending>) -> Moments {
        let may_wait = self.stream == Stream::Late;
        Moments { may_wait, ..moments(self.seat, self.at_ms, &self.sets, Some(Arc::clone(pending))) }
    }
}

/// A push as remote write takes it.
pub(super) fn moments(seat: &Seat, at_ms: i64, sets: &[PushedSet], pending: Option<Arc<Pending>>) -> Moments {
    let vector = |set: &PushedSet| Vector {
        declared: Arc::clone(&set.declared),
        // Of a set that failed nothing is there.
        values: Arc::new(set.values.clone().unwrap_or_default()),
    };
    let sets = sets.iter().map(vector).collect();
    let (agent, room) = (seat.name().clone(), Held::default());
    Moments { agent, at_ms, sets, is_end: false, pending, may_wait: false, room }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
