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

    /// Has a connection this name?
    #[must_use]
    pub fn is_connected(&self, name: &str) -> bool {
        self.agent(name).is_some_and(|agent| matches!(agent.lock().presence, Presence::Connected(_)))
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
            self.lose_sights(&state, now);
            state.has_pushed = false;
            state.presence = Presence::Gone { forget_at: now.instant };
            drop(state);
            self.forget(&agent.name, now);
        }
        found
    }
}
