//! `node_os_*` from the host's `/etc/os-release`, or else `/usr/lib/os-release`: which
//! distribution it runs. The file is made of assignments that a shell understands.

use std::collections::HashMap;
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, attribute};
use super::{Collector, number};

/// A distribution changes rarely.
const EVERY: Duration = Duration::from_secs(60);
const PATHS: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The labels of `node_os_info`, which are the file's names in small letters.
const LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

/// The host's distribution.
#[derive(Debug, Default)]
pub(super) struct Os;

impl Collector for Os {
    fn name(&self) -> &'static str {
        "os"
    }

    fn source(&self) -> &'static str {
        "`/etc/os-release`, `/usr/lib/os-release`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        for path in PATHS {
            let path = roots.resolve(path);
            let text = attribute(&path).map_err(|error| CollectError::at(&path, &error));
            if let Some(text) = faults.check_if_there(text) {
                report(&text, out, &mut faults);
                break;
            }
        }
        faults.into_result()
    }
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    let known: HashMap<String, String> = assignments(text).filter_map(|line| faults.check(line)).collect();
    let of = |label: &str| known.get(label).map_or("", String::as_str);
    let labels = LABELS.map(|label| (label, of(label)));
    out.gauge("node_os_info", "The distribution; always 1.", &labels, 1.0);
    if let Some(version) = version(of("version_id")) {
        let labels = ["id", "id_like", "name"].map(|label| (label, of(label)));
        out.gauge("node_os_version", "The distribution's version, major and minor number.", &labels, version);
    }
    let end = of("support_end");
    if !end.is_empty() {
        let end = midnight(end).ok_or_else(|| CollectError::malformed("os-release", end));
        if let Some(end) = faults.check(end) {
            let help = "When the distribution is no longer supported, Unix time.";
            out.gauge("node_os_support_end_timestamp_seconds", help, &[], end);
        }
    }
}

/// The assignments, their names in small letters.
fn assignments(text: &str) -> impl Iterator<Item = Result<(String, String), CollectError>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let pair = line.split_once('=').and_then(|(name, value)| Some((name.to_ascii_lowercase(), unquoted(value)?)));
        pair.ok_or_else(|| CollectError::malformed("os-release", line))
    })
}

/// A value as the shell would see it; `None` when a quote is not closed.
fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.strip_suffix('\'').map(str::to_owned);
    }
    let Some(rest) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut plain = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(plain),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\' | '$' | '`') => plain.push(escaped),
                other => plain.extend(['\\', other]),
            },
            other => plain.push(other),
        }
    }
}

/// Major and minor number at the start of a version, as a number: `22.04`, `9`, `15` of `15-SP5`.
fn version(text: &str) -> Option<f64> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let mut parts = text.get(..end)?.splitn(3, '.');
    let (major, minor) = (parts.next()?, parts.next().unwrap_or("0"));
    number(&format!("{major}.{minor}")).filter(|version| *version > 0.0)
}

/// The first second of a day such as `2028-06-30`, in UTC.
fn midnight(day: &str) -> Option<f64> {
    let mut parts = day.splitn(3, '-');
    let (year, month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let midnight = tz::UtcDateTime::new(year, month, day, 0, 0, 0, 0).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "samples are f64; a year has ten digits at most")]
    Some(midnight.unix_time() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn values_are_quoted_as_for_a_shell() {
        for (value, plain) in [
            ("debian", Some("debian")),
            ("\"Debian GNU/Linux\"", Some("Debian GNU/Linux")),
            ("'a \"b\" \\c'", Some("a \"b\" \\c")),
            (r#""a \"b\" \\ \$ \n""#, Some(r#"a "b" \ $ \n"#)),
            ("", Some("")),
            ("\"", None),
            ("\"a\"b", None),
            ("\"a\\", None),
            ("'a", None),
        ] {
            assert_eq!(unquoted(value).as_deref(), plain, "{value}");
        }
    }

    #[test]
    fn versions_and_days() {
        let versions = ["12", "22.04", "3.18.4", "15-SP5", "9.", "rolling", "", "0", ".5"];
        let expected = [Some(12.0), Some(22.04), Some(3.18), Some(15.0), Some(9.0), None, None, None, None];
        assert_eq!(versions.map(version), expected);
        let days = ["2028-06-30", "1970-01-01", "2028-02-30", "2028-06", "soon", ""];
        assert_eq!(days.map(midnight), [Some(1_845_936_000.0), Some(0.0), None, None, None, None]);
    }

    #[test]
    fn what_can_be_read_is_reported() {
        let text = "# a comment\nNAME=\"Sys\"\nID=sys\nVERSION_ID=\"7.2\"\nLOGO\n\nSUPPORT_END=2028-06-30\n";
        let page = "node_os_info{build_id=\"\",id=\"sys\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"Sys\",\
            pretty_name=\"\",variant=\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"7.2\"} 1\n\
            node_os_version{id=\"sys\",id_like=\"\",name=\"Sys\"} 7.2\n\
            node_os_support_end_timestamp_seconds 1845936000\n";
        check(|out, faults| report(text, out, faults), page, Some("os-release: cannot make sense of \"LOGO\""));
    }
}
