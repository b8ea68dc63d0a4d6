//! When an agent's series may have stood on the page, as far as it can be told from outside: from the
//! looks at it, and from when there was an aggregator. Unless pages say when their values were measured,
//! what came late is not written for just these times, and a margin; docs/operations.md promises the rest.

use super::looks::Look;
use super::oracle::SLACK_MS;
use crate::sim::Tick;

/// What the clock of whoever scrapes may be off by.
const MARGIN_MS: i64 = 1000;
/// How much longer a process may have lived than the next one knows, and how much of its end is missing
/// in the list that it left: both are written every second, and a disk may be slow.
const UNKNOWN_MS: i64 = 3000;

/// The times of one agent, Unix milliseconds, in order, none of which overlap.
#[derive(Debug, Default)]
pub struct Visible(Vec<(i64, i64)>);

impl Visible {
    /// From all looks, which should be `every_ms`, and from when to when there was an aggregator.
    #[must_use]
    pub fn of(name: &str, looks: &[Look], every_ms: i64, lives: &[(i64, i64)]) -> Self {
        let may_be = |look: &Look, next: &Look| {
            let (from, until) = (look.asked_ms, next.read_ms);
            let lived = || lives.iter().any(|(began, ended)| *began <= until && from <= *ended);
            let is_unknown = !look.is_page || !next.is_page || next.asked_ms - look.asked_ms > 2 * every_ms;
            look.agents.contains_key(name) || next.agents.contains_key(name) || (is_unknown && lived())
        };
        let pairs = looks.iter().zip(looks.iter().skip(1)).filter(|(look, next)| may_be(look, next));
        let seen = pairs.map(|(look, next)| (look.asked_ms, next.read_ms));
        // The last one is there still.
        let ends = lives.iter().filter(|(_, ended)| *ended != i64::MAX);
        let ends = ends.map(|(began, ended)| ((ended - UNKNOWN_MS).max(*began), ended + UNKNOWN_MS));
        // Since the last look it may have come; and the first process knows nothing of the time before it.
        let since = looks.last().map(|look| (look.asked_ms, i64::MAX));
        let before = looks.iter().find(|look| look.is_page).map(|look| (0, look.read_ms));
        let mut all: Vec<(i64, i64)> = seen.chain(ends).chain(since).chain(before).collect();
        all.sort_unstable();
        let mut times: Vec<(i64, i64)> = Vec::new();
        for (from, until) in all {
            match times.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => times.push((from, until)),
            }
        }
        Self(times)
    }

    /// Never.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// May it have stood there when this was measured?
    #[must_use]
    pub fn covers(&self, tick: &Tick) -> bool {
        self.with_margin().any(|(from, until)| (from..=until).contains(&tick.at_ms))
    }

    /// With all that is not written because of it.
    pub fn with_margin(&self) -> impl Iterator<Item = (i64, i64)> {
        let margin = MARGIN_MS + SLACK_MS;
        self.0.iter().map(move |(from, until)| (from - margin, until.saturating_add(margin)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::looks::Shown;
    use super::*;

    #[test]
    fn only_what_may_have_been_seen_is_excused() {
        let look = |asked_ms, is_there| {
            let agents = if is_there { vec![("a".to_owned(), Shown::default())] } else { Vec::new() };
            Look { is_page: true, agents: BTreeMap::from_iter(agents), ..Look::missed(asked_ms, asked_ms) }
        };
        let looks: Vec<Look> = (0..120)
            .map(|n| (n * 500, n * 500))
            .map(|(n, at)| match n {
                // It is there for two seconds, then the aggregator is gone for fifteen.
                10_000..=12_000 => look(at, true),
                30_000..45_000 => Look::missed(at, at),
                // One look fails.
                52_000 => Look::missed(at, at),
                _ => look(at, false),
            })
            .collect();
        let lives = [(0, 29_900), (44_900, i64::MAX)];
        let visible = Visible::of("a", &looks, 500, &lives);
        for (at_ms, expected) in [
            (1_900, true),
            (2_100, false),
            (7_400, false),
            (7_600, true),
            (14_400, true),
            (14_600, false),
            (24_800, false),
            (25_000, true),
            (34_800, true),
            (35_000, false),
            (42_000, false),
            (48_000, false),
            (49_400, false),
            (52_000, true),
            (54_600, false),
        ] {
            assert_eq!(visible.covers(&Tick::measured(at_ms, Duration::ZERO)), expected, "{at_ms}");
        }
        assert_eq!(
            visible.0,
            [(0, 0), (9_500, 12_500), (26_900, 32_900), (44_500, 45_000), (51_500, 52_500), (59_500, i64::MAX)]
        );
        assert!(!Visible::never().covers(&Tick::measured(11_000, Duration::ZERO)));
    }
}
