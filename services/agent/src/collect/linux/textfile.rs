//! Metrics that others write as text: `*.prom` files in directories that the settings name.
//!
//! A bad line, family or file hurts only itself; the log says which, once, and so do
//! `node_textfile_scrape_error` and `fleetgauge_textfile_error`. A file is read when it has
//! changed; what it held is sent until it changes again, goes, or is too old.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use protocol::Labels;
use protocol::declare::owned_names;
use protocol::frame::MetricType;

use super::Collector;
use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::exposition::{Family, Flaw, Sample, note};
use super::files::Roots;
use super::news::News;
use super::text_source::{Room, TextSource, find};

/// Most files that are read, of all directories together.
const FILES_MAX: usize = 200;
/// Most that is read of all files together.
const ROOM: Room = Room { bytes: 16 << 20, samples: 20_000 };
/// Most different flaws that the log is told of.
const TOLD_MAX: usize = 1000;
/// Families that tell of the files: a file cannot give them.
const OWN: [(&str, &str); 4] = [
    ("node_textfile_scrape_error", "1 if anything in any text file could not be taken."),
    ("node_textfile_mtime_seconds", "When a text file was written."),
    ("fleetgauge_textfile_error", "1 for a text file in which something could not be taken; the log says what."),
    ("fleetgauge_textfile_expired", "1 for a text file that is not sent because it is too old."),
];

/// The text files.
#[derive(Debug)]
pub(super) struct Textfile {
    directories: Vec<PathBuf>,
    age_max: Option<Duration>,
    /// Labels that the agent gives to all its series.
    labels: Labels,
    /// By the number of the directory and the file's name: the order in which they count.
    files: BTreeMap<(usize, String), TextSource>,
    /// What does not fit together, by the number of the file that comes later.
    clashes: HashMap<usize, Vec<Flaw>>,
    told: News<String>,
}

impl Textfile {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            directories: config.textfile_directories.clone(),
            age_max: config.textfile_age_max,
            labels: config.labels.clone(),
            files: BTreeMap::new(),
            clashes: HashMap::new(),
            told: News::new(config.interval, TOLD_MAX),
        }
    }

    /// Finds the files that there are, and says whether they are others than before.
    fn list(&mut self, faults: &mut Faults) -> bool {
        let mut found = find(&self.directories, faults);
        if found.len() > FILES_MAX {
            faults.note(CollectError::TooMany { what: "text files", max: FILES_MAX });
            found.truncate(FILES_MAX);
        }
        let is_same = self.files.keys().eq(found.iter());
        if !is_same {
            let mut known = std::mem::take(&mut self.files);
            for place in found {
                let Some(directory) = self.directories.get(place.0) else { continue };
                let file = known.remove(&place).unwrap_or_else(|| TextSource::new(directory.join(&place.1)));
                self.files.insert(place, file);
            }
        }
        !is_same
    }

    /// Reads what has changed. Says whether anything has, and whether types or helps may have.
    fn refresh(&mut self, now: f64) -> (bool, bool) {
        let (mut is_changed, mut is_other) = (false, false);
        let mut room = ROOM;
        for file in self.files.values_mut() {
            let heads = |family: &Family| (family.name.clone(), family.kind, family.help.clone());
            let before: Vec<_> = file.families().iter().map(heads).collect();
            let was_expired = file.is_expired;
            let is_read = file.refresh(&mut room);
            let limit = self.age_max.map_or(f64::INFINITY, |age| age.as_secs_f64());
            file.is_expired = file.mtime.is_some_and(|mtime| now - mtime > limit);
            is_other |= file.is_expired != was_expired;
            is_other |= is_read && !file.families().iter().map(heads).eq(before);
            is_changed |= is_read || is_other;
        }
        (is_changed, is_other)
    }

    /// Finds what does not fit together: types, names, series that come twice.
    fn compare(&mut self) {
        let mut kinds: HashMap<&str, MetricType> = HashMap::new();
        let mut owners: HashMap<String, &str> = HashMap::new();
        let mut seen = HashSet::new();
        self.clashes.clear();
        for (number, file) in self.files.values().enumerate().filter(|(_, file)| !file.is_expired) {
            let mut flaws = Vec::new();
            for family in file.families() {
                let line = family.samples.first().map_or(0, |sample| sample.line);
                let kind = *kinds.entry(&family.name).or_insert(family.kind);
                if kind != family.kind {
                    let text = format!("{} is a {:?} here, in a file before a {kind:?}", family.name, family.kind);
                    note(&mut flaws, Flaw { line, kind: "another type than in a file before", text });
                    continue;
                }
                if is_own(&family.name) {
                    note(&mut flaws, Flaw::at(line, "a metric that tells of text files"));
                }
                for name in owned_names(family.kind, &family.name) {
                    let owner = *owners.entry(name).or_insert(&family.name);
                    if owner != family.name {
                        let text = format!("{} and {owner} would have a name in common", family.name);
                        note(&mut flaws, Flaw { line, kind: "a metric with a name of another", text });
                    }
                }
                for sample in &family.samples {
                    let mut labels: Vec<_> = shown(sample, &self.labels).collect();
                    labels.sort_unstable();
                    if !seen.insert((format!("{}{}", family.name, sample.suffix), labels)) {
                        note(&mut flaws, Flaw::at(sample.line, "a series that stands twice"));
                    }
                }
            }
            if !flaws.is_empty() {
                self.clashes.insert(number, flaws);
            }
        }
    }

    /// Tells the log of each flaw once, and gives for each file whether it has one.
    fn tell(&mut self) -> Vec<bool> {
        let now = Instant::now();
        let mut bad = Vec::with_capacity(self.files.len());
        for (number, file) in self.files.values().enumerate() {
            let clashes = self.clashes.get(&number).into_iter().flatten();
            let mut flaws = file.flaws().iter().chain(clashes).peekable();
            bad.push(flaws.peek().is_some());
            for flaw in flaws {
                if self.told.is_news(format!("{} {}", file.label(), flaw.kind), now) {
                    tracing::warn!(file = file.label(), reason = %flaw, "something in a text file is not sent");
                }
            }
            if file.is_expired && self.told.is_news(format!("{} is expired", file.label()), now) {
                let max_seconds = self.age_max.map(|age| age.as_secs());
                tracing::warn!(file = file.label(), max_seconds, "a text file is too old, it is not sent");
            }
        }
        bad
    }
}

impl Collector for Textfile {
    fn name(&self) -> &'static str {
        "textfile"
    }

    fn source(&self) -> &'static str {
        "`*.prom` in the directories of `FLEETGAUGE_TEXTFILE_DIRECTORY`"
    }

    fn read(&mut self, _roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        // With file and line, instead of what the batch could say.
        out.tells_itself();
        let mut faults = Faults::default();
        let has_other_files = self.list(&mut faults);
        let (is_changed, has_other_heads) = self.refresh(lifecycle::clock::unix_seconds());
        if is_changed || has_other_files {
            self.compare();
        }
        if has_other_heads || has_other_files {
            out.forget();
        }
        let result = faults.into_result();
        let bad = self.tell();
        let [error, mtime, file_error, expired] = OWN;
        let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
        out.gauge(error.0, error.1, &[], flag(result.is_err() || bad.contains(&true)));
        for (file, is_bad) in self.files.values().zip(bad) {
            let labels = [("file", file.label())];
            if let Some(seconds) = file.mtime {
                out.gauge(mtime.0, mtime.1, &labels, seconds);
            }
            out.gauge(file_error.0, file_error.1, &labels, flag(is_bad));
            out.gauge(expired.0, expired.1, &labels, flag(file.is_expired));
        }
        for family in self.files.values().filter(|file| !file.is_expired).flat_map(TextSource::families) {
            report(family, &self.labels, out);
        }
        result
    }
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|(own, _)| *own == name)
}

fn report(family: &Family, of_agent: &Labels, out: &mut Batch) {
    if is_own(&family.name) {
        return;
    }
    let mut labels: Vec<(&str, &str)> = Vec::new();
    for sample in &family.samples {
        labels.clear();
        labels.extend(shown(sample, of_agent));
        out.push(family.kind, &family.name, &family.help, sample.suffix, &labels, sample.value);
    }
}

/// The labels of a sample, without those that it gets from the agent anyway: a series with one
/// and a series without it would be the same on the page.
fn shown<'a>(sample: &'a Sample, of_agent: &'a Labels) -> impl Iterator<Item = (&'a str, &'a str)> {
    let labels = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    labels.filter(|(name, value)| of_agent.get(name) != Some(*value))
}

#[cfg(test)]
#[path = "textfile_tests.rs"]
mod tests;
