//! The clocks of an agent, read in one place.

use std::time::Duration;

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
