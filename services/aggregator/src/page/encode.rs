//! A page as text: Prometheus' text format 0.0.4, or OpenMetrics 1.0.
//!
//! A page is written in pieces of about a megabyte, so that they can be written side by side and
//! sent before the last one is ready.

use std::collections::HashSet;

use protocol::frame::MetricType;
use protocol::is_absent;
use protocol::values::as_whole;

use super::Page;
use crate::fleet::families::Family;

/// Text of a piece, about: 5 ms of work.
const PIECE_BYTES: usize = 1 << 20;
/// What a series' value and newline take, about.
const VALUE_BYTES: usize = 12;

/// The two formats that Prometheus reads and a person too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Does a page say when its values were measured?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// No: a series that is gone is stale at once.
    Hidden,
    /// Yes, those of agents: exact mode.
    Shown,
}

/// A part of a page, by where it begins: family, run in the family, series in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    family: usize,
    run: usize,
    series: usize,
    /// How many series it has.
    count: usize,
}

/// How a page is written: its format, and what depends on all families together.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    times: Times,
    /// OpenMetrics: counters whose name without `_total` belongs to somebody else.
    not_counters: HashSet<Box<str>>,
}

impl Encoder {
    /// An encoder for this page.
    #[must_use]
    pub fn new(page: &Page, format: Format, times: Times) -> Self {
        let not_counters = match format {
            Format::Text => HashSet::new(),
            Format::OpenMetrics => counters_without_a_name(page),
        };
        Self { format, times, not_counters }
    }

    /// Appends one piece.
    pub fn write(&self, page: &Page, piece: Piece, out: &mut Vec<u8>) {
        let (mut first_run, mut first_series, mut left) = (piece.run, piece.series, piece.count);
        for one in page.families.iter().skip(piece.family) {
            if first_run == 0 && first_series == 0 {
                self.head(&one.family, out);
            }
            for run in one.runs.iter().skip(first_run) {
                let Some(shown) = page.sets.get(run.set as usize) else { continue };
                let series = run.series();
                let start = series.start + first_series;
                let end = series.end.min(start + left);
                let tail = Tail::new(self.format, shown.measured_ms.filter(|_| self.times == Times::Shown));
                for (series, value) in (start..end).zip(shown.values.get(start..end).unwrap_or_default()) {
                    if !is_absent(*value) {
                        out.extend_from_slice(shown.declared.prefix(series));
                        write_value(*value, out);
                        out.extend_from_slice(tail.bytes());
                    }
                }
                left -= end - start;
                first_series = 0;
                if left == 0 {
                    return;
                }
            }
            first_run = 0;
        }
    }

    /// Appends what stands after the last piece.
    pub fn finish(&self, out: &mut Vec<u8>) {
        if self.format == Format::OpenMetrics {
            out.extend_from_slice(b"# EOF\n");
        }
    }

    /// HELP, TYPE and UNIT.
    fn head(&self, family: &Family, out: &mut Vec<u8>) {
        let (name, kind) = self.name_and_type(family);
        if !family.help.is_empty() {
            out.extend_from_slice(b"# HELP ");
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
            escape_help(&family.help, self.format, out);
            out.push(b'\n');
        }
        out.extend_from_slice(b"# TYPE ");
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
        // A unit that is not the end of the name would make Prometheus refuse the whole page.
        let fits = |unit: &str| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_') && rest.len() > 1);
        if self.format == Format::OpenMetrics && !family.unit.is_empty() && fits(&family.unit) {
            out.extend_from_slice(format!("# UNIT {name} {}\n", family.unit).as_bytes());
        }
    }

    /// OpenMetrics names a counter without its `_total`, and knows no counter without one: such a
    /// one is of unknown type there, and is never renamed.
    fn name_and_type<'a>(&self, family: &'a Family) -> (&'a str, &'static str) {
        let name = &*family.name;
        match (self.format, family.kind) {
            (Format::OpenMetrics, MetricType::Counter) => match name.strip_suffix("_total") {
                Some(base) if !base.is_empty() && !self.not_counters.contains(name) => (base, "counter"),
                _ => (name, "unknown"),
            },
            (Format::OpenMetrics, MetricType::Untyped) => (name, "unknown"),
            (Format::Text, MetricType::Untyped) => (name, "untyped"),
            (_, MetricType::Counter) => (name, "counter"),
            (_, MetricType::Gauge) => (name, "gauge"),
            (_, MetricType::Histogram) => (name, "histogram"),
            (_, MetricType::Summary) => (name, "summary"),
        }
    }
}

/// What stands behind each value of a run: the time of measurement, if any, and the newline.
struct Tail {
    /// Room for ` -9223372036854775.808` and a newline.
    bytes: [u8; 24],
    len: usize,
}

impl Tail {
    fn new(format: Format, measured_ms: Option<i64>) -> Self {
        let mut tail = Self { bytes: [0; 24], len: 0 };
        if let Some(measured_ms) = measured_ms {
            tail.push(b" ");
            match format {
                Format::Text => tail.push(itoa::Buffer::new().format(measured_ms).as_bytes()),
                Format::OpenMetrics => {
                    // -0.5 s has no whole seconds that could bear the sign.
                    tail.push(if measured_ms < 0 { b"-" } else { b"" });
                    let (seconds, millis) = (measured_ms.unsigned_abs() / 1000, measured_ms.unsigned_abs() % 1000);
                    tail.push(itoa::Buffer::new().format(seconds).as_bytes());
                    tail.push(b".");
                    tail.push(itoa::Buffer::new().format(1000 + millis).as_bytes().get(1..).unwrap_or_default());
                }
            }
        }
        tail.push(b"\n");
        tail
    }

    fn push(&mut self, more: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.len).zip(more) {
            *place = *byte;
        }
        self.len += more.len();
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A counter `x_total` is called `x` in OpenMetrics and owns `x` and `x_created`. Where another
/// family has one of these names, the counter keeps its whole name there and is of unknown type.
fn counters_without_a_name(page: &Page) -> HashSet<Box<str>> {
    let mut taken: HashSet<String> = HashSet::new();
    for one in &page.families {
        let family = &one.family;
        taken.extend(family.shape().names(&family.name));
        if matches!(family.kind, MetricType::Histogram | MetricType::Summary) {
            taken.insert(format!("{}_created", family.name));
        }
    }
    let mut nameless = HashSet::new();
    for one in page.families.iter().filter(|one| one.family.kind == MetricType::Counter) {
        let Some(base) = one.family.name.strip_suffix("_total") else { continue };
        let (base, created) = (base.to_owned(), format!("{base}_created"));
        if taken.contains(&base) || taken.contains(&created) {
            nameless.insert(one.family.name.clone());
        } else {
            taken.extend([base, created]);
        }
    }
    nameless
}

/// Cuts a page into pieces. (With times of measurement they are a fifth larger.)
#[must_use]
pub fn pieces(page: &Page) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut piece = Piece { family: 0, run: 0, series: 0, count: 0 };
    let mut bytes = 0;
    for (family, one) in page.families.iter().enumerate() {
        for (run, found) in one.runs.iter().enumerate() {
            let Some(shown) = page.sets.get(found.set as usize) else { continue };
            let (all, mut at) = (found.series(), 0);
            while at < all.len() {
                if piece.count == 0 {
                    piece = Piece { family, run, series: at, count: 0 };
                }
                let rest = all.start + at..all.end;
                let fits = shown.declared.fit(rest.clone(), PIECE_BYTES.saturating_sub(bytes), VALUE_BYTES);
                piece.count += fits;
                bytes += shown.declared.bytes_of(rest.start..rest.start + fits) + fits * VALUE_BYTES;
                at += fits;
                if bytes >= PIECE_BYTES || at < all.len() {
                    pieces.push(std::mem::replace(&mut piece, Piece { family, run, series: 0, count: 0 }));
                    bytes = 0;
                }
            }
            bytes += if run == 0 { one.family.help.len() } else { 0 };
        }
    }
    if piece.count > 0 {
        pieces.push(piece);
    }
    pieces
}

/// The shortest text that reads back as the same number; whole numbers without a fraction.
pub(crate) fn write_value(value: f64, out: &mut Vec<u8>) {
    if let Some(whole) = as_whole(value) {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

/// HELP: backslash and newline are escaped, in OpenMetrics quotes as well.
fn escape_help(help: &str, format: Format, out: &mut Vec<u8>) {
    for byte in help.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'"' if format == Format::OpenMetrics => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
}
