//! The values that are pushed, encoded once before anything is measured: while it runs, the
//! generator only copies bytes, because it shares its cores with what it measures.

use std::sync::Arc;

use bytes::Bytes;
use protocol::limits::LINE_BYTES_MAX;
use protocol::split::values_lines;

use crate::shape::{Look, Shape};

/// The `values` lines of pushes, by agent and round.
#[derive(Debug, Clone)]
pub enum Load {
    /// Every agent has values of its own, as on a real fleet; the rounds repeat after the last.
    Realistic(Arc<Vec<Vec<Bytes>>>),
    /// All values of one push are the same number, which tells the pushes apart on a page.
    Uniform(Arc<Vec<Bytes>>),
}

impl Load {
    /// Values as hosts have them, different in each round.
    #[must_use]
    pub fn realistic(shape: &Shape, agents: usize, rounds: usize, seed: u64) -> Self {
        let of_agent = |agent| {
            let mut values = Values::of_agent(shape, agent, seed);
            (0..rounds.max(1)).map(|_| lines(shape, &values.next_round())).collect()
        };
        Self::Realistic(Arc::new((0..agents).map(of_agent).collect()))
    }

    /// `rounds` different numbers, from `first` on.
    #[must_use]
    pub fn uniform(shape: &Shape, first: u32, rounds: u32) -> Self {
        Self::Uniform(Arc::new((first..first + rounds.max(1)).map(|number| uniform(shape, number)).collect()))
    }

    /// What an agent pushes in a round.
    ///
    /// # Panics
    /// When asked for an agent that the load was not made for.
    #[must_use]
    pub fn lines(&self, agent: usize, round: usize) -> Bytes {
        let rounds = match self {
            Self::Realistic(agents) => agents.get(agent).expect("a load is made for all agents of its fleet"),
            Self::Uniform(rounds) => rounds,
        };
        rounds.get(round % rounds.len()).cloned().expect("a remainder is below the length, which is at least 1")
    }
}

/// A push whose values are all `number`.
#[must_use]
pub fn uniform(shape: &Shape, number: u32) -> Bytes {
    lines(shape, &vec![f64::from(number); shape.series])
}

fn lines(shape: &Shape, values: &[f64]) -> Bytes {
    let mut out = Vec::new();
    let mut rest = values;
    for (number, set) in (1..).zip(&shape.sets) {
        let len = set.iter().map(|shaped| shaped.family.series.len()).sum();
        let (of_set, after) = rest.split_at(len);
        values_lines(number, of_set, LINE_BYTES_MAX, &mut out);
        rest = after;
    }
    Bytes::from(out)
}

/// The measurements of one agent, round by round.
#[derive(Debug, Clone)]
pub struct Values {
    random: fastrand::Rng,
    looks: Vec<Look>,
    /// The last values, in units of the look: pieces, bytes, hundredths of seconds, pages.
    last: Vec<u64>,
}

impl Values {
    /// Those of agent number `agent`: others than every other agent's.
    #[must_use]
    pub fn of_agent(shape: &Shape, agent: usize, seed: u64) -> Self {
        // Spreads neighbouring numbers over all seeds.
        let mut random = fastrand::Rng::with_seed(seed ^ (agent as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let looks: Vec<Look> =
            shape.families().flat_map(|shaped| shaped.family.series.iter().map(|_| shaped.look)).collect();
        // As many small numbers as large ones: the number of digits is drawn first.
        let last = looks
            .iter()
            .map(|look| {
                let digits = match look {
                    Look::Count | Look::Seconds => random.u32(1..9),
                    Look::Bytes => random.u32(3..13),
                    Look::Ratio | Look::Pages => 0,
                };
                random.u64(0..10_u64.pow(digits))
            })
            .collect();
        Self { random, looks, last }
    }

    /// The next measurement of all its series.
    #[expect(clippy::cast_precision_loss, reason = "these numbers stay far below 2^53")]
    pub fn next_round(&mut self) -> Vec<f64> {
        let random = &mut self.random;
        let step = |last: &mut u64, by: u64| {
            *last += by;
            *last as f64
        };
        let next = |(look, last): (&Look, &mut u64)| match look {
            Look::Count => step(last, random.u64(1..1_000)),
            Look::Bytes => step(last, random.u64(1..1_000_000)),
            Look::Seconds => step(last, random.u64(1..400)) / 100.0,
            Look::Ratio => random.f64(),
            Look::Pages => random.u64(0..64 << 20) as f64 * 4096.0,
        };
        self.looks.iter().zip(&mut self.last).map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use protocol::{LineDecoder, ToAggregator};

    use super::*;

    fn decode(lines: &Bytes) -> Vec<f64> {
        let mut decoder = LineDecoder::new(LINE_BYTES_MAX);
        decoder.buffer().extend_from_slice(lines);
        let mut got = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            let ToAggregator::Values(line) = frame else { panic!("only values") };
            got.extend(line.values.0);
        }
        got
    }

    #[test]
    fn values_change_each_round_and_the_seed_decides() {
        let shape = Shape::new(200, 7);
        let load = Load::realistic(&shape, 2, 3, 7);
        let again = Load::realistic(&shape, 2, 3, 7);
        let rounds: Vec<Vec<f64>> = (0..3).map(|round| decode(&load.lines(1, round))).collect();
        assert_eq!(rounds[0].len(), 200);
        assert!(rounds[0].iter().zip(&rounds[1]).all(|(a, b)| a != b), "every value changes");
        assert_ne!(decode(&load.lines(0, 0)), rounds[0], "agents differ");
        assert_eq!(load.lines(1, 2), again.lines(1, 2));
        assert_eq!(load.lines(1, 3), load.lines(1, 0), "rounds repeat");
        assert!(rounds[0].iter().any(|value| value.fract() != 0.0) && rounds[0].iter().any(|value| *value > 1e6));
    }

    #[test]
    fn uniform_pushes_are_told_apart() {
        let shape = Shape::new(50, 7);
        let load = Load::uniform(&shape, 2_000, 4);
        assert_eq!(decode(&load.lines(9, 1)), vec![2_001.0; 50]);
        assert_eq!(decode(&load.lines(0, 4)), vec![2_000.0; 50]);
    }
}
