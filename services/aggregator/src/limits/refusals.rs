//! The last refusals of a name, for whoever asks why it is not on the page. Bounded: a few for each
//! agent that is known, and one short list for all others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::AgentName;

/// Refusals kept for each agent that is known.
const OF_AGENT: usize = 3;
/// Those of all names that are not.
const OF_STRANGERS: usize = 512;
/// Longest reason that is kept, in bytes.
const REASON_BYTES: usize = 300;

/// One refusal, or several in a row for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The last time, Unix milliseconds.
    pub at_ms: i64,
    /// From where, the last time.
    pub address: String,
    /// For a program.
    pub code: &'static str,
    /// For a person.
    pub reason: Arc<str>,
    /// How often in a row.
    pub count: u64,
}

impl Refusal {
    /// One that happens now.
    #[must_use]
    pub fn new(at_ms: i64, address: String, code: &'static str, reason: &str) -> Self {
        Self { at_ms, address, code, reason: cut(reason, REASON_BYTES).into(), count: 1 }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.code == other.code && self.reason == other.reason
    }
}

/// The beginning of a text, in whole characters.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// The refusals of one agent, the newest last.
#[derive(Debug, Default, Clone)]
pub struct OfAgent(VecDeque<Refusal>);

impl OfAgent {
    /// One more.
    pub fn add(&mut self, refusal: Refusal) {
        if let Some(same) = self.0.back_mut().filter(|last| last.is_like(&refusal)) {
            *same = Refusal { count: same.count + 1, ..refusal };
            return;
        }
        self.0.push_back(refusal);
        if self.0.len() > OF_AGENT {
            self.0.pop_front();
        }
    }

    /// All that are kept, the newest last.
    #[must_use]
    pub fn list(&self) -> Vec<Refusal> {
        self.0.iter().cloned().collect()
    }
}

/// The refusals of names that nobody knows, all together.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<VecDeque<(AgentName, Refusal)>>);

impl Refusals {
    /// One more; the oldest gives way.
    pub fn add(&self, name: &AgentName, refusal: Refusal) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, same)) = all.back_mut().filter(|(last, same)| last == name && same.is_like(&refusal)) {
            *same = Refusal { count: same.count + 1, ..refusal };
            return;
        }
        all.push_back((name.clone(), refusal));
        if all.len() > OF_STRANGERS {
            all.pop_front();
        }
    }

    /// Those of one name, the newest last.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<Refusal> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(other, _)| other.as_str() == name).map(|(_, refusal)| refusal.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at_ms: i64, reason: &str) -> Refusal {
        Refusal::new(at_ms, "192.0.2.1:4".into(), "limit", reason)
    }

    #[test]
    fn the_last_ones_stay_and_what_repeats_is_one() {
        let mut of_agent = OfAgent::default();
        for at in 0..9 {
            of_agent.add(refusal(at, &format!("reason {}", at / 2)));
        }
        let kept: Vec<_> = of_agent.list().iter().map(|one| (one.at_ms, one.reason.to_string(), one.count)).collect();
        assert_eq!(kept, [(5, "reason 2".into(), 2), (7, "reason 3".into(), 2), (8, "reason 4".into(), 1)]);
        of_agent.add(refusal(9, &"ä".repeat(400)));
        assert_eq!(of_agent.list()[2].reason.len(), REASON_BYTES);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let (refusals, name) = (Refusals::default(), |at: usize| AgentName::parse(&format!("n{at}")).unwrap());
        for at in 0..OF_STRANGERS * 3 {
            refusals.add(&name(at), refusal(0, "no"));
        }
        assert_eq!(refusals.0.lock().unwrap().len(), OF_STRANGERS);
        assert!(refusals.of("n0").is_empty());
        assert_eq!(refusals.of(name(OF_STRANGERS * 3 - 1).as_str()).len(), 1);
    }
}
