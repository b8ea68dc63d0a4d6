//! When memory is short: above the soft mark nobody new is let in, above the hard one the newest
//! agents are sent away, a few at a time. Pure: readings and time are passed in.
//!
//! Memory that was freed does not always go back to the system at once, or at all. So shedding
//! goes on only while the process still grows, and never takes more than half of the agents: what
//! they leave behind is used again by the others.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Marks, in per cent of the limit: where each level begins, and below which it ends.
const SOFT: (u64, u64) = (80, 75);
const HARD: (u64, u64) = (95, 90);
/// Between two steps of shedding, so that the first can have its effect.
const STEP_EVERY: Duration = Duration::from_secs(2);
/// In each step goes one agent of so many.
const STEP_PART: usize = 20;
/// So much more, in per mille of the limit, is growth.
const GROWTH: u64 = 5;

/// How short memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is enough.
    #[default]
    Normal,
    /// Nobody new is let in.
    Soft,
    /// The newest are sent away.
    Hard,
}

impl Level {
    const ALL: [Self; 3] = [Self::Normal, Self::Soft, Self::Hard];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

/// Decides from readings.
#[derive(Debug)]
pub struct Machine {
    limit: u64,
    level: Level,
    /// What was read when the last step of shedding was taken, and when.
    step: Option<(u64, Instant)>,
    /// How many agents must stay.
    keep: usize,
}

impl Machine {
    /// For a limit in bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit: limit.max(1), level: Level::Normal, step: None, keep: 0 }
    }

    /// How short memory is.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes a reading; gives how many agents of those that are connected are to go now.
    pub fn look(&mut self, bytes: u64, now: Instant, connected: usize) -> usize {
        let reaches = |percent: u64| u128::from(bytes) * 100 >= u128::from(self.limit) * u128::from(percent);
        let before = self.level;
        self.level = match before {
            _ if reaches(HARD.0) => Level::Hard,
            Level::Hard if reaches(HARD.1) => Level::Hard,
            Level::Soft | Level::Hard if reaches(SOFT.1) => Level::Soft,
            Level::Normal if reaches(SOFT.0) => Level::Soft,
            _ => Level::Normal,
        };
        if self.level != Level::Hard {
            self.step = None;
            return 0;
        }
        if before != Level::Hard {
            self.keep = connected.div_ceil(2);
        }
        // Between the two marks it only waits for what it has done to have its effect.
        if !reaches(HARD.0) {
            return 0;
        }
        if let Some((last, at)) = self.step {
            let grew = bytes >= last.saturating_add(self.limit / 1000 * GROWTH);
            if now.saturating_duration_since(at) < STEP_EVERY || !(grew || reaches(100) && bytes > last) {
                return 0;
            }
        }
        self.step = Some((bytes, now));
        connected.div_ceil(STEP_PART).min(connected.saturating_sub(self.keep))
    }
}

/// The machine, shared: connections read its level while house-keeping feeds it.
#[derive(Debug)]
pub struct Gauge {
    machine: Option<Mutex<Machine>>,
    level: AtomicU8,
    bytes: AtomicU64,
}

impl Gauge {
    /// For a limit in bytes; without one there is always enough.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        let machine = limit.map(|limit| Mutex::new(Machine::new(limit)));
        Self { machine, level: AtomicU8::new(0), bytes: AtomicU64::new(0) }
    }

    /// How short memory is.
    #[must_use]
    pub fn level(&self) -> Level {
        Level::ALL.get(usize::from(self.level.load(Ordering::Relaxed))).copied().unwrap_or_default()
    }

    /// The last reading, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes a reading; gives how many agents are to go, if any.
    pub fn look(&self, bytes: u64, now: Instant, connected: usize) -> Option<usize> {
        let mut machine = self.machine.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let shed = machine.look(bytes, now, connected);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.level.store(machine.level() as u8, Ordering::Relaxed);
        (shed > 0).then_some(shed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1000;

    /// The levels after each of these readings, of 1000.
    fn levels(readings: &[u64]) -> Vec<Level> {
        let (mut machine, now) = (Machine::new(LIMIT), Instant::now());
        let mut level = |bytes| {
            machine.look(bytes, now, 10);
            machine.level()
        };
        readings.iter().map(|bytes| level(*bytes)).collect()
    }

    #[test]
    fn levels_begin_higher_than_they_end() {
        use Level::{Hard, Normal, Soft};
        assert_eq!(levels(&[0, 799, 800, 751, 750, 749, 799]), [Normal, Normal, Soft, Soft, Soft, Normal, Normal]);
        assert_eq!(levels(&[950, 901, 900, 899, 949, 950]), [Hard, Hard, Hard, Soft, Soft, Hard]);
        assert_eq!(levels(&[2000, 0, u64::MAX]), [Hard, Normal, Hard]);
    }

    /// Each agent takes so much; what is freed goes back to the system only in part.
    fn shed_until_quiet(each: u64, goes_back: u64, agents: usize) -> (usize, u64) {
        let (mut machine, mut now) = (Machine::new(LIMIT), Instant::now());
        let (mut connected, mut bytes) = (agents, agents as u64 * each);
        for _ in 0..1000 {
            now += Duration::from_millis(250);
            let shed = machine.look(bytes, now, connected);
            connected -= shed;
            bytes -= shed as u64 * each * goes_back / 100;
        }
        (connected, bytes)
    }

    #[test]
    fn a_process_that_stands_still_loses_few_agents() {
        let (left, _) = shed_until_quiet(10, 0, 96);
        assert_eq!(left, 91, "one step; its memory is used again");
        let (left, _) = shed_until_quiet(10, 100, 96);
        assert_eq!(left, 91);
        let (left, _) = shed_until_quiet(10, 0, 200);
        assert_eq!(left, 190, "far over the limit, and not growing");
    }

    #[test]
    fn one_that_grows_and_grows_keeps_half_of_them() {
        let (mut machine, mut now) = (Machine::new(LIMIT), Instant::now());
        let (mut connected, mut bytes, mut steps) = (100, 950, 0);
        for _ in 0..10_000 {
            now += Duration::from_millis(250);
            bytes += 2;
            let shed = machine.look(bytes, now, connected);
            assert!(shed <= 5, "a few at a time");
            connected -= shed;
            steps += usize::from(shed > 0);
        }
        assert_eq!(connected, 50);
        assert!(steps >= 10, "{steps}");
    }

    proptest! {
        /// Whatever is read when: never more than half go, never two steps at once, and nobody
        /// while there is enough.
        #[test]
        fn the_bounds_hold(looks in proptest::collection::vec((0..1500_u64, 0..5000_u64), 1..300)) {
            let (mut machine, start) = (Machine::new(LIMIT), Instant::now());
            let (mut connected, mut elapsed, mut last) = (100, Duration::ZERO, None);
            for (bytes, ms) in looks {
                elapsed += Duration::from_millis(ms);
                let was_hard = machine.level() == Level::Hard;
                let at_begin = connected;
                let shed = machine.look(bytes, start + elapsed, connected);
                if !was_hard && machine.level() == Level::Hard {
                    last = None;
                }
                prop_assert!(shed == 0 || bytes >= 950);
                if shed > 0 {
                    prop_assert!(last.is_none_or(|last| elapsed - last >= STEP_EVERY));
                    last = Some(elapsed);
                }
                connected -= shed;
                prop_assert!(connected * 20 >= at_begin * 18 || shed <= 1, "{shed} of {at_begin}");
                prop_assert_eq!(machine.level() == Level::Normal, bytes < 750 || (machine.level() == Level::Normal && bytes < 800));
            }
        }
    }
}
