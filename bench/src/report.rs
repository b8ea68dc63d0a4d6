//! The figures of a run: one table of their names and meanings, and the two forms in which they
//! are printed. Nothing else may name a figure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::{Error, Result};

/// One figure. `docs/benchmarks.md` lists the same names; a test holds the two together.
#[derive(Debug)]
pub struct Known {
    /// Its name in JSON, unit last.
    pub name: &'static str,
    /// What it says, in a few words.
    pub meaning: &'static str,
}

const fn known(name: &'static str, meaning: &'static str) -> Known {
    Known { name, meaning }
}

/// All figures, in the order in which they are printed.
pub const TABLE: &[Known] = &[
    known("agents", "agents, one connection each"),
    known("series", "series of each agent"),
    known("rounds", "rounds of pushes in the CPU figure"),
    known("interval_ms", "time over which the pushes of a round were spread"),
    known("declare_seconds", "until all agents were connected, declared and shown"),
    known("declare_cpu_us_per_series", "aggregator's CPU per declared series, connecting included"),
    known("ingest_cpu_us_per_sample", "aggregator's CPU per pushed sample, declarations apart"),
    known("samples_per_second", "all agents pushing back to back"),
    known("push_bytes_per_sample", "bytes on the wire per pushed sample"),
    known("scrape_plain_ms_p50", "whole page, plain"),
    known("scrape_plain_ms_p99", "the same, 99th percentile (of few: the slowest)"),
    known("scrape_gzip_ms_p50", "whole page, gzip"),
    known("scrape_gzip_ms_p99", "the same, 99th percentile (of few: the slowest)"),
    known("scrape_plain_cpu_ms", "aggregator's CPU per plain scrape"),
    known("scrape_gzip_cpu_ms", "aggregator's CPU per gzip scrape"),
    known("page_bytes", "the page, plain"),
    known("page_gzip_bytes", "the page, gzip"),
    known("visible_ms_p50", "push sent until seen through ?agent=, all others pushing"),
    known("visible_ms_p99", "the same, 99th percentile"),
    known("samples_per_second_while_scraped", "back to back, a gzip scrape once a second"),
    known("ingest_slowdown_while_scraped", "share of ingest that those scrapes cost"),
    known("scrape_gzip_ms_p50_while_pushing", "one of those scrapes"),
    known("pages_checked", "pages scraped meanwhile, none of which showed half a push"),
    known("aggregator_rss_mib", "aggregator's peak resident memory, two gzip scrapes at once included"),
    known("aggregator_rss_before_scrapes_mib", "its peak before the first scrape"),
    known("aggregator_stop_ms", "from SIGTERM until it ended"),
    known("scrape_plain_ms_p50_at_10000_series", "plain scrape of 10 agents with 1,000 series each"),
    known("scrape_gzip_ms_p50_at_10000_series", "gzip scrape of the same"),
    known("ingest_cpu_us_per_sample_at_10000_series", "aggregator's CPU per sample of the same"),
    known("pushgateway", "the push gateway measured beside it"),
    known("pushgateway_cpu_us_per_sample", "its CPU per pushed sample, consistency check off"),
    known("pushgateway_scrape_plain_ms_p50", "its whole page, plain"),
    known("pushgateway_scrape_gzip_ms_p50", "its whole page, gzip"),
    known("pushgateway_rss_mib", "its peak resident memory, two gzip scrapes at once included"),
    known("ratio_cpu", "push gateway's CPU per sample / aggregator's"),
    known("ratio_scrape_plain", "push gateway's plain scrape / aggregator's"),
    known("ratio_scrape_gzip", "push gateway's gzip scrape / aggregator's"),
    known("ratio_rss", "push gateway's memory / aggregator's"),
    known("date", "when it was measured"),
    known("command", "how"),
    known("commit", "of what"),
    known("version", "version of the bench and the aggregator"),
    known("machine", "where"),
];

/// The figures of one run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    figures: Vec<(&'static Known, Value)>,
}

impl Report {
    /// Takes a figure.
    ///
    /// # Panics
    /// When it is not in [`TABLE`], or taken twice.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let known = TABLE.iter().find(|known| known.name == name).expect("every figure is in the table");
        assert!(self.get(name).is_none(), "{name} is measured once");
        self.figures.push((known, value.into()));
    }

    /// Takes a measured number, to four significant digits: more would be noise.
    ///
    /// # Panics
    /// As [`Report::set`].
    pub fn measured(&mut self, name: &str, value: f64) {
        let rounded = significant(value);
        #[expect(clippy::cast_possible_truncation, reason = "whole and far below 2^53")]
        let value = if (1e4..1e15).contains(&rounded.abs()) { Value::from(rounded as i64) } else { rounded.into() };
        self.set(name, value);
    }

    /// A figure, if it was measured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.figures.iter().find(|(known, _)| known.name == name).map(|(_, value)| value)
    }

    /// A figure that is a number, if it was measured.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    fn in_order(&self) -> impl Iterator<Item = (&'static Known, &Value)> {
        TABLE.iter().filter_map(|known| Some((known, self.get(known.name)?)))
    }

    /// One line of JSON, without its newline.
    ///
    /// # Panics
    /// Never: these are plain values.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain values")
    }

    /// The same for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        for (known, value) in self.in_order() {
            let _a_string_takes_all = match value {
                Value::Number(number) => writeln!(out, "{:<41} {number:>12}  {}", known.name, known.meaning),
                Value::Object(parts) => parts.iter().try_for_each(|(name, part)| {
                    writeln!(out, "{:<41} {}", format!("{}.{name}", known.name), text(part))
                }),
                other => writeln!(out, "{:<41} {}", known.name, text(other)),
            };
        }
        out
    }

    /// Writes the figures into `folder` as `<date>-<name>.json`, never over an older run.
    ///
    /// # Errors
    /// When that cannot be written.
    ///
    /// # Panics
    /// Never: these are plain values.
    pub fn keep(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let date: String = self.get("date").and_then(Value::as_str).unwrap_or_default().chars().take(10).collect();
        let free = (1..).map(|n| if n == 1 { String::new() } else { format!("-{n}") });
        let mut paths = free.map(|n| folder.join(format!("{date}-{name}{n}.json"))).filter(|path| !path.exists());
        let path = paths.next().expect("numbers do not end");
        let text = serde_json::to_string_pretty(self).expect("plain values") + "\n";
        std::fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.figures.len()))?;
        for (known, value) in self.in_order() {
            map.serialize_entry(known.name, value)?;
        }
        map.end()
    }
}

/// A value without the quotes of JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Rounded to four significant digits; whole numbers from 10,000 on.
#[must_use]
pub fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the exponent of a double is a small number")]
    let digits = (3 - value.abs().log10().floor() as i32).max(0);
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits() {
        for (value, expected) in
            [(0.0, 0.0), (0.123_456, 0.1235), (12.345_67, 12.35), (99_999.4, 99_999.0), (-0.000_123_456, -0.000_123_5)]
        {
            assert_eq!(significant(value), expected);
        }
    }

    fn report() -> Report {
        let mut report = Report::default();
        report.set("commit", "abc");
        report.set("date", "2026-01-02T03:04:05Z");
        report.measured("scrape_plain_ms_p50", 49.987_65);
        report.set("agents", 3);
        report.measured("samples_per_second", 6_543_210.9);
        report
    }

    #[test]
    fn json_is_one_line_in_the_order_of_the_table() {
        let expected = r#"{"agents":3,"samples_per_second":6543211,"scrape_plain_ms_p50":49.99,"date":"2026-01-02T03:04:05Z","commit":"abc"}"#;
        assert_eq!(report().json(), expected);
    }

    #[test]
    fn the_table_holds_the_same() {
        let table = report().table();
        assert_eq!(table.lines().count(), 5);
        assert!(table.contains("scrape_plain_ms_p50") && table.contains(" 49.99 "), "{table}");
    }

    #[test]
    fn a_kept_run_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let first = report().keep(folder.path(), "fleet").unwrap();
        let second = report().keep(folder.path(), "fleet").unwrap();
        assert!(first.ends_with("2026-01-02-fleet.json") && second.ends_with("2026-01-02-fleet-2.json"));
        let text = std::fs::read_to_string(second).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap().get("agents").unwrap(), 3);
    }

    #[test]
    fn the_documentation_lists_every_figure() {
        let docs = std::fs::read_to_string(crate::process::workspace().join("docs/benchmarks.md")).unwrap();
        let listed: Vec<&str> =
            docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)).collect();
        for known in TABLE {
            assert!(listed.contains(&known.name), "docs/benchmarks.md does not explain {}", known.name);
        }
        for name in listed {
            assert!(
                TABLE.iter().any(|known| known.name == name),
                "docs/benchmarks.md explains {name}, which is no figure"
            );
        }
    }
}
