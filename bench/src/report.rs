//! The figures of a run, and the two forms in which they are printed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::figures::Known;
use crate::{Error, Result};

/// The figures of one run.
#[derive(Debug, Clone)]
pub struct Report {
    table: &'static [Known],
    figures: Vec<(&'static Known, Value)>,
}

impl Report {
    /// An empty one, for the figures of this table.
    #[must_use]
    pub fn new(table: &'static [Known]) -> Self {
        Self { table, figures: vec![] }
    }

    /// Takes a figure.
    ///
    /// # Panics
    /// When it is not in the table, or taken twice.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let known = self.table.iter().find(|known| known.name == name).expect("every figure is in the table");
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

    /// Takes how many times `ours` is in `theirs`, if both were measured.
    ///
    /// # Panics
    /// As [`Report::set`].
    pub fn ratio(&mut self, name: &str, theirs: &str, ours: &str) {
        if let Some((theirs, ours)) = self.number(theirs).zip(self.number(ours)) {
            self.measured(name, theirs / ours);
        }
    }

    fn in_order(&self) -> impl Iterator<Item = (&'static Known, &Value)> {
        self.table.iter().filter_map(|known| Some((known, self.get(known.name)?)))
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
        let width = self.table.iter().map(|known| known.name.len()).max().unwrap_or(0);
        for (known, value) in self.in_order() {
            let _a_string_takes_all = match value {
                Value::Number(number) => writeln!(out, "{:<width$} {number:>12}  {}", known.name, known.meaning),
                Value::Object(parts) => parts.iter().try_for_each(|(name, part)| {
                    writeln!(out, "{:<width$} {}", format!("{}.{name}", known.name), text(part))
                }),
                Value::Array(items) => {
                    let head = writeln!(out, "{:<width$} {:>12}  {}", known.name, items.len(), known.meaning);
                    head.and_then(|()| items.iter().try_for_each(|item| writeln!(out, "  {}", text(item))))
                }
                Value::Null => writeln!(out, "{:<width$} none: {}", known.name, known.meaning),
                other => writeln!(out, "{:<width$} {}", known.name, text(other)),
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
    use crate::figures::{AGENT, FLEET};

    #[test]
    fn four_digits() {
        for (value, expected) in
            [(0.0, 0.0), (0.123_456, 0.1235), (12.345_67, 12.35), (99_999.4, 99_999.0), (-0.000_123_456, -0.000_123_5)]
        {
            assert_eq!(significant(value), expected);
        }
    }

    fn report() -> Report {
        let mut report = Report::new(FLEET);
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
    fn lists_and_what_is_not_there_have_their_lines() {
        let mut report = Report::new(AGENT);
        report.set("node_exporter", Value::Null);
        report.set("missing_families", vec!["node_a", "node_b"]);
        let table = report.table();
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains(" none: ") && table.contains(" 2  ") && table.ends_with("\n  node_b\n"), "{table}");
        assert_eq!(report.json(), r#"{"node_exporter":null,"missing_families":["node_a","node_b"]}"#);
    }

    #[test]
    fn ratios_are_of_what_was_measured() {
        let mut report = Report::new(FLEET);
        report.measured("pushgateway_rss_mib", 1000.0);
        report.ratio("ratio_rss", "pushgateway_rss_mib", "aggregator_rss_mib");
        assert_eq!(report.number("ratio_rss"), None);
        report.measured("aggregator_rss_mib", 200.0);
        report.ratio("ratio_rss", "pushgateway_rss_mib", "aggregator_rss_mib");
        assert_eq!(report.number("ratio_rss"), Some(5.0));
    }
}
