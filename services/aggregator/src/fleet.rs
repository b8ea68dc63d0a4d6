//! The fleet: all agents by name, who is there, and what of them is on the page.
//!
//! Synchronous and free of clocks: time is passed in. Nothing here ever waits, and nothing on the
//! path of a push of values takes a lock that another agent's push takes.

pub mod agent;
pub mod declared;
pub mod delay;
pub mod families;
pub mod known;
pub mod naming;
pub mod room;
pub mod seat;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use protocol::frame::{Acked, RefuseCode};
use protocol::{AgentName, Labels, limits};
use tokio::sync::mpsc;

use self::agent::{Agent, Connected, Facts, Presence, State};
use self::declared::Identity;
use self::families::Families;
use self::naming::{Decision, Process};
use self::room::Room;
use self::seat::Seat;
pub use self::view::AgentView;
use crate::link::ToConnection;

/// After a restart, how long nothing is said about agents that were there before it. A fleet is
/// back in 10 s.
const EXPECT_FOR: Duration = Duration::from_secs(15);

/// A moment, by the clock that never steps and by the wall's.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For what lasts.
    pub instant: Instant,
    /// For what is shown, Unix milliseconds.
    pub wall_ms: i64,
}

/// What the fleet must keep to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `job` label of agents' series.
    pub job: String,
    /// How long a tombstone stays.
    pub tombstone: Duration,
    /// Most names.
    pub agents_max: usize,
    /// Most series of all agents.
    pub series_max: usize,
    /// Most series of one agent.
    pub series_per_agent_max: usize,
}

/// An agent that asks to come in, its `hello` checked.
#[derive(Debug)]
pub struct Newcomer {
    /// Its name.
    pub name: AgentName,
    /// Its session and incarnation.
    pub process: Process,
    /// Where it calls from.
    pub peer: SocketAddr,
    /// Its clamped interval.
    pub interval: Duration,
    /// Leaves nothing behind after `bye`.
    pub ephemeral: bool,
    /// How long another aggregator may still show it.
    pub shown_elsewhere: Duration,
    /// Labels for all its series.
    pub labels: Labels,
    /// What it is.
    pub info: Labels,
    /// How its connection is told to go.
    pub commands: mpsc::Sender<ToConnection>,
}

/// What becomes of a newcomer.
#[derive(Debug)]
pub enum Entry {
    /// It has the name.
    In(Seat, Acked),
    /// Somebody else has it: ask for a sign of life, and enter again with `force` if none comes.
    Probe {
        /// The incumbent's connection.
        incumbent: mpsc::Sender<ToConnection>,
        /// Where the incumbent calls from.
        peer: SocketAddr,
    },
    /// It does not get in.
    Refused(RefuseCode, String),
}

/// All agents.
#[derive(Debug)]
pub struct Fleet {
    agents: RwLock<BTreeMap<AgentName, Arc<Agent>>>,
    families: Arc<Families>,
    rules: Rules,
    room: Room,
    next_connection: AtomicU64,
    /// Counts changes of what must survive a restart.
    version: AtomicU64,
}

impl Fleet {
    /// A fleet without agents.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let room = Room::new(rules.series_max);
        Self {
            agents: RwLock::default(),
            families: Arc::default(),
            rules,
            room,
            next_connection: AtomicU64::new(1),
            version: AtomicU64::new(0),
        }
    }

    /// What it keeps to.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Room for series, all agents together.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The families on the page.
    #[must_use]
    pub fn families(&self) -> &Families {
        &self.families
    }

    /// The same, to be kept.
    #[must_use]
    pub fn families_shared(&self) -> Arc<Families> {
        Arc::clone(&self.families)
    }

    /// Changes whenever something changes that must survive a restart.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn touch(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// One agent.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<Arc<Agent>> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Agent>> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Lets a newcomer in, or says why not. `force`: the incumbent gave no sign of life.
    pub fn enter(self: &Arc<Self>, newcomer: &Newcomer, now: Moment, force: bool) -> Entry {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let agent = match agents.get(&newcomer.name) {
            Some(agent) => Arc::clone(agent),
            None => {
                if agents.len() >= self.rules.agents_max && !forget_oldest(&mut agents) {
                    let reason = format!("{} agents are connected, no more are allowed", agents.len());
                    return Entry::Refused(RefuseCode::Overloaded, reason);
                }
                let gone = Presence::Gone { forget_at: now.instant };
                let agent = Arc::new(Agent::new(newcomer.name.clone(), gone, Facts::default(), false));
                agents.insert(newcomer.name.clone(), Arc::clone(&agent));
                agent
            }
        };
        // The map stays locked so that the agent cannot be forgotten between here and its seat.
        let mut state = agent.lock();
        if let Presence::Connected(incumbent) = &state.presence {
            let fight = state.takeovers.are_a_fight(now.instant);
            match naming::decide(&incumbent.process, &newcomer.process, fight) {
                Decision::Superseded => {
                    let reason = format!("a newer process of this session is connected from {}", incumbent.peer);
                    return Entry::Refused(RefuseCode::Superseded, reason);
                }
                Decision::Probe if !force => {
                    if fight {
                        let (agent, first, second) = (&newcomer.name, incumbent.peer, newcomer.peer);
                        tracing::warn!(%agent, %first, %second, "two hosts with one identity displace each other; is one a clone of the other?");
                    }
                    return Entry::Probe { incumbent: incumbent.commands.clone(), peer: incumbent.peer };
                }
                Decision::Probe | Decision::Admit => {
                    // A full queue means a connection that is ending or hung; it loses its seat all the same.
                    let _told = incumbent.commands.try_send(ToConnection::Superseded { by: newcomer.peer });
                    state.takeovers.note(now.instant);
                }
            }
        }
        let acked = self.seat(&mut state, newcomer, now);
        let Presence::Connected(Connected { id, .. }) = state.presence else { unreachable!("seated just now") };
        drop(state);
        drop(agents);
        let identity = Identity::new(&newcomer.name, &self.rules.job, &newcomer.labels);
        Entry::In(Seat::new(Arc::clone(self), agent, id, identity, now.instant), acked)
    }

    /// Gives the name to the newcomer's connection.
    fn seat(&self, state: &mut State, newcomer: &Newcomer, now: Moment) -> Acked {
        if matches!(state.presence, Presence::Leaving { until } if now.instant >= until) {
            // Nobody has looked since its series went; they must not come back old.
            state.clear(&self.families);
        }
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        state.presence = Presence::Connected(Connected {
            id,
            process: newcomer.process.clone(),
            peer: newcomer.peer,
            interval: newcomer.interval,
            ephemeral: newcomer.ephemeral,
            commands: newcomer.commands.clone(),
        });
        let hold = newcomer.shown_elsewhere.min(limits::silence_after(newcomer.interval));
        state.hidden_until = (!hold.is_zero()).then(|| now.instant + hold);
        state.facts.connected_since_ms = now.wall_ms;
        let mut info = newcomer.info.clone();
        for (name, value) in newcomer.labels.iter() {
            if info.get(name).is_none() {
                info.0.push((name.to_owned(), value.to_owned()));
            }
        }
        state.facts.info = Arc::new(info);
        if state.acked.0 != newcomer.process.session {
            state.acked = (newcomer.process.session.clone(), Acked::default());
        }
        state.acked.1
    }

    /// Lets go of what is over: series whose grace has passed, tombstones whose time has come.
    /// Costs the number of agents; a scrape does not depend on it.
    pub fn expire(&self, now: Moment) {
        let mut forgotten = Vec::new();
        for agent in self.all() {
            let mut state = agent.lock();
            match state.presence {
                Presence::Leaving { until } if now.instant >= until => {
                    self.bury(&mut state, now);
                    if !state.has_pushed {
                        forgotten.push(agent.name.clone());
                    }
                }
                Presence::Expected { until } if now.instant >= until => {
                    state.presence = Presence::Gone { forget_at: now.instant + self.rules.tombstone };
                    tracing::warn!(agent = %agent.name, "has not come back since this aggregator started");
                }
                Presence::Gone { forget_at } if now.instant >= forget_at => forgotten.push(agent.name.clone()),
                _ => {}
            }
        }
        if forgotten.is_empty() {
            return;
        }
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        for name in forgotten {
            // It may have come back since.
            let gone = |agent: &Arc<Agent>| matches!(agent.lock().presence, Presence::Gone { .. });
            if agents.get(&name).is_some_and(gone) {
                agents.remove(&name);
                self.touch();
            }
        }
    }

    /// Takes an agent off the page and leaves its tombstone.
    fn bury(&self, state: &mut State, now: Moment) {
        state.clear(&self.families);
        let keep = if state.has_pushed { self.rules.tombstone } else { Duration::ZERO };
        state.presence = Presence::Gone { forget_at: now.instant + keep };
        state.facts.connected_since_ms = 0;
        self.touch();
    }

    /// Forgets a name that has nothing left.
    fn forget(&self, name: &AgentName) {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if agents.get(name).is_some_and(|agent| matches!(agent.lock().presence, Presence::Gone { .. })) {
            agents.remove(name);
            self.touch();
        }
    }
}

/// Makes room for a new name at the expense of the oldest tombstone; false if there is none.
fn forget_oldest(agents: &mut BTreeMap<AgentName, Arc<Agent>>) -> bool {
    let tombstones = agents.values().filter_map(|agent| match agent.lock().presence {
        Presence::Gone { forget_at } => Some((forget_at, agent.name.clone())),
        _ => None,
    });
    let oldest = tombstones.min();
    oldest.is_some_and(|(_, name)| agents.remove(&name).is_some())
}

#[cfg(test)]
mod tests;
