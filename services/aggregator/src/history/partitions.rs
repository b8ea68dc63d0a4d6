//! The partitions of the history: each holds what was written in one stretch of time, in a file or
//! folder of its own, and needs no other. A newer one overrides an older one.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::damage::Failure;
use super::hot::Hot;
use super::point::Point;

/// How a folder of raw points is called, after its number and when it was begun.
const RAW: &str = "raw";
/// Where damaged ones go.
const ASIDE: &str = "damaged";

/// A partition, as it can be read.
#[derive(Debug)]
pub(super) struct Partition {
    /// Grows with each partition.
    pub(super) number: u64,
    pub(super) store: Store,
    /// Ids that keys have here, where they differ from those that they have elsewhere.
    pub(super) aliases: HashMap<u64, u64>,
}

/// What holds a partition's points.
#[derive(Debug)]
pub(super) enum Store {
    /// It is, or was until a moment ago, written to.
    Raw(Arc<Hot>),
    /// It is there, but the system does not let us open it now.
    Unavailable,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// There is nothing more in the range.
    pub(super) is_exhausted: bool,
    /// Damaged places that were passed over.
    pub(super) damaged: u64,
}

impl Partition {
    pub(super) fn raw(number: u64, hot: Arc<Hot>) -> Self {
        Self { number, store: Store::Raw(hot), aliases: HashMap::new() }
    }

    /// Appends points of a key, ascending, up to about `limit`.
    pub(super) fn read(
        &self,
        id: u64,
        range: RangeInclusive<i64>,
        limit: usize,
        into: &mut Vec<Point>,
    ) -> Result<Read, Failure> {
        let id = self.aliases.get(&id).copied().unwrap_or(id);
        match &self.store {
            Store::Raw(hot) => match hot.read(id, range, limit, into) {
                Ok(is_exhausted) => Ok(Read { is_exhausted, damaged: 0 }),
                // Where a table is damaged, the rest of this key in it cannot be told apart.
                Err(Failure::Damaged(why)) => {
                    tracing::error!(%why, partition = self.number, "points of a damaged place are not shown");
                    Ok(Read { is_exhausted: true, damaged: 1 })
                }
                Err(failure) => Err(failure),
            },
            Store::Unavailable => Err(Failure::System(io::Error::other("a partition cannot be opened now"))),
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
        let at = list.binary_search_by_key(&number, |partition| partition.number).ok()?;
        list.get(at).cloned()
    }

    /// Puts a partition in its place, instead of the one of the same number if there is one.
    pub(super) fn put(&self, partition: Partition) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<_> = list.iter().filter(|one| one.number != partition.number).cloned().collect();
        let at = new.partition_point(|one| one.number < partition.number);
        new.insert(at, Arc::new(partition));
        *list = Arc::new(new);
    }

    /// Takes the partition of this number out.
    pub(super) fn remove(&self, number: u64) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        *list = Arc::new(list.iter().filter(|one| one.number != number).cloned().collect());
    }
}

/// A partition as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) number: u64,
    /// When it was begun, Unix milliseconds.
    pub(super) begun_ms: i64,
    pub(super) path: PathBuf,
}

/// The partitions in this folder, oldest first.
pub(super) fn find(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some((number, begun_ms)) = parse_name(&path) {
            found.push(Found { number, begun_ms, path });
        }
    }
    found.sort();
    Ok(found)
}

/// Where the raw partition of this number goes.
pub(super) fn raw_path(dir: &Path, number: u64, begun_ms: i64) -> PathBuf {
    dir.join(format!("{number:08}-{begun_ms}.{RAW}"))
}

fn parse_name(path: &Path) -> Option<(u64, i64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(RAW)?.strip_suffix('.')?;
    let (number, begun_ms) = name.split_once('-')?;
    Some((number.parse().ok()?, begun_ms.parse().ok()?))
}

/// Moves a damaged partition where nothing reads it, but a person may.
pub(super) fn set_aside(dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let aside = dir.join(ASIDE);
    fs::create_dir_all(&aside)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let free = (1..).map(|n| aside.join(if n == 1 { name.clone() } else { format!("{name}.{n}") }));
    let to = free.into_iter().find(|path| !path.exists()).unwrap_or_else(|| aside.join(&name));
    fs::rename(path, &to)?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let path = raw_path(Path::new("/x"), 12, 1_700_000_000_000);
        assert_eq!(parse_name(&path), Some((12, 1_700_000_000_000)));
        for other in ["agents.json", "damaged", "12.raw", "a-b.raw", "12-3.rawx"] {
            assert_eq!(parse_name(Path::new(other)), None, "{other}");
        }
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
