//! Samples of which it is not decided yet what becomes of them. However that ends, each is counted
//! once: received = visible + stored + forwarded + duplicate + dropped + pending.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::fleet::agent::Agent;
use crate::fleet::dropped::Dropped;
use crate::telemetry::Telemetry;

/// The samples of one late push.
#[derive(Debug)]
pub struct Pending {
    agent: Arc<Agent>,
    telemetry: Arc<Telemetry>,
    left: AtomicU64,
    waits: Mutex<Option<oneshot::Sender<()>>>,
    is_kept: AtomicBool,
}

impl Pending {
    /// So many samples of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>, telemetry: Arc<Telemetry>, samples: u64) -> Arc<Self> {
        telemetry.forward.pending.add(gauge(samples));
        Arc::new(Self {
            agent,
            telemetry,
            left: AtomicU64::new(samples),
            waits: Mutex::default(),
            is_kept: AtomicBool::new(false),
        })
    }

    /// Tells when all are decided. Who asks is waited for: should the receiver be dropped, nobody
    /// wants them to be written any more.
    pub fn settled(&self) -> oneshot::Receiver<()> {
        let (settled, waits) = oneshot::channel();
        if self.left.load(Ordering::Acquire) > 0 {
            *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(settled);
        } else {
            let _received_below = settled.send(());
        }
        waits
    }

    /// They were acknowledged already, so they do not come again: nobody may give them up.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Release);
    }

    /// Has whoever waited gone away?
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        if self.is_kept.load(Ordering::Acquire) {
            return false;
        }
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// So many of them are in the history.
    pub fn stored(&self, samples: u64) {
        let samples = self.take(samples);
        self.telemetry.forward.stored.inc_by(samples);
        self.agent.filled(samples);
    }

    /// So many of them were written remotely.
    pub fn forwarded(&self, samples: u64) {
        let samples = self.take(samples);
        self.telemetry.forward.forwarded.inc_by(samples);
        self.agent.filled(samples);
    }

    /// So many of them are dropped.
    pub fn dropped(&self, reason: Dropped, samples: u64) {
        let samples = self.take(samples);
        self.telemetry.samples_dropped(reason, samples);
        self.agent.dropped(reason, samples);
    }

    /// Takes out what is decided, as far as it was not before.
    fn take(&self, samples: u64) -> u64 {
        let less = |left: u64| Some(left.saturating_sub(samples));
        let left = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).unwrap_or(0);
        let taken = left.min(samples);
        self.telemetry.forward.pending.sub(gauge(taken));
        if taken == left
            && let Some(settled) = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let _may_be_gone = settled.send(());
        }
        taken
    }
}

impl Drop for Pending {
    /// Nobody decides any more: the connection is gone, or the process ends.
    fn drop(&mut self) {
        self.dropped(Dropped::LinkLost, u64::MAX);
    }
}

fn gauge(samples: u64) -> i64 {
    i64::try_from(samples).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::agent::tests::agent;

    fn pending(samples: u64) -> (Arc<Pending>, Arc<Agent>, Arc<Telemetry>) {
        let (agent, telemetry) = (agent("a"), Arc::new(Telemetry::new(1).unwrap()));
        (Pending::new(Arc::clone(&agent), Arc::clone(&telemetry), samples), agent, telemetry)
    }

    #[test]
    fn each_sample_is_decided_once() {
        let (pending, agent, telemetry) = pending(10);
        let mut settled = pending.settled();
        pending.forwarded(3);
        pending.stored(2);
        pending.dropped(Dropped::Refused, 1);
        assert_eq!(telemetry.forward.pending.get(), 4);
        assert!(settled.try_recv().is_err() && !pending.is_given_up());
        drop(pending);
        assert!(settled.try_recv().is_ok());
        let facts = agent.facts();
        assert_eq!(
            (facts.filled, facts.dropped.get(Dropped::Refused), facts.dropped.get(Dropped::LinkLost)),
            (5, 1, 4)
        );
        let counted = [&telemetry.forward.forwarded, &telemetry.forward.stored].map(prometheus::IntCounter::get);
        assert_eq!((counted, telemetry.forward.pending.get()), ([3, 2], 0));
    }

    #[test]
    fn who_waits_is_told_or_noticed_to_be_gone() {
        let (pending, _agent, _telemetry) = pending(1);
        drop(pending.settled());
        assert!(pending.is_given_up());
        pending.keep();
        assert!(!pending.is_given_up(), "it was acknowledged");
        pending.forwarded(7);
        assert!(pending.settled().try_recv().is_ok(), "decided already");
    }
}
