//! The fleet: all agents by name, who is there, and what of them is on the page.
//!
//! Synchronous and free of clocks: time is passed in. Nothing here ever waits, and nothing on the
//! path of a push of values takes a lock that another agent's push takes.

pub mod agent;
pub mod declared;
pub mod delay;
pub mod dropped;
pub mod families;
pub mod inspect;
pub mod known;
pub mod missing;
pub mod naming;
pub mod room;
pub mod seat;
mod sights;
pub mod upkeep;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use protocol::frame::{Acked, RefuseCode};
use protocol::{AgentName, Labels, limits};

use self::agent::{Agent, Connected, Facts, Presence, State};
use self::declared::Identity;
use self::families::Families;
use self::naming::{Decision, Process};
use self::room::Room;
use self::seat::Seat;
use self::sights::Sights;
pub use self::view::AgentView;
use crate::link::{Incumbent, Order};

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
    /// Is the page exact? Then the same sample on two pages is one sample, and nothing is hidden.
    pub is_exact: bool,
    /// Labels for all its series.
    pub labels: Labels,
    /// What it is.
    pub info: Labels,
    /// How its connection is spoken to.
    pub connection: Incumbent,
}

/// What becomes of a newcomer.
#[derive(Debug)]
pub enum Entry {
    /// It has the name.
    In(Seat, Acked),
    /// Somebody else has it: ask for a sign of life, and enter again if none comes.
    Probe {
        /// The incumbent's connection.
        id: u64,
        /// How it is asked.
        connection: Incumbent,
        /// Where the incumbent calls from.
        peer: SocketAddr,
        /// Do two hosts with one identity displace each other?
        is_fight: bool,
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
    /// What is known of when an agent could be seen of whose name nothing is.
    unheard: Mutex<Sights>,
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
            unheard: Mutex::default(),
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

    /// Lets a newcomer in, or says why not. `dead`: a connection that gave no sign of life, and may
    /// be displaced if it is still the incumbent.
    pub fn enter(self: &Arc<Self>, newcomer: &Newcomer, now: Moment, dead: Option<u64>) -> Entry {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let agent = match agents.get(&newcomer.name) {
            Some(agent) => Arc::clone(agent),
            None => {
                // Tombstones give way when the newcomer first pushes, not to a bare hello.
                let is_full = agents.len() >= self.rules.agents_max
                    && agents.values().filter(|agent| agent.lock().is_there()).count() >= self.rules.agents_max;
                if is_full {
                    let reason =
                        "as many agents are connected as FLEETGAUGE_MAX_AGENTS of the aggregator allows".to_owned();
                    return Entry::Refused(RefuseCode::Overloaded, reason);
                }
                let gone = Presence::Gone { forget_at: now.instant };
                let sights = self.unheard.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let agent = Arc::new(Agent::new(newcomer.name.clone(), gone, Facts::default(), sights));
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
                Decision::Probe if dead != Some(incumbent.id) => {
                    let (id, connection, peer) = (incumbent.id, incumbent.connection.clone(), incumbent.peer);
                    return Entry::Probe { id, connection, peer, is_fight: fight };
                }
                Decision::Probe | Decision::Admit => {
                    incumbent.connection.tell(Order::Displaced(newcomer.peer));
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
        match state.presence {
            // What was said to stay until then must not stay longer because of a bare hello.
            Presence::Leaving { until } => state.fresh_until = state.fresh_until.map(|fresh| fresh.min(until)),
            Presence::Expected { until } => state.awaited_until = Some(until),
            _ => {}
        }
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        state.presence = Presence::Connected(Connected {
            id,
            process: newcomer.process.clone(),
            peer: newcomer.peer,
            interval: newcomer.interval,
            ephemeral: newcomer.ephemeral,
            connection: newcomer.connection.clone(),
        });
        let hold = newcomer.shown_elsewhere.min(limits::silence_after(newcomer.interval));
        state.hidden_until = (!hold.is_zero() && !newcomer.is_exact).then(|| now.instant + hold);
        if !newcomer.shown_elsewhere.is_zero() {
            // Since when another page has shown it, nobody says.
            state.sights.add(i64::MIN, known::after(now, now.instant + hold));
        }
        state.facts.connected_since_ms = now.wall_ms;
        let mut info = newcomer.info.clone();
        for (name, value) in newcomer.labels.iter() {
            if info.get(name).is_none() {
                info.0.push((name.to_owned(), value.to_owned()));
            }
        }
        state.facts.info = Arc::new(info);
        state.facts.missing.begin(&newcomer.process.session);
        state.facts.backlog_ms = 0;
        if state.acked.0 != newcomer.process.session {
            state.acked = (newcomer.process.session.clone(), Acked::default());
        }
        state.acked.1
    }

    /// Lets go of what is over: series whose grace has passed, tombstones whose time has come.
    /// Costs the number of agents; a scrape does not depend on it.
    pub fn expire(&self, now: Moment) {
        let (mut forgotten, mut lost) = (Vec::new(), Vec::new());
        for agent in self.all() {
            let mut state = agent.lock();
            match state.presence {
                Presence::Leaving { .. } if !state.is_fresh(now.instant) => {
                    self.bury(&mut state, now);
                    if !state.has_pushed {
                        forgotten.push(agent.name.clone());
                    }
                }
                Presence::Expected { until } if now.instant >= until => {
                    state.presence = Presence::Gone { forget_at: now.instant + self.rules.tombstone };
                    self.touch();
                    lost.push(agent.name.clone());
                }
                Presence::Gone { forget_at } if now.instant >= forget_at => forgotten.push(agent.name.clone()),
                // Its page has been empty since then; its memory goes too.
                Presence::Connected(_) if !state.is_fresh(now.instant) => state.clear(&self.families, now),
                _ => {}
            }
        }
        for agent in lost {
            tracing::warn!(%agent, "an agent has not come back since this aggregator started");
        }
        if forgotten.is_empty() {
            return;
        }
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        for name in forgotten {
            // It may have come back since.
            let gone = |agent: &Arc<Agent>| matches!(agent.lock().presence, Presence::Gone { .. });
            if agents.get(&name).is_some_and(gone) {
                self.remove(&mut agents, &name, now);
            }
        }
    }

    /// Takes an agent off the page and leaves its tombstone.
    fn bury(&self, state: &mut State, now: Moment) {
        state.clear(&self.families, now);
        let keep = if state.has_pushed { self.rules.tombstone } else { Duration::ZERO };
        state.presence = Presence::Gone { forget_at: now.instant + keep };
        state.facts.connected_since_ms = 0;
        self.touch();
    }

    /// Makes room for a name that has just pushed for the first time, at the expense of the oldest
    /// tombstone.
    fn make_room(&self, now: Moment) {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if agents.len() > self.rules.agents_max {
            self.forget_oldest(&mut agents, now);
        }
        self.touch();
    }

    /// Forgets a name that has nothing left.
    fn forget(&self, name: &AgentName, now: Moment) {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if agents.get(name).is_some_and(|agent| matches!(agent.lock().presence, Presence::Gone { .. })) {
            self.remove(&mut agents, name, now);
        }
    }

    /// Forgets a name. When it could be seen is forgotten too: should it come back, nothing is known
    /// of the time until now.
    fn remove(&self, agents: &mut BTreeMap<AgentName, Arc<Agent>>, name: &AgentName, now: Moment) {
        if let Some(agent) = agents.remove(name) {
            self.lose_sights(&agent.lock(), now);
            self.touch();
        }
    }

    /// Of a name that never pushed nothing was ever seen here, whatever its `hello` said of other
    /// pages: that must not count for all names. Nor must what it said of the time to come.
    fn lose_sights(&self, state: &State, now: Moment) {
        if let Some(last_ms) = state.sights.last_ms().filter(|_| state.has_pushed) {
            let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
            unheard.know_nothing_before(last_ms.min(now.wall_ms));
        }
    }

    fn forget_oldest(&self, agents: &mut BTreeMap<AgentName, Arc<Agent>>, now: Moment) {
        let tombstones = agents.values().filter_map(|agent| match agent.lock().presence {
            Presence::Gone { forget_at } => Some((forget_at, agent.name.clone())),
            _ => None,
        });
        let Some((_, name)) = tombstones.min() else { return };
        self.remove(agents, &name, now);
        tracing::debug!(agent = %name, "its tombstone gives way to a new agent: FLEETGAUGE_MAX_AGENTS allows no more names");
    }
}

#[cfg(test)]
mod tests;
