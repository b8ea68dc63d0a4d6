//! The answer of `/api/v1/agents/NAME`, as much of it as is looked at.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(super) struct One {
    pub(super) state: String,
    #[serde(default)]
    pub(super) up: bool,
    #[serde(default)]
    pub(super) on_page: bool,
    #[serde(default)]
    pub(super) pushed: bool,
    #[serde(default)]
    pub(super) known: Option<Known>,
    #[serde(default)]
    pub(super) refusals: Vec<Refused>,
    #[serde(default)]
    pub(super) overload: Overload,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) metric: Option<Metric>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    pub(super) last_seen: f64,
    pub(super) connected_since: Option<f64>,
    pub(super) forgotten_in_seconds: Option<f64>,
    pub(super) hidden_for_seconds: f64,
    pub(super) series_declared: u64,
    pub(super) series_granted: u64,
    pub(super) limits_exceeded: BTreeMap<String, u64>,
    pub(super) backlog_seconds: f64,
    pub(super) samples_missing: BTreeMap<String, u64>,
    pub(super) samples_dropped: BTreeMap<String, u64>,
    pub(super) sets: Vec<Set>,
    pub(super) conflicts: Vec<Conflict>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Set {
    pub(super) name: String,
    #[serde(default)]
    pub(super) failed: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Conflict {
    pub(super) family: String,
    pub(super) declared_as: String,
    #[serde(default)]
    pub(super) shown_as: Option<String>,
    #[serde(default)]
    pub(super) with: Option<With>,
}

#[derive(Debug, Deserialize)]
pub(super) struct With {
    pub(super) family: String,
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) agent: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) at: f64,
    pub(super) address: String,
    pub(super) code: String,
    pub(super) reason: String,
    #[serde(default)]
    pub(super) count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overload {
    pub(super) state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) enforced: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metric {
    pub(super) found: Vec<Found>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) set: String,
    pub(super) family: String,
    pub(super) series: u64,
    pub(super) present: u64,
    #[serde(default)]
    pub(super) conflict: Option<Conflict>,
    #[serde(default)]
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sample {
    pub(super) series: String,
    pub(super) value: String,
}

impl Found {
    /// Is it kept off the page by another family?
    pub(super) fn is_blocked(&self) -> bool {
        self.conflict.as_ref().is_some_and(|conflict| conflict.shown_as.is_none())
    }
}

impl Metric {
    /// Each sample as on the page.
    pub(super) fn samples(&self) -> Vec<String> {
        let shown = self.found.iter().filter(|found| !found.is_blocked());
        shown.flat_map(|found| &found.samples).map(|Sample { series, value }| format!("{series} {value}")).collect()
    }
}
