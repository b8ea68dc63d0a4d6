//! What a scrape and the API see of the fleet: a view of each agent, taken under its own lock,
//! so that every push is seen whole or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::AgentName;

use super::agent::{Agent, Facts, Presence, Shown};
use super::{Fleet, Moment};
use crate::limits::meter::Reading;

/// One agent at one moment.
#[derive(Debug)]
pub struct AgentView {
    /// Its name.
    pub name: AgentName,
    /// Is it connected, or was so a moment ago, and what it pushed last still fresh?
    pub is_up: bool,
    /// Where it calls from, while connected.
    pub peer: Option<SocketAddr>,
    /// Its interval, while connected.
    pub interval: Option<Duration>,
    /// Counters, times and labels.
    pub facts: Facts,
    /// What is counted of it without its lock.
    pub meter: Reading,
    /// Its sets; none when it is not up.
    pub shown: Vec<Shown>,
}

impl AgentView {
    /// Number of series on the page.
    #[must_use]
    pub fn series(&self) -> usize {
        self.shown.iter().map(|shown| shown.present - shown.blocked()).sum()
    }
}

impl Fleet {
    /// All agents that the page speaks of.
    #[must_use]
    pub fn view(&self, now: Moment) -> Vec<AgentView> {
        self.all().iter().filter_map(|agent| view(agent, now)).collect()
    }

    /// Every name that is remembered.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let known = |agent: &Arc<Agent>| agent.lock().has_pushed.then(|| agent.name.to_string());
        self.all().iter().filter_map(known).collect()
    }

    /// Is this name remembered?
    #[must_use]
    pub fn is_known(&self, name: &str) -> bool {
        self.agent(name).is_some_and(|agent| agent.lock().has_pushed)
    }

    /// One agent, if the page speaks of it.
    #[must_use]
    pub fn view_one(&self, name: &str, now: Moment) -> Option<AgentView> {
        view(&self.agent(name)?, now)
    }
}

/// `None`: nothing is to be said of this name, now.
fn view(agent: &Arc<Agent>, now: Moment) -> Option<AgentView> {
    let state = agent.lock();
    if !state.has_pushed || matches!(state.presence, Presence::Expected { until } if now.instant < until) {
        return None;
    }
    let is_up = state.is_fresh(now.instant);
    if !is_up && state.awaited_until.is_some_and(|until| now.instant < until) {
        return None;
    }
    let (peer, interval) = match &state.presence {
        Presence::Connected(connected) => (Some(connected.peer), Some(connected.interval)),
        _ => (None, None),
    };
    let shown = if state.is_visible(now.instant) { state.shown() } else { Vec::new() };
    let (facts, meter) = (state.facts.clone(), agent.meter.read());
    Some(AgentView { name: agent.name.clone(), is_up, peer, interval, facts, meter, shown })
}
