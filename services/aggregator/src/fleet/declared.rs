//! A declared set as it is kept: every series already rendered up to its value.
//!
//! `node_load1{instance="huginn",job="node"} ` and a number are all that a scrape needs of a
//! series, so that is what is stored: one text for the whole set, the end of each series in it,
//! and eight bytes a value. Labels are sorted, so two series are the same when their texts are.

use std::collections::HashSet;

use protocol::AgentName;
use protocol::Labels;
use protocol::frame::Declare;

use super::families::Claim;

/// The labels that an agent's series get besides their own.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Sorted by name: `instance`, `job`, and the agent's own.
    fixed: Vec<(String, String)>,
}

impl Identity {
    /// The labels of an agent's series. The agent's own cannot be `instance` or `job`: those are
    /// refused at the door.
    #[must_use]
    pub fn new(agent: &AgentName, job: &str, own: &Labels) -> Self {
        let mut fixed: Vec<(String, String)> = own.0.clone();
        fixed.push(("instance".to_owned(), agent.as_str().to_owned()));
        fixed.push(("job".to_owned(), job.to_owned()));
        fixed.sort();
        Self { fixed }
    }

    /// No labels: for what the aggregator itself adds.
    #[must_use]
    pub fn none() -> Self {
        Self { fixed: Vec::new() }
    }

    /// The same with another job.
    #[must_use]
    pub fn with_job(&self, job: &str) -> Self {
        let swap = |(name, value): &(String, String)| {
            (name.clone(), if name == "job" { job.to_owned() } else { value.clone() })
        };
        Self { fixed: self.fixed.iter().map(swap).collect() }
    }
}

/// A whole set.
#[derive(Debug)]
pub struct Declared {
    /// What the set stands for.
    pub name: Box<str>,
    /// Its families, in order.
    pub claims: Box<[Claim]>,
    /// For each family, the number of its first series; the next family's is its end.
    firsts: Box<[u32]>,
    text: Box<[u8]>,
    ends: Box<[u32]>,
}

impl Declared {
    /// How many series it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Has it none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many series from `start` on, and before `end`, are written in about `bytes` bytes, with
    /// `each` of them for a value. At least one, so that cutting a page comes to an end.
    #[must_use]
    pub fn fit(&self, series: std::ops::Range<usize>, bytes: usize, each: usize) -> usize {
        let before = series.start.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |end| *end as usize);
        let ends = self.ends.get(series).unwrap_or_default();
        let (mut low, mut high) = (1, ends.len().max(1));
        while low < high {
            let middle = (low + high).div_ceil(2);
            let end = ends.get(middle - 1).map_or(0, |end| *end as usize);
            if end - before + middle * each <= bytes { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// How many bytes these series take as text.
    #[must_use]
    pub fn bytes_of(&self, series: std::ops::Range<usize>) -> usize {
        let end = |at: usize| at.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |end| *end as usize);
        end(series.end) - end(series.start)
    }

    /// What it takes of memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let numbers = size_of_val(&*self.firsts) + size_of_val(&*self.ends);
        let texts = |claim: &Claim| claim.name.len() + claim.help.len() + claim.unit.len();
        let claims = size_of_val(&*self.claims) + self.claims.iter().map(texts).sum::<usize>();
        size_of::<Self>() + self.name.len() + self.text.len() + numbers + claims
    }

    /// The numbers of a family's series.
    #[must_use]
    pub fn series_of(&self, family: usize) -> std::ops::Range<usize> {
        let first = |at: usize| self.firsts.get(at).map_or(self.ends.len(), |first| *first as usize);
        first(family)..first(family + 1)
    }

    /// A series up to its value, with the space before it.
    #[must_use]
    pub fn prefix(&self, series: usize) -> &[u8] {
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        let start = if series == 0 { 0 } else { end(series - 1) };
        self.text.get(start..end(series)).unwrap_or_default()
    }
}

/// Builds a set out of its `declare` lines.
#[derive(Debug)]
pub struct Builder {
    name: Box<str>,
    identity: Identity,
    claims: Vec<Claim>,
    names: HashSet<Box<str>>,
    firsts: Vec<u32>,
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Builder {
    /// A set of this name without series.
    #[must_use]
    pub fn new(name: &str, identity: Identity) -> Self {
        Self {
            name: name.into(),
            identity,
            claims: vec![],
            names: HashSet::new(),
            firsts: vec![],
            text: vec![],
            ends: vec![],
        }
    }

    /// How many series it has so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Has it none yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The family that goes on, or was the last.
    #[must_use]
    pub fn last_family(&self) -> Option<&str> {
        self.claims.last().map(|claim| &*claim.name)
    }

    /// Adds the families of a checked line.
    ///
    /// # Errors
    /// The family whose series do not stand together.
    pub fn add(&mut self, line: &Declare) -> Result<(), String> {
        for family in &line.families {
            let last = self.claims.last();
            let goes_on = last.is_some_and(|last| *last.name == *family.name && last.kind == family.kind);
            if !goes_on && !self.names.insert(family.name.as_str().into()) {
                return Err(family.name.clone());
            }
            self.family(Claim {
                name: family.name.as_str().into(),
                kind: family.kind,
                help: family.help.as_str().into(),
                unit: family.unit.as_str().into(),
            });
            for series in &family.series {
                self.series(&family.name, &series.suffix, series.labels.iter());
            }
        }
        Ok(())
    }

    /// Goes on with a family; a new one unless it is the one before.
    pub fn family(&mut self, claim: Claim) {
        if self.claims.last().is_none_or(|last| last.name != claim.name || last.kind != claim.kind) {
            self.claims.push(claim);
            self.firsts.push(index(self.ends.len()));
        }
    }

    /// Adds a series to the family before.
    pub fn series<'a>(&mut self, family: &str, suffix: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut all: Vec<(&str, &str)> = labels.collect();
        let own = all.len();
        for (name, value) in &self.identity.fixed {
            if !all.iter().take(own).any(|(mine, _)| mine == name) {
                all.push((name, value));
            }
        }
        all.sort_unstable();
        self.text.extend_from_slice(family.as_bytes());
        self.text.extend_from_slice(suffix.as_bytes());
        for (at, (name, value)) in all.iter().enumerate() {
            self.text.push(if at == 0 { b'{' } else { b',' });
            self.text.extend_from_slice(name.as_bytes());
            self.text.extend_from_slice(b"=\"");
            escape_label(value, &mut self.text);
            self.text.push(b'"');
        }
        self.text.extend_from_slice(if all.is_empty() { b" " } else { b"} " });
        self.ends.push(index(self.text.len()));
    }

    /// The set, or the first series that stands in it twice.
    ///
    /// # Errors
    /// When a series stands in it twice.
    pub fn finish(self) -> Result<Declared, String> {
        let declared = self.finish_unchecked();
        let mut seen = HashSet::with_capacity(declared.len());
        match (0..declared.len()).find(|series| !seen.insert(declared.prefix(*series))) {
            Some(series) => Err(String::from_utf8_lossy(declared.prefix(series)).trim_end().to_owned()),
            None => Ok(declared),
        }
    }

    /// The set, from a caller that knows that no series stands in it twice.
    #[must_use]
    pub fn finish_unchecked(self) -> Declared {
        Declared {
            name: self.name,
            claims: self.claims.into(),
            firsts: self.firsts.into(),
            text: self.text.into(),
            ends: self.ends.into(),
        }
    }
}

/// Sets are kept far below 4 GiB of text by the limits on series and on text.
fn index(number: usize) -> u32 {
    u32::try_from(number).expect("a set's text is limited to less than 4 GiB")
}

/// Label values: backslash, quote and newline are escaped, in both formats.
fn escape_label(value: &str, out: &mut Vec<u8>) {
    if !value.bytes().any(|b| matches!(b, b'\\' | b'"' | b'\n')) {
        return out.extend_from_slice(value.as_bytes());
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(br"\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(br"\n"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::frame::{Family, MetricType, Series};

    use super::*;

    fn set(name: &str, series: &[(&str, &[(&str, &str)])]) -> Result<Declared, String> {
        let agent = AgentName::parse("huginn").unwrap();
        let mut builder = Builder::new(name, Identity::new(&agent, "node", &Labels::of(&[("zone", "a")])));
        let families = series
            .iter()
            .map(|(family, labels)| Family {
                name: (*family).into(),
                kind: MetricType::Gauge,
                help: String::new(),
                unit: String::new(),
                series: vec![Series { suffix: String::new(), labels: Labels::of(labels) }],
            })
            .collect();
        builder.add(&Declare { set: 1, name: name.into(), job: None, offset: 0, total: 0, families })?;
        builder.finish()
    }

    #[track_caller]
    fn check(labels: &[(&str, &str)], expected: &str) {
        let set = set("s", &[("x", labels)]).unwrap();
        assert_eq!(String::from_utf8_lossy(set.prefix(0)), expected);
    }

    #[test]
    fn labels_are_sorted_escaped_and_completed() {
        check(&[], r#"x{instance="huginn",job="node",zone="a"} "#);
        check(&[("z", "1"), ("a", "2")], r#"x{a="2",instance="huginn",job="node",z="1",zone="a"} "#);
        check(&[("zone", "own")], r#"x{instance="huginn",job="node",zone="own"} "#);
        check(&[("a", "q\"b\\n\nä")], r#"x{a="q\"b\\n\nä",instance="huginn",job="node",zone="a"} "#);
    }

    #[test]
    fn a_series_that_stands_twice_is_found() {
        let twice = set("s", &[("y", &[]), ("x", &[("a", "1"), ("b", "2")]), ("x", &[("b", "2"), ("a", "1")])]);
        assert_eq!(twice.unwrap_err(), r#"x{a="1",b="2",instance="huginn",job="node",zone="a"}"#);
        let apart = set("s", &[("x", &[("a", "1")]), ("y", &[]), ("x", &[("a", "2")])]);
        assert_eq!(apart.unwrap_err(), "x", "a family's series stand together");
    }

    #[test]
    fn families_know_their_series() {
        let set = set("s", &[("x", &[("a", "1")]), ("x", &[("a", "2")]), ("y", &[])]).unwrap();
        assert_eq!((set.series_of(0), set.series_of(1), set.claims.len()), (0..2, 2..3, 2));
    }
}
