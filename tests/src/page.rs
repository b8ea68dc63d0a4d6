//! A `/metrics` page as a test sees it: read by a parser that shares no code with the encoder.

use std::collections::{BTreeMap, BTreeSet};

/// One line that is no comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
    /// When it was measured, where the page says so.
    pub timestamp_ms: Option<i64>,
}

impl Sample {
    /// One label; empty when it is not there, as in PromQL.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of a page, in its order.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The samples.
    pub samples: Vec<Sample>,
    /// The type of each family, from its `# TYPE` line.
    pub types: BTreeMap<String, String>,
}

impl Page {
    /// Reads text exposition 0.0.4.
    ///
    /// # Panics
    /// When a line is no sample: a broken page must fail every test that looks at it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let page = Self::parse_exact(text);
        let timed = page.samples.iter().find(|sample| sample.timestamp_ms.is_some());
        assert!(timed.is_none(), "no sample: {timed:?} has a time, which a page does not carry by default");
        page
    }

    /// Reads text exposition 0.0.4 whose samples may have times.
    ///
    /// # Panics
    /// As [`Page::parse`].
    #[must_use]
    pub fn parse_exact(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let samples = lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        Self { samples, types: types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect() }
    }

    /// The samples of one metric.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The agents that one metric comes from.
    #[must_use]
    pub fn instances(&self, name: &str) -> BTreeSet<&str> {
        self.of(name).map(|sample| sample.label("instance")).collect()
    }

    /// The only sample of a metric with these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        let mut found = self.of(name).filter(fits);
        let first = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "{name} {labels:?} is more than one series");
        first
    }

    /// Is this agent there, as the aggregator says?
    #[must_use]
    pub fn up(&self, agent: &str) -> Option<f64> {
        self.value("fleetgauge_agent_up", &[("instance", agent)])
    }

    /// How many series an agent itself has on the page: what it sent, not what is said about it.
    #[must_use]
    pub fn sent_by(&self, agent: &str) -> usize {
        let sent = |sample: &&Sample| sample.label("instance") == agent && !is_about_agents(&sample.name);
        self.samples.iter().filter(sent).count()
    }
}

/// `fleetgauge_agent_*`, made by the aggregator.
#[must_use]
pub fn is_about_agents(name: &str) -> bool {
    name.starts_with("fleetgauge_agent_")
}

fn sample(line: &str) -> Option<Sample> {
    let name_len = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(name_len)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let (value, timestamp_ms) = match rest.trim_start().split_once(' ') {
        Some((value, time)) => (value, Some(time.parse().ok()?)),
        None => (rest.trim_start(), None),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()?, timestamp_ms })
}

/// Reads up to the closing brace, and gives what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        assert!(labels.insert(name.to_owned(), value).is_none(), "label {name} twice");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// Reads up to the closing quote, undoing `\\`, `\"` and `\n`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_escaping_hides() {
        let page = Page::parse("# HELP a b\na{x=\"1, \\\"}\\n\\\\\",instance=\"h\"} 2.5\nb NaN\n");
        assert_eq!(page.samples.len(), 2);
        assert_eq!(page.samples[0].label("x"), "1, \"}\n\\");
        assert_eq!(page.value("a", &[("instance", "h")]), Some(2.5));
        assert!(page.value("b", &[]).unwrap().is_nan());
    }

    #[test]
    #[should_panic(expected = "no sample")]
    fn a_timestamp_is_not_overlooked() {
        let _page = Page::parse("a 1 1790000000000\n");
    }

    #[test]
    fn a_timestamp_is_read_where_it_may_stand() {
        let page = Page::parse_exact("a{x=\"1\"} 1 1790000000000\nb 2\n");
        let times: Vec<_> = page.samples.iter().map(|sample| sample.timestamp_ms).collect();
        assert_eq!(times, [Some(1_790_000_000_000), None]);
    }
}
