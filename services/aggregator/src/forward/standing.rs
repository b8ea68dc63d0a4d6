//! What was written of each agent last, to say where its series end: when an agent leaves, and when
//! a set is retired, replaced or failed, or a series of it is `null`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use protocol::is_absent;
use protocol::values::ABSENT;

use super::batch::{Moments, Vector};
use super::ledger::Held;
use crate::fleet::{Fleet, Moment};

/// The sets of all agents, by agent and by name.
#[derive(Debug, Default)]
pub(super) struct Standing {
    agents: HashMap<String, BTreeMap<Box<str>, Vector>>,
}

impl Standing {
    /// A push goes out; gives the ends of series that it no longer has.
    pub(super) fn take(&mut self, push: &Moments) -> Option<Moments> {
        let sets = self.agents.entry(push.agent.as_str().to_owned()).or_default();
        let mut ended = Vec::new();
        for now in &push.sets {
            let before = sets.insert(now.declared.name.clone(), now.clone());
            ended.extend(before.and_then(|before| missing(&before, now)));
        }
        (!ended.is_empty()).then(|| ends(push.agent.clone(), push.at_ms, ended))
    }

    /// Gives the ends of what is on no page any more.
    pub(super) fn gone(&mut self, fleet: &Fleet, now: Moment) -> Vec<Moments> {
        let mut gone = Vec::new();
        self.agents.retain(|agent, sets| {
            let view = fleet.view_one(agent, now);
            let shown: HashSet<&str> =
                view.iter().flat_map(|view| &view.shown).map(|shown| &*shown.declared.name).collect();
            let ended: Vec<Vector> =
                sets.extract_if(.., |name, _| !shown.contains(&**name)).map(|(_, set)| set).collect();
            if let Some(name) = protocol::AgentName::parse(agent).ok().filter(|_| !ended.is_empty()) {
                gone.push(ends(name, now.wall_ms, ended));
            }
            !sets.is_empty()
        });
        gone
    }
}

fn ends(agent: protocol::AgentName, at_ms: i64, sets: Vec<Vector>) -> Moments {
    Moments { agent, at_ms, sets, is_end: true, pending: None, may_wait: false, room: Held::default() }
}

/// The series of a set that were there, and are not in the one that came for it.
fn missing(before: &Vector, now: &Vector) -> Option<Vector> {
    let is_same = Arc::ptr_eq(&before.declared, &now.declared);
    let prefixes: HashSet<&[u8]> = if is_same {
        HashSet::new()
    } else {
        let there = now.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
        there.map(|(at, _)| now.declared.prefix(at)).collect()
    };
    let stays = |at: usize| {
        if is_same {
            now.values.get(at).is_some_and(|value| !is_absent(*value))
        } else {
            prefixes.contains(before.declared.prefix(at))
        }
    };
    let values: Vec<f64> = before
        .values
        .iter()
        .enumerate()
        .map(|(at, value)| if is_absent(*value) || stays(at) { ABSENT } else { *value })
        .collect();
    let is_any = values.iter().any(|value| !is_absent(*value));
    is_any.then(|| Vector { declared: Arc::clone(&before.declared), values: Arc::new(values) })
}
