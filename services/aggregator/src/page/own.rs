//! What the aggregator itself has to say: its own registry, the `fleetgauge_agent_*` families
//! about each agent, and what programs put. All become sets like any agent's, and go through the
//! same encoder.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::proto::{Metric as ProtoMetric, MetricFamily, MetricType as ProtoType};
use protocol::frame::MetricType;

use super::put::{Named, PUT};
use crate::fleet::AgentView;
use crate::fleet::agent::Shown;
use crate::fleet::declared::{Builder, Identity};
use crate::fleet::families::{Claim, Families, Family};
use crate::history::Fresh;

/// A family that the aggregator makes: name, type, help, unit.
#[derive(Debug)]
pub struct AgentFamily {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// Its HELP.
    pub help: &'static str,
    /// Its labels besides `instance`, `job` and `aggregator`.
    pub labels: &'static str,
}

/// All families about agents, in the order of `about`.
pub const AGENT_FAMILIES: [AgentFamily; 9] = [
    family("fleetgauge_agent_up", MetricType::Gauge, "", "1: the agent is connected; 0: it is gone."),
    family(
        "fleetgauge_agent_info",
        MetricType::Gauge,
        "version, os, …, and the agent's own",
        "Always 1; what the agent is.",
    ),
    family(
        "fleetgauge_agent_last_seen_timestamp_seconds",
        MetricType::Gauge,
        "",
        "When the agent's last push was shown, Unix time.",
    ),
    family(
        "fleetgauge_agent_connected_since_timestamp_seconds",
        MetricType::Gauge,
        "",
        "Since when the agent has been connected, Unix time.",
    ),
    family(
        "fleetgauge_agent_clock_offset_seconds",
        MetricType::Gauge,
        "",
        "The agent's wall clock minus the aggregator's.",
    ),
    family("fleetgauge_agent_series", MetricType::Gauge, "", "Series of the agent on the page."),
    family("fleetgauge_agent_samples_total", MetricType::Counter, "", "Samples received from the agent."),
    family(
        "fleetgauge_agent_samples_dropped_total",
        MetricType::Counter,
        "reason",
        "Samples of the agent that were dropped, by reason.",
    ),
    family(
        "fleetgauge_agent_samples_filled_total",
        MetricType::Counter,
        "",
        "Late samples of the agent that are in the history or were written remotely.",
    ),
];

const fn family(name: &'static str, kind: MetricType, labels: &'static str, help: &'static str) -> AgentFamily {
    AgentFamily { name, kind, help, labels }
}

/// The aggregator's own families: claimed before any agent comes, and never released.
#[derive(Debug)]
pub struct Own {
    fleet: Arc<Families>,
    mine: Mutex<HashMap<Box<str>, Arc<Family>>>,
}

impl Own {
    /// Claims the families about agents, and those of this registry.
    #[must_use]
    pub fn new(fleet: Arc<Families>, registry: &[MetricFamily]) -> Self {
        let own = Self { fleet, mine: Mutex::default() };
        for family in AGENT_FAMILIES.iter().chain([&PUT]) {
            own.family(&about_claim(family));
        }
        for family in registry {
            own.family(&claim(family));
        }
        for metric in crate::telemetry::TABLE {
            let kind = match metric.kind {
                "counter" => MetricType::Counter,
                "histogram" => MetricType::Histogram,
                _ => MetricType::Gauge,
            };
            own.family(&Claim { name: metric.name.into(), kind, help: metric.help.into(), unit: "".into() });
        }
        own
    }

    fn family(&self, claim: &Claim) -> Arc<Family> {
        let mut mine = self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = mine.get(&claim.name) {
            return Arc::clone(family);
        }
        let claimed = self.fleet.claim(std::slice::from_ref(claim));
        let family = claimed.first().cloned().expect("one claim gives one family");
        mine.insert(claim.name.clone(), Arc::clone(&family));
        family
    }

    fn shown(&self, builder: Builder, values: Vec<f64>) -> Shown {
        let declared = Arc::new(builder.finish_unchecked());
        let families = declared.claims.iter().map(|claim| self.family(claim)).collect();
        Shown { declared, families, present: values.len(), values: Arc::new(values), measured_ms: None }
    }

    /// The registry as a set.
    #[must_use]
    pub fn registry(&self, registry: &[MetricFamily]) -> Shown {
        let mut builder = Builder::new("aggregator", Identity::none());
        let mut values = Vec::new();
        for family in registry {
            builder.family(claim(family));
            for metric in family.get_metric() {
                flatten(family, metric, &mut builder, &mut values);
            }
        }
        self.shown(builder, values)
    }

    /// The families about these agents as a set.
    #[must_use]
    pub fn agents(&self, views: &[AgentView], job: &str, aggregator: &str) -> Shown {
        let mut builder = Builder::new("agents", Identity::none());
        let mut values = Vec::new();
        for (at, family) in AGENT_FAMILIES.iter().enumerate() {
            builder.family(about_claim(family));
            for view in views {
                let head = [("aggregator", aggregator), ("instance", view.name.as_str()), ("job", job)];
                about(at, view, |labels, value| {
                    // An agent's info may not pretend to be somebody else's.
                    let labels = labels.iter().filter(|(name, _)| head.iter().all(|(reserved, _)| reserved != name));
                    builder.series(family.name, "", head.iter().chain(labels).copied());
                    values.push(value);
                });
            }
        }
        self.shown(builder, values)
    }

    /// What programs put, as a set, and how many of the keys are too long for it. `agents`: all
    /// known names.
    #[must_use]
    pub fn puts(&self, puts: &[Fresh], agents: &HashSet<String>) -> (Shown, usize) {
        let mut builder = Builder::new("put", Identity::none());
        let mut values = Vec::new();
        let mut hidden = 0;
        builder.family(about_claim(&PUT));
        for Fresh { key, point, .. } in puts {
            let named = Named::new(&key.text, |name| agents.contains(name));
            if named.fits() {
                builder.series(PUT.name, "", named.labels());
                values.push(point.value);
            } else {
                hidden += 1;
            }
        }
        (self.shown(builder, values), hidden)
    }
}

/// The series of one agent in one of [`AGENT_FAMILIES`].
fn about(family: usize, view: &AgentView, mut series: impl FnMut(&[(&str, &str)], f64)) {
    let facts = &view.facts;
    match family {
        0 => series(&[], f64::from(u8::from(view.is_up))),
        1 => {
            let labels: Vec<_> = facts.info.iter().collect();
            series(&labels, 1.0);
        }
        2 => series(&[], seconds(facts.last_seen_ms)),
        3 if facts.connected_since_ms > 0 => series(&[], seconds(facts.connected_since_ms)),
        4 if view.is_up => series(&[], seconds(facts.clock_offset_ms)),
        5 => series(&[], count(view.series() as u64)),
        6 => series(&[], count(facts.samples)),
        7 => {
            for (reason, samples) in facts.dropped.iter() {
                series(&[("reason", reason)], count(samples));
            }
        }
        8 => series(&[], count(facts.filled)),
        _ => {}
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^53")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a sample is an f64")]
fn count(number: u64) -> f64 {
    number as f64
}

fn about_claim(family: &AgentFamily) -> Claim {
    Claim { name: family.name.into(), kind: family.kind, help: family.help.into(), unit: "".into() }
}

fn claim(family: &MetricFamily) -> Claim {
    let kind = match family.get_field_type() {
        ProtoType::COUNTER => MetricType::Counter,
        ProtoType::GAUGE => MetricType::Gauge,
        ProtoType::HISTOGRAM => MetricType::Histogram,
        ProtoType::SUMMARY => MetricType::Summary,
        _ => MetricType::Untyped,
    };
    Claim { name: family.name().into(), kind, help: family.help().into(), unit: "".into() }
}

/// Adds the series of one metric of the `prometheus` crate.
fn flatten(family: &MetricFamily, metric: &ProtoMetric, builder: &mut Builder, values: &mut Vec<f64>) {
    let labels: Vec<(&str, &str)> = metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
    let mut series = |suffix: &str, extra: Option<(&str, &str)>, value: f64| {
        builder.series(family.name(), suffix, labels.iter().copied().chain(extra));
        values.push(value);
    };
    match family.get_field_type() {
        ProtoType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
                let bound = bucket.upper_bound().to_string();
                series("_bucket", Some(("le", &bound)), count(bucket.cumulative_count()));
            }
            series("_bucket", Some(("le", "+Inf")), count(histogram.get_sample_count()));
            series("_sum", None, histogram.get_sample_sum());
            series("_count", None, count(histogram.get_sample_count()));
        }
        ProtoType::COUNTER => series("", None, metric.get_counter().get_value()),
        // The registry holds gauges besides these; summaries and untyped ones it cannot make.
        _ => series("", None, metric.get_gauge().get_value()),
    }
}
