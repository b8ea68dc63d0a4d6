//! `/api/v1/…`: the fleet as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fleet::agent::Facts;
use crate::fleet::{AgentView, Fleet, Moment};
use crate::limits::Limit;
use crate::limits::meter::Reading;
use crate::link::Shared;

/// The answer of `/api/v1/agents`.
#[derive(Debug, Serialize)]
pub(super) struct Agents {
    agents: Vec<Agent>,
    overload: Overload,
    limits: Allowed,
}

/// How short memory is, and what that has cost so far.
#[derive(Debug, Serialize)]
pub(super) struct Overload {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit_bytes: Option<u64>,
    refused_agents: u64,
    refused_sets: u64,
    shed_agents: u64,
}

/// What a single sender may take.
#[derive(Debug, Serialize)]
pub(super) struct Allowed {
    enforced: bool,
    series: usize,
    bytes_per_second: u64,
    line_bytes: usize,
    labels: usize,
    label_value_bytes: usize,
    connections_per_address: usize,
}

/// One agent. Times are Unix seconds.
#[derive(Debug, Serialize)]
struct Agent {
    name: String,
    up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
    last_seen: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_since: Option<f64>,
    clock_offset_seconds: f64,
    series: usize,
    series_declared: usize,
    received_bytes: u64,
    /// Times that it went over a limit.
    limits_exceeded: BTreeMap<&'static str, u64>,
    backlog_seconds: f64,
    samples: u64,
    samples_missing: BTreeMap<&'static str, u64>,
    samples_dropped: BTreeMap<&'static str, u64>,
    samples_filled: u64,
    info: BTreeMap<String, String>,
}

/// Who is there, and who was.
pub(super) fn agents(shared: &Shared, now: Moment) -> Agents {
    let agents = shared.fleet.view(now).iter().map(agent).collect();
    Agents { agents, overload: overload(shared), limits: allowed(shared) }
}

/// Samples of an agent that were dropped, by reason.
pub(super) fn dropped(facts: &Facts) -> BTreeMap<&'static str, u64> {
    facts.dropped.iter().collect()
}

/// How short memory is.
pub(super) fn overload(shared: &Shared) -> Overload {
    let limits = &shared.limits;
    let [refused_agents, refused_sets, shed_agents] = shared.telemetry.limits.of_overload();
    Overload {
        state: limits.level().as_str(),
        memory_bytes: limits.caps.memory.map(|_| limits.overload.bytes()),
        memory_limit_bytes: limits.caps.memory,
        refused_agents,
        refused_sets,
        shed_agents,
    }
}

/// What a single sender may take.
pub(super) fn allowed(shared: &Shared) -> Allowed {
    let caps = &shared.limits.caps;
    Allowed {
        enforced: caps.enforce,
        series: shared.fleet.rules().series_per_agent_max,
        bytes_per_second: caps.bytes_per_second,
        line_bytes: caps.line_bytes,
        labels: caps.labels,
        label_value_bytes: caps.label_value_bytes,
        connections_per_address: caps.per_address,
    }
}

/// Times that an agent went over each of its limits.
pub(super) fn exceeded(meter: &Reading) -> BTreeMap<&'static str, u64> {
    Limit::ALL.into_iter().map(Limit::as_str).zip(meter.exceeded).collect()
}

fn agent(view: &AgentView) -> Agent {
    let facts = &view.facts;
    Agent {
        name: view.name.to_string(),
        up: view.is_up,
        address: view.peer.map(|peer| peer.to_string()),
        interval_seconds: view.interval.map(|interval| interval.as_secs_f64()),
        last_seen: seconds(facts.last_seen_ms),
        connected_since: (facts.connected_since_ms > 0).then(|| seconds(facts.connected_since_ms)),
        clock_offset_seconds: seconds(facts.clock_offset_ms),
        series: view.series(),
        series_declared: view.meter.declared,
        received_bytes: view.meter.received,
        limits_exceeded: exceeded(&view.meter),
        backlog_seconds: millis(facts.backlog_ms),
        samples_missing: facts.missing.iter().collect(),
        samples: facts.samples,
        samples_dropped: dropped(facts),
        samples_filled: facts.filled,
        info: facts.info.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^53")]
pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// Milliseconds of a duration as seconds.
pub(super) fn millis(millis: u64) -> f64 {
    seconds(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// A group of Prometheus' `http_sd_configs`.
#[derive(Debug, Serialize)]
pub(super) struct TargetGroup {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

/// One target for each agent, over `/metrics?agent=NAME` of this aggregator as the client called
/// it: each agent then has its own `up`, its own `sample_limit`, and a place in `hashmod`. Gone
/// agents stay targets while their tombstone stays, so that their `up` is 0.
pub(super) fn targets(fleet: &Fleet, host: &str) -> Vec<TargetGroup> {
    let job = &fleet.rules().job;
    let group = |name: String| TargetGroup {
        targets: [host.to_owned()],
        labels: BTreeMap::from([
            ("__metrics_path__", "/metrics".to_owned()),
            ("__param_agent", name.clone()),
            ("instance", name),
            ("job", job.clone()),
        ]),
    };
    fleet.names().into_iter().map(group).collect()
}
