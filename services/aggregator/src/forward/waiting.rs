//! Late pushes that found no room. Their agents keep them until they are told that they are safe, so
//! they wait here, undecided, and are taken agent by agent when there is room again. How many may
//! wait is what agents may have unacknowledged.

use std::collections::{HashMap, VecDeque};

use protocol::limits;

use super::batch::Moments;
use super::ledger::{Full, Held};

/// Of one agent: those of its connection, and of the one before, which may just have broken.
const OF_AGENT_MAX: usize = 2 * limits::LATE_UNACKED_MAX as usize;

/// Those of all agents.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lanes: HashMap<String, VecDeque<Moments>>,
    /// Agents with something that waits, each once.
    turns: VecDeque<String>,
    /// Somebody waits for room that all share, so nobody overtakes.
    is_full: bool,
}

impl Waiting {
    /// Must what comes of this agent wait, because others do?
    pub(super) fn is_ahead_of(&self, agent: &str) -> bool {
        self.is_full || self.lanes.contains_key(agent)
    }

    /// Lets one wait; gives it back when more of its agent wait than can be.
    #[must_use]
    pub(super) fn add(&mut self, push: Moments) -> Option<Moments> {
        let agent = push.agent.as_str();
        if self.lanes.get(agent).is_some_and(|lane| lane.len() >= OF_AGENT_MAX) {
            if let Some(lane) = self.lanes.get_mut(agent) {
                lane.retain(|push| !push.is_given_up());
            }
            if self.lanes.get(agent).is_some_and(|lane| lane.len() >= OF_AGENT_MAX) {
                return Some(push);
            }
        }
        if !self.lanes.contains_key(agent) {
            self.turns.push_back(agent.to_owned());
        }
        self.lanes.entry(agent.to_owned()).or_default().push_back(push);
        None
    }

    /// Those for which there is room now, one of each agent after the other.
    pub(super) fn admit(&mut self, hold: impl Fn(&Moments) -> Result<Held, Full>) -> Vec<Moments> {
        let mut admitted = Vec::new();
        let mut in_vain = 0;
        self.is_full = false;
        while in_vain < self.turns.len()
            && let Some(agent) = self.turns.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&agent) else { continue };
            match lane.front().map(&hold) {
                Some(Ok(held)) => {
                    admitted.extend(lane.pop_front().map(|push| Moments { room: held, ..push }));
                    in_vain = 0;
                }
                Some(Err(Full::Share)) => in_vain += 1,
                Some(Err(Full::All)) => {
                    self.is_full = true;
                    self.turns.push_front(agent);
                    return admitted;
                }
                None => {}
            }
            if lane.is_empty() {
                self.lanes.remove(&agent);
            } else {
                self.turns.push_back(agent);
            }
        }
        admitted
    }

    /// Takes out what is not to wait any longer.
    pub(super) fn extract(&mut self, is_over: impl Fn(&Moments) -> bool) -> Vec<Moments> {
        let mut over = Vec::new();
        self.lanes.retain(|_, lane| {
            let (gone, stays) = std::mem::take(lane).into_iter().partition(&is_over);
            *lane = stays;
            over.extend::<VecDeque<_>>(gone);
            !lane.is_empty()
        });
        self.turns.retain(|agent| self.lanes.contains_key(agent));
        over
    }
}

#[cfg(test)]
mod tests {
    use protocol::AgentName;

    use super::super::batch::tests::{declared, push};
    use super::super::ledger::{Ledger, PUSH_BYTES, SET_BYTES};
    use super::*;

    fn of(agent: &str, at_ms: i64) -> Moments {
        Moments { agent: AgentName::parse(agent).unwrap(), ..push(at_ms, &declared(1), vec![1.0]) }
    }

    fn names(pushes: &[Moments]) -> Vec<String> {
        pushes.iter().map(|push| format!("{}{}", push.agent, push.at_ms)).collect()
    }

    #[test]
    fn room_is_given_to_one_agent_after_the_other() {
        let mut waiting = Waiting::default();
        for (agent, at_ms) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)] {
            assert!(waiting.add(of(agent, at_ms)).is_none());
        }
        assert!(waiting.is_ahead_of("a") && !waiting.is_ahead_of("d"));
        // A share of two for each, and room for four.
        let bytes = PUSH_BYTES + SET_BYTES + 8 + declared(1).bytes();
        let ledger = Ledger::new(8 * (2 * bytes + 1));
        let first = waiting.admit(|push| ledger.hold(push));
        assert_eq!(names(&first), ["a1", "b1", "c1", "a2", "b2"]);
        assert!(waiting.is_ahead_of("a") && !waiting.is_ahead_of("b"), "its share is full");
        drop(first);
        assert_eq!(names(&waiting.admit(|push| ledger.hold(push))), ["a3"]);
        assert!(!waiting.is_ahead_of("a"));
    }

    #[test]
    fn who_waits_for_what_all_share_is_not_overtaken() {
        let mut waiting = Waiting::default();
        assert!(waiting.add(of("a", 1)).is_none());
        assert!(waiting.admit(|_| Err(Full::All)).is_empty() && waiting.is_ahead_of("b"));
        assert!(waiting.add(of("b", 1)).is_none());
        assert_eq!(names(&waiting.admit(|_| Ok(Held::default()))), ["a1", "b1"]);
        assert!(!waiting.is_ahead_of("b"));
    }

    #[test]
    fn it_is_bounded_and_lets_go_of_what_is_over() {
        let mut waiting = Waiting::default();
        for at_ms in 0..OF_AGENT_MAX as i64 {
            assert!(waiting.add(of("a", at_ms)).is_none());
        }
        assert!(waiting.add(of("a", 99)).is_some());
        assert!(waiting.add(of("b", 0)).is_none());
        assert_eq!(waiting.extract(|push| push.at_ms < 30).len(), 31);
        assert_eq!(names(&waiting.admit(|_| Ok(Held::default()))), ["a30", "a31"]);
        assert!(waiting.turns.is_empty());
    }
}
