//! Prometheus' text format, version 0.0.4: from text to families.
//!
//! Strict, line by line: a line that is not of the format is left out and said to be, the others
//! are taken. A histogram or summary is taken whole or not at all, since one without some of its
//! buckets tells lies.

use std::collections::HashMap;
use std::fmt;

use protocol::declare;
use protocol::frame::MetricType;
use protocol::names::{is_label_name, is_metric_name};

/// Longest line. A series has at most 8 KiB of labels, some of them escaped.
pub(super) const LINE_BYTES_MAX: usize = 20 * 1024;
/// More samples than are taken of one file, or than there is room for beside other files.
pub(super) const TOO_MANY: &str = "more samples than are taken, the first ones are sent";
const BLANKS: [char; 2] = [' ', '\t'];

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The line, from 1; 0: the file as a whole.
    pub(super) line: usize,
    /// Which of a few kinds it is: of each kind a file has at most one flaw, its first.
    pub(super) kind: &'static str,
    /// In words.
    pub(super) text: String,
}

impl Flaw {
    /// A flaw that needs no more words than its kind.
    pub(super) fn at(line: usize, kind: &'static str) -> Self {
        Self { line, kind, text: kind.to_owned() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

/// Adds a flaw, unless there is one of its kind.
pub(super) fn note(flaws: &mut Vec<Flaw>, flaw: Flaw) {
    if !flaws.iter().any(|known| known.kind == flaw.kind) {
        flaws.push(flaw);
    }
}

/// A metric with its samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// Its name.
    pub(super) name: String,
    /// Untyped unless the text says otherwise.
    pub(super) kind: MetricType,
    /// Empty unless the text has one.
    pub(super) help: String,
    /// In their order.
    pub(super) samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// `_bucket`, `_sum`, `_count` of a histogram or summary; else nothing.
    pub(super) suffix: &'static str,
    /// Those with a value: an empty label is none.
    pub(super) labels: Vec<(String, String)>,
    /// The value.
    pub(super) value: f64,
    /// Where it stands.
    pub(super) line: usize,
}

/// Reads a text, up to so many samples; `is_cut` when it is only the beginning of one. Gives its
/// families, each with at least one sample, in the order in which they are named, and what is wrong.
pub(super) fn parse(text: &[u8], is_cut: bool, samples_max: usize) -> (Vec<Family>, Vec<Flaw>) {
    let mut reader = Reader { left: samples_max, ..Reader::default() };
    let mut last = None;
    for (bytes, line) in text.split(|byte| *byte == b'\n').zip(1..) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let result = match std::str::from_utf8(bytes) {
            _ if bytes.len() > LINE_BYTES_MAX => Err("a line that is too long"),
            Ok(text) => reader.line(text, line),
            Err(_) => Err("bytes that are no UTF-8"),
        };
        let name = name_of(bytes);
        if let Err(kind) = result {
            note(&mut reader.flaws, Flaw::at(line, kind));
            reader.breaks(name);
        }
        last = Some(name).filter(|name| !name.is_empty()).or(last);
    }
    if let Some(name) = last.filter(|_| is_cut) {
        reader.breaks(name);
    }
    reader.finish()
}

/// The name that a line of a sample begins with, if only that can be read of it.
fn name_of(line: &[u8]) -> &str {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"_:".contains(byte));
    let name = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
    std::str::from_utf8(name).unwrap_or_default()
}

#[derive(Debug, Default)]
struct Reader {
    drafts: Vec<Draft>,
    places: HashMap<String, usize>,
    flaws: Vec<Flaw>,
    /// How many more samples are taken.
    left: usize,
}

#[derive(Debug)]
struct Draft {
    family: Family,
    has_help: bool,
    has_type: bool,
    /// The line of the first sample that could not be read.
    is_broken: bool,
}

impl Reader {
    fn line(&mut self, text: &str, line: usize) -> Result<(), &'static str> {
        let text = text.trim_start_matches(BLANKS);
        match text.strip_prefix('#') {
            _ if text.is_empty() => Ok(()),
            _ if self.left == 0 && text.starts_with('#') => Ok(()),
            _ if self.left == 0 => Err(TOO_MANY),
            None => self.sample(text, line),
            Some(comment) => match word(comment) {
                ("HELP", rest) => self.help(rest),
                ("TYPE", rest) => self.kind(rest),
                _ => Ok(()),
            },
        }
    }

    fn help(&mut self, text: &str) -> Result<(), &'static str> {
        let (name, help) = word(text);
        let draft = self.named(name)?;
        if draft.has_help {
            return Err("a second HELP of one metric");
        }
        draft.has_help = true;
        let help = help.trim_start_matches(BLANKS);
        draft.family.help = unescaped(help, None).ok_or("an unknown escape in a HELP")?.0;
        Ok(())
    }

    fn kind(&mut self, text: &str) -> Result<(), &'static str> {
        let (name, rest) = word(text);
        let (kind, rest) = word(rest);
        let draft = self.named(name)?;
        if draft.has_type {
            return Err("a second TYPE of one metric");
        }
        if !draft.family.samples.is_empty() {
            return Err("a TYPE after the metric's samples");
        }
        let kinds = [
            ("counter", MetricType::Counter),
            ("gauge", MetricType::Gauge),
            ("histogram", MetricType::Histogram),
            ("summary", MetricType::Summary),
            ("untyped", MetricType::Untyped),
        ];
        let known = kinds.iter().find(|(known, _)| kind.eq_ignore_ascii_case(known));
        let (_, kind) = known.filter(|_| rest.trim_matches(BLANKS).is_empty()).ok_or("a TYPE that is none")?;
        (draft.has_type, draft.family.kind) = (true, *kind);
        Ok(())
    }

    fn sample(&mut self, text: &str, line: usize) -> Result<(), &'static str> {
        let name = name_of(text.as_bytes());
        if !is_metric_name(name) {
            return Err("a sample without a metric's name");
        }
        let rest = text.get(name.len()..).unwrap_or_default();
        let (labels, rest) = match rest.trim_start_matches(BLANKS).strip_prefix('{') {
            Some(labels) => self::labels(labels)?,
            None if rest.is_empty() || rest.starts_with(BLANKS) => (vec![], rest),
            None => return Err("a metric's name with a character that none may have"),
        };
        let mut words = rest.split(BLANKS).filter(|word| !word.is_empty());
        let value = number(words.next().ok_or("a sample without a value")?)?;
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some(time), None) if time.parse::<i64>().is_ok() => {
                return Err("a sample with a timestamp: what is sent is as of now");
            }
            _ => return Err("more than a value after a sample's name"),
        }
        self.left = self.left.saturating_sub(1);
        let (place, suffix) = self.place(name);
        if let Some(draft) = self.drafts.get_mut(place) {
            draft.family.samples.push(Sample { suffix, labels, value, line });
        }
        Ok(())
    }

    /// The family whose HELP or TYPE this is.
    fn named(&mut self, name: &str) -> Result<&mut Draft, &'static str> {
        const KIND: &str = "a HELP or TYPE without a metric's name";
        if !is_metric_name(name) {
            return Err(KIND);
        }
        let place = self.places.get(name).copied().unwrap_or_else(|| self.add(name));
        self.drafts.get_mut(place).ok_or(KIND)
    }

    /// The family of a sample, and what of its name is not the family's.
    fn place(&mut self, name: &str) -> (usize, &'static str) {
        self.known(name).unwrap_or_else(|| (self.add(name), ""))
    }

    fn known(&self, name: &str) -> Option<(usize, &'static str)> {
        let part = |suffix: &'static str| {
            let place = *self.places.get(name.strip_suffix(suffix)?)?;
            let kind = self.drafts.get(place)?.family.kind;
            let is_part = kind == MetricType::Histogram || (kind == MetricType::Summary && suffix != "_bucket");
            is_part.then_some((place, suffix))
        };
        let whole = self.places.get(name).map(|place| (*place, ""));
        whole.or_else(|| ["_bucket", "_sum", "_count"].into_iter().find_map(part))
    }

    fn add(&mut self, name: &str) -> usize {
        let family = Family { name: name.to_owned(), kind: MetricType::Untyped, help: String::new(), samples: vec![] };
        self.drafts.push(Draft { family, has_help: false, has_type: false, is_broken: false });
        self.places.insert(name.to_owned(), self.drafts.len() - 1);
        self.drafts.len() - 1
    }

    /// A sample of this name could not be read.
    fn breaks(&mut self, name: &str) {
        let place = self.known(name).map(|(place, _)| place);
        if let Some(draft) = place.and_then(|place| self.drafts.get_mut(place)) {
            draft.is_broken = matches!(draft.family.kind, MetricType::Histogram | MetricType::Summary);
        }
    }

    fn finish(self) -> (Vec<Family>, Vec<Flaw>) {
        let mut flaws = self.flaws;
        let whole = self.drafts.into_iter().filter(|draft| !draft.is_broken && !draft.family.samples.is_empty());
        let families: Vec<Family> = whole.map(|draft| draft.family).collect();
        families.iter().for_each(|family| check_fit(family, &mut flaws));
        (families, flaws)
    }
}

/// Says what the aggregator would refuse. It stays in the family: whoever sends it leaves it out
/// and counts it.
fn check_fit(family: &Family, flaws: &mut Vec<Flaw>) {
    let bare = protocol::frame::Family {
        name: family.name.clone(),
        kind: family.kind,
        help: String::new(),
        unit: String::new(),
        series: vec![],
    };
    let unfit = |line, text| Flaw { line, kind: "what may not be sent", text };
    let first = family.samples.first().map_or(0, |sample| sample.line);
    if let Err(error) = declare::check_family(&bare) {
        return note(flaws, unfit(first, error.reason));
    }
    for sample in &family.samples {
        let labels = protocol::Labels(sample.labels.clone());
        let series = protocol::frame::Series { suffix: sample.suffix.to_owned(), labels };
        if let Err(error) = declare::check_series(&bare, &series) {
            return note(flaws, unfit(sample.line, error.reason));
        }
    }
}

/// The first word of a text, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(BLANKS);
    text.split_at(text.find(BLANKS).unwrap_or(text.len()))
}

/// A value as Prometheus reads it.
fn number(word: &str) -> Result<f64, &'static str> {
    let value: f64 = word.parse().map_err(|_| "a value that is no number")?;
    let is_named = word.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    if value.is_infinite() && !is_named { Err("a value out of range") } else { Ok(value) }
}

type Pairs = Vec<(String, String)>;

/// Reads labels up to their closing brace, and gives what follows it.
fn labels(mut rest: &str) -> Result<(Pairs, &str), &'static str> {
    let mut labels: Pairs = vec![];
    loop {
        rest = rest.trim_start_matches(BLANKS);
        if let Some(after) = rest.strip_prefix('}') {
            labels.retain(|(_, value)| !value.is_empty());
            return Ok((labels, after));
        }
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !is_label_name(name) {
            return Err("labels without a label's name");
        }
        if labels.iter().any(|(known, _)| known == name) {
            return Err("a label twice in one sample");
        }
        let after = after.trim_start_matches(BLANKS).strip_prefix('=').ok_or("a label without =")?;
        let after = after.trim_start_matches(BLANKS).strip_prefix('"').ok_or("a label's value without quotes")?;
        let (value, after) = unescaped(after, Some('"')).ok_or("a label's value with an unknown escape or no end")?;
        labels.push((name.to_owned(), value));
        rest = after.trim_start_matches(BLANKS);
        rest = match rest.strip_prefix(',') {
            Some(after) => after,
            None if rest.starts_with('}') => rest,
            None => return Err("labels without a comma between or a brace after them"),
        };
    }
}

/// Reads up to a closing mark, or to the end without one, and gives what follows it. A backslash
/// stands before an `n` that is a newline, before itself and before the mark.
fn unescaped(text: &str, mark: Option<char>) -> Option<(String, &str)> {
    let mut out = String::with_capacity(text.len().min(64));
    let mut letters = text.chars();
    loop {
        match letters.next() {
            None => return mark.is_none().then_some((out, "")),
            letter if letter == mark => return Some((out, letters.as_str())),
            Some('\\') => match letters.next()? {
                'n' => out.push('\n'),
                letter if letter == '\\' || Some(letter) == mark => out.push(letter),
                _ => return None,
            },
            Some(letter) => out.push(letter),
        }
    }
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
