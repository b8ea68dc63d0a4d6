//! One agent: whether it is there, and what of it is on the page.
//!
//! Each agent has its own lock; a push takes that one and, only when a set appears or leaves,
//! the families' lock inside it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::frame::{Acked, MetricType};
use protocol::{AgentName, Labels, is_absent};

use super::declared::Declared;
use super::dropped::{Dropped, DroppedSamples};
use super::families::{Families, Family};
use super::missing::Missing;
use super::naming::{Process, TakeOvers};
use super::sights::Sights;
use super::{Moment, known};
use crate::limits::meter::Meter;
use crate::limits::refusals::OfAgent;
use crate::link::Incumbent;

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// What is counted of it without its lock.
    pub meter: Arc<Meter>,
    state: Mutex<State>,
}

/// What is known of an agent. Everything in it belongs to one name.
#[derive(Debug)]
pub(super) struct State {
    pub(super) presence: Presence,
    /// Has it ever pushed? Only then a name is remembered, and shown.
    pub(super) has_pushed: bool,
    pub(super) takeovers: TakeOvers,
    /// The session whose pushes were acknowledged last, and up to which.
    pub(super) acked: (String, Acked),
    /// Series are not shown before: another aggregator still does.
    pub(super) hidden_until: Option<Instant>,
    /// What is shown is fresh until then; only a push that is shown moves it. However a connection
    /// lives on, or comes back, nothing old stays on the page beyond it.
    pub(super) fresh_until: Option<Instant>,
    /// It was there when this aggregator stopped: until then nothing is said about it, unless it
    /// pushes.
    pub(super) awaited_until: Option<Instant>,
    pub(super) slots: BTreeMap<Box<str>, Slot>,
    /// Why connections under its name were refused lately.
    pub(super) refusals: OfAgent,
    pub(super) facts: Facts,
    /// When a scrape could see it.
    pub(super) sights: Sights,
}

/// Is the agent there?
#[derive(Debug)]
pub(super) enum Presence {
    /// It has a connection.
    Connected(Connected),
    /// Its connection broke; its series stay until then.
    Leaving { until: Instant },
    /// It was there when this aggregator stopped; nothing is said about it until then.
    Expected { until: Instant },
    /// It is gone; its tombstone stays until then.
    Gone { forget_at: Instant },
}

/// The connection that has a name.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) id: u64,
    pub(super) process: Process,
    pub(super) peer: SocketAddr,
    pub(super) interval: Duration,
    pub(super) ephemeral: bool,
    pub(super) connection: Incumbent,
}

/// What the page says about an agent besides its series.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `version`, `os`, … and the agent's own labels.
    pub info: Arc<Labels>,
    /// When the last push came, Unix ms.
    pub last_seen_ms: i64,
    /// Since when it has been connected, Unix ms; 0: it is not.
    pub connected_since_ms: i64,
    /// Its wall clock minus ours.
    pub clock_offset_ms: i64,
    /// Samples received, of the live and the late stream.
    pub samples: u64,
    /// Late samples that are in the history or were written remotely.
    pub filled: u64,
    /// Samples dropped.
    pub dropped: DroppedSamples,
    /// What the agent says that it lost itself.
    pub missing: Missing,
    /// How long ago the oldest push that waits in the agent was measured, as it said last.
    pub backlog_ms: u64,
}

/// The set of one name that is on the page, or would be if it had not failed.
#[derive(Debug)]
pub(super) struct Slot {
    /// The connection and the number under which it was declared.
    connection: u64,
    set: u64,
    shown: Option<Shown>,
    /// Why there is nothing to show, where the set failed.
    pub(super) failed: Option<Box<str>>,
}

impl Slot {
    /// What is shown of it.
    pub(super) fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }
}

/// A set of a push.
#[derive(Debug)]
pub struct PushedSet {
    /// Its number.
    pub set: u64,
    /// What it consists of.
    pub declared: Arc<Declared>,
    /// Its values, `None` if it failed.
    pub values: Option<Vec<f64>>,
    /// Why it failed, if it did.
    pub reason: Box<str>,
}

/// When a push was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// By our wall clock, Unix ms.
    pub at_ms: i64,
    /// The agent's wall clock minus ours.
    pub offset_ms: i64,
}

/// What became of a push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Samples now on the page.
    pub visible: u64,
    /// Samples that would be, if another aggregator did not still show their series.
    pub hidden: u64,
    /// Samples that another family keeps off it.
    pub conflict: u64,
    /// Families that appeared with this push, and not as they were declared.
    pub clashes: Vec<Clash>,
}

/// A family that is not shown as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Its name.
    pub family: Box<str>,
    /// The type that this agent gave it.
    pub declared: MetricType,
    /// The type under which it is shown; `None`: it is not shown, another family owns its name.
    pub shown: Option<MetricType>,
}

/// A set as a scrape takes it: three counted references, nothing copied.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What it consists of.
    pub declared: Arc<Declared>,
    /// Its families, in the order of `declared.claims`.
    pub families: Arc<[Arc<Family>]>,
    /// Its values.
    pub values: Arc<Vec<f64>>,
    /// How many of them are there now.
    pub present: usize,
    /// When they were measured, by our wall clock, Unix ms; `None`: as the page is made.
    pub measured_ms: Option<i64>,
}

impl Agent {
    /// One that has not pushed.
    pub(super) fn new(name: AgentName, presence: Presence, facts: Facts, sights: Sights) -> Self {
        let state = State {
            presence,
            has_pushed: false,
            takeovers: TakeOvers::default(),
            acked: (String::new(), Acked::default()),
            hidden_until: None,
            fresh_until: None,
            awaited_until: None,
            slots: BTreeMap::new(),
            refusals: OfAgent::default(),
            facts,
            sights,
        };
        Self { name, meter: Arc::default(), state: Mutex::new(state) }
    }

    /// So many of its late samples are safe.
    pub fn filled(&self, samples: u64) {
        self.lock().facts.filled += samples;
    }

    /// So many of its samples are dropped.
    pub fn dropped(&self, reason: Dropped, samples: u64) {
        self.lock().facts.dropped.add(reason, samples);
    }

    /// What is counted of it.
    #[cfg(test)]
    pub(crate) fn facts(&self) -> Facts {
        self.lock().facts.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Is this the connection that has the name?
    pub(super) fn is_seated(&self, id: u64) -> bool {
        matches!(&self.presence, Presence::Connected(connected) if connected.id == id)
    }

    /// Is it more than a tombstone?
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.presence, Presence::Gone { .. })
    }

    /// Puts a push on the page, all of it.
    pub(super) fn show(
        &mut self,
        connection: u64,
        measured: Measured,
        push: Vec<PushedSet>,
        families: &Families,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut leaving = Vec::new();
        for PushedSet { set, declared, values, reason } in push {
            let name = declared.name.clone();
            let slot = self.slots.remove(&name);
            let is_same = slot.as_ref().is_some_and(|slot| slot.connection == connection && slot.set == set);
            let before = slot.and_then(|slot| slot.shown);
            let shown = values.map(|values| {
                let claimed = match &before {
                    Some(before) if is_same => Arc::clone(&before.families),
                    _ => {
                        let claimed = families.claim(&declared.claims);
                        outcome.clashes.extend(clashes(&declared, &claimed));
                        claimed
                    }
                };
                let present = values.iter().filter(|value| !is_absent(**value)).count();
                Shown {
                    declared,
                    families: claimed,
                    values: Arc::new(values),
                    present,
                    measured_ms: Some(measured.at_ms),
                }
            });
            if let Some(shown) = &shown {
                outcome.count(shown);
            }
            // Given back only after the new claim: what stays must not be free for a moment.
            if !(is_same && shown.is_some()) {
                leaving.extend(before);
            }
            let failed = shown.is_none().then_some(reason);
            self.slots.insert(name, Slot { connection, set, shown, failed });
        }
        // The first push of a connection replaces all that the one before it had shown.
        leaving.extend(self.take_slots(|slot| slot.connection != connection));
        for shown in leaving {
            families.release(&shown.families);
        }
        self.has_pushed = true;
        self.sights.begin(measured.at_ms);
        self.facts.clock_offset_ms = measured.offset_ms;
        outcome
    }

    /// Takes a retired set off the page, if it stands there.
    pub(super) fn retire(&mut self, connection: u64, set: u64, families: &Families) {
        for shown in self.take_slots(|slot| slot.connection == connection && slot.set == set) {
            families.release(&shown.families);
        }
    }

    /// Takes everything off the page.
    pub(super) fn clear(&mut self, families: &Families, now: Moment) {
        self.end_sight(now);
        self.fresh_until = None;
        for shown in self.take_slots(|_| true) {
            families.release(&shown.families);
        }
    }

    /// Notes when it left the page, where that is over: at the moment it was due to, not when somebody
    /// looks.
    pub(super) fn note_sight(&mut self, now: Moment) {
        if !self.is_fresh(now.instant) {
            self.end_sight(now);
        }
    }

    fn end_sight(&mut self, now: Moment) {
        let leaving = match &self.presence {
            Presence::Leaving { until } => Some(*until),
            _ => None,
        };
        let due = [self.fresh_until, leaving].into_iter().flatten().min();
        self.sights.end(known::after(now, due.map_or(now.instant, |due| due.min(now.instant))));
    }

    fn take_slots(&mut self, which: impl Fn(&Slot) -> bool) -> Vec<Shown> {
        let taken = self.slots.extract_if(.., |_, slot| which(slot));
        taken.filter_map(|(_, slot)| slot.shown).collect()
    }

    /// Is what was shown last still to be believed?
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let there = match &self.presence {
            Presence::Connected(_) => true,
            Presence::Leaving { until } => now < *until,
            Presence::Expected { .. } | Presence::Gone { .. } => false,
        };
        there && self.fresh_until.is_some_and(|until| now < until)
    }

    /// Are the series to be seen at this moment?
    pub(super) fn is_visible(&self, now: Instant) -> bool {
        self.is_fresh(now) && !self.is_hidden(now)
    }

    /// Does another aggregator still show them?
    pub(super) fn is_hidden(&self, now: Instant) -> bool {
        self.hidden_until.is_some_and(|until| now < until)
    }

    /// What a scrape takes.
    pub(super) fn shown(&self) -> Vec<Shown> {
        self.slots.values().filter_map(|slot| slot.shown.clone()).collect()
    }
}

impl Shown {
    /// How many of its samples another family keeps off the page. Hardly ever is there one, so
    /// the values are not looked at twice.
    pub(super) fn blocked(&self) -> usize {
        let blocked = self.families.iter().enumerate().filter(|(_, family)| family.is_blocked());
        let values = blocked.flat_map(|(at, _)| self.values.get(self.declared.series_of(at)).unwrap_or_default());
        values.filter(|value| !is_absent(**value)).count()
    }
}

impl Outcome {
    fn count(&mut self, shown: &Shown) {
        let blocked = shown.blocked();
        self.conflict += blocked as u64;
        self.visible += (shown.present - blocked) as u64;
    }
}

/// The families of a set that appears now that are not shown as they were declared.
fn clashes(declared: &Declared, families: &[Arc<Family>]) -> Vec<Clash> {
    let pairs = declared.claims.iter().zip(families);
    let clashing = pairs.filter(|(claim, family)| family.is_blocked() || family.kind != claim.kind);
    clashing
        .map(|(claim, family)| Clash {
            family: claim.name.clone(),
            declared: claim.kind,
            shown: (!family.is_blocked()).then_some(family.kind),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One that nobody knows.
    pub(crate) fn agent(name: &str) -> Arc<Agent> {
        let gone = Presence::Gone { forget_at: Instant::now() };
        Arc::new(Agent::new(AgentName::parse(name).unwrap(), gone, Facts::default(), Sights::default()))
    }
}
