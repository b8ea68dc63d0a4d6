//! What becomes of late samples, and what remote write says about itself.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Maker;
use super::table::{
    FORWARDED, PENDING, REMOTE_BUFFER, REMOTE_BUFFER_LIMIT, REMOTE_REQUESTS, REMOTE_SAMPLES, REMOTE_SECONDS,
    REMOTE_SUCCESS, STORED,
};
use crate::fleet::dropped::Dropped;
use crate::forward::{Moments, Part, RequestAnswer};

/// Where remote write is off these stay at zero, but for what is stored.
#[derive(Debug)]
pub struct Forward {
    /// Late samples that are in the history.
    pub(crate) stored: IntCounter,
    /// Late samples that were written remotely.
    pub(crate) forwarded: IntCounter,
    /// Late samples of which it is not decided yet.
    pub(crate) pending: IntGauge,
    requests: IntCounterVec,
    samples: IntCounterVec,
    seconds: Histogram,
    success: IntGauge,
    buffer: [IntGauge; 2],
}

impl Forward {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let forward = Self {
            stored: make.counter(&STORED)?,
            forwarded: make.counter(&FORWARDED)?,
            pending: make.gauge(&PENDING)?,
            requests: make.counters(&REMOTE_REQUESTS)?,
            samples: make.counters(&REMOTE_SAMPLES)?,
            seconds: make.histogram(&REMOTE_SECONDS, &[0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0])?,
            success: make.gauge(&REMOTE_SUCCESS)?,
            buffer: [make.gauge(&REMOTE_BUFFER)?, make.gauge(&REMOTE_BUFFER_LIMIT)?],
        };
        for outcome in ["written", "refused", "again"] {
            let _zero = forward.requests.with_label_values(&[outcome]);
        }
        for outcome in ["written", "too_old", "refused", "no_room"] {
            let _zero = forward.samples.with_label_values(&[outcome]);
        }
        Ok(forward)
    }

    pub(crate) fn limit(&self, bytes: usize) {
        let [_, limit] = &self.buffer;
        limit.set(super::level(bytes));
    }

    pub(crate) fn used(&self, bytes: usize) {
        let [used, _] = &self.buffer;
        used.set(super::level(bytes));
    }

    pub(crate) fn answered(&self, answer: &RequestAnswer, took: Duration) {
        let outcome = match answer {
            RequestAnswer::Written => "written",
            RequestAnswer::Refused(_) => "refused",
            RequestAnswer::Again { .. } => "again",
        };
        self.requests.with_label_values(&[outcome]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn written(&self, parts: &[Part], now_ms: i64) {
        let samples: usize = parts.iter().map(|part| part.samples).sum();
        self.samples.with_label_values(&["written"]).inc_by(samples as u64);
        self.success.set(now_ms.div_euclid(1000));
        parts.iter().for_each(Part::forwarded);
    }

    pub(crate) fn drop_part(&self, part: &Part, reason: Dropped) {
        self.lost(reason, part.samples);
        part.dropped(reason);
    }

    pub(crate) fn drop_push(&self, push: &Moments, reason: Dropped) {
        self.lost(reason, push.samples());
        if let Some(pending) = &push.pending {
            pending.dropped(reason, u64::MAX);
        }
    }

    fn lost(&self, reason: Dropped, samples: usize) {
        self.samples.with_label_values(&[reason.as_str()]).inc_by(samples as u64);
    }

    #[cfg(test)]
    pub(crate) fn outcome(&self, outcome: &str) -> u64 {
        self.samples.with_label_values(&[outcome]).get()
    }
}
