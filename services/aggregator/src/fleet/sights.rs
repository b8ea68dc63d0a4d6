//! When an agent's series stood on the page: what a scrape may have seen, and so what must not be
//! written to the scraper's database afterwards.
//!
//! A series that stands there frozen (its link stalls, its connection has just broken) is scraped
//! with its last value. A late sample measured in that time has a higher one, and lies between two
//! scrapes of the lower: a counter that begins anew, where it did not. So what was measured while an
//! agent could be seen is never written; what was measured before it was first shown, or after it
//! had left the page, is.
//!
//! Times are Unix milliseconds of our wall clock. What is not known counts as seen.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Times that are kept for each agent. When there are more, the oldest are taken to be one.
const SIGHTS_MAX: usize = 32;
/// How far the clock of whoever scrapes may be from ours: a scrape bears the time of his.
const MARGIN_MS: i64 = 1_000;

/// When one agent could be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sights {
    /// Nothing is known of the time before.
    #[serde(default)]
    unknown_before: Option<i64>,
    /// From the measurement that was shown first to when the series left, in order.
    #[serde(default)]
    over: VecDeque<(i64, i64)>,
    /// Since when it can be seen now.
    #[serde(default)]
    since: Option<i64>,
}

impl Sights {
    /// Something that was measured at this time is shown.
    pub(crate) fn begin(&mut self, measured_ms: i64) {
        // A clock that was set back must not leave out what was seen before it.
        self.since = Some(self.since.map_or(measured_ms, |since| since.min(measured_ms)));
    }

    /// The series have left the page at this time.
    pub(crate) fn end(&mut self, left_ms: i64) {
        let Some(since) = self.since.take() else { return };
        self.add(since, left_ms.max(since));
    }

    /// It may have been seen between these times.
    pub(crate) fn add(&mut self, from_ms: i64, until_ms: i64) {
        self.over.push_back((from_ms, until_ms));
        while self.over.len() > SIGHTS_MAX {
            if let Some((_, until_ms)) = self.over.pop_front() {
                self.know_nothing_before(until_ms);
            }
        }
    }

    /// What is earlier than this is not known.
    pub(crate) fn know_nothing_before(&mut self, at_ms: i64) {
        self.unknown_before = Some(self.unknown_before.map_or(at_ms, |before| before.max(at_ms)));
    }

    /// Could a scrape see the agent when this was measured?
    pub(crate) fn covers(&self, measured_ms: i64) -> bool {
        let from = measured_ms.saturating_add(MARGIN_MS);
        let until = measured_ms.saturating_sub(MARGIN_MS);
        self.unknown_before.is_some_and(|before| until < before)
            || self.since.is_some_and(|since| since <= from)
            || self.over.iter().any(|(began, ended)| *began <= from && until <= *ended)
    }

    /// The end of all that is known: what is earlier must not be believed of a name that was
    /// forgotten.
    pub(crate) fn last_ms(&self) -> Option<i64> {
        self.over.iter().map(|(_, ended)| *ended).chain(self.unknown_before).chain(self.since).max()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_measured_in_sight_is_covered_with_a_margin() {
        let mut sights = Sights::default();
        assert!(!sights.covers(i64::MIN) && !sights.covers(i64::MAX));
        sights.begin(10_000);
        sights.begin(15_000);
        sights.end(30_000);
        sights.end(99_000);
        sights.begin(60_000);
        for (at, expected) in [
            (8_999, false),
            (9_000, true),
            (31_000, true),
            (31_001, false),
            (58_999, false),
            (59_000, true),
            (1_000_000, true),
        ] {
            assert_eq!(sights.covers(at), expected, "{at}");
        }
    }

    #[test]
    fn what_is_not_known_counts_as_seen() {
        let mut sights = Sights::default();
        sights.know_nothing_before(5_000);
        sights.know_nothing_before(4_000);
        assert!(sights.covers(i64::MIN) && sights.covers(5_999) && !sights.covers(6_000));
    }

    proptest! {
        /// Against a model that keeps every sight: too much may be covered after an overflow, never
        /// too little, and nothing that is newer than all that was given up.
        #[test]
        fn nothing_seen_is_ever_forgotten(
            steps in proptest::collection::vec((1..50_i64, 1..50_i64), 0..100),
            asked in proptest::collection::vec(0..6_000_i64, 20),
        ) {
            let (mut sights, mut all, mut now) = (Sights::default(), Vec::new(), 0);
            for (hidden, shown) in steps {
                let from = now + hidden * 1_000;
                now = from + shown * 1_000;
                sights.begin(from);
                sights.end(now);
                all.push((from, now));
            }
            let kept_from = all.len().saturating_sub(SIGHTS_MAX);
            let given_up = all[..kept_from].last().map_or(i64::MIN, |(_, until)| *until + MARGIN_MS);
            for at in asked.into_iter().map(|at| at * 1_000 - 3) {
                let is_seen = all.iter().any(|(from, until)| (from - MARGIN_MS..=until + MARGIN_MS).contains(&at));
                prop_assert!(sights.covers(at) || !is_seen, "{} was seen", at);
                prop_assert!(!sights.covers(at) || is_seen || at < given_up, "{} was not seen", at);
            }
            let again: Sights = serde_json::from_str(&serde_json::to_string(&sights).unwrap()).unwrap();
            prop_assert_eq!(again, sights);
        }
    }
}
