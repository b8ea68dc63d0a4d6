//! How many agents are let in each second. After a restart a whole fleet comes at once; who is not
//! let in is told when to come back, spread over the time that the others take. Pure: time and
//! chance are passed in.

use std::time::{Duration, Instant};

/// So many seconds' worth may come at one moment.
const BURST_SECONDS: f64 = 2.0;
/// A single sender gets in so many of all that may come, in the long run.
const SENDER_PART: f64 = 0.25;
/// Nobody is sent away for less than the first and, by the crowd alone, for more than the second.
const AWAY_MIN: Duration = Duration::from_millis(250);
const AWAY_MAX: Duration = Duration::from_secs(30);

/// The pace at which agents are let in.
#[derive(Debug)]
pub struct Admission {
    rate: f64,
    /// So many may come at one moment.
    burst: f64,
    level: f64,
    /// Who was sent away and has not had its turn since, about.
    away: f64,
    at: Instant,
}

impl Admission {
    /// So many each second.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        let rate = f64::from(per_second);
        Self::full(rate, rate * BURST_SECONDS, now)
    }

    /// A single sender's part where so many are let in each second of all: a quarter of them, and as
    /// many as come in a second at one moment.
    #[must_use]
    pub fn of_sender(per_second: u32, now: Instant) -> Self {
        let rate = f64::from(per_second);
        Self::full(rate * SENDER_PART, rate, now)
    }

    fn full(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, level: burst, away: 0.0, at: now }
    }

    fn flow(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now.max(self.at);
        self.level = (self.level + seconds * self.rate).min(self.burst);
        self.away = (self.away - seconds * self.rate).max(0.0);
    }

    /// Is it as if nobody had come?
    #[must_use]
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.flow(now);
        self.level >= self.burst && self.away <= 0.0
    }

    /// One that might come in did not.
    pub fn give_back(&mut self) {
        self.level = (self.level + 1.0).min(self.burst);
    }

    /// May this one come in?
    ///
    /// # Errors
    /// How long it is to stay away. `chance` is a random number from 0 to 1.
    pub fn ask(&mut self, now: Instant, chance: f64) -> Result<(), Duration> {
        self.flow(now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        self.away += 1.0;
        // As many seconds as it takes to let in all who were sent away, each at a moment of its own.
        let spread = Duration::from_secs_f64(self.away / self.rate).clamp(Duration::from_secs(1), AWAY_MAX);
        Err(AWAY_MIN + spread.mul_f64(chance.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    /// A fleet that comes at one moment and comes back when it is told to, and not later than that
    /// plus its own back-off of up to 5 s; gives when half of it was in, when all were, and how
    /// often anybody asked in the worst second.
    fn herd(agents: u64, mut admission: Admission) -> (Duration, Duration, u64) {
        let mut random = fastrand::Rng::with_seed(agents);
        let start = admission.at;
        let mut asking: BinaryHeap<Reverse<(Duration, u64)>> =
            (0..agents).map(|agent| Reverse((Duration::ZERO, agent))).collect();
        let (mut in_by_now, mut half, mut last) = (0, Duration::ZERO, Duration::ZERO);
        let mut each_second = std::collections::BTreeMap::<u64, u64>::new();
        while let Some(Reverse((at, agent))) = asking.pop() {
            *each_second.entry(at.as_secs()).or_default() += 1;
            match admission.ask(start + at, random.f64()) {
                Ok(()) => {
                    in_by_now += 1;
                    last = at;
                    if in_by_now * 2 >= agents && half.is_zero() {
                        half = at;
                    }
                }
                Err(away) => {
                    asking.push(Reverse((at + away + Duration::from_millis(250).mul_f64(random.f64()), agent)));
                }
            }
        }
        each_second.remove(&0);
        (half, last, each_second.into_values().max().unwrap_or_default())
    }

    #[test]
    fn a_thousand_are_in_at_once_and_twenty_thousand_in_their_turn() {
        let pace = |rate| Admission::new(rate, Instant::now());
        assert_eq!(herd(1000, pace(1000)).1, Duration::ZERO);
        let (half, all, most) = herd(20_000, pace(1000));
        assert!(half < Duration::from_secs(20) && all < Duration::from_secs(60), "{half:?} {all:?}");
        assert!(most < 4000, "{most} asked in one second");
        let (_, all, _) = herd(1000, pace(100));
        assert!(all < Duration::from_secs(30), "{all:?}");
    }

    #[test]
    fn a_thousand_behind_one_address_are_in_at_once_and_more_wait_for_each_other() {
        let pace = || Admission::of_sender(1000, Instant::now());
        assert_eq!(herd(1000, pace()).1, Duration::ZERO);
        let (_, all, _) = herd(5000, pace());
        assert!(all > Duration::from_secs(15) && all < Duration::from_secs(40), "{all:?}");
    }

    #[test]
    fn what_was_given_back_is_there_for_another() {
        let now = Instant::now();
        let mut pace = Admission::new(1, now);
        for _ in 0..10 {
            pace.ask(now, 0.5).unwrap();
            pace.give_back();
        }
        assert!(pace.is_full(now));
        pace.ask(now, 0.5).unwrap();
        pace.ask(now, 0.5).unwrap();
        pace.ask(now, 0.5).unwrap_err();
        assert!(!pace.is_full(now) && pace.is_full(now + Duration::from_secs(3)));
    }
}
