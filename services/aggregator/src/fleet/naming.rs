//! Who may have a name. Pure: what is known goes in, a decision comes out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Take-overs that are remembered, and in what time they must fall to mean a cloned host.
const TAKEOVERS: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// One process that numbers pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The id of the numbering.
    pub session: String,
    /// Grows with each process that continues it.
    pub incarnation: u64,
}

/// The latest take-overs of a name by its own session.
#[derive(Debug, Default)]
pub struct TakeOvers(VecDeque<Instant>);

impl TakeOvers {
    /// Remembers one.
    pub fn note(&mut self, now: Instant) {
        self.0.push_back(now);
        while self.0.len() > TAKEOVERS {
            self.0.pop_front();
        }
    }

    /// Do two processes of one session keep displacing each other?
    #[must_use]
    pub fn are_a_fight(&self, now: Instant) -> bool {
        self.0.len() == TAKEOVERS && self.0.front().is_some_and(|first| now.duration_since(*first) < WITHIN)
    }
}

/// What happens to a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It gets the name; whoever has it is told to go.
    Admit,
    /// Ask the incumbent for a sign of life first.
    Probe,
    /// It is older than the incumbent.
    Superseded,
}

/// Decides about a newcomer under a name that a connected incumbent has.
#[must_use]
pub fn decide(incumbent: &Process, newcomer: &Process, fight: bool) -> Decision {
    if incumbent.session != newcomer.session {
        Decision::Probe
    } else if newcomer.incarnation < incumbent.incarnation {
        Decision::Superseded
    } else if fight {
        Decision::Probe
    } else {
        Decision::Admit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(session: &str, incarnation: u64, fight: bool, expected: Decision) {
        let incumbent = Process { session: "a".into(), incarnation: 5 };
        let newcomer = Process { session: session.into(), incarnation };
        assert_eq!(decide(&incumbent, &newcomer, fight), expected);
    }

    #[test]
    fn decisions() {
        check("a", 6, false, Decision::Admit);
        check("a", 5, false, Decision::Admit);
        check("a", 4, false, Decision::Superseded);
        check("a", 4, true, Decision::Superseded);
        check("a", 6, true, Decision::Probe);
        check("b", 1, false, Decision::Probe);
        check("b", 9, true, Decision::Probe);
    }

    #[test]
    fn three_takeovers_in_a_minute_are_a_fight() {
        let start = Instant::now();
        let mut takeovers = TakeOvers::default();
        for second in [0, 20, 40] {
            assert!(!takeovers.are_a_fight(start + Duration::from_secs(second)));
            takeovers.note(start + Duration::from_secs(second));
        }
        assert!(takeovers.are_a_fight(start + Duration::from_secs(41)));
        assert!(!takeovers.are_a_fight(start + Duration::from_secs(61)));
    }
}
