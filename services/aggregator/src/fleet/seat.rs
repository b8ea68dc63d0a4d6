//! A connection's hold on a name. Dropped without a word, it counts as a broken connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::frame::Stream;
use protocol::{AgentName, limits};

use super::agent::{Agent, Measured, Outcome, Presence, PushedSet};
use super::declared::Identity;
use super::dropped::Dropped;
use super::{Fleet, Moment};
use crate::limits::meter::Meter;

/// A seat in the fleet. Once another connection has taken the name over, nothing that is done
/// with it has any effect.
#[derive(Debug)]
pub struct Seat {
    fleet: Arc<Fleet>,
    agent: Arc<Agent>,
    id: u64,
    identity: Identity,
    since: Instant,
    left: bool,
}

impl Seat {
    pub(super) fn new(fleet: Arc<Fleet>, agent: Arc<Agent>, id: u64, identity: Identity, since: Instant) -> Self {
        Self { fleet, agent, id, identity, since, left: false }
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &AgentName {
        &self.agent.name
    }

    /// What is counted of it.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.agent.meter)
    }

    /// Takes in what the agent says of itself with a push: how old the oldest is that waits in it,
    /// and what it lost.
    pub fn note(&self, backlog_ms: u64, lost: &BTreeMap<String, u64>) {
        let mut state = self.agent.lock();
        if state.is_seated(self.id) {
            state.facts.backlog_ms = backlog_ms;
            state.facts.missing.add(lost);
        }
    }

    /// The labels of its series.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Shows a push that is in time. `None`: another connection has the name now.
    #[must_use]
    pub fn show(&self, measured: Measured, push: Vec<PushedSet>, now: Moment) -> Option<Outcome> {
        let mut state = self.agent.lock();
        if !state.is_seated(self.id) {
            return None;
        }
        let (is_first, is_news) = (!state.has_pushed, !state.is_fresh(now.instant));
        if is_news {
            // What had left the page must not come back with a push that does not mention it.
            state.clear(&self.fleet.families, now);
        }
        let mut outcome = state.show(self.id, measured, push, &self.fleet.families);
        if state.is_hidden(now.instant) {
            // Nobody sees it here, and the next push takes its place.
            (outcome.hidden, outcome.visible) = (outcome.visible, 0);
        }
        self.agent.meter.settle();
        if let Presence::Connected(connected) = &state.presence {
            state.fresh_until = Some(now.instant + limits::silence_after(connected.interval));
        }
        state.facts.last_seen_ms = now.wall_ms;
        state.facts.samples += outcome.visible + outcome.hidden + outcome.conflict;
        state.facts.dropped.add(Dropped::Hidden, outcome.hidden);
        state.facts.dropped.add(Dropped::Conflict, outcome.conflict);
        drop(state);
        if is_first {
            self.fleet.make_room(now);
        } else if is_news {
            // On disk it is gone; a crash must not make it so.
            self.fleet.touch();
        }
        Some(outcome)
    }

    /// Counts a push that is late, and says whether a scrape could see the agent when it was measured.
    /// `None`: another connection has the name now.
    #[must_use]
    pub fn take_late(&self, measured_ms: i64, samples: u64, now: Moment) -> Option<bool> {
        let mut state = self.agent.lock();
        if !state.is_seated(self.id) {
            return None;
        }
        state.note_sight(now);
        state.facts.samples += samples;
        Some(state.sights.covers(measured_ms))
    }

    /// A push is safe, so that it need not be sent again.
    pub fn acked(&self, stream: Stream, seq: u64) {
        let mut state = self.agent.lock();
        if state.is_seated(self.id) {
            let acked = &mut state.acked.1;
            let acked = if stream == Stream::Live { &mut acked.live } else { &mut acked.late };
            *acked = seq.max(*acked);
        }
    }

    /// The agent, to count what becomes of its late samples, however long that takes.
    #[must_use]
    pub fn agent(&self) -> Arc<Agent> {
        Arc::clone(&self.agent)
    }

    /// Takes a retired set off the page.
    pub fn retire(&self, set: u64) {
        let mut state = self.agent.lock();
        if state.is_seated(self.id) {
            state.retire(self.id, set, &self.fleet.families);
        }
    }

    /// Leaves: at once after a `bye`, otherwise after the grace.
    pub fn leave(mut self, bye: bool, now: Moment) {
        self.left = true;
        let mut state = self.agent.lock();
        let Presence::Connected(connected) = &state.presence else { return };
        if connected.id != self.id {
            return;
        }
        let (interval, ephemeral) = (connected.interval, connected.ephemeral);
        self.agent.meter.set_declared(0);
        let nothing_to_keep = !state.has_pushed || (bye && ephemeral);
        if bye || nothing_to_keep {
            self.fleet.bury(&mut state, now);
        } else {
            let grace: Duration = limits::grace_after_close(interval);
            state.presence = Presence::Leaving { until: now.instant + grace };
        }
        drop(state);
        if nothing_to_keep {
            self.fleet.forget(&self.agent.name, now);
        }
    }
}

impl Drop for Seat {
    /// A seat that nobody left (its task was cancelled) must not stay taken: its series go at once,
    /// as if its grace had passed long ago.
    fn drop(&mut self) {
        if !self.left {
            let mut state = self.agent.lock();
            if state.is_seated(self.id) {
                state.presence = Presence::Leaving { until: self.since };
            }
        }
    }
}
