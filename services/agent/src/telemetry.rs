//! The agent's own metrics. Every name, type, help and label is in this file.
//!
//! They live in a registry of the agent's own, so that many agents can run in one process, and
//! travel like everything else: as a set, called `agent`.

mod flatten;

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use protocol::frame::RefuseCode;

use self::flatten::flatten;
use crate::collect::batch::Batch;

/// Buckets of a reading's time: a file takes 20 µs, a slow device 50 ms, a dead one for ever.
const READING_BUCKETS: &[f64] = &[0.000_1, 0.001, 0.01, 0.1, 1.0];
/// Buckets of the time from sending a push to its ack: a rack, a country, the moon.
const ACK_BUCKETS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.5];

/// Why a measurement went to the spool: the `reason` of `fleetgauge_push_spooled_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spooled {
    /// It could not be sent at once.
    NotSent,
    /// It was sent and the connection ended before its ack.
    NotAcked,
    /// The link came back too late for it.
    Stale,
    /// The agent stopped.
    Stopped,
}

impl Spooled {
    const ALL: [Self; 4] = [Self::NotSent, Self::NotAcked, Self::Stale, Self::Stopped];

    /// As it stands in the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::NotAcked => "not_acked",
            Self::Stale => "stale",
            Self::Stopped => "stopped",
        }
    }
}

/// Why there is no connection, or no longer: the `reason` of `fleetgauge_push_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The name has no address.
    Resolve,
    /// Nobody takes the connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The aggregator closed the connection without a word, or the network did.
    Closed,
    /// The other end does not speak this protocol.
    Protocol,
    /// It wants a proof of a token, and there is none to give.
    Auth,
    /// There is no TLS with it.
    Tls,
    /// It asked the agent to go elsewhere.
    Goaway,
    /// It refused, and said why.
    Refused(RefuseCode),
}

impl Failure {
    const PLAIN: [Self; 8] = [
        Self::Resolve,
        Self::Connect,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
        Self::Auth,
        Self::Tls,
        Self::Goaway,
    ];

    /// As it stands in the metric.
    #[must_use]
    pub fn as_str(self) -> String {
        match self {
            Self::Resolve => "resolve".into(),
            Self::Connect => "connect".into(),
            Self::Timeout => "timeout".into(),
            Self::Closed => "closed".into(),
            Self::Protocol => "protocol".into(),
            Self::Auth => "auth".into(),
            Self::Tls => "tls".into(),
            Self::Goaway => "goaway".into(),
            Self::Refused(code) => format!("refused_{}", code.as_str()),
        }
    }
}

/// All of an agent's metrics.
pub struct Telemetry {
    registry: Registry,
    pushes: IntCounterVec,
    push_bytes: IntCounter,
    connects: IntCounter,
    reconnects: IntCounter,
    failures: IntCounterVec,
    spooled: IntCounterVec,
    late: IntCounterVec,
    ack_seconds: Histogram,
    reading_seconds: Histogram,
    dropped_series: IntCounterVec,
}

/// The metrics about one collector. There are many of them on every host and they travel with every
/// push, so they are written straight into the set, past the registry.
#[derive(Debug)]
pub struct CollectorMetrics {
    collector: &'static str,
    is_node: bool,
    success: bool,
    took: Duration,
    seconds: Histogram,
}

impl CollectorMetrics {
    /// It was read.
    pub fn collected(&mut self, success: bool, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        (self.success, self.took) = (success, took);
    }

    /// It did not come back in time.
    pub fn overdue(&mut self) {
        self.success = false;
    }

    /// Writes them.
    pub fn report(&self, out: &mut Batch) {
        let labels = [("collector", self.collector)];
        let success = f64::from(u8::from(self.success));
        let help = "1 for a collector that could read everything, 0 for one that could not or is overdue.";
        out.gauge("fleetgauge_collector_success", help, &labels, success);
        if self.is_node && cfg!(target_os = "linux") {
            let help = "1 for a collector that could read everything.";
            out.gauge("node_scrape_collector_success", help, &labels, success);
            let help = "Time that a collector took, the last time.";
            out.gauge("node_scrape_collector_duration_seconds", help, &labels, self.took.as_secs_f64());
        }
    }
}

/// Names, help texts and labels are constants, and each name stands here once.
const SOUND: &str = "the table of metrics is sound";

impl Telemetry {
    /// All of them, at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let all = Self {
            pushes: counters(
                &registry,
                "fleetgauge_push_total",
                "Measurements, by what became of them: acked at once, or spooled.",
                &["result"],
            ),
            push_bytes: counter(
                &registry,
                "fleetgauge_push_bytes_total",
                "Bytes sent to aggregators, declarations and signs of life included.",
            ),
            connects: counter(&registry, "fleetgauge_push_connects_total", "Connections that were welcomed."),
            reconnects: counter(
                &registry,
                "fleetgauge_push_reconnects_total",
                "Connections that were welcomed after the first one.",
            ),
            failures: counters(
                &registry,
                "fleetgauge_push_failures_total",
                "Connections that failed or ended, by reason.",
                &["reason"],
            ),
            spooled: counters(
                &registry,
                "fleetgauge_push_spooled_total",
                "Measurements that were put into the spool, by reason.",
                &["reason"],
            ),
            late: counters(
                &registry,
                "fleetgauge_push_late_total",
                "Late pushes, by what became of them: sent (each time), acked, or safe: the aggregator had them.",
                &["result"],
            ),
            ack_seconds: histogram(
                &registry,
                "fleetgauge_push_ack_seconds",
                "Time from sending a push to its ack.",
                ACK_BUCKETS,
            ),
            reading_seconds: histogram(
                &registry,
                "fleetgauge_collector_duration_seconds",
                "Time that collectors took, each reading of each of them.",
                READING_BUCKETS,
            ),
            dropped_series: counters(
                &registry,
                "fleetgauge_collector_dropped_series_total",
                "Samples of series that were not sent, by reason.",
                &["collector", "reason"],
            ),
            registry,
        };
        #[cfg(target_os = "linux")]
        all.registry.register(Box::new(lifecycle::process::collector())).expect(SOUND);
        all.start_at_zero();
        all
    }

    /// Counters whose labels are known are there from the first push on: `rate()` sees the first
    /// failure only if it saw the zero before.
    fn start_at_zero(&self) {
        for result in ["acked", "spooled"] {
            let _zero = self.pushes.with_label_values(&[result]);
        }
        for result in ["sent", "acked", "safe"] {
            let _zero = self.late.with_label_values(&[result]);
        }
        for reason in Spooled::ALL {
            let _zero = self.spooled.with_label_values(&[reason.as_str()]);
        }
        for reason in Failure::PLAIN {
            let _zero = self.failures.with_label_values(&[&reason.as_str()]);
        }
    }

    /// The metrics about a collector that was not read yet.
    #[must_use]
    pub fn collector(&self, collector: &'static str, is_node: bool) -> CollectorMetrics {
        let seconds = self.reading_seconds.clone();
        CollectorMetrics { collector, is_node, success: false, took: Duration::ZERO, seconds }
    }

    /// Samples of a collector, or of a set, are not sent.
    pub fn series_dropped(&self, collector: &str, reason: &str, count: usize) {
        self.dropped_series.with_label_values(&[collector, reason]).inc_by(count as u64);
    }

    /// A push was acknowledged.
    pub fn acked(&self, after: Option<Duration>) {
        self.pushes.with_label_values(&["acked"]).inc();
        if let Some(after) = after {
            self.ack_seconds.observe(after.as_secs_f64());
        }
    }

    /// Late pushes were sent.
    pub fn late_sent(&self) {
        self.late.with_label_values(&["sent"]).inc();
    }

    /// Late pushes were acknowledged.
    pub fn late_acked(&self, count: u64) {
        self.late.with_label_values(&["acked"]).inc_by(count);
    }

    /// A push need not be sent again.
    pub fn late_safe(&self) {
        self.late.with_label_values(&["safe"]).inc();
    }

    /// A measurement was put into the spool.
    pub fn spooled(&self, reason: Spooled) {
        self.pushes.with_label_values(&["spooled"]).inc();
        self.spooled.with_label_values(&[reason.as_str()]).inc();
    }

    /// Bytes went out.
    pub fn sent(&self, bytes: usize) {
        self.push_bytes.inc_by(bytes as u64);
    }

    /// A connection was welcomed.
    pub fn connected(&self) {
        if self.connects.get() > 0 {
            self.reconnects.inc();
        }
        self.connects.inc();
    }

    /// A connection failed or ended.
    pub fn failed(&self, reason: Failure) {
        self.failures.with_label_values(&[&reason.as_str()]).inc();
    }

    /// Writes all metrics as a set: the agent's own, and the one that dashboards for
    /// node_exporter find their hosts by.
    pub fn report(&self, out: &mut Batch) {
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                flatten(family.name(), family.help(), family.get_field_type(), metric, out);
            }
        }
        #[cfg(target_os = "linux")]
        out.gauge(
            "process_virtual_memory_max_bytes",
            "Most virtual memory that the process may have.",
            &[],
            address_space_max(),
        );
        if cfg!(target_os = "linux") {
            out.gauge("node_exporter_build_info", "What collects the node_* families; always 1.", &BUILD, 1.0);
        }
    }
}

/// What the process may have at most; without a limit the largest number of the kernel, 2^64 - 1,
/// as the clients of other languages say it.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "samples are f64")]
fn address_space_max() -> f64 {
    rustix::process::getrlimit(rustix::process::Resource::As).current.unwrap_or(u64::MAX) as f64
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// There is no Go here; the labels are those that dashboards know.
const BUILD: [(&str, &str); 7] = [
    ("branch", "unknown"),
    ("goarch", goarch()),
    ("goos", std::env::consts::OS),
    ("goversion", "unknown"),
    ("revision", "unknown"),
    ("tags", "unknown"),
    ("version", env!("CARGO_PKG_VERSION")),
];

/// The architecture as Go calls it.
const fn goarch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect(SOUND);
    registry.register(Box::new(collector.clone())).expect(SOUND);
    collector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
