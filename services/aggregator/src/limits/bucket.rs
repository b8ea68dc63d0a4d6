//! A token bucket: how much a sender may send in the long run, and how long it is held back. Pure:
//! time is passed in.

use std::time::{Duration, Instant};

/// So much may come at once: after a connection begins, everything is declared.
const BURST_SECONDS: f64 = 4.0;
/// A sender that leaves so much unused is under its limit again.
const RELIEF_SECONDS: f64 = 0.25;
/// Who is held back for so long without a break is refused.
pub const OVER_MAX: Duration = Duration::from_secs(30);

/// What one sender may send.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    enforce: bool,
    level: f64,
    at: Instant,
    over_since: Option<Instant>,
}

impl Bucket {
    /// A full one, that `rate` bytes a second flow into. Where it is not enforced nobody waits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub fn new(rate: u64, enforce: bool, now: Instant) -> Self {
        let rate = rate as f64;
        Self { rate, enforce, level: rate * BURST_SECONDS, at: now, over_since: None }
    }

    /// Takes what has come; true: with it the sender goes over its limit.
    #[expect(clippy::cast_precision_loss, reason = "one read has far less than 2^53 bytes")]
    pub fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.refill(now);
        self.level -= bytes as f64;
        if self.level >= 0.0 {
            return false;
        }
        if !self.enforce {
            self.level = 0.0;
        }
        let is_news = self.over_since.is_none();
        self.over_since.get_or_insert(now);
        is_news
    }

    /// How long nothing more may be read.
    #[must_use]
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        Duration::from_secs_f64((-self.level / self.rate).max(0.0))
    }

    /// Has the sender been held back for longer than anybody may be?
    #[must_use]
    pub fn is_hopeless(&self, now: Instant) -> bool {
        self.enforce && self.over_since.is_some_and(|since| now.duration_since(since) >= OVER_MAX)
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now.max(self.at);
        self.level = (self.level + seconds * self.rate).min(self.rate * BURST_SECONDS);
        if self.level >= self.rate * RELIEF_SECONDS {
            self.over_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: u64 = 1000;

    proptest! {
        /// Against what a limit means: a sender is held back exactly when there is a stretch of time,
        /// up to now, in which it sent more than the burst and the rate allow.
        #[test]
        fn a_sender_is_held_back_for_what_it_sent(reads in proptest::collection::vec((0..3000_u64, 1..4000_u32, any::<bool>()), 1..100)) {
            let start = Instant::now();
            let mut bucket = Bucket::new(RATE, true, start);
            let mut now = start;
            let mut taken: Vec<(Instant, f64)> = Vec::new();
            for (idle_ms, bytes, waits) in reads {
                now += Duration::from_millis(idle_ms);
                let since = |from: usize| taken.iter().skip(from).map(|(_, bytes)| bytes).sum::<f64>();
                let too_much = |from: usize| since(from) - (now - taken[from].0).as_secs_f64() * 1000.0 - 4000.0;
                let most = (0..taken.len()).map(too_much).fold(0.0, f64::max);
                let wait = bucket.wait(now);
                prop_assert!((wait.as_secs_f64() * 1000.0 - most).abs() < 0.01, "{wait:?} for {most}");
                if waits {
                    now += wait;
                }
                bucket.take(bytes as usize, now);
                taken.push((now, f64::from(bytes)));
            }
        }
    }

    /// Sends as fast as it is let for so many seconds; gives after how many it was hopeless.
    fn flood(bucket: &mut Bucket, start: Instant, seconds: u64) -> Option<u64> {
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            now += bucket.wait(now).max(Duration::from_millis(1));
            bucket.take(100, now);
            if bucket.is_hopeless(now) {
                return Some((now - start).as_secs());
            }
        }
        None
    }

    #[test]
    fn who_never_slows_down_is_hopeless_and_who_does_is_not() {
        let start = Instant::now();
        // The burst takes 0.04 s at 100 bytes a millisecond.
        assert_eq!(flood(&mut Bucket::new(RATE, true, start), start, 100), Some(30));
        let mut bucket = Bucket::new(RATE, true, start);
        let mut now = start;
        for _ in 0..10 {
            assert_eq!(flood(&mut bucket, now, 20), None);
            now += Duration::from_secs(21);
        }
    }

    #[test]
    fn going_over_is_counted_once_until_there_is_relief() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, true, start);
        assert!(!bucket.take(4000, start));
        assert!(bucket.take(10, start) && !bucket.take(10, start));
        assert_eq!(bucket.wait(start), Duration::from_millis(20));
        let later = start + Duration::from_secs(1);
        assert!(bucket.wait(later).is_zero());
        assert!(bucket.take(2000, later));
    }

    #[test]
    fn what_is_only_counted_holds_nobody_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, false, start);
        assert!(bucket.take(1_000_000, start), "it is counted");
        assert!(bucket.wait(start).is_zero());
        assert_eq!(flood(&mut bucket, start, 100), None);
    }
}
