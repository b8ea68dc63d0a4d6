//! Metrics of what senders may take, each beside its limit, and of memory.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::table::{Metric, metric};
use super::{Maker, level};
use crate::limits::Limit;

pub(super) const EXCEEDED: Metric = metric(
    "fleetgauge_limit_exceeded_total",
    "counter",
    &["limit"],
    "Times that a sender went over a limit, whether that was enforced or only counted (FLEETGAUGE_LIMITS).",
);
pub(super) const ENFORCED: Metric = metric(
    "fleetgauge_limits_enforced",
    "gauge",
    &[],
    "1: limits of single senders are enforced; 0: they are only counted, FLEETGAUGE_LIMITS.",
);
pub(super) const PER_ADDRESS: Metric = metric(
    "fleetgauge_link_connections_of_one_address",
    "gauge",
    &[],
    "Open connections of the link from the address that has most of them.",
);
pub(super) const PER_ADDRESS_LIMIT: Metric = metric(
    "fleetgauge_link_connections_of_one_address_limit",
    "gauge",
    &[],
    "Most of them, FLEETGAUGE_MAX_CONNECTIONS_PER_ADDRESS.",
);
pub(super) const HANDSHAKES: Metric = metric(
    "fleetgauge_link_handshakes",
    "gauge",
    &[],
    "Open connections of the link that have not said a whole hello.",
);
pub(super) const HANDSHAKES_LIMIT: Metric =
    metric("fleetgauge_link_handshakes_limit", "gauge", &[], "Most of them, FLEETGAUGE_MAX_HANDSHAKES.");
pub(super) const HANDSHAKES_OF_ONE: Metric =
    metric("fleetgauge_link_handshakes_of_one_address", "gauge", &[], "Those from the address that has most of them.");
pub(super) const HANDSHAKES_OF_ONE_LIMIT: Metric = metric(
    "fleetgauge_link_handshakes_of_one_address_limit",
    "gauge",
    &[],
    "Most of them, a quarter of FLEETGAUGE_MAX_HANDSHAKES.",
);
pub(super) const LABELS: Metric = metric(
    "fleetgauge_series_labels_max",
    "gauge",
    &[],
    "Most labels that any declared series has had since the start.",
);
pub(super) const LABELS_LIMIT: Metric =
    metric("fleetgauge_series_labels_limit", "gauge", &[], "Most labels of a series, FLEETGAUGE_MAX_LABELS.");
pub(super) const LABEL_VALUE: Metric = metric(
    "fleetgauge_label_value_max_bytes",
    "gauge",
    &[],
    "The longest value of a label that was declared since the start.",
);
pub(super) const LABEL_VALUE_LIMIT: Metric =
    metric("fleetgauge_label_value_limit_bytes", "gauge", &[], "Longest value of a label, FLEETGAUGE_MAX_LABEL_VALUE.");
pub(super) const LINE: Metric =
    metric("fleetgauge_link_line_max_bytes", "gauge", &[], "The longest line of the link since the start.");
pub(super) const LINE_LIMIT: Metric =
    metric("fleetgauge_link_line_limit_bytes", "gauge", &[], "Longest line of the link, FLEETGAUGE_MAX_LINE.");
pub(super) const WELCOMES: Metric = metric("fleetgauge_link_welcomes_total", "counter", &[], "Agents let in.");
pub(super) const WELCOMES_LIMIT: Metric = metric(
    "fleetgauge_link_welcomes_per_second_limit",
    "gauge",
    &[],
    "Most agents let in each second, FLEETGAUGE_MAX_WELCOMES.",
);
pub(super) const MEMORY: Metric = metric(
    "fleetgauge_memory_bytes",
    "gauge",
    &[],
    "Memory of this process by which it is decided whether there is room; 0: there is no limit.",
);
pub(super) const MEMORY_LIMIT: Metric =
    metric("fleetgauge_memory_limit_bytes", "gauge", &[], "Most of it, FLEETGAUGE_MEMORY_LIMIT; 0: there is no limit.");
pub(super) const OVERLOAD: Metric = metric(
    "fleetgauge_overload_state",
    "gauge",
    &[],
    "0: there is enough memory; 1: nobody new is let in; 2: the newest agents are sent away.",
);
pub(super) const OVERLOAD_REFUSED: Metric = metric(
    "fleetgauge_overload_refused_total",
    "counter",
    &["what"],
    "Agents and new sets that were refused because memory was short.",
);
pub(super) const SHED: Metric = metric(
    "fleetgauge_overload_shed_agents_total",
    "counter",
    &[],
    "Agents that were sent away because memory was short.",
);

/// How near to its limits an aggregator is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Readings {
    /// Are they enforced?
    pub enforced: bool,
    /// The most connections of one address, and the most allowed.
    pub per_address: (usize, usize),
    /// Connections without a whole `hello`, and the most allowed.
    pub handshakes: (usize, usize),
    /// The most of those from one address, and the most allowed.
    pub handshakes_of_one: (usize, usize),
    /// The most labels so far, and the most allowed.
    pub labels: (usize, usize),
    /// The longest value of a label so far, and the longest allowed.
    pub label_value: (usize, usize),
    /// The longest line so far, and the longest allowed.
    pub line: (usize, usize),
    /// Agents let in each second at most.
    pub welcomes_max: usize,
    /// Memory of this process, and the most allowed; 0: no limit.
    pub memory: (usize, usize),
    /// How short it is, from 0 to 2.
    pub overload: usize,
}

/// Those metrics.
#[derive(Debug)]
pub struct Limits {
    exceeded: IntCounterVec,
    enforced: IntGauge,
    pairs: [[IntGauge; 2]; 7],
    welcomes: IntCounter,
    welcomes_limit: IntGauge,
    overload: IntGauge,
    refused: IntCounterVec,
    shed: IntCounter,
}

impl Limits {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let pair = |now, limit| Ok::<_, prometheus::Error>([make.gauge(now)?, make.gauge(limit)?]);
        let exceeded = make.counters(&EXCEEDED)?;
        for limit in Limit::ALL {
            let _zero = exceeded.with_label_values(&[limit.as_str()]);
        }
        let refused = make.counters(&OVERLOAD_REFUSED)?;
        for what in ["agent", "set"] {
            let _zero = refused.with_label_values(&[what]);
        }
        Ok(Self {
            exceeded,
            enforced: make.gauge(&ENFORCED)?,
            pairs: [
                pair(&PER_ADDRESS, &PER_ADDRESS_LIMIT)?,
                pair(&HANDSHAKES, &HANDSHAKES_LIMIT)?,
                pair(&HANDSHAKES_OF_ONE, &HANDSHAKES_OF_ONE_LIMIT)?,
                pair(&LABELS, &LABELS_LIMIT)?,
                pair(&LABEL_VALUE, &LABEL_VALUE_LIMIT)?,
                pair(&LINE, &LINE_LIMIT)?,
                pair(&MEMORY, &MEMORY_LIMIT)?,
            ],
            welcomes: make.counter(&WELCOMES)?,
            welcomes_limit: make.gauge(&WELCOMES_LIMIT)?,
            overload: make.gauge(&OVERLOAD)?,
            refused,
            shed: make.counter(&SHED)?,
        })
    }

    /// Somebody went over a limit.
    pub fn exceeded(&self, limit: Limit) {
        self.exceeded.with_label_values(&[limit.as_str()]).inc();
    }

    /// An agent was let in.
    pub fn welcomed(&self) {
        self.welcomes.inc();
    }

    /// An `agent` or a `set` was refused because memory is short.
    pub fn refused(&self, what: &'static str) {
        self.refused.with_label_values(&[what]).inc();
    }

    /// So many agents were sent away.
    pub fn shed(&self, agents: usize) {
        self.shed.inc_by(agents as u64);
    }

    /// Agents and sets that were refused, and agents that were sent away, because memory was short.
    #[must_use]
    pub fn of_overload(&self) -> [u64; 3] {
        let refused = |what| self.refused.with_label_values(&[what]).get();
        [refused("agent"), refused("set"), self.shed.get()]
    }

    pub(super) fn set(&self, readings: Readings) {
        let Readings { per_address, handshakes, handshakes_of_one, labels, label_value, line, memory, .. } = readings;
        for ([now, limit], reading) in
            self.pairs.iter().zip([per_address, handshakes, handshakes_of_one, labels, label_value, line, memory])
        {
            now.set(level(reading.0));
            limit.set(level(reading.1));
        }
        self.enforced.set(i64::from(readings.enforced));
        self.welcomes_limit.set(level(readings.welcomes_max));
        self.overload.set(level(readings.overload));
    }
}
