//! Which aggregator to try next, and after what wait. Pure: time and chance are passed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, RETRY_AFTER_MAX};

/// The aggregators of the list, tried in their order.
#[derive(Debug)]
pub(super) struct Route {
    /// Not before when each may be tried again.
    not_before: Vec<Option<Instant>>,
    /// Which one is next.
    at: usize,
    /// How many were tried since the last wait.
    tried: usize,
    backoff: Backoff,
}

impl Route {
    /// `count` aggregators, the first of them first.
    pub(super) fn new(count: usize) -> Self {
        Self { not_before: vec![None; count], at: 0, tried: 0, backoff: Backoff::default() }
    }

    /// Where to go next and how long to wait before. Within one round through the list there is
    /// no wait; between two rounds there is, with back-off and jitter.
    pub(super) fn next(&mut self, now: Instant, jitter: f64) -> (usize, Duration) {
        let count = self.not_before.len();
        while self.tried < count && self.must_wait(self.at, now) {
            self.tried += 1;
            self.at = (self.at + 1) % count;
        }
        if self.tried < count {
            return (self.at, Duration::ZERO);
        }
        self.tried = 0;
        // The first of those that may be tried soonest.
        let wait_of = |at: usize| self.left(at, now);
        let soonest = (0..count).min_by_key(|at| wait_of(*at)).unwrap_or(0);
        let asked = wait_of(soonest);
        self.at = soonest;
        (soonest, self.backoff.next(jitter, asked))
    }

    fn left(&self, at: usize, now: Instant) -> Duration {
        self.not_before.get(at).copied().flatten().map_or(Duration::ZERO, |then| then.saturating_duration_since(now))
    }

    fn must_wait(&self, at: usize, now: Instant) -> bool {
        self.left(at, now) > Duration::ZERO
    }

    fn hold_off(&mut self, retry_after: Duration, now: Instant) {
        if let Some(not_before) = self.not_before.get_mut(self.at) {
            *not_before = (retry_after > Duration::ZERO).then(|| now + retry_after.min(RETRY_AFTER_MAX));
        }
    }

    fn advance(&mut self) {
        self.tried += 1;
        self.at = (self.at + 1) % self.not_before.len().max(1);
    }

    /// The attempt failed.
    pub(super) fn failed(&mut self, retry_after: Duration, now: Instant) {
        self.hold_off(retry_after, now);
        self.advance();
    }

    /// An aggregator that had taken pushes asked to go: to the next one, or back here later. (One
    /// that only ever sends away has failed: several of them would be a circle without a wait.)
    pub(super) fn moved(&mut self, retry_after: Duration, now: Instant) {
        self.hold_off(retry_after, now);
        self.tried = 0;
        self.advance();
    }

    /// A connection that worked was lost: back to the first of the list, after a short wait, so
    /// that a fleet does not come back at one moment. One that asked for time gets it all the same.
    pub(super) fn lost(&mut self, retry_after: Duration, now: Instant) {
        self.hold_off(retry_after, now);
        self.at = 0;
        self.tried = self.not_before.len();
    }

    /// The connection works.
    pub(super) fn works(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::{BASE, CAP};

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn the_list_is_tried_in_order_then_there_is_a_wait() {
        let now = Instant::now();
        let mut route = Route::new(3);
        for target in 0..3 {
            assert_eq!(route.next(now, 1.0), (target, NONE));
            route.failed(NONE, now);
        }
        assert_eq!(route.next(now, 1.0), (0, BASE));
        route.failed(NONE, now);
        assert_eq!(route.next(now, 1.0), (1, NONE));
    }

    #[test]
    fn a_lost_connection_goes_back_to_the_first_after_a_short_wait() {
        let now = Instant::now();
        let mut route = Route::new(2);
        route.next(now, 1.0);
        route.failed(NONE, now);
        assert_eq!(route.next(now, 1.0), (1, NONE));
        route.works();
        route.lost(NONE, now);
        assert_eq!(route.next(now, 1.0), (0, BASE));
    }

    #[test]
    fn a_lost_connection_that_asked_for_time_gets_it() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut alone = Route::new(1);
        alone.next(now, 1.0);
        alone.works();
        alone.lost(minute, now);
        assert_eq!(alone.next(now, 1.0), (0, minute + BASE));
        let mut route = Route::new(2);
        route.next(now, 1.0);
        route.works();
        route.lost(minute, now);
        assert_eq!(route.next(now, 1.0), (1, BASE), "the other one was asked for nothing");
    }

    #[test]
    fn who_asked_for_time_gets_it() {
        let now = Instant::now();
        let mut route = Route::new(2);
        let minute = Duration::from_secs(60);
        route.next(now, 1.0);
        route.failed(minute, now);
        assert_eq!(route.next(now, 1.0), (1, NONE));
        route.failed(minute * 2, now);
        assert_eq!(route.next(now, 1.0), (0, minute + BASE), "both are to be left alone, the first for less long");
        let later = now + minute + BASE;
        route.failed(minute / 6, later);
        assert_eq!(route.next(later, 1.0), (0, minute / 6 + BASE * 2), "the second is not to be asked yet");
    }

    #[test]
    fn goaway_moves_at_once_or_comes_back_later() {
        let now = Instant::now();
        let mut route = Route::new(2);
        route.next(now, 0.0);
        route.works();
        route.moved(Duration::from_secs(9), now);
        assert_eq!(route.next(now, 0.0), (1, NONE));
        let mut alone = Route::new(1);
        alone.next(now, 0.0);
        alone.moved(Duration::from_secs(9), now);
        assert_eq!(alone.next(now, 0.0), (0, Duration::from_secs(9)));
    }

    #[test]
    fn aggregators_that_only_send_away_are_waited_for() {
        let now = Instant::now();
        let mut route = Route::new(2);
        let mut waited = NONE;
        for _ in 0..20 {
            waited += route.next(now, 1.0).1;
            route.failed(NONE, now);
        }
        assert!(waited > CAP, "{waited:?}");
    }

    #[test]
    fn one_that_never_answers_is_tried_for_ever_and_often() {
        let mut now = Instant::now();
        let mut route = Route::new(1);
        for attempt in 0..1000 {
            let (target, wait) = route.next(now, 1.0);
            assert_eq!(target, 0);
            assert!(wait <= CAP, "attempt {attempt} waits {wait:?}");
            now += wait;
            route.failed(NONE, now);
        }
    }

    #[test]
    fn a_fleet_comes_back_within_ten_seconds_and_not_at_one_moment() {
        let lost = Instant::now();
        let mut random = fastrand::Rng::with_seed(1);
        for outage in [NONE, Duration::from_secs(60)] {
            let up = lost + outage;
            let mut arrivals = [0; 100];
            for _ in 0..1000 {
                let (mut route, mut now) = (Route::new(1), lost);
                route.lost(NONE, now);
                loop {
                    now += route.next(now, random.f64()).1;
                    if now >= up {
                        break;
                    }
                    route.failed(NONE, now);
                }
                arrivals[usize::try_from((now - up).as_millis() / 100).unwrap()] += 1;
            }
            // A restart without an outage is over within a quarter of a second: 400 in a tenth of it.
            let most = if outage == NONE { 500 } else { 60 };
            assert!(arrivals.iter().all(|in_100_ms| *in_100_ms <= most), "{arrivals:?}");
        }
    }
}
