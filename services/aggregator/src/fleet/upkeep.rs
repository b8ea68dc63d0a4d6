//! What is done to agents from outside their connections: sent away when memory is short,
//! forgotten when an operator wants it so, and why they were refused.

use protocol::AgentName;

use super::agent::Presence;
use super::{Fleet, Moment};
use crate::limits::refusals::{Refusal, Refusals};
use crate::link::Order;

/// An agent that was forgotten, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Its name.
    pub name: String,
    /// Was it connected? Then it comes back by itself, unless it is stopped.
    pub was_connected: bool,
}

impl Fleet {
    /// How many agents are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.all().iter().filter(|agent| matches!(agent.lock().presence, Presence::Connected(_))).count()
    }

    /// Is this name more than a tombstone?
    #[must_use]
    pub fn is_there(&self, name: &str) -> bool {
        self.agent(name).is_some_and(|agent| agent.lock().is_there())
    }

    /// Tells the newest connections to go; gives how many were told.
    pub fn shed(&self, count: usize) -> usize {
        let mut connected: Vec<_> = self
            .all()
            .iter()
            .filter_map(|agent| match &agent.lock().presence {
                Presence::Connected(connected) => Some((connected.id, connected.connection.clone())),
                _ => None,
            })
            .collect();
        connected.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        let newest = connected.iter().take(count);
        newest.map(|(_, connection)| connection.tell(Order::Shed)).count()
    }

    /// Remembers why a connection under this name was refused: with the agent where there is one,
    /// else among those of strangers.
    pub fn refused(&self, name: &AgentName, refusal: Refusal, strangers: &Refusals) {
        match self.agent(name.as_str()) {
            Some(agent) => agent.lock().refusals.add(refusal),
            None => strangers.add(name, refusal),
        }
    }

    /// Forgets all agents whose names match, tombstones and all; connections that are open are told
    /// to end. With `dry_run` it only says which.
    pub fn forget_matching(&self, matches: impl Fn(&str) -> bool, dry_run: bool, now: Moment) -> Vec<Forgotten> {
        let mut found = Vec::new();
        for agent in self.all().into_iter().filter(|agent| matches(agent.name.as_str())) {
            let mut state = agent.lock();
            if !state.has_pushed {
                continue;
            }
            let was_connected = match &state.presence {
                Presence::Connected(connected) => {
                    if !dry_run {
                        connected.connection.tell(Order::Forgotten);
                    }
                    true
                }
                _ => false,
            };
            found.push(Forgotten { name: agent.name.to_string(), was_connected });
            if dry_run {
                continue;
            }
            // As if it had never pushed: nothing is said about it any more, and where it is still
            // connected its seat has lost the name.
            state.clear(&self.families, now);
            state.has_pushed = false;
            state.presence = Presence::Gone { forget_at: now.instant };
            drop(state);
            self.forget(&agent.name);
        }
        found
    }
}

/// Does a name match a pattern in which `*` is any text and `?` any one character?
#[must_use]
pub fn is_match(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // The last star, and how much of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
    }

    #[test]
    fn patterns() {
        check("huginn", "huginn", true);
        check("huginn", "huginn2", false);
        check("hug*", "huginn", true);
        check("*", "", true);
        check("", "x", false);
        check("*n", "huginn", true);
        check("h*i*n", "huginn", true);
        check("h?ginn", "huginn", true);
        check("h?ginn", "hginn", false);
        check("web-*-?", "web-eu-west-1", true);
        check("web-*-?", "web-eu-west-12", false);
        check("*a*a*a*a*a*a*b", &"a".repeat(200), false);
    }
}
