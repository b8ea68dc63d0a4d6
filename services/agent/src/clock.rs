//! The clocks of an agent, read in one place.

use std::time::Duration;

/// The two clocks are not read at one instant: what lies between is no sign that one of them was set.
const BETWEEN_READINGS_MS: u64 = 10;

/// One moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, Unix milliseconds: right or wrong, and it may step.
    pub wall_ms: i64,
    /// A clock that never steps and goes on while the host sleeps, milliseconds from any start.
    pub mono_ms: u64,
}

impl Moment {
    /// How long ago this was, by the clock that never steps.
    #[must_use]
    pub fn age_at(self, now: Self) -> Duration {
        Duration::from_millis(now.mono_ms.saturating_sub(self.mono_ms))
    }

    /// When this was, by the wall clock as it was at another moment of the same boot.
    ///
    /// As long as nobody set the clock this is what it said at the time, to the millisecond: so the
    /// same push has the same time however often it is sent. Slewing makes no difference, because the
    /// clock that never steps is slewed along; where it is not, one that is sent again may differ by that.
    #[must_use]
    pub fn wall_at(self, anchor: Self) -> i64 {
        let wall_ms = self.told_by(anchor);
        if wall_ms.abs_diff(self.wall_ms) <= BETWEEN_READINGS_MS { self.wall_ms } else { wall_ms }
    }

    /// When this was, by the clock that gave the wall time of another moment of the same boot.
    #[must_use]
    pub fn told_by(self, anchor: Self) -> i64 {
        let steady = |moment: Self| i64::try_from(moment.mono_ms).unwrap_or(i64::MAX);
        anchor.wall_ms.saturating_sub(steady(anchor) - steady(self))
    }
}

/// Now.
#[must_use]
pub fn now() -> Moment {
    Moment { wall_ms: lifecycle::clock::unix_ms(), mono_ms: mono_ms() }
}

/// What tells this boot of the host from all others: the steady clock begins anew with each. Where
/// the system has no name for it, each process counts as a boot of its own.
#[must_use]
pub fn boot(random: u64) -> u64 {
    let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let bits = u128::from_str_radix(&name.trim().replace('-', ""), 16);
    // Half of a random number is one.
    bits.map_or(random, |bits| u64::try_from(bits >> 64).unwrap_or(random))
}

/// Time since boot, sleep included: what was measured before a laptop slept must not look fresh
/// when it wakes.
#[cfg(unix)]
fn mono_ms() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    // The one of the two that goes on during sleep is not the same on all systems.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1000 + nanos / 1_000_000
}

/// Time since the first call; what the standard library reads on Windows goes on during sleep.
#[cfg(not(unix))]
fn mono_ms() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_however_little_is_corrected() {
        let taken = Moment { wall_ms: 1_000_000, mono_ms: 5_000 };
        let after = |wall_ms, mono_ms| taken.wall_at(Moment { wall_ms, mono_ms });
        assert_eq!(after(1_010_000, 15_000), 1_000_000);
        assert_eq!(after(1_010_003, 15_000), 1_000_000, "the clocks were not read at one instant");
        assert_eq!(after(1_010_900, 15_000), 1_000_900, "it was set by less than a second");
        assert_eq!(after(1_000_000 + 3_600_000 - 3_000, 3_605_000), 997_000, "an hour later");
        assert_eq!(after(1_790_000_000_000, 15_000), 1_789_999_990_000, "it was set from 1970");
        assert_eq!(after(410_000, 15_000), 400_000, "it was set back");
        assert_eq!(after(2_000_000, 4_000), 2_001_000, "the anchor is the earlier one");
        let _no_overflow = (after(i64::MIN, u64::MAX), after(i64::MAX, 0));
    }
}
