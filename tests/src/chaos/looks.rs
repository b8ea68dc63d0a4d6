//! What somebody saw who looked at the page again and again, as a Prometheus does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::oracle::SLACK_MS;
use super::real;
use crate::page::Page;
use crate::sim::{Fate, Tick, frames};

/// Less than the second for which an ack waits for the sync of its vital signs.
const HELD: Duration = Duration::from_millis(900);

/// One look at the page, or what should have been one.
#[derive(Debug, Clone)]
pub struct Look {
    /// When it was asked for, and when it was read.
    pub asked_ms: i64,
    /// When it was read whole.
    pub read_ms: i64,
    /// There was one.
    pub is_page: bool,
    /// How many acks of this aggregator process did not wait for the disk, so far.
    pub unsynced_acks: f64,
    /// Each agent's counters, by their label `k`, and its vital sign as number 0 of none.
    pub agents: BTreeMap<String, Shown>,
}

/// What a page says of one agent.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The vital sign, which is the number of the measurement.
    pub tick: Option<f64>,
    /// The counters, by `k`.
    pub counters: BTreeMap<u64, f64>,
    /// One of these stands there twice.
    pub is_twice: bool,
    /// When its text file was written, of a real agent.
    pub written: Option<f64>,
    /// The time that the page gives, in exact mode.
    pub at_ms: Option<i64>,
}

impl Look {
    /// One that nothing came of.
    #[must_use]
    pub fn missed(asked_ms: i64, read_ms: i64) -> Self {
        Self { asked_ms, read_ms, is_page: false, unsynced_acks: 0.0, agents: BTreeMap::new() }
    }

    /// Reads a page.
    #[must_use]
    pub fn of(page: &Page, asked_ms: i64, read_ms: i64) -> Self {
        let mut agents = BTreeMap::<String, Shown>::new();
        for sample in page.of(frames::VITAL) {
            let shown = agents.entry(sample.label("instance").to_owned()).or_default();
            shown.is_twice |= shown.tick.is_some();
            (shown.tick, shown.at_ms) = (Some(sample.value), sample.timestamp_ms);
        }
        for sample in page.of(frames::COUNTER) {
            if let (Some(shown), Ok(k)) = (agents.get_mut(sample.label("instance")), sample.label("k").parse()) {
                shown.is_twice |= shown.counters.insert(k, sample.value).is_some();
            }
        }
        for sample in page.of(real::COUNTER) {
            let shown = agents.entry(sample.label("instance").to_owned()).or_default();
            (shown.written, shown.at_ms) = (Some(sample.value), sample.timestamp_ms);
        }
        let unsynced_acks = page.of("fleetgauge_history_unsynced_acks_total").map(|sample| sample.value).sum();
        Self { asked_ms, read_ms, is_page: true, unsynced_acks, agents }
    }
}

/// One of an agent's series.
#[derive(Debug, Clone, Copy)]
pub enum Series {
    /// The vital sign of a simulated one.
    Vital,
    /// Its counter with this `k`.
    Counter(u64),
    /// The counter of a real one.
    Written,
}

impl Series {
    /// All of a simulated agent that has so many counters.
    pub fn of_sim(counters: usize) -> impl Iterator<Item = Self> {
        std::iter::once(Self::Vital).chain((0..counters as u64).map(Self::Counter))
    }

    /// Its labels, of this agent, as everybody sees them.
    #[must_use]
    pub fn labels(self, agent: &str) -> BTreeMap<String, String> {
        let (name, k) = match self {
            Self::Vital => (frames::VITAL, None),
            Self::Counter(k) => (frames::COUNTER, Some(k.to_string())),
            Self::Written => (real::COUNTER, None),
        };
        let labels = [("__name__", name), ("instance", agent), ("job", "node")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        labels.into_iter().chain(k.map(|k| ("k".to_owned(), k))).collect()
    }

    /// What a page shows of it.
    #[must_use]
    pub fn shown(self, shown: &Shown) -> Option<f64> {
        match self {
            Self::Vital => shown.tick,
            Self::Counter(k) => shown.counters.get(&k).copied(),
            Self::Written => shown.written,
        }
    }

    /// How many times the number of its measurement a value is.
    #[must_use]
    pub fn factor(self) -> f64 {
        match self {
            Self::Vital | Self::Written => 1.0,
            #[expect(clippy::cast_precision_loss, reason = "a few")]
            Self::Counter(k) => (k + 1) as f64,
        }
    }
}

/// A series as a Prometheus has it that scraped these pages and took this remote write.
#[must_use]
pub fn timeline(name: &str, series: Series, looks: &[Look], remote: &BTreeMap<i64, f64>) -> BTreeMap<i64, f64> {
    let mut line = remote.clone();
    for look in looks {
        let Some(shown) = look.agents.get(name) else { continue };
        if let Some(value) = series.shown(shown) {
            line.entry(shown.at_ms.unwrap_or(look.asked_ms)).or_insert(value);
        }
    }
    line
}

/// For how long at most nobody tried to look between these times, beyond what a look may take: a machine
/// that is busy with other things keeps who looks from it, too.
#[must_use]
pub fn longest_pause(looks: &[Look], from_ms: i64, until_ms: i64) -> i64 {
    let within = looks.iter().map(|look| look.asked_ms).filter(|asked| (from_ms..=until_ms).contains(asked));
    let times: Vec<i64> = std::iter::once(from_ms).chain(within).chain([until_ms]).collect();
    let pause = times.iter().zip(times.iter().skip(1)).map(|(asked, next)| next - asked).max();
    (pause.unwrap_or_default() - 2 * SLACK_MS).max(0)
}

/// Was this taken off the page again before anybody looked, or did the process that showed it end before?
/// Nobody promises what lies between two looks.
#[must_use]
pub fn is_unseen(tick: &Tick, looks: &[Look], lives: &[(i64, i64)], gap_max_ms: i64) -> bool {
    // A look before the ack may have come before it was shown.
    let acked_ms = tick.acked_ms();
    let next = looks.iter().find(|look| look.is_page && look.asked_ms >= acked_ms);
    let is_seen = |look: &Look| {
        let is_one_life = lives.iter().any(|(from, until)| *from <= acked_ms && look.read_ms <= *until);
        is_one_life && look.asked_ms - tick.at_ms <= gap_max_ms
    };
    tick.fate == Fate::Live && !next.is_some_and(is_seen)
}

/// May the ack of this live push be one that did not wait for the disk any longer? That is allowed, and
/// counted: only where the process that gave it says so, or has said nothing since then. What a `welcome`
/// says is on the disk always.
#[must_use]
pub fn may_be_unsynced(tick: &Tick, looks: &[Look], lives: &[(i64, i64)]) -> bool {
    if tick.fate != Fate::Live || tick.is_welcomed || tick.acked_after < HELD {
        return false;
    }
    let acked_ms = tick.acked_ms();
    let Some((from, until)) = lives.iter().find(|(from, until)| (*from..=*until).contains(&acked_ms)) else {
        return false;
    };
    let of_life = || looks.iter().filter(|look| look.is_page && look.asked_ms >= *from && look.read_ms <= *until);
    let before = of_life().rfind(|look| look.read_ms < tick.at_ms).map_or(0.0, |look| look.unsynced_acks);
    of_life().find(|look| look.asked_ms >= acked_ms).is_none_or(|look| look.unsynced_acks > before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_have_seen_is_not_missed() {
        let tick = |at_ms, fate| Tick { fate, ..Tick::measured(at_ms, Duration::ZERO) };
        let seen = |asked_ms| Look { is_page: true, ..Look::missed(asked_ms, asked_ms) };
        let looks = [seen(10_100), Look::missed(12_000, 12_000), seen(13_000), seen(14_000)];
        // Another one looks at 14 s.
        let lives = [(0, 13_500), (13_600, i64::MAX)];
        for (at_ms, fate, expected) in [
            (10_000, Fate::Live, false),
            (10_900, Fate::Live, true),
            (10_900, Fate::Late, false),
            (11_000, Fate::Live, false),
            (13_100, Fate::Live, true),
        ] {
            assert_eq!(is_unseen(&tick(at_ms, fate), &looks, &lives, 2000), expected, "{at_ms} {fate:?}");
        }
    }

    #[test]
    fn an_ack_without_a_sync_is_believed_of_a_process_that_says_so() {
        let look = |asked_ms, unsynced_acks| Look { is_page: true, unsynced_acks, ..Look::missed(asked_ms, asked_ms) };
        let looks = [look(9_000, 3.0), look(10_500, 3.0), look(12_000, 4.0), look(15_000, 4.0)];
        let lives = [(8_000, 16_000), (20_000, i64::MAX)];
        let tick = |at_ms, acked_after| Tick {
            fate: Fate::Live,
            acked_after: Duration::from_millis(acked_after),
            ..Tick::measured(at_ms, Duration::ZERO)
        };
        for (tick, expected) in [
            (tick(10_000, 1_000), true),
            (tick(10_000, 800), false),
            (Tick { is_welcomed: true, ..tick(10_000, 1_000) }, false),
            (Tick { fate: Fate::Late, ..tick(10_000, 1_000) }, false),
            (tick(9_001, 1_000), false),
            (tick(13_000, 1_000), false),
            (tick(14_500, 1_000), true),
            (tick(16_500, 1_000), false),
        ] {
            assert_eq!(may_be_unsynced(&tick, &looks, &lives), expected, "{tick:?}");
        }
    }
}
