//! The host's mounted file systems and how full they are, for the collectors that show them.
//!
//! `statfs` on a dead NFS or FUSE mount never returns, so it is asked on threads of its own: a
//! mount that does not answer in time is said to be stuck, the others are reported, and it is not
//! asked again before it came back. Those that were stuck are asked after all others.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::config::Config;
use super::crew::Crew;
use super::error::{CollectError, Faults};
use super::files::{HostSource, Roots};
use super::filter::Filter;
use super::mountinfo::{LIST_BYTES_MAX, Mount, NOT_VISIBLE, STUCK, Space, View, parse};
use super::news::News;

/// How old a mount's answer may be that is shown while it takes its time for the next.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(10);
/// Most different mounts that the log is told of at a time; the page tells of all of them.
const TOLD_MAX: usize = 20;
/// Longest name of a mount in the log.
const TOLD_CHARS_MAX: usize = 200;
/// Most mounts that are looked at.
const MOUNTS_MAX: usize = 1000;
/// Most threads that may hang on dead mounts at one time: with a file server tens of mounts die.
const THREADS_MAX: usize = 64;

type Answer = (PathBuf, Result<Space, String>);

/// Looks at the mounts, at most once in a while for all who ask.
#[derive(Debug)]
pub(in crate::collect) struct Survey {
    file: HostSource,
    /// Our own mounts, where they are other ones.
    view: View,
    mount_points: Filter,
    fs_types: Filter,
    /// When each mount answered last, and what.
    answers: HashMap<PathBuf, (Instant, Space)>,
    crew: Crew<PathBuf, Answer>,
    /// Mounts that were asked and did not answer yet.
    stuck: HashSet<PathBuf>,
    /// Mounts that did not answer in time when they were asked last.
    slow: HashSet<PathBuf>,
    /// What the log was told.
    told: News<String>,
    mounts: Vec<Mount>,
    /// Where each mount stands in the list.
    places: HashMap<PathBuf, usize>,
    taken: Option<(Instant, bool, Option<CollectError>)>,
    fresh_for: Duration,
    patience: Duration,
}

impl Survey {
    /// A survey for all collectors that show mounts.
    #[must_use]
    pub(in crate::collect) fn shared(config: &Config) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self::new(config)))
    }

    /// A survey whose answers serve all collectors of one push: half an interval.
    #[must_use]
    pub(in crate::collect) fn new(config: &Config) -> Self {
        Self::asking(config, statfs)
    }

    fn asking(config: &Config, ask: fn(PathBuf) -> Answer) -> Self {
        let interval = config.interval;
        Self {
            file: HostSource::new("1/mountinfo", "self/mountinfo").with_max(LIST_BYTES_MAX),
            view: View::new(),
            answers: HashMap::new(),
            mount_points: config.mount_points.clone(),
            fs_types: config.fs_types.clone(),
            crew: Crew::new("mounts", THREADS_MAX, ask),
            stuck: HashSet::new(),
            slow: HashSet::new(),
            told: News::new(interval, TOLD_MAX),
            mounts: vec![],
            places: HashMap::new(),
            taken: None,
            fresh_for: interval / 2,
            // Less than the scheduler's, so that one dead mount does not take the others with it.
            patience: (interval / 2).min(Duration::from_millis(500)),
        }
    }

    /// The mounts and how full they are, and whether they are only those of our own namespace.
    pub(in crate::collect) fn mounts(&mut self, roots: &Roots, faults: &mut Faults) -> (&[Mount], bool) {
        if self.taken.as_ref().is_none_or(|(taken, ..)| taken.elapsed() >= self.fresh_for) {
            let mut own_faults = Faults::default();
            let own = self.list(roots, &mut own_faults);
            self.ask();
            self.taken = Some((Instant::now(), own, own_faults.into_result().err()));
        }
        let own = self.taken.as_ref().is_some_and(|(_, own, _)| *own);
        if let Some((_, _, Some(error))) = &self.taken {
            faults.note(error.clone());
        }
        (&self.mounts, own)
    }

    fn list(&mut self, roots: &Roots, faults: &mut Faults) -> bool {
        self.mounts.clear();
        self.places.clear();
        let loaded = self.file.load(&roots.proc, faults);
        let own = self.file.is_own();
        if faults.check(loaded).is_none() {
            return own;
        }
        if self.file.bytes().is_empty() {
            // There is at least a root.
            faults.note(CollectError::malformed("mountinfo", ""));
        }
        if !own {
            self.view.look(roots, self.file.bytes());
        }
        // In our own namespace the host's mounts stand below its root.
        let strip = (own && roots.foreign).then_some(roots.root.as_path());
        for line in self.file.bytes().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Some(parsed) = faults.check(parse(line, &roots.root, strip)) else { continue };
            let Some(mut mount) = parsed else { continue };
            if !self.fs_types.shows(&mount.fstype) || !self.mount_points.shows(&mount.mountpoint) {
                continue;
            }
            if !own && !self.view.has(&mount) {
                mount.space = Err(NOT_VISIBLE.to_owned());
            }
            let next = self.mounts.len();
            match self.places.entry(mount.path.clone()) {
                // Of what is mounted over one another only the last can be seen.
                Entry::Occupied(place) => {
                    if let Some(earlier) = self.mounts.get_mut(*place.get()) {
                        *earlier = mount;
                    }
                }
                Entry::Vacant(place) if next < MOUNTS_MAX => {
                    place.insert(next);
                    self.mounts.push(mount);
                }
                Entry::Vacant(_) => faults.note(CollectError::TooMany { what: "mounts", max: MOUNTS_MAX }),
            }
        }
        own
    }

    /// The mounts that can be asked now, in the order in which they are.
    fn to_ask(&self) -> Vec<PathBuf> {
        let free = MOUNTS_MAX.saturating_sub(self.stuck.len());
        let visible = self.mounts.iter().filter(|mount| !mount.says(NOT_VISIBLE));
        let paths = visible.map(|mount| &mount.path).filter(|path| !self.stuck.contains(*path));
        let mut paths: Vec<PathBuf> = paths.take(free).cloned().collect();
        paths.sort_by_key(|path| self.slow.contains(path));
        paths
    }

    /// Asks each mount how full it is, and waits a little.
    fn ask(&mut self) {
        while let Some((path, space)) = self.crew.next_ready() {
            self.stuck.remove(&path);
            self.remember(path, &space);
        }
        let asked = self.to_ask();
        let mut waiting: HashSet<PathBuf> = asked.iter().cloned().collect();
        self.stuck.extend(asked.iter().cloned());
        self.crew.submit(asked);
        let deadline = Instant::now() + self.patience;
        // One that was asked earlier and is not begun may be in good health.
        while !waiting.is_empty() || self.crew.is_behind() {
            let Some((path, space)) = self.crew.next_before(deadline) else { break };
            self.stuck.remove(&path);
            if waiting.remove(&path) {
                self.slow.remove(&path);
            }
            self.remember(path.clone(), &space);
            if let Some(mount) = self.places.get(&path).and_then(|place| self.mounts.get_mut(*place)) {
                mount.space = space;
            }
        }
        self.fill_in(deadline);
        self.slow.retain(|path| self.places.contains_key(path));
        self.slow.extend(waiting);
        // The page says it of each mount (`device_error`); the log says it once.
        for mount in &self.mounts {
            if let Err(error) = &mount.space
                && self.told.is_news(format!("{} {error}", mount.mountpoint), deadline)
            {
                let mountpoint: String = mount.mountpoint.chars().take(TOLD_CHARS_MAX).collect();
                tracing::warn!(?mountpoint, error, "a file system cannot be asked how full it is");
            }
        }
    }

    fn remember(&mut self, path: PathBuf, space: &Result<Space, String>) {
        match space {
            Ok(space) if self.places.contains_key(&path) => {
                self.answers.insert(path, (Instant::now(), *space));
            }
            _ => {
                self.answers.remove(&path);
            }
        }
    }

    /// A mount that takes longer than we wait keeps its last answer for a while: a busy file
    /// server is not a dead one.
    fn fill_in(&mut self, now: Instant) {
        self.answers.retain(|path, _| self.places.contains_key(path));
        for mount in self.mounts.iter_mut().filter(|mount| mount.says(STUCK)) {
            if let Some((at, space)) = self.answers.get(&mount.path)
                && now.saturating_duration_since(*at) <= ANSWER_AGE_MAX
            {
                mount.space = Ok(*space);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "samples are f64; sizes beyond 2^53 bytes are rounded")]
fn statfs(path: PathBuf) -> Answer {
    let space = rustix::fs::statfs(&path).map_err(|error| words(error.into())).map(|found| {
        let block = found.f_bsize as f64;
        Space {
            size: found.f_blocks as f64 * block,
            free: found.f_bfree as f64 * block,
            avail: found.f_bavail as f64 * block,
            files: found.f_files as f64,
            files_free: found.f_ffree as f64,
        }
    });
    (path, space)
}

/// The system's words alone, as they stand in node_exporter's label: "permission denied".
fn words(error: std::io::Error) -> String {
    let text = error.to_string();
    let plain = error.raw_os_error().and_then(|code| text.strip_suffix(&format!(" (os error {code})")));
    let mut letters = plain.unwrap_or(&text).chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
