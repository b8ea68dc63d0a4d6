//! What is held against a real agent, whose series has its truth in itself: its values are the Unix
//! milliseconds at which they were written.

use std::collections::BTreeMap;

use super::looks::{Look, longest_pause};
use super::oracle::{Faults, SLACK_MS};

/// It never falls, nothing is missing for longer than `gap_max_ms`, than it was `excused` and than nobody
/// looked, no value is older than `age_max_ms` or newer than its time, and what is `owed` is there.
pub fn written(
    name: &str,
    line: &BTreeMap<i64, f64>,
    looks: &[Look],
    [gap_max_ms, age_max_ms]: [i64; 2],
    excused: &[(i64, i64)],
    owed: &Owed,
) -> Faults {
    let mut faults = Faults::default();
    for ((at, value), (next_at, next)) in line.iter().zip(line.iter().skip(1)) {
        if next < value {
            faults.add(|| format!("{name}: a reset: {value} at {at}, then {next} at {next_at}"));
        }
        let missing = outside((*at, *next_at), excused).into_iter().map(|(from, until)| until - from).max();
        let missing = missing.unwrap_or_default();
        if missing > gap_max_ms + SLACK_MS + longest_pause(looks, *at, *next_at) {
            faults.add(|| format!("{name}: nothing between {at} and {next_at}, {missing} ms for no reason"));
        }
    }
    for (from, until) in owed.times.iter().flat_map(|time| outside(*time, excused)) {
        let (found, expected) = (line.range(from..until).count(), (until - from) / owed.interval_ms);
        // A busy machine measures less often.
        if i64::try_from(found * 5).unwrap_or(i64::MAX) < (expected - 2) * 4 {
            faults.add(|| format!("{name}: {found} from {from} to {until}, when {expected} were measured"));
        }
    }
    for (at, value) in line {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds, far below 2^53")]
        let age = at - *value as i64;
        if !(-SLACK_MS..=age_max_ms + SLACK_MS).contains(&age) {
            faults.add(|| format!("{name}: what stands at {at} was written {age} ms before"));
        }
    }
    if line.len() < 3 {
        faults.add(|| format!("{name}: only {line:?}"));
    }
    faults
}

/// When nobody could look, so that all that was measured then came late, at this interval.
#[derive(Debug, Default)]
pub struct Owed {
    /// From when to when, Unix milliseconds.
    pub times: Vec<(i64, i64)>,
    /// Between two measurements.
    pub interval_ms: i64,
}

/// The parts of this time that are outside of all these.
fn outside((from, until): (i64, i64), times: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut times: Vec<_> = times.iter().filter(|(began, ended)| *began < until && from < *ended).copied().collect();
    times.sort_unstable();
    let (mut parts, mut reached) = (Vec::new(), from);
    for (began, ended) in times.into_iter().chain([(until, until)]) {
        if reached < began {
            parts.push((reached, began));
        }
        reached = reached.max(ended);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(faults: Faults) -> String {
        faults.result().expect_err("something is wrong")
    }

    #[test]
    fn what_a_real_agent_says_has_its_time_in_itself() {
        let good: BTreeMap<i64, f64> = (0..20).map(|n| (10_000 + 250 * n, 9_900.0 + 250.0 * n as f64)).collect();
        let none = Owed { interval_ms: 250, ..Owed::default() };
        let looks: Vec<Look> = (0..20).map(|n| Look::missed(10_000 + 250 * n, 10_000 + 250 * n)).collect();
        written("a", &good, &looks, [500, 1000], &[], &none).result().unwrap();
        let mut bad = good.clone();
        bad.insert(14_001, 10_000.0);
        let said = wrong(written("a", &bad, &looks, [500, 1000], &[], &none));
        assert!(said.contains("a reset") && said.contains("ms before"), "{said}");
        let good_again = good.clone();
        let gap: BTreeMap<i64, f64> = good.into_iter().filter(|(at, _)| !(11_000..13_000).contains(at)).collect();
        assert!(wrong(written("a", &gap, &looks, [500, 1000], &[], &none)).contains("nothing between"));
        written("a", &gap, &looks, [500, 1000], &[(11_400, 12_000)], &none).result().unwrap();
        assert!(wrong(written("a", &gap, &looks, [500, 1000], &[(14_000, 16_000)], &none)).contains("nothing between"));
        let parts = |times: &[(i64, i64)]| outside((10, 20), times);
        assert_eq!(parts(&[]), [(10, 20)]);
        assert_eq!(parts(&[(15, 30), (12, 14)]), [(10, 12), (14, 15)]);
        assert_eq!(parts(&[(12, 18), (13, 14)]), [(10, 12), (18, 20)]);
        assert!(parts(&[(0, 30)]).is_empty());
        let owed = Owed { times: vec![(10_000, 14_000)], interval_ms: 250 };
        written("a", &good_again, &looks, [500, 1000], &[], &owed).result().unwrap();
        let thin: BTreeMap<i64, f64> = good_again.into_iter().step_by(2).collect();
        let said = wrong(written("a", &thin, &looks, [500, 1000], &[], &owed));
        assert!(said.contains("when 16 were measured"), "{said}");
        written("a", &thin, &looks, [500, 1000], &[], &none).result().unwrap();
        // Who looks stood still as well: from 10.75 to 13.25 s, half a second more than a look may take.
        let paused: Vec<Look> =
            looks.iter().filter(|look| !(11_000..13_250).contains(&look.asked_ms)).cloned().collect();
        assert_eq!(longest_pause(&paused, 10_750, 13_250), 500);
        assert_eq!(longest_pause(&looks, 10_000, 14_000), 0);
        assert!(wrong(written("a", &BTreeMap::new(), &looks, [500, 1000], &[], &none)).contains("only"));
    }
}
