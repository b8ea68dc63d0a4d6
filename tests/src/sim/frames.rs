//! What a simulated agent says. The number of a measurement is its value: whoever sees a value
//! knows which measurement it is of, and so when it was true.

use std::time::Duration;

use protocol::frame::{End, Family, Hello, MetricType, Push, Series, Stream};
use protocol::limits::LINE_BYTES_MAX;
use protocol::{Labels, ToAggregator, VERSION, encode, split};

use super::Settings;
use super::state::{Outgoing, Tick};

/// A gauge, a vital sign, so that the history has it: the number of the measurement.
pub const VITAL: &str = "host_load1";
/// Counters with a label `k`: the number times `k + 1`.
pub const COUNTER: &str = "chaos_ticks_total";

/// The number of its only set.
const SET: u64 = 1;

/// What the agent's two clocks say.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// The true wall clock, Unix milliseconds.
    pub wall_ms: i64,
    /// The clock that never steps.
    pub mono: Duration,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `hello`.
#[must_use]
pub fn hello(settings: &Settings, incarnation: u64, now: Clocks) -> Vec<u8> {
    let mut line = Vec::new();
    encode(
        &ToAggregator::Hello(Hello {
            versions: (VERSION, VERSION),
            features: vec![],
            agent: settings.name.clone(),
            labels: Labels::default(),
            info: Labels::of(&[("version", "0"), ("os", "sim")]),
            interval_ms: millis(settings.interval),
            now_ms: now.wall_ms + settings.ahead_ms,
            mono_ms: millis(now.mono),
            session: settings.session.clone(),
            incarnation,
            ephemeral: false,
            shown_elsewhere_ms: 0,
        }),
        &mut line,
    );
    line
}

/// The one set that it has.
#[must_use]
pub fn declare(settings: &Settings) -> Vec<u8> {
    let family = |name: &str, kind, series| Family {
        name: name.to_owned(),
        kind,
        help: String::new(),
        unit: String::new(),
        series,
    };
    let counter = |k: usize| Series { suffix: String::new(), labels: Labels::of(&[("k", &k.to_string())]) };
    let families = [
        family(VITAL, MetricType::Gauge, vec![Series::default()]),
        family(COUNTER, MetricType::Counter, (0..settings.counters).map(counter).collect()),
    ];
    let mut lines = Vec::new();
    split::declare_lines(SET, "chaos", None, &families, LINE_BYTES_MAX, &mut lines);
    lines
}

/// One whole push.
#[must_use]
pub fn push(settings: &Settings, outgoing: Outgoing, tick: &Tick, oldest: Option<Duration>, now: Clocks) -> Vec<u8> {
    let Outgoing { stream, seq, tick: number } = outgoing;
    let now_ms = now.wall_ms + settings.ahead_ms;
    // By the clock that never steps, whatever was done to the other one meanwhile.
    let age_ms = i64::try_from(millis(now.mono.saturating_sub(tick.mono))).unwrap_or(i64::MAX);
    let backlog_ms = oldest.map_or(0, |oldest| millis(now.mono.saturating_sub(oldest)));
    let backlog_ms = if stream == Stream::Live { backlog_ms } else { 0 };
    let head = Push {
        stream,
        seq,
        measured_ms: now_ms - age_ms,
        now_ms,
        mono_ms: millis(now.mono),
        backlog_ms,
        lost: Default::default(),
    };
    let mut lines = Vec::new();
    encode(&ToAggregator::Push(head), &mut lines);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let values = std::iter::once(number as f64).chain((1..=settings.counters).map(|k| (number * k as u64) as f64));
    split::values_lines(SET, &values.collect::<Vec<f64>>(), LINE_BYTES_MAX, &mut lines);
    encode(&ToAggregator::End(End { seq }), &mut lines);
    lines
}
