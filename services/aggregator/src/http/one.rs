//! `/api/v1/agents/NAME`: all that is known of one agent, so that `fleetgauge explain` can say why
//! something is not on the page.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use protocol::frame::MetricType;
use protocol::is_absent;
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response as Reply;

use super::admin::{self, PATH};
use super::api::{self, Allowed, Overload, seconds};
use super::{Context, json, sentence};
use crate::fleet::agent::Shown;
use crate::fleet::families::Family;
use crate::fleet::inspect::{Inspection, Rival};
use crate::fleet::{Fleet, Moment};
use crate::limits::refusals::Refusal;
use crate::link::{Shared, moment};

/// Conflicts of one agent that are listed.
const CONFLICTS_MAX: usize = 100;
/// Samples of one metric that are listed.
const SAMPLES_MAX: usize = 50;

/// The answer.
#[derive(Debug, Serialize)]
struct One {
    name: String,
    /// `connected`, `leaving`, `expected`, `gone`; `unknown`: only refusals are known.
    state: &'static str,
    up: bool,
    /// Are its series on the page at this moment?
    on_page: bool,
    pushed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Known>,
    refusals: Vec<Refused>,
    overload: Overload,
    limits: Allowed,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<Metric>,
}

/// What is known of an agent that came in.
#[derive(Debug, Serialize)]
struct Known {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
    last_seen: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_since: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten_in_seconds: Option<f64>,
    hidden_for_seconds: f64,
    clock_offset_seconds: f64,
    series_declared: usize,
    series_granted: usize,
    received_bytes: u64,
    limits_exceeded: BTreeMap<&'static str, u64>,
    backlog_seconds: f64,
    samples: u64,
    samples_missing: BTreeMap<&'static str, u64>,
    samples_dropped: BTreeMap<&'static str, u64>,
    sets: Vec<Set>,
    conflicts: Vec<Conflict>,
}

#[derive(Debug, Serialize)]
struct Set {
    name: String,
    series: usize,
    present: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// A family that is not shown as it was declared.
#[derive(Debug, Serialize)]
struct Conflict {
    set: String,
    family: String,
    declared_as: MetricType,
    /// Missing: it is kept off the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown_as: Option<MetricType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<With>,
}

/// The family that was there first.
#[derive(Debug, Serialize)]
struct With {
    family: String,
    r#type: MetricType,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    at: f64,
    address: String,
    code: &'static str,
    reason: String,
    count: u64,
}

/// Where one metric stands.
#[derive(Debug, Serialize)]
struct Metric {
    name: String,
    found: Vec<Found>,
}

/// One family that has it.
#[derive(Debug, Serialize)]
struct Found {
    set: String,
    family: String,
    declared_as: MetricType,
    series: usize,
    present: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<Conflict>,
    samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Sample {
    series: String,
    /// As text: JSON has no NaN.
    value: String,
}

/// The routes: to ask about an agent, and to have it forgotten.
pub(super) fn routes(
    with: impl Filter<Extract = (Arc<Context>,), Error = Infallible> + Clone + Send + Sync + 'static,
    from: impl Filter<Extract = (IpAddr,), Error = Infallible> + Clone + Send + Sync + 'static,
) -> BoxedFilter<(Reply,)> {
    let ask = warp::path!("api" / "v1" / "agents" / String)
        .and(warp::get())
        .and(warp::query::<HashMap<String, String>>())
        .and(with.clone())
        .and(from)
        .then(ask);
    ask.or(admin::routes(with)).unify().boxed()
}

async fn ask(name: String, query: HashMap<String, String>, context: Arc<Context>, from: IpAddr) -> Reply {
    if let Some(unknown) = query.keys().find(|key| *key != "metric") {
        let text = format!("unknown parameter {unknown:?}; there is metric=NAME");
        return context.answered(PATH, sentence(StatusCode::BAD_REQUEST, &text));
    }
    let Some(slot) = context.agent_slots.take(from).await else {
        return context.answered(PATH, sentence(StatusCode::SERVICE_UNAVAILABLE, "too many answers are being sent"));
    };
    let name = percent_encoding::percent_decode_str(&name).decode_utf8_lossy().into_owned();
    let metric = query.get("metric").map(String::as_str);
    let reply = match agent(&context.shared, &name, metric, moment()) {
        Some(answer) => json(&answer, slot),
        None => sentence(StatusCode::NOT_FOUND, &format!("no agent called {name:?} was ever heard")),
    };
    context.answered(PATH, reply)
}

/// All about one agent; `None`: nobody ever heard of it.
fn agent(shared: &Shared, name: &str, metric: Option<&str>, now: Moment) -> Option<One> {
    let inspection = shared.fleet.inspect(name, now);
    let refusals = match &inspection {
        Some(inspection) => [shared.limits.strangers.of(name), inspection.refusals.clone()].concat(),
        None => shared.limits.strangers.of(name),
    };
    if inspection.is_none() && refusals.is_empty() {
        return None;
    }
    let (overload, limits) = (api::overload(shared), api::allowed(shared));
    let refusals = refusals.into_iter().map(refused).collect();
    let is = |of: fn(&Inspection) -> bool| inspection.as_ref().is_some_and(of);
    Some(One {
        name: name.to_owned(),
        state: inspection.as_ref().map_or("unknown", |inspection| inspection.state),
        up: is(|inspection| inspection.is_fresh),
        on_page: is(|inspection| inspection.is_visible),
        pushed: is(|inspection| inspection.has_pushed),
        metric: metric.map(|metric| Metric {
            name: metric.to_owned(),
            found: inspection.as_ref().map(|one| found(&shared.fleet, one, metric)).unwrap_or_default(),
        }),
        known: inspection.map(|inspection| known(&shared.fleet, &inspection)),
        refusals,
        overload,
        limits,
    })
}

fn refused(refusal: Refusal) -> Refused {
    let Refusal { at_ms, address, code, reason, count } = refusal;
    Refused { at: seconds(at_ms), address, code, reason: reason.to_string(), count }
}

fn known(fleet: &Fleet, one: &Inspection) -> Known {
    let (facts, meter) = (&one.facts, &one.meter);
    Known {
        address: one.peer.map(|peer| peer.to_string()),
        interval_seconds: one.interval.map(|interval| interval.as_secs_f64()),
        last_seen: seconds(facts.last_seen_ms),
        connected_since: (facts.connected_since_ms > 0).then(|| seconds(facts.connected_since_ms)),
        forgotten_in_seconds: one.forget_in.map(|left| left.as_secs_f64()),
        hidden_for_seconds: one.hidden_for.as_secs_f64(),
        clock_offset_seconds: seconds(facts.clock_offset_ms),
        series_declared: meter.declared,
        series_granted: meter.granted,
        received_bytes: meter.received,
        limits_exceeded: api::exceeded(meter),
        backlog_seconds: api::millis(facts.backlog_ms),
        samples: facts.samples,
        samples_missing: facts.missing.iter().collect(),
        samples_dropped: api::dropped(facts),
        sets: one.sets.iter().map(set).collect(),
        conflicts: conflicts(fleet, one),
    }
}

fn set(set: &crate::fleet::inspect::SetView) -> Set {
    let (series, present) = set.shown.as_ref().map_or((0, 0), |shown| (shown.declared.len(), shown.present));
    Set { name: set.name.clone(), series, present, failed: set.failed.clone() }
}

fn conflicts(fleet: &Fleet, one: &Inspection) -> Vec<Conflict> {
    let shown = one.sets.iter().filter_map(|set| Some((&set.name, set.shown.as_ref()?)));
    let families = shown.flat_map(|(name, shown)| {
        let pairs = shown.declared.claims.iter().zip(shown.families.iter());
        pairs.map(move |(claim, family)| (name, claim.kind, family))
    });
    let clashing = families.filter(|(_, kind, family)| family.is_blocked() || family.kind != *kind);
    clashing.take(CONFLICTS_MAX).filter_map(|(set, kind, family)| conflict(fleet, one, set, kind, family)).collect()
}

fn conflict(
    fleet: &Fleet,
    one: &Inspection,
    set: &str,
    declared: MetricType,
    family: &Arc<Family>,
) -> Option<Conflict> {
    let is_blocked = family.is_blocked();
    if !is_blocked && family.kind == declared {
        return None;
    }
    let rival = fleet.rival(&one.name, family, declared);
    Some(Conflict {
        set: set.to_owned(),
        family: family.name.to_string(),
        declared_as: declared,
        shown_as: (!is_blocked).then_some(family.kind),
        with: rival.map(|Rival { family, kind, agent }| With { family, r#type: kind, agent }),
    })
}

/// Everything of the agent's sets that is called so: a family, or series of a histogram or summary.
fn found(fleet: &Fleet, one: &Inspection, metric: &str) -> Vec<Found> {
    let mut all = Vec::new();
    for set in &one.sets {
        let Some(shown) = &set.shown else { continue };
        let families = shown.declared.claims.iter().zip(shown.families.iter()).enumerate();
        for (at, (claim, family)) in families {
            let of_family = shown.declared.series_of(at);
            let series: Vec<usize> = if *claim.name == *metric {
                of_family.collect()
            } else if metric.starts_with(&*claim.name) {
                called(shown, of_family, metric)
            } else {
                continue;
            };
            if series.is_empty() {
                continue;
            }
            let values = series.iter().filter_map(|at| Some((*at, *shown.values.get(*at)?)));
            let present: Vec<(usize, f64)> = values.filter(|(_, value)| !is_absent(*value)).collect();
            all.push(Found {
                set: set.name.clone(),
                family: claim.name.to_string(),
                declared_as: claim.kind,
                series: series.len(),
                present: present.len(),
                conflict: conflict(fleet, one, &set.name, claim.kind, family),
                samples: present.into_iter().take(SAMPLES_MAX).map(|(at, value)| sample(shown, at, value)).collect(),
            });
        }
    }
    all
}

/// The series that are called so.
fn called(shown: &Shown, series: Range<usize>, metric: &str) -> Vec<usize> {
    let is_called = |at: &usize| {
        let rest = shown.declared.prefix(*at).strip_prefix(metric.as_bytes());
        rest.is_some_and(|rest| matches!(rest.first(), Some(b'{' | b' ')))
    };
    series.filter(is_called).collect()
}

fn sample(shown: &Shown, at: usize, value: f64) -> Sample {
    let series = String::from_utf8_lossy(shown.declared.prefix(at)).trim_end().to_owned();
    let value = match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    };
    Sample { series, value }
}
