//! The spool in numbers, and what its clocks are good for.

use std::collections::BTreeMap;

use super::notes::Progress;
use super::store::{Store, remember};
use crate::clock::Moment;
use crate::collect::batch::Batch;

/// What the way of a `welcome` may make of the time in it: less than this says nothing of clocks.
const ON_THE_WAY_MS: u64 = 1000;

/// Why samples were lost, as [`protocol::limits::LOST_REASONS`] has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The oldest gave way, or it was too large for any place.
    Full,
    /// It could not be read.
    Damaged,
    /// It could not be written, and memory is full.
    Failed,
    /// The aggregator has no room for it, or would not have it.
    Refused,
    /// The agent stopped, and nothing outlived it.
    Stopped,
}

impl Lost {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Full, Self::Damaged, Self::Failed, Self::Refused, Self::Stopped];

    /// As it stands in the metric and in a push.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "spool_full",
            Self::Damaged => "spool_damaged",
            Self::Failed => "spool_failed",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// The spool in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes of what waits.
    pub bytes: usize,
    /// Pushes that wait.
    pub records: usize,
    /// Most bytes that may wait.
    pub limit: usize,
    /// How long ago the oldest was measured; 0: none waits.
    pub oldest_ms: u64,
    /// Does the disk not take what is to be written?
    pub is_disk_failing: bool,
    /// How often something on the disk could not be read.
    pub damages: u64,
    /// Samples lost in this session, in the order of [`Lost::ALL`].
    pub lost: [u64; Lost::ALL.len()],
}

impl Status {
    /// Writes it as metrics.
    #[expect(clippy::cast_precision_loss, reason = "samples are f64")]
    pub fn report(&self, out: &mut Batch) {
        let help = "Bytes of what waits in the spool.";
        out.gauge("fleetgauge_spool_bytes", help, &[], self.bytes as f64);
        let help = "Most bytes that may wait in the spool; the oldest gives way.";
        out.gauge("fleetgauge_spool_limit_bytes", help, &[], self.limit as f64);
        out.gauge("fleetgauge_spool_records", "Pushes that wait in the spool.", &[], self.records as f64);
        let help = "How long ago the oldest push that waits in the spool was measured; 0: none waits.";
        out.gauge("fleetgauge_spool_oldest_age_seconds", help, &[], self.oldest_ms as f64 / 1000.0);
        let help = "1 while the spool's disk does not take what is to be written, and memory keeps it.";
        out.gauge("fleetgauge_spool_disk_failing", help, &[], f64::from(u8::from(self.is_disk_failing)));
        let help = "Files and parts of files of the spool that could not be read.";
        out.counter("fleetgauge_spool_damaged_total", help, &[], self.damages as f64);
        let help = "Samples that the agent lost, by reason; counted anew with each session of the spool.";
        for (why, samples) in Lost::ALL.iter().zip(self.lost) {
            out.counter("fleetgauge_spool_lost_samples_total", help, &[("reason", why.as_str())], samples as f64);
        }
    }

    /// What a push says of losses: those that there were.
    #[must_use]
    pub fn lost_by_reason(&self) -> BTreeMap<String, u64> {
        let all = Lost::ALL.iter().zip(self.lost).filter(|(_, samples)| *samples > 0);
        all.map(|(why, samples)| (why.as_str().to_owned(), samples)).collect()
    }
}

impl Store {
    /// All of it in numbers.
    pub(super) fn status(&self, now: Moment) -> Status {
        let waiting = || self.segments.iter().flat_map(|segment| &segment.entries).filter(|entry| !entry.is_safe);
        let oldest = waiting().next().map(|entry| entry.head);
        Status {
            bytes: self.segments.iter().map(|segment| segment.len).sum(),
            records: waiting().count(),
            limit: self.limits.all(),
            oldest_ms: oldest.map_or(0, |oldest| {
                let measured_ms = self.measured_ms(oldest.boot, oldest.taken, now);
                u64::try_from(now.wall_ms.saturating_sub(measured_ms)).unwrap_or(0).max(1)
            }),
            is_disk_failing: self.is_disk_failing,
            damages: self.damages,
            lost: Lost::ALL.map(|why| self.progress.lost.get(why.as_str()).copied().unwrap_or(0)),
        }
    }

    /// An aggregator said what time it is.
    pub(super) fn heard(&mut self, aggregator_ms: i64, now: Moment) {
        if aggregator_ms > 0 && self.limits.disk.is_some() {
            remember(&mut self.progress.heard, self.boot, Moment { wall_ms: aggregator_ms, ..now });
            self.is_progress_new = true;
        }
    }

    /// When something was measured, by the wall clock as it is now.
    pub(super) fn measured_ms(&self, boot: u64, taken: Moment, now: Moment) -> i64 {
        if boot == self.boot {
            return taken.wall_at(now);
        }
        let Progress { boots, heard, .. } = &self.progress;
        let wall_ms = boots.get(&boot).map_or(taken.wall_ms, |anchor| taken.wall_at(*anchor));
        // The aggregator corrects it by how this clock differs from its own. In another boot the clock
        // may have been another one: then what counts is what the aggregator's said in each.
        let (Some(then), Some(here)) = (heard.get(&boot), heard.get(&self.boot)) else { return wall_ms };
        let ahead = now.told_by(*here).saturating_sub(now.wall_ms);
        let measured_ms = taken.told_by(*then).saturating_sub(ahead);
        if measured_ms.abs_diff(wall_ms) < ON_THE_WAY_MS { wall_ms } else { measured_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_are_those_of_the_protocol() {
        for why in Lost::ALL {
            assert!(protocol::limits::LOST_REASONS.contains(&why.as_str()), "{}", why.as_str());
        }
    }
}
