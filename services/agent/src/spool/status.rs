//! The spool in numbers, and what its clocks are good for.

use std::collections::BTreeMap;

use crate::clock::Moment;

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
    /// How often something on the disk could not be read.
    pub damages: u64,
    /// Samples lost in this session, in the order of [`Lost::ALL`].
    pub lost: [u64; Lost::ALL.len()],
}

impl Status {
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
