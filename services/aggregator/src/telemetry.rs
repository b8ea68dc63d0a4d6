//! The aggregator's own metrics: what counts them, and how they are gathered.

mod auth;
mod forward;
mod history;
mod limits;
mod lines;
mod table;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, proto::MetricFamily,
};
use protocol::ToAggregator;
use protocol::frame::{RefuseCode, Stream};

pub use self::auth::Auth;
pub use self::forward::Forward;
pub use self::history::History;
pub use self::limits::{Limits, Readings};
pub use self::lines::{LineError, Lines};
use self::table::{
    ACCEPT_ERRORS, ACCEPTED, BUFFERED, BUFFERED_LIMIT, BUILD, CLOSED, CONNECTED, CONNECTIONS, CONNECTIONS_LIMIT,
    DECLARED, DECLARED_LIMIT, DROPPED, DUPLICATE, FAMILIES, FRAMES, HTTP_CONNECTIONS, HTTP_REFUSED, KNOWN,
    KNOWN_FILE_ERRORS, PUSHES, RECEIVED, REFUSED, REQUESTS, RETYPED, SAMPLES, SCRAPE_BYTES, SCRAPE_SECONDS,
    SCRAPES_ABORTED, SERIES, TEXT, TEXT_LIMIT, VISIBLE,
};
pub use self::table::{Metric, TABLE};
use crate::fleet::agent::Outcome;
use crate::fleet::dropped::Dropped;

/// Names of frames, in the order of [`frame_index`].
const FRAME_NAMES: [&str; 11] =
    ["hello", "proof", "declare", "retire", "push", "values", "failed", "end", "ping", "pong", "bye"];

fn frame_index(frame: &ToAggregator) -> usize {
    match frame {
        ToAggregator::Hello(_) => 0,
        ToAggregator::Proof(_) => 1,
        ToAggregator::Declare(_) => 2,
        ToAggregator::Retire(_) => 3,
        ToAggregator::Push(_) => 4,
        ToAggregator::Values(_) => 5,
        ToAggregator::Failed(_) => 6,
        ToAggregator::End(_) => 7,
        ToAggregator::Ping(_) => 8,
        ToAggregator::Pong(_) => 9,
        ToAggregator::Bye(_) => 10,
    }
}

/// What is only known when somebody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Agents whose series are on the page.
    pub connected: usize,
    /// Agents that the page speaks of.
    pub known: usize,
    /// Series on the page.
    pub series: usize,
    /// Series declared, and the most allowed.
    pub declared: (usize, usize),
    /// Bytes charged for declared names and labels, and the most allowed.
    pub text: (usize, usize),
    /// Families that are claimed.
    pub families: usize,
    /// Bytes buffered, and the most allowed.
    pub buffered: (usize, usize),
    /// How near to its limits single senders are, and memory.
    pub limits: Readings,
}

/// The metrics of one aggregator; several may live in one process.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    gauges: IntGaugesOfLevels,
    /// Open connections of the link.
    pub connections: IntGauge,
    /// Connections accepted on the link.
    pub accepted: IntCounter,
    accept_errors: IntCounterVec,
    closed: IntCounterVec,
    refused: IntCounterVec,
    received: IntCounter,
    frames: Vec<IntCounter>,
    pushes: [IntCounter; 2],
    samples: IntCounter,
    visible: IntCounter,
    duplicate: IntCounter,
    dropped: IntCounterVec,
    retyped: IntCounter,
    requests: IntCounterVec,
    /// Open HTTP connections.
    pub http_connections: IntGauge,
    /// HTTP connections closed at once.
    pub http_refused: IntCounter,
    scrape_seconds: Histogram,
    scrape_bytes: Histogram,
    scrapes_aborted: IntCounterVec,
    /// Failed writes of the list of known agents.
    pub known_file_errors: IntCounter,
    /// Those of tokens and TLS.
    pub(crate) auth: Auth,
    /// What becomes of late samples.
    pub(crate) forward: Forward,
    /// What the history says.
    pub(crate) history: History,
    /// Those of put/get.
    pub(crate) lines: Lines,
    /// Limits of single senders, and memory.
    pub(crate) limits: Limits,
}

#[derive(Debug)]
struct IntGaugesOfLevels {
    connected: IntGauge,
    known: IntGauge,
    series: IntGauge,
    declared: [IntGauge; 2],
    text: [IntGauge; 2],
    families: IntGauge,
    buffered: [IntGauge; 2],
}

impl Telemetry {
    /// Fresh metrics, all at zero, each one present from the start.
    ///
    /// # Errors
    /// When a metric of the table is defined twice or wrongly (a mistake of the program).
    pub fn new(connections_max: usize) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let make = Maker { registry: &registry };
        let frames = make.counters(&FRAMES)?;
        let pushes = make.counters(&PUSHES)?;
        make.gauges(&BUILD)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        make.gauge(&CONNECTIONS_LIMIT)?.set(level(connections_max));
        let telemetry = Self {
            gauges: IntGaugesOfLevels {
                connected: make.gauge(&CONNECTED)?,
                known: make.gauge(&KNOWN)?,
                series: make.gauge(&SERIES)?,
                declared: [make.gauge(&DECLARED)?, make.gauge(&DECLARED_LIMIT)?],
                text: [make.gauge(&TEXT)?, make.gauge(&TEXT_LIMIT)?],
                families: make.gauge(&FAMILIES)?,
                buffered: [make.gauge(&BUFFERED)?, make.gauge(&BUFFERED_LIMIT)?],
            },
            connections: make.gauge(&CONNECTIONS)?,
            accepted: make.counter(&ACCEPTED)?,
            accept_errors: make.counters(&ACCEPT_ERRORS)?,
            closed: make.counters(&CLOSED)?,
            refused: make.counters(&REFUSED)?,
            received: make.counter(&RECEIVED)?,
            frames: FRAME_NAMES.iter().map(|name| frames.with_label_values(&[name])).collect(),
            pushes: ["live", "late"].map(|stream| pushes.with_label_values(&[stream])),
            samples: make.counter(&SAMPLES)?,
            visible: make.counter(&VISIBLE)?,
            duplicate: make.counter(&DUPLICATE)?,
            dropped: make.counters(&DROPPED)?,
            retyped: make.counter(&RETYPED)?,
            requests: make.counters(&REQUESTS)?,
            http_connections: make.gauge(&HTTP_CONNECTIONS)?,
            http_refused: make.counter(&HTTP_REFUSED)?,
            scrape_seconds: make
                .histogram(&SCRAPE_SECONDS, &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])?,
            scrape_bytes: make.histogram(&SCRAPE_BYTES, &[1e4, 1e5, 1e6, 1e7, 5e7, 1e8, 5e8, 1e9])?,
            scrapes_aborted: make.counters(&SCRAPES_ABORTED)?,
            known_file_errors: make.counter(&KNOWN_FILE_ERRORS)?,
            auth: Auth::new(&make)?,
            forward: Forward::new(&make)?,
            history: History::new(&make)?,
            lines: Lines::new(&make)?,
            limits: Limits::new(&make)?,
            registry,
        };
        telemetry.start_at_zero();
        Ok(telemetry)
    }

    /// A counter that appears only with its first event hides that event from `increase()`.
    fn start_at_zero(&self) {
        for code in RefuseCode::ALL {
            let _zero = self.refused.with_label_values(&[code.as_str()]);
        }
        for reason in ["bye", "closed", "failed", "unread", "stopping", "forgotten", "refused"] {
            let _zero = self.closed.with_label_values(&[reason]);
        }
        for reason in Dropped::ALL {
            let _zero = self.dropped.with_label_values(&[reason.as_str()]);
        }
        for reason in ["busy", "slow", "client"] {
            let _zero = self.scrapes_aborted.with_label_values(&[reason]);
        }
        for listener in ["link", "http", "line"] {
            let _zero = self.accept_errors.with_label_values(&[listener]);
        }
        #[cfg(target_os = "linux")]
        {
            if let Err(error) = self.registry.register(Box::new(lifecycle::process::collector())) {
                tracing::warn!(%error, "no metrics of this process");
            }
        }
    }

    /// Everything at this moment.
    #[must_use]
    pub fn gather(&self, levels: Levels) -> Vec<MetricFamily> {
        self.limits.set(levels.limits);
        let gauges = &self.gauges;
        gauges.connected.set(level(levels.connected));
        gauges.known.set(level(levels.known));
        gauges.series.set(level(levels.series));
        gauges.families.set(level(levels.families));
        for (gauges, levels) in
            [(&gauges.declared, levels.declared), (&gauges.text, levels.text), (&gauges.buffered, levels.buffered)]
        {
            let [now, limit] = gauges;
            now.set(level(levels.0));
            limit.set(level(levels.1));
        }
        self.registry.gather()
    }

    /// The system could not give a listener a connection.
    pub fn accept_error(&self, listener: &'static str) {
        self.accept_errors.with_label_values(&[listener]).inc();
    }

    pub(crate) fn link_closed(&self, reason: &'static str) {
        self.closed.with_label_values(&[reason]).inc();
    }

    pub(crate) fn link_refused(&self, code: RefuseCode) {
        self.refused.with_label_values(&[code.as_str()]).inc();
    }

    pub(crate) fn link_received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    pub(crate) fn link_frame(&self, frame: &ToAggregator) {
        if let Some(counter) = self.frames.get(frame_index(frame)) {
            counter.inc();
        }
    }

    pub(crate) fn push_received(&self, stream: Stream, samples: u64) {
        let [live, late] = &self.pushes;
        if stream == Stream::Live { live } else { late }.inc();
        self.samples.inc_by(samples);
    }

    pub(crate) fn push_shown(&self, outcome: &Outcome) {
        self.visible.inc_by(outcome.visible);
        let retyped = outcome.clashes.iter().filter(|clash| clash.shown.is_some()).count();
        self.retyped.inc_by(retyped as u64);
        self.samples_dropped(Dropped::Conflict, outcome.conflict);
        self.samples_dropped(Dropped::Hidden, outcome.hidden);
    }

    pub(crate) fn samples_duplicate(&self, samples: u64) {
        self.duplicate.inc_by(samples);
    }

    pub(crate) fn samples_dropped(&self, reason: Dropped, samples: u64) {
        if samples > 0 {
            self.dropped.with_label_values(&[reason.as_str()]).inc_by(samples);
        }
    }

    pub(crate) fn request(&self, path: &'static str, code: u16) {
        self.requests.with_label_values(&[path, &code.to_string()]).inc();
    }

    pub(crate) fn scraped(&self, seconds: f64, bytes: u64) {
        self.scrape_seconds.observe(seconds);
        #[expect(clippy::cast_precision_loss, reason = "a histogram of sizes needs no 53 bits")]
        self.scrape_bytes.observe(bytes as f64);
    }

    pub(crate) fn scrape_aborted(&self, reason: &'static str) {
        self.scrapes_aborted.with_label_values(&[reason]).inc();
    }
}

fn level(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, metric: &Metric) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::new(metric.name, metric.help)?)
    }

    fn counters(&self, metric: &Metric) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    fn gauge(&self, metric: &Metric) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::new(metric.name, metric.help)?)
    }

    fn gauges(&self, metric: &Metric) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    fn histogram(&self, metric: &Metric, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.keep(Histogram::with_opts(HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec()))?)
    }
}
