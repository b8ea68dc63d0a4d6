//! How many agents are let in each second. After a restart a whole fleet comes at once; who is not
//! let in is told when to come back, spread over the time that the others take. Pure: time and
//! chance are passed in.

use std::time::{Duration, Instant};

/// So many seconds' worth may come at one moment.
const BURST_SECONDS: f64 = 2.0;
/// Nobody is sent away for less than the first and, by the crowd alone, for more than the second.
const AWAY_MIN: Duration = Duration::from_millis(250);
const AWAY_MAX: Duration = Duration::from_secs(30);

/// The pace at which agents are let in.
#[derive(Debug)]
pub struct Admission {
    rate: f64,
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
        Self { rate, level: rate * BURST_SECONDS, away: 0.0, at: now }
    }

    /// May this one come in?
    ///
    /// # Errors
    /// How long it is to stay away. `chance` is a random number from 0 to 1.
    pub fn ask(&mut self, now: Instant, chance: f64) -> Result<(), Duration> {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now.max(self.at);
        self.level = (self.level + seconds * self.rate).min(self.rate * BURST_SECONDS);
        self.away = (self.away - seconds * self.rate).max(0.0);
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
    fn herd(agents: u64, rate: u32) -> (Duration, Duration, u64) {
        let mut random = fastrand::Rng::with_seed(agents);
        let start = Instant::now();
        let mut admission = Admission::new(rate, start);
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
        assert_eq!(herd(1000, 1000).1, Duration::ZERO);
        let (half, all, most) = herd(20_000, 1000);
        assert!(half < Duration::from_secs(20) && all < Duration::from_secs(60), "{half:?} {all:?}");
        assert!(most < 4000, "{most} asked in one second");
        let (_, all, _) = herd(1000, 100);
        assert!(all < Duration::from_secs(30), "{all:?}");
    }
}
