//! The spool in numbers, and what its clocks are good for.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::collect::batch::Batch;

/// How far two clocks may drift apart without one of them having been set: a second, and a
/// thousandth of the time between.
const DRIFT_MS: i64 = 1000;
const DRIFT_PER: i64 = 1000;

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

/// When something was measured, by the wall clock as it was at an anchor of the same boot.
///
/// As long as nobody set the clock this is what it said at the time, to the millisecond: so the same
/// push has the same time however often it is sent.
pub(super) fn wall_of(taken: Moment, anchor: Moment) -> i64 {
    let since = i64::try_from(anchor.mono_ms).unwrap_or(i64::MAX) - i64::try_from(taken.mono_ms).unwrap_or(i64::MAX);
    let wall_ms = anchor.wall_ms.saturating_sub(since);
    let drift = DRIFT_MS + since.saturating_abs() / DRIFT_PER;
    if wall_ms.saturating_sub(taken.wall_ms).saturating_abs() <= drift { taken.wall_ms } else { wall_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_corrected_and_one_that_drifts_is_not() {
        let taken = Moment { wall_ms: 1_000_000, mono_ms: 5_000 };
        let after = |wall_ms, mono_ms| wall_of(taken, Moment { wall_ms, mono_ms });
        assert_eq!(after(1_010_000, 15_000), 1_000_000);
        assert_eq!(after(1_010_900, 15_000), 1_000_000, "it was slewed a little");
        assert_eq!(after(1_790_000_000_000, 15_000), 1_789_999_990_000, "it was set from 1970");
        assert_eq!(after(410_000, 15_000), 400_000, "it was set back");
        assert_eq!(after(1_000_000 + 3_600_000 + 3_000, 3_605_000), 1_000_000, "an hour of drift");
        let _no_overflow = (after(i64::MIN, u64::MAX), after(i64::MAX, 0));
    }

    #[test]
    fn the_reasons_are_those_of_the_protocol() {
        for why in Lost::ALL {
            assert!(protocol::limits::LOST_REASONS.contains(&why.as_str()), "{}", why.as_str());
        }
    }
}
