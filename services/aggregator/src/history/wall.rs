//! Can the wall clock be trusted to throw things away? A clock that is years ahead for a minute must
//! not cost a history. It is compared with the monotonic clock, which nobody sets; the two part when
//! the clock is set, and when the machine sleeps. No I/O, no clock of its own.

use std::time::{Duration, Instant};

use crate::fleet::Moment;

/// They may differ by so much since they were last compared.
const TOLERANCE_MS: i64 = 3_600_000;
/// After this time a clock that was set is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The wall clock, as it was when it was last trusted.
#[derive(Debug, Default)]
pub(super) struct Wall {
    trusted: Option<Moment>,
    doubted_since: Option<Instant>,
}

impl Wall {
    /// Can it be trusted now? The first time it is. Says so in the log when that ends.
    pub(super) fn is_trusted(&mut self, now: Moment) -> bool {
        let apart_ms = self.trusted.map_or(0, |then| {
            (now.wall_ms.saturating_sub(then.wall_ms)).saturating_sub(elapsed_ms(then.instant, now.instant))
        });
        if apart_ms.abs() <= TOLERANCE_MS {
            self.trusted = Some(now);
            self.doubted_since = None;
            return true;
        }
        let since = *self.doubted_since.get_or_insert_with(|| {
            tracing::warn!(
                seconds = apart_ms / 1000,
                "the clock jumped: nothing of the history is removed for its age until it is right again, or has been so for a day"
            );
            now.instant
        });
        if now.instant.saturating_duration_since(since) < BELIEVED_AFTER {
            return false;
        }
        tracing::warn!("the clock has been as it is for a day: the age of the history is counted by it again");
        self.trusted = Some(now);
        self.doubted_since = None;
        true
    }
}

/// From the first to the second, which may be before it.
fn elapsed_ms(from: Instant, to: Instant) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    millis(to.saturating_duration_since(from)) - millis(from.saturating_duration_since(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEARS: i64 = 10 * 365 * 24 * HOUR;

    #[test]
    fn a_clock_that_jumps_is_believed_after_a_day() {
        let start = Instant::now();
        let at = |hours: u64, ahead_ms: i64| {
            let wall_ms = 1_700_000_000_000 + i64::try_from(hours).unwrap() * HOUR + ahead_ms;
            Moment { instant: start + Duration::from_secs(hours * 3600), wall_ms }
        };
        let mut wall = Wall::default();
        assert!(wall.is_trusted(at(0, 0)));
        assert!(wall.is_trusted(at(100, HOUR / 2)), "it goes a little wrong");
        assert!(!wall.is_trusted(at(101, YEARS)));
        assert!(wall.is_trusted(at(102, 0)), "it is right again");
        assert!(!wall.is_trusted(at(103, -YEARS)));
        assert!(!wall.is_trusted(at(126, -YEARS)));
        assert!(wall.is_trusted(at(127, -YEARS)), "a day");
        assert!(wall.is_trusted(at(128, -YEARS)));
        assert!(!wall.is_trusted(at(129, 0)));
    }
}
