//! What is worth a line in the log: something that goes on is said once, and again when it comes
//! back after a while of quiet.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Shortest quiet after which something is news again.
const QUIET_MIN: Duration = Duration::from_secs(60);
/// In a long interval, quiet is this many times without it.
const QUIET_INTERVALS: u32 = 3;

/// When each thing happened last.
#[derive(Debug)]
pub(super) struct News<K> {
    last: HashMap<K, Instant>,
    quiet: Duration,
    max: usize,
}

impl<K: Eq + Hash> News<K> {
    /// Remembers at most `max` things, which may happen once in an interval.
    #[must_use]
    pub(super) fn new(interval: Duration, max: usize) -> Self {
        Self { last: HashMap::new(), quiet: QUIET_MIN.max(interval * QUIET_INTERVALS), max }
    }

    /// This happens now: should the log say so?
    pub(super) fn is_news(&mut self, what: K, now: Instant) -> bool {
        if self.last.len() >= self.max && !self.last.contains_key(&what) {
            self.last.retain(|_, last| now.saturating_duration_since(*last) <= self.quiet);
            if self.last.len() >= self.max {
                return false;
            }
        }
        let last = self.last.insert(what, now);
        last.is_none_or(|last| now.saturating_duration_since(last) > self.quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said_once_and_what_comes_back_again() {
        let interval = Duration::from_secs(10);
        let mut news = News::new(interval, 2);
        let mut now = Instant::now();
        for _ in 0..100 {
            let said = (0..30).filter(|_| {
                now += interval;
                news.is_news("overdue", now)
            });
            assert_eq!(said.count(), 1);
            now += QUIET_MIN;
        }
    }

    #[test]
    fn in_a_long_interval_quiet_is_longer() {
        let interval = Duration::from_secs(600);
        let mut news = News::new(interval, 2);
        let now = Instant::now();
        assert!(news.is_news("overdue", now));
        assert!(!news.is_news("overdue", now + interval));
        assert!(news.is_news("overdue", now + interval * 5));
    }

    #[test]
    fn old_news_make_room() {
        let mut news = News::new(Duration::ZERO, 2);
        let now = Instant::now();
        assert!(news.is_news(1, now) && news.is_news(2, now));
        assert!(!news.is_news(3, now), "there is no room");
        assert!(!news.is_news(1, now + QUIET_MIN));
        assert!(news.is_news(3, now + QUIET_MIN * 2), "the second is long over");
        assert_eq!(news.last.len(), 2);
    }
}
