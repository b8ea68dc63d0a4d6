//! `/api/v1/…`: the fleet as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fleet::{AgentView, Fleet, Moment};

/// The answer of `/api/v1/agents`.
#[derive(Debug, Serialize)]
pub(super) struct Agents {
    agents: Vec<Agent>,
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
    samples: u64,
    samples_dropped: BTreeMap<&'static str, u64>,
    samples_filled: u64,
    info: BTreeMap<String, String>,
}

/// Who is there, and who was.
pub(super) fn agents(fleet: &Fleet, now: Moment) -> Agents {
    Agents { agents: fleet.view(now).iter().map(agent).collect() }
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
        samples: facts.samples,
        samples_dropped: facts.dropped.iter().collect(),
        samples_filled: facts.filled,
        info: facts.info.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^53")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
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
