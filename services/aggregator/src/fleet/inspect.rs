//! Everything that is known of one agent, for whoever asks why something of it is not on the page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::MetricType;

use super::agent::{Facts, Presence, Shown};
use super::families::{Family, Shape};
use super::{Fleet, Moment};
use crate::limits::meter::Reading;
use crate::limits::refusals::Refusal;

/// One agent at one moment.
#[derive(Debug)]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// Is it there?
    pub state: &'static str,
    /// Is what it pushed last to be believed?
    pub is_fresh: bool,
    /// Is it on the page?
    pub is_visible: bool,
    /// Has it ever pushed?
    pub has_pushed: bool,
    /// Where it calls from, while connected.
    pub peer: Option<SocketAddr>,
    /// Its interval, while connected.
    pub interval: Option<Duration>,
    /// How long its series are kept off the page still, because another aggregator shows them.
    pub hidden_for: Duration,
    /// How long its tombstone stays.
    pub forget_in: Option<Duration>,
    /// Counters, times and labels.
    pub facts: Facts,
    /// What is counted of it without its lock.
    pub meter: Reading,
    /// Its sets.
    pub sets: Vec<SetView>,
    /// Why connections under its name were refused lately.
    pub refusals: Vec<Refusal>,
}

/// One set of an agent.
#[derive(Debug)]
pub struct SetView {
    /// Its name.
    pub name: String,
    /// What is shown of it.
    pub shown: Option<Shown>,
    /// Why nothing is.
    pub failed: Option<String>,
}

/// Another family because of which one is not shown as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub family: String,
    /// Its type.
    pub kind: MetricType,
    /// An agent that sends it; `None`: the aggregator itself, or nobody any more.
    pub agent: Option<String>,
}

impl Fleet {
    /// Everything about one agent; `None`: nobody knows the name.
    #[must_use]
    pub fn inspect(&self, name: &str, now: Moment) -> Option<Inspection> {
        let agent = self.agent(name)?;
        let state = agent.lock();
        let left = |until: std::time::Instant| until.saturating_duration_since(now.instant);
        let (mut peer, mut interval, mut forget_in) = (None, None, None);
        let presence = match &state.presence {
            Presence::Connected(connected) => {
                (peer, interval) = (Some(connected.peer), Some(connected.interval));
                "connected"
            }
            Presence::Leaving { .. } => "leaving",
            Presence::Expected { .. } => "expected",
            Presence::Gone { forget_at } => {
                forget_in = Some(left(*forget_at));
                "gone"
            }
        };
        let sets = state.slots.iter().map(|(name, slot)| SetView {
            name: name.to_string(),
            shown: slot.shown().cloned(),
            failed: slot.failed.as_deref().map(str::to_owned),
        });
        Some(Inspection {
            name: agent.name.to_string(),
            state: presence,
            is_fresh: state.is_fresh(now.instant),
            is_visible: state.is_visible(now.instant),
            has_pushed: state.has_pushed,
            peer,
            interval,
            hidden_for: state.hidden_until.map(left).unwrap_or_default(),
            forget_in,
            facts: state.facts.clone(),
            meter: agent.meter.read(),
            sets: sets.collect(),
            refusals: state.refusals.list(),
        })
    }

    /// Because of which family, and of whom, a family of this agent is not shown as it was declared.
    /// Looks through the fleet, so it is for single questions.
    #[must_use]
    pub fn rival(&self, agent: &str, family: &Arc<Family>, declared: MetricType) -> Option<Rival> {
        let wanted = if family.is_blocked() {
            self.families.blocker(family)?
        } else if family.kind == declared {
            return None;
        } else {
            Arc::clone(family)
        };
        let sends = |shown: &Shown| {
            let pairs = shown.declared.claims.iter().zip(shown.families.iter());
            pairs.into_iter().any(|(claim, family)| {
                family.name == wanted.name && Shape::of(claim.kind) == wanted.shape() && claim.kind == wanted.kind
            })
        };
        let others = self.all().into_iter().filter(|other| other.name.as_str() != agent);
        let sender =
            others.into_iter().find(|other| other.lock().slots.values().filter_map(|slot| slot.shown()).any(sends));
        let agent = sender.map(|other| other.name.to_string());
        Some(Rival { family: wanted.name.to_string(), kind: wanted.kind, agent })
    }
}
