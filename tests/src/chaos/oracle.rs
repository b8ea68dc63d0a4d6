//! What was acknowledged is an obligation: pure functions that hold what is found at the end against
//! what the simulated agents know to be true. Each gives what is wrong, in words; nothing: all is well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::looks::Look;
use super::visible::Visible;
use crate::sim::{Fate, Tick};

/// Most faults of one kind that are told.
const TOLD_MAX: usize = 5;
/// What a machine that is busy with other things may be late by.
pub(super) const SLACK_MS: i64 = 1000;
/// How wrong the time of a measurement may be after its clock was corrected.
const CLOCK_MS: i64 = 250;

/// Whole milliseconds by which something that was acknowledged surely was: of when it was measured, and of
/// how long that took, a part is cut off.
const CUT_OFF_MS: i64 = 2;

/// What a check found.
#[derive(Debug, Default)]
pub struct Faults {
    told: Vec<String>,
    more: usize,
}

impl Faults {
    pub(super) fn add(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        } else {
            self.more += 1;
        }
    }

    /// Nothing, or what is wrong.
    ///
    /// # Errors
    /// When something is.
    pub fn result(self) -> Result<(), String> {
        match (self.told.is_empty(), self.more) {
            (true, _) => Ok(()),
            (false, 0) => Err(self.told.join("\n")),
            (false, more) => Err(format!("{}\nand {more} more", self.told.join("\n"))),
        }
    }
}

/// The measurement that a value is of.
fn tick_of(truth: &[Tick], value: f64) -> Option<&Tick> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared with itself right after")]
    let number = value as usize;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let is_whole = number as f64 == value;
    truth.get(number.checked_sub(1)?).filter(|_| is_whole)
}

/// The history has a point for every acknowledged measurement, or another one of the same second (it keeps
/// one of each), at its time; and no point that was not measured. `excused` are those that were
/// acknowledged without a sync, which is allowed and counted.
pub fn history(name: &str, truth: &[Tick], points: &BTreeMap<i64, f64>, excused: impl Fn(&Tick) -> bool) -> Faults {
    let mut faults = Faults::default();
    for (second, value) in points {
        let is_right =
            tick_of(truth, *value).is_some_and(|tick| (second * 1000 + 500 - tick.at_ms).abs() <= 500 + SLACK_MS);
        if !is_right {
            let tick = tick_of(truth, *value);
            faults.add(|| format!("{name}: the history has {value} at {second} s, which is of {tick:?}"));
        }
    }
    for (number, tick) in (1_u64..).zip(truth) {
        let second = tick.at_ms.div_euclid(1000);
        let is_kept =
            [-CLOCK_MS, 0, CLOCK_MS].iter().any(|off| points.contains_key(&(tick.at_ms + off).div_euclid(1000)));
        if tick.fate != Fate::Open && !is_kept && !excused(tick) {
            let around: Vec<_> = points.range(second - 2..=second + 2).collect();
            faults.add(|| format!("{name}: measurement {number}, {tick:?}, is not in the history: {around:?}"));
        }
    }
    faults
}

/// Every page shows one whole push of the agent, none that is older than `age_max_ms`, and never one
/// that is older than on the page before.
pub fn pages(name: &str, truth: &[Tick], looks: &[Look], counters: usize, age_max_ms: i64) -> Faults {
    let mut faults = Faults::default();
    let mut before = 0.0;
    for look in looks {
        let Some(shown) = look.agents.get(name) else { continue };
        let Some(number) = shown.tick else { continue };
        let Some(tick) = tick_of(truth, number) else {
            faults.add(|| format!("{name}: the page shows {number}, which was never measured"));
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let is_whole = shown.counters.iter().all(|(k, value)| *value == number * (k + 1) as f64);
        if !is_whole || shown.is_twice || shown.counters.len() != counters {
            faults.add(|| format!("{name}: a page shows parts of several pushes: {shown:?}"));
        }
        if number < before {
            faults.add(|| format!("{name}: the page shows {number} after {before}"));
        }
        before = number;
        let age = look.asked_ms - tick.at_ms;
        if age > age_max_ms + SLACK_MS {
            faults.add(|| format!("{name}: the page shows what was measured {age} ms before"));
        }
        if shown.at_ms.is_some_and(|at| (at - tick.at_ms).abs() > SLACK_MS) {
            faults.add(|| format!("{name}: the page says {:?} of {tick:?}", shown.at_ms));
        }
    }
    faults
}

/// The counter never falls, every value is of its time, and between the first and the last
/// acknowledged measurement no more of them are missing than fit into `gap_max_ms`. (So that resets
/// are 0, and what it grew by is the truth, over the whole range and every part of it.) On a machine
/// that is busy with other things little is measured, and that is no gap; nor is what was shown when
/// nobody looked, `unseen`.
pub fn counter(
    name: &str,
    truth: &[Tick],
    line: &BTreeMap<i64, f64>,
    [interval_ms, gap_max_ms, age_max_ms]: [i64; 3],
    unseen: impl Fn(&Tick) -> bool,
) -> Faults {
    let mut faults = Faults::default();
    for ((at, value), (next_at, next)) in line.iter().zip(line.iter().skip(1)) {
        if next < value {
            faults.add(|| format!("{name}: a reset: {value} at {at}, then {next} at {next_at}"));
        }
        let between =
            |tick: &&Tick| tick.fate != Fate::Open && (at + 1..*next_at).contains(&tick.at_ms) && !unseen(tick);
        let missing: Vec<&Tick> = truth.iter().filter(between).collect();
        if i64::try_from(missing.len()).unwrap_or(i64::MAX) > (gap_max_ms + SLACK_MS) / interval_ms {
            faults.add(|| format!("{name}: nothing between {at} and {next_at}, where this was measured: {missing:?}"));
        }
    }
    for (at, value) in line {
        let is_right = tick_of(truth, *value)
            .is_some_and(|tick| (tick.at_ms - SLACK_MS..=tick.at_ms + age_max_ms + SLACK_MS).contains(at));
        if !is_right {
            let tick = tick_of(truth, *value);
            faults.add(|| format!("{name}: {value} at {at}, which is of {tick:?}"));
        }
    }
    let acknowledged = |tick: &&Tick| tick.fate != Fate::Open && !unseen(tick);
    let (first, last) = (truth.iter().find(acknowledged), truth.iter().rfind(acknowledged));
    let (Some(first), Some(last)) = (first, last) else { return faults };
    let (Some((begins, _)), Some((ends, _))) = (line.first_key_value(), line.last_key_value()) else {
        faults.add(|| format!("{name}: nothing at all"));
        return faults;
    };
    if begins - first.at_ms > gap_max_ms + SLACK_MS || last.at_ms - ends > gap_max_ms + SLACK_MS {
        faults.add(|| format!("{name}: from {begins} to {ends}, where the truth is {first:?} to {last:?}"));
    }
    faults
}

/// What came late and was acknowledged is written, to the sample; but for what may have been seen, where
/// that is left out.
pub fn late(name: &str, truth: &[Tick], line: &BTreeMap<i64, f64>, seen: &Visible) -> Faults {
    let mut faults = Faults::default();
    let there: BTreeSet<u64> = line.values().map(|value| value.to_bits()).collect();
    for (number, tick) in (1_u32..).zip(truth) {
        if tick.fate == Fate::Late && !there.contains(&f64::from(number).to_bits()) && !seen.covers(tick) {
            faults
                .add(|| format!("{name}: measurement {number}, {tick:?}, is nowhere; it may have been seen {seen:?}"));
        }
    }
    faults
}

/// What was acknowledged as live stands on the page, or something newer: on each that was asked for
/// after the ack and before an interval was over. So long it stands there even if its connection
/// breaks at once.
pub fn shown(name: &str, truth: &[Tick], looks: &[Look], lives: &[(i64, i64)], interval_ms: i64) -> Faults {
    let mut faults = Faults::default();
    let live = truth.iter().enumerate().filter(|(_, tick)| tick.fate == Fate::Live && !tick.is_welcomed);
    for (at, tick) in live {
        let (acked_ms, until) = (tick.acked_ms() + CUT_OFF_MS, tick.at_ms + interval_ms);
        let from = looks.partition_point(|look| look.asked_ms <= acked_ms);
        let asked = looks.iter().skip(from).take_while(|look| look.read_ms <= until).filter(|look| look.is_page);
        for look in asked {
            let is_same_life = lives.iter().any(|(from, until)| *from <= acked_ms && look.read_ms <= *until);
            let shown = look.agents.get(name).and_then(|shown| shown.tick);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            if is_same_life && shown.is_none_or(|shown| shown < (at + 1) as f64) {
                faults.add(|| format!("{name}: {tick:?} is acknowledged, and the page shows {shown:?} after it"));
            }
        }
    }
    faults
}

/// How long the slowest live push since then took to be acknowledged.
#[must_use]
pub fn longest_wait(sim: &crate::sim::Sim, since: std::time::Instant) -> Duration {
    let before = sim.mono_at(since);
    let live = |tick: &&Tick| tick.fate == Fate::Live && !tick.is_welcomed && tick.mono > before;
    sim.look(|state| state.ticks().iter().filter(live).map(|tick| tick.acked_after).max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::looks::{Series, Shown, timeline};
    use super::*;

    /// Measured every 250 ms from 10,000 on; acknowledged are all but the last.
    fn truth(ticks: u64) -> Vec<Tick> {
        let tick = |number: u64| Tick {
            fate: if number + 1 == ticks { Fate::Open } else { Fate::Live },
            ..Tick::measured(10_000 + 250 * i64::try_from(number).unwrap(), Duration::from_millis(250 * number))
        };
        (0..ticks).map(tick).collect()
    }

    fn wrong(faults: Faults) -> String {
        faults.result().expect_err("something is wrong")
    }

    #[test]
    fn a_hole_and_an_invention_in_the_history_are_seen() {
        let truth = truth(41);
        let good: BTreeMap<i64, f64> = (10..20).map(|second| (second, (second - 10) as f64 * 4.0 + 4.0)).collect();
        history("a", &truth, &good, |_| false).result().unwrap();
        let mut hole = good.clone();
        hole.retain(|second, _| !(14..=16).contains(second));
        assert!(wrong(history("a", &truth, &hole, |_| false)).contains("is not in the history"));
        history("a", &truth, &hole, |tick| (14_000..17_000).contains(&tick.at_ms)).result().unwrap();
        let mut lost = good.clone();
        lost.remove(&15);
        assert!(wrong(history("a", &truth, &lost, |_| false)).contains("is not in the history"), "one second");
        for (second, value) in [(12, 99.0), (12, 0.0), (12, 3.5), (19, 1.0)] {
            let mut bad = good.clone();
            bad.insert(second, value);
            assert!(wrong(history("a", &truth, &bad, |_| false)).contains("the history has"), "{second} {value}");
        }
    }

    fn look(at_ms: i64, number: f64, torn: f64) -> Look {
        let shown = Shown {
            tick: Some(number),
            counters: BTreeMap::from([(0, number), (1, number * 2.0 + torn)]),
            ..Shown::default()
        };
        let agents = BTreeMap::from([("a".to_owned(), shown)]);
        Look { is_page: true, agents, ..Look::missed(at_ms, at_ms) }
    }

    fn change(mut look: Look, change: fn(&mut Shown)) -> Look {
        look.agents.values_mut().for_each(change);
        look
    }

    #[test]
    fn a_page_that_is_torn_frozen_or_goes_back_is_seen() {
        let truth = truth(41);
        pages("a", &truth, &[look(10_100, 1.0, 0.0), look(12_100, 9.0, 0.0)], 2, 3000).result().unwrap();
        for (bad, says) in [
            (vec![look(10_100, 1.0, 1.0)], "parts"),
            (vec![look(20_100, 9.0, 0.0)], "ms before"),
            (vec![look(10_100, 9.0, 0.0), look(10_200, 8.0, 0.0)], "after"),
            (vec![look(10_100, 900.0, 0.0)], "never measured"),
            (vec![change(look(10_100, 1.0, 0.0), |shown| shown.is_twice = true)], "parts"),
            (vec![change(look(10_100, 1.0, 0.0), |shown| shown.counters.retain(|k, _| *k == 0))], "parts"),
        ] {
            let said = wrong(pages("a", &truth, &bad, 2, 3000));
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn what_is_acknowledged_and_not_shown_is_seen() {
        let mut truth = truth(41);
        truth.iter_mut().for_each(|tick| tick.acked_after = Duration::from_millis(20));
        let lives = [(0, 12_060), (13_000, i64::MAX)];
        // The measurement of 12.0 s is number 9, that of 13.0 s number 13.
        let shown = |looks: &[Look]| super::shown("a", &truth, looks, &lives, 250).result();
        let gone = |at_ms| Look { is_page: true, ..Look::missed(at_ms, at_ms) };
        shown(&[
            look(12_021, 8.0, 0.0),
            look(12_050, 9.0, 0.0),
            look(12_200, 8.0, 0.0),
            gone(12_950),
            look(13_240, 14.0, 0.0),
        ])
        .unwrap();
        for bad in [look(12_050, 8.0, 0.0), gone(12_050), look(13_240, 12.0, 0.0)] {
            assert!(shown(&[bad]).expect_err("it is not shown").contains("is acknowledged"));
        }
    }

    #[test]
    fn a_reset_a_gap_and_a_wrong_time_of_a_counter_are_seen() {
        let truth = truth(41);
        let at = |number: i64| (10_000 + 250 * (number - 1), number as f64);
        let good: BTreeMap<i64, f64> = (1..=40).map(at).collect();
        counter("a", &truth, &good, [250, 500, 3000], |_| false).result().unwrap();
        let mut reset = good.clone();
        // A scrape of a frozen page between measurements that came late.
        reset.insert(15_001, 10.0);
        assert!(wrong(counter("a", &truth, &reset, [250, 500, 3000], |_| false)).contains("a reset"));
        let mut gap = good.clone();
        gap.retain(|at, _| !(12_000..14_000).contains(at));
        assert!(wrong(counter("a", &truth, &gap, [250, 500, 3000], |_| false)).contains("nothing between"));
        counter("a", &truth, &gap, [250, 500, 3000], |tick| (11_500..14_500).contains(&tick.at_ms)).result().unwrap();
        let mut late_ones = truth.clone();
        late_ones.iter_mut().for_each(|tick| tick.fate = Fate::Late);
        let never = Visible::never();
        late("a", &late_ones[..40], &good, &never).result().unwrap();
        assert!(wrong(late("a", &late_ones, &gap, &never)).contains("is nowhere"));
        late("a", &truth, &gap, &never).result().unwrap();
        // From 12 to 14 s it stood on the page, frozen.
        let looks: Vec<Look> = (48..=56).map(|n| look(n * 250, 9.0, 0.0)).collect();
        let seen = Visible::of("a", &looks, 250, &[(0, i64::MAX)]);
        late("a", &late_ones[..40], &gap, &seen).result().unwrap();
        let ahead: BTreeMap<i64, f64> = good.iter().map(|(at, value)| (at + 10_000, *value)).collect();
        assert!(wrong(counter("a", &truth, &ahead, [250, 500, 3000], |_| false)).contains("which is of"));
        let short: BTreeMap<i64, f64> = good.range(..15_000).map(|(at, value)| (*at, *value)).collect();
        assert!(wrong(counter("a", &truth, &short, [250, 500, 3000], |_| false)).contains("where the truth"));
        assert!(wrong(counter("a", &truth, &BTreeMap::new(), [250, 500, 3000], |_| false)).contains("nothing at all"));
        let merged = timeline("a", Series::Counter(0), &[look(10_100, 1.0, 0.0)], &BTreeMap::from([(11_000, 5.0)]));
        assert_eq!(merged, BTreeMap::from([(10_100, 1.0), (11_000, 5.0)]));
    }
}
