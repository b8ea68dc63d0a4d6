//! The late stream of one connection: how much of it may be under way, and how fast it may be. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::frame::Welcome;
use protocol::limits::LATE_UNACKED_MAX;
use tokio::time::Instant;

/// Slowest and fastest pace that is believed: as fast as it was measured, and a thousand times.
const RATE_MIN: f64 = 1.0;
const RATE_MAX: f64 = 1000.0;

/// Late pushes on their way.
#[derive(Debug)]
pub(super) struct Late {
    window: usize,
    /// Between two of them.
    pause: Duration,
    unacked: VecDeque<u64>,
    /// All up to here were sent on this connection, or were safe before it.
    sent: u64,
    due: Instant,
}

impl Late {
    /// As the aggregator grants it.
    pub(super) fn new(welcome: &Welcome, interval: Duration, now: Instant) -> Self {
        let rate = if welcome.late_rate.is_finite() { welcome.late_rate } else { RATE_MIN };
        Self {
            window: usize::try_from(welcome.limits.late_unacked.min(LATE_UNACKED_MAX)).unwrap_or(0),
            pause: interval.div_f64(rate.clamp(RATE_MIN, RATE_MAX)),
            unacked: VecDeque::new(),
            sent: welcome.acked.late,
            due: now,
        }
    }

    /// When the next one may be sent, if its window is not full.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.unacked.len() < self.window).then_some(self.due)
    }

    /// The push after which to look for the next one.
    pub(super) fn after(&self) -> u64 {
        self.sent
    }

    /// One was sent.
    pub(super) fn sent(&mut self, seq: u64, now: Instant) {
        self.unacked.push_back(seq);
        self.sent = self.sent.max(seq);
        // A pause that came out too long is made up for by the next one, more is not.
        self.due = (self.due + self.pause).max(now);
    }

    /// All up to a number are safe; says how many that were, or nothing if that one was never sent.
    pub(super) fn acked(&mut self, seq: u64) -> Option<u64> {
        if seq > self.sent {
            return None;
        }
        let mut count = 0;
        while self.unacked.pop_front_if(|waiting| *waiting <= seq).is_some() {
            count += 1;
        }
        Some(count)
    }

    /// The first that waits for its ack.
    pub(super) fn first(&self) -> Option<u64> {
        self.unacked.front().copied()
    }
}
