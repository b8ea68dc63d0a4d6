//! The partitions of the history: each holds what was written in one stretch of time, in a file or
//! folder of its own, and needs no other. A newer one overrides an older one.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::damage::{self, Failure};
use super::hot::Hot;
use super::journal;
use super::point::Point;
use super::sealed::{OpenError, Segment};

/// Above all numbers that partitions can have come to.
const NUMBER_END: u64 = 1 << 48;
/// What a folder of raw points ends with, after its number and when it was begun.
const RAW: &str = "raw";
/// What a sealed file ends with.
const SEALED: &str = "sealed";
/// What it ends with while it is written. One that is found was never finished.
const SEALING: &str = "sealing";
/// Where damaged ones go.
const ASIDE: &str = "damaged";

/// What no key has as its id.
pub(super) const NO_ID: u64 = u64::MAX;

/// A partition, as it can be read.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) found: Found,
    pub(super) store: Store,
    /// Ids that keys have here, where they differ from those that they have elsewhere.
    pub(super) aliases: HashMap<u64, u64>,
    /// Some of the keys that it held are gone from it.
    pub(super) is_thinned: bool,
    /// That it is damaged has been said.
    is_damage_said: AtomicBool,
}

/// What holds a partition's points.
#[derive(Debug)]
pub(super) enum Store {
    /// It is, or was until a moment ago, written to.
    Raw(Arc<Hot>),
    /// It is over, and compressed.
    Sealed(Segment),
    /// It is there, but the system does not let us open it now.
    Unavailable,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Where to go on; `None`: there is nothing more in the range.
    pub(super) next_from: Option<i64>,
    /// Damaged places that were passed over.
    pub(super) damaged: u64,
}

impl Partition {
    pub(super) fn new(found: Found, store: Store) -> Self {
        Self { found, store, aliases: HashMap::new(), is_thinned: false, is_damage_said: AtomicBool::new(false) }
    }

    pub(super) fn with_aliases(self, aliases: HashMap<u64, u64>) -> Self {
        Self { aliases, ..self }
    }

    pub(super) fn thinned(self) -> Self {
        Self { is_thinned: true, ..self }
    }

    /// Its number, which grows with each partition.
    pub(super) fn number(&self) -> u64 {
        self.found.number
    }

    /// Appends points of a key, ascending, up to about `limit`.
    pub(super) fn read(
        &self,
        id: u64,
        range: RangeInclusive<i64>,
        limit: usize,
        into: &mut Vec<Point>,
    ) -> Result<Read, Failure> {
        self.read_local(self.aliases.get(&id).copied().unwrap_or(id), range, limit, into)
    }

    /// The same, by the id that the key has here.
    pub(super) fn read_local(
        &self,
        id: u64,
        range: RangeInclusive<i64>,
        limit: usize,
        into: &mut Vec<Point>,
    ) -> Result<Read, Failure> {
        match &self.store {
            Store::Raw(hot) => {
                let end = *range.end();
                match damage::catch(|| hot.read(id, range, limit, into)) {
                    Ok(true) => Ok(Read::default()),
                    Ok(false) => {
                        let next = into.last().and_then(|last| last.ts.checked_add(1));
                        Ok(Read { next_from: next.filter(|next| *next <= end), damaged: 0 })
                    }
                    // Where a table is damaged, the rest of this key in it cannot be told apart.
                    Err(Failure::Damaged(why)) => {
                        self.say_damaged(&why);
                        Ok(Read { next_from: None, damaged: 1 })
                    }
                    Err(failure) => Err(failure),
                }
            }
            Store::Sealed(segment) => {
                let read = segment.read(id, range, limit, into);
                if !read.lost.is_empty() {
                    self.say_damaged(&format!("{:?}", read.lost));
                }
                Ok(Read { next_from: read.next_from, damaged: read.lost.blocks + read.lost.pages })
            }
            Store::Unavailable => Err(Failure::System(io::Error::other("a partition cannot be opened now"))),
        }
    }

    /// Has it anything of this key?
    pub(super) fn holds(&self, id: u64) -> bool {
        let mut points = Vec::new();
        // What cannot be read now may hold it.
        self.read(id, i64::MIN..=i64::MAX, 1, &mut points).is_err() || !points.is_empty()
    }

    /// Says it once; each time it is met is counted.
    fn say_damaged(&self, what: &str) {
        if !self.is_damage_said.swap(true, Ordering::Relaxed) {
            tracing::error!(partition = self.number(), %what, "a partition of the history is damaged: the points of the damaged places are not shown");
        }
    }
}

/// All partitions, oldest first. Whoever reads takes a copy of the list, and no lock after that.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    list: RwLock<Arc<Vec<Arc<Partition>>>>,
}

impl Partitions {
    /// As they are now.
    pub(super) fn now(&self) -> Arc<Vec<Arc<Partition>>> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one of this number, if it is still there.
    pub(super) fn get(&self, number: u64) -> Option<Arc<Partition>> {
        let list = self.now();
        let at = list.binary_search_by_key(&number, |partition| partition.number()).ok()?;
        list.get(at).cloned()
    }

    /// Puts a partition in its place, instead of the one of the same number if there is one.
    pub(super) fn put(&self, partition: Partition) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<_> = list.iter().filter(|one| one.number() != partition.number()).cloned().collect();
        let at = new.partition_point(|one| one.number() < partition.number());
        new.insert(at, Arc::new(partition));
        *list = Arc::new(new);
    }

    /// Takes the partition of this number out.
    pub(super) fn remove(&self, number: u64) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        *list = Arc::new(list.iter().filter(|one| one.number() != number).cloned().collect());
    }
}

/// What lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A folder of raw points.
    Raw,
    /// A sealed file.
    Sealed,
}

/// A partition as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// When it was begun, Unix milliseconds.
    pub(super) begun_ms: i64,
    pub(super) path: PathBuf,
}

impl Found {
    /// A partition that is begun now.
    pub(super) fn raw(dir: &Path, number: u64, begun_ms: i64) -> Self {
        Self { number, kind: Kind::Raw, begun_ms, path: path(dir, number, begun_ms, RAW) }
    }

    /// The same, sealed.
    pub(super) fn sealed(&self, dir: &Path) -> Self {
        let path = path(dir, self.number, self.begun_ms, SEALED);
        Self { kind: Kind::Sealed, path, ..self.clone() }
    }

    /// Where it is written before it is whole.
    pub(super) fn sealing(&self, dir: &Path) -> PathBuf {
        path(dir, self.number, self.begun_ms, SEALING)
    }

    fn parse(path: PathBuf) -> Option<Self> {
        let (name, kind) = path.file_name()?.to_str()?.rsplit_once('.')?;
        let kind = match kind {
            RAW => Kind::Raw,
            SEALED => Kind::Sealed,
            _ => return None,
        };
        let (number, begun_ms) = name.split_once('-')?;
        let number = number.parse().ok().filter(|number| *number < NUMBER_END)?;
        Some(Self { number, kind, begun_ms: begun_ms.parse().ok()?, path })
    }
}

fn path(dir: &Path, number: u64, begun_ms: i64, kind: &str) -> PathBuf {
    dir.join(format!("{number:08}-{begun_ms}.{kind}"))
}

/// The partitions in this folder, oldest first. Where a crash left both forms of one, the sealed one
/// stays if it can be read; what was not sealed to its end is removed.
pub(super) fn find(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == SEALING)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(%error, path = %path.display(), "what was not sealed to its end could not be removed");
        }
        found.extend(Found::parse(path));
    }
    found.sort();
    let mut passed_over = Vec::new();
    for (raw, sealed) in found.iter().zip(found.iter().skip(1)) {
        if raw.number == sealed.number && (raw.kind, sealed.kind) == (Kind::Raw, Kind::Sealed) {
            passed_over.push(keep_one(dir, raw, sealed)?.to_owned());
        }
    }
    found.retain(|one| !passed_over.contains(&one.path));
    Ok(found)
}

/// Of a partition in both forms, gives the path of the one that is not read. The raw one goes only
/// when the other is whole, and made of it.
fn keep_one<'a>(dir: &Path, raw: &'a Found, sealed: &'a Found) -> io::Result<&'a Path> {
    let why = match Segment::open(&sealed.path) {
        Ok(_) if raw.begun_ms == sealed.begun_ms => {
            // What was lost when it was sealed is for a person to look at.
            if journal::is_marked(&raw.path)? {
                set_aside(dir, &raw.path)?;
            } else {
                fs::remove_dir_all(&raw.path)?;
            }
            return Ok(&raw.path);
        }
        Ok(_) => "it is of another time".to_owned(),
        Err(error) => {
            if matches!(error, OpenError::Damaged(_)) {
                set_aside(dir, &sealed.path)?;
            }
            error.to_string()
        }
    };
    tracing::error!(%why, path = %sealed.path.display(), "a sealed partition is passed over: its raw form is still there");
    Ok(&sealed.path)
}

/// Moves a damaged partition where nothing reads it, but a person may.
pub(super) fn set_aside(dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let to = place_aside(dir, &name)?;
    fs::rename(path, &to)?;
    Ok(to)
}

/// Keeps a file of a partition, as it is now, among what is damaged. `partition` is its folder.
pub(super) fn copy_aside(partition: &Path, file: &Path) -> io::Result<PathBuf> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let dir = partition.parent().unwrap_or(partition);
    let to = place_aside(dir, &format!("{}.{}", name(partition), name(file)))?;
    // Whoever replaces the file afterwards leaves this one as it is. Not every disk has links.
    fs::hard_link(file, &to).or_else(|_| fs::copy(file, &to).map(|_| ()))?;
    Ok(to)
}

/// A name that is free among what is damaged.
fn place_aside(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let aside = dir.join(ASIDE);
    fs::create_dir_all(&aside)?;
    let mut names = (1..).map(|n| aside.join(if n == 1 { name.to_owned() } else { format!("{name}.{n}") }));
    Ok(names.find(|path| !path.exists()).unwrap_or_else(|| aside.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let dir = Path::new("/x");
        let raw = Found::raw(dir, 12, 1_700_000_000_000);
        assert_eq!(Found::parse(raw.path.clone()), Some(raw.clone()));
        let sealed = raw.sealed(dir);
        assert_eq!(Found::parse(sealed.path.clone()), Some(sealed));
        for other in
            ["agents.json", "damaged", "12.raw", "a-b.raw", "12-3.rawx", "12-3.sealing", "18446744073709551615-1.raw"]
        {
            assert_eq!(Found::parse(other.into()), None, "{other}");
        }
    }

    #[test]
    fn of_what_a_crash_left_twice_the_sealed_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let raw = Found::raw(dir.path(), 2, 5);
        fs::create_dir(&raw.path).unwrap();
        super::super::sealed::Writer::create(&raw.sealed(dir.path()).path).unwrap().finish(0).unwrap();
        fs::write(raw.sealing(dir.path()), "x").unwrap();
        let other = Found::raw(dir.path(), 3, 6);
        fs::create_dir(&other.path).unwrap();
        assert_eq!(find(dir.path()).unwrap(), [raw.sealed(dir.path()), other]);
        assert!(!raw.path.exists() && !raw.sealing(dir.path()).exists());
    }

    #[test]
    fn a_raw_one_is_not_given_up_for_a_sealed_one_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let raw = Found::raw(dir.path(), 2, 5);
        fs::create_dir(&raw.path).unwrap();
        fs::write(raw.sealed(dir.path()).path, "damaged").unwrap();
        assert_eq!(find(dir.path()).unwrap(), std::slice::from_ref(&raw));
        assert_eq!(fs::read_dir(dir.path().join(ASIDE)).unwrap().count(), 1);
        // One that the system does not give, and a whole one that was not made of it.
        fs::create_dir(raw.sealed(dir.path()).path).unwrap();
        assert_eq!(find(dir.path()).unwrap(), std::slice::from_ref(&raw));
        fs::remove_dir(raw.sealed(dir.path()).path).unwrap();
        let other = Found { begun_ms: 6, ..raw.clone() }.sealed(dir.path());
        super::super::sealed::Writer::create(&other.path).unwrap().finish(0).unwrap();
        assert_eq!(find(dir.path()).unwrap(), [raw]);
    }

    #[test]
    fn what_is_set_aside_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let path = dir.path().join("1-2.raw");
            fs::create_dir(&path).unwrap();
            set_aside(dir.path(), &path).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path().join(ASIDE)).unwrap().count(), 3);
        assert_eq!(find(dir.path()).unwrap(), []);
    }
}
