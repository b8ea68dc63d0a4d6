//! How long to wait before the next attempt: exponential, with full jitter, and never for long,
//! so that a whole fleet is back within seconds and yet does not come at one moment.

use std::time::Duration;

/// The first wait is drawn from 0 to this.
pub const BASE: Duration = Duration::from_millis(250);
/// No wait is drawn from more than 0 to this.
pub const CAP: Duration = Duration::from_secs(5);
/// No aggregator may send an agent away for longer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait. `jitter` is a random number from 0 to 1; `retry_after` is what the
    /// aggregator asked for: the least that is waited, even beyond the cap.
    pub fn next(&mut self, jitter: f64, retry_after: Duration) -> Duration {
        let ceiling = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        retry_after.min(RETRY_AFTER_MAX) + ceiling.mul_f64(if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) })
    }

    /// Things work again: the next wait is a short one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_cap(jitters in proptest::collection::vec(0.0..=1.0f64, 1..100)) {
            let mut backoff = Backoff::default();
            for jitter in jitters {
                prop_assert!(backoff.next(jitter, Duration::ZERO) <= CAP);
            }
        }

        #[test]
        fn without_luck_waits_only_grow_until_the_cap(failures in 1..60u32) {
            let mut backoff = Backoff::default();
            let mut before = Duration::ZERO;
            for _ in 0..failures {
                let wait = backoff.next(1.0, Duration::ZERO);
                prop_assert!(wait == CAP || wait == before * 2 || before == Duration::ZERO);
                prop_assert!(wait >= before);
                before = wait;
            }
        }

        #[test]
        fn what_the_aggregator_asks_for_is_kept(failures in 0..40u32, jitter: f64, asked_ms in 0..4_000_000u64) {
            let mut backoff = Backoff { failures };
            let asked = Duration::from_millis(asked_ms).min(RETRY_AFTER_MAX);
            let wait = backoff.next(jitter, Duration::from_millis(asked_ms));
            prop_assert!(wait >= asked && wait <= asked + CAP);
        }

        #[test]
        fn after_a_reset_the_first_wait_comes_again(failures in 0..1000u32, jitter in 0.0..=1.0f64) {
            let mut backoff = Backoff { failures };
            backoff.reset();
            prop_assert!(backoff.next(jitter, Duration::ZERO) <= BASE);
        }

        #[test]
        fn every_moment_up_to_the_ceiling_is_possible(jitter in 0.0..=1.0f64) {
            let mut backoff = Backoff { failures: 30 };
            prop_assert_eq!(backoff.next(jitter, Duration::ZERO), CAP.mul_f64(jitter));
        }
    }
}
