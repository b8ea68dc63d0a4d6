//! A partition that is written to: a small database of its own, so that damage to it costs nothing
//! of any other. It holds what was written since it was begun, raw, until it is sealed.
//!
//! Three keyspaces: `points` (id and second → value), `keys` (id → space and text), `meta` (what is
//! known of the whole). All numbers in keys are big-endian, so that their order is the database's.
//! Each commit is one batch of its journal: after a crash it is there whole or not at all.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::damage::{self, Failure};
use super::folder::{End, Folder};
use super::inventory;
use super::journal::{self, Mended};
use super::keys::{Key, Space};
use super::point::Point;

/// Memory for points that are not in a table yet, some 90,000. While they are written there is as much
/// again, up to three times. The database could count by itself, but it would ask its own thread with each
/// commit from there on; where that thread is long busy it waits in the end for room in the queue that
/// only it empties. So it is not asked: what is in memory is counted here.
const POINTS_UNWRITTEN_BYTES: u64 = 8 << 20;
/// The same for keys, and for what is known of the whole: each commit writes that anew, and all of them
/// stay in memory until one table of one entry is made of them.
const SMALL_UNWRITTEN_BYTES: u64 = 2 << 20;
/// Size of tables that are merged: a merge takes those which overlap, so small ones keep it short, and what
/// is in memory is not written meanwhile.
const TABLE_BYTES: u64 = 8 << 20;
/// What is read at once of a table. Each has an entry in an index that stays in memory: some five bytes
/// for 100 points, a quarter of what 4 KiB were measured to take.
const BLOCK_BYTES: u32 = 16 << 10;
/// Memory for blocks that were read: reading is mostly in sequence.
const CACHE_BYTES: u64 = 8 << 20;
/// From so many bytes of journals that are over, what the oldest is still needed for is written: they would
/// all be read at the next start. The database allows no less.
const JOURNALS_BYTES: u64 = 64 << 20;
/// Files that the database keeps open.
const OPEN_FILES: usize = 100;
/// From so many unwritten memtables, or unmerged tables, a commit waits for the database to catch
/// up. It would wait by itself at 4 and 30, but without noticing that it never will.
const MEMTABLES_WAITING_MAX: usize = 3;
const TABLES_WAITING_MAX: usize = 24;
const CATCH_UP: Duration = Duration::from_millis(2);

/// One point of a commit.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) key: Arc<Key>,
    pub(super) point: Point,
}

/// What is known of a partition as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stats {
    /// Points written; one that was written twice counts twice.
    pub(super) points: u64,
    /// Smallest timestamp.
    pub(super) ts_min: i64,
    /// Largest timestamp.
    pub(super) ts_max: i64,
    /// When the last point was written, Unix milliseconds.
    pub(super) written_ms: i64,
}

impl Stats {
    const NONE: Self = Self { points: 0, ts_min: i64::MAX, ts_max: i64::MIN, written_ms: 0 };

    fn with(mut self, writes: &[Write], now_ms: i64) -> Self {
        self.points += writes.len() as u64;
        for write in writes {
            self.ts_min = self.ts_min.min(write.point.ts);
            self.ts_max = self.ts_max.max(write.point.ts);
        }
        self.written_ms = self.written_ms.max(now_ms);
        self
    }

    fn to_bytes(self) -> [u8; 32] {
        let fields = [self.points.to_le_bytes(), self.ts_min.to_le_bytes(), self.ts_max.to_le_bytes()];
        let mut bytes = [0; 32];
        for (slot, field) in bytes.chunks_exact_mut(8).zip(fields.into_iter().chain([self.written_ms.to_le_bytes()])) {
            slot.copy_from_slice(&field);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d] = bytes.as_chunks::<8>().0.try_into().ok()?;
        let (points, ts_min) = (u64::from_le_bytes(a), i64::from_le_bytes(b));
        Some(Self { points, ts_min, ts_max: i64::from_le_bytes(c), written_ms: i64::from_le_bytes(d) })
    }
}

/// A partition that is written to, or waits to be sealed.
pub(super) struct Hot {
    database: Database,
    points: Keyspace,
    keys: Keyspace,
    meta: Keyspace,
    stats: Mutex<Stats>,
    /// It is marked as one in which something was stored.
    is_used: AtomicBool,
    /// Something that was stored in it was lost.
    is_damaged: bool,
    /// Dropped last, when the database has closed its files.
    folder: Folder,
}

impl std::fmt::Debug for Hot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hot({})", self.folder.dir().display())
    }
}

/// What was found when a partition was opened.
pub(super) struct Opened {
    pub(super) hot: Hot,
    /// Its journals, which were mended.
    pub(super) mended: Mended,
}

impl Hot {
    /// Opens the partition in this folder, which is made if it is missing.
    ///
    /// # Errors
    /// When the system refuses, or when it is damaged: the two differ in what is to be done.
    pub(super) fn open(dir: &Path) -> Result<Opened, Failure> {
        let mended = journal::mend(dir)?;
        let is_used = inventory::check(dir, &mended)?;
        let is_damaged = journal::is_marked(dir)?;
        let hot = damage::catch(|| Self::open_database(dir, is_used, is_damaged))?;
        Ok(Opened { hot, mended })
    }

    fn open_database(dir: &Path, is_used: bool, is_damaged: bool) -> Result<Self, Failure> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .manual_journal_persist(true)
            .max_journaling_size(JOURNALS_BYTES)
            .worker_threads(1)
            .open()?;
        // It would make them anew, empty.
        if is_used && !["points", "keys", "meta"].iter().all(|name| database.keyspace_exists(name)) {
            return Err(Failure::Damaged("a part of it is gone".to_owned()));
        }
        let options = || KeyspaceCreateOptions::default().manual_journal_persist(true).max_memtable_size(u64::MAX);
        let points = database.keyspace("points", || {
            let merges = fjall::compaction::Leveled::default().with_table_target_size(TABLE_BYTES);
            options()
                .compaction_strategy(Arc::new(merges))
                .data_block_size_policy(fjall::config::BlockSizePolicy::all(BLOCK_BYTES))
                // Points are read in ranges, which filters do not help with.
                .filter_policy(fjall::config::FilterPolicy::disabled())
        })?;
        let keys = database.keyspace("keys", options)?;
        let meta = database.keyspace("meta", options)?;
        let stats = match meta.get("stats")? {
            Some(bytes) => Stats::from_bytes(&bytes).ok_or_else(|| Failure::Damaged("its stats".to_owned()))?,
            None if is_used => return Err(Failure::Damaged("what was stored in it is gone".to_owned())),
            None => Stats::NONE,
        };
        let folder = Folder::new(dir);
        let is_used = AtomicBool::new(is_used);
        Ok(Self { database, points, keys, meta, stats: Mutex::new(stats), is_used, is_damaged, folder })
    }

    pub(super) fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the keys whose names were lost with a damaged place, while points of them were not; gives
    /// the number of those of which `name` knows nothing either.
    pub(super) fn name_again(&self, name: impl Fn(u64) -> Option<Arc<Key>>) -> Result<u64, Failure> {
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), 0);
        let mut unknown = 0;
        let mut from = Some(0);
        while let Some(id) = from {
            let Some(entry) = self.points.range(address(id, i64::MIN)..).next() else { break };
            let (key, _) = entry.into_inner()?;
            let id = key.first_chunk().copied().map(u64::from_be_bytes);
            let id = id.ok_or_else(|| Failure::Damaged("a point".to_owned()))?;
            if self.keys.get(id.to_be_bytes())?.is_none() {
                match name(id) {
                    Some(key) => batch.insert(&self.keys, id.to_be_bytes(), head(&key)),
                    None => unknown += 1,
                }
            }
            from = id.checked_add(1);
        }
        batch.commit()?;
        Ok(unknown)
    }

    /// Was something lost that was stored in it?
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Stores these, whole or not at all; with `sync` they are on the disk when it returns. No two
    /// of them are of one key and second. `number` is this partition's.
    ///
    /// # Errors
    /// When they could not be stored, or not synced: then nothing may be written to the partition any more.
    pub(super) fn commit(&self, number: u64, writes: &[Write], now_ms: i64, sync: bool) -> Result<(), Failure> {
        let stats = self.stats().with(writes, now_ms);
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), writes.len() + 1)
            .durability(Some(if sync { PersistMode::SyncData } else { PersistMode::Buffer }));
        let mut last_new = None;
        for Write { key, point } in writes {
            if key.newest_partition() != number && last_new != Some(key.id) {
                last_new = Some(key.id);
                batch.insert(&self.keys, key.id.to_be_bytes(), head(key));
            }
            batch.insert(&self.points, address(key.id, point.ts), point.value.to_bits().to_le_bytes());
        }
        batch.insert(&self.meta, "stats", stats.to_bytes());
        batch.commit()?;
        if !self.is_used.load(Ordering::Relaxed) {
            inventory::mark_used(self.folder.dir())?;
            self.is_used.store(true, Ordering::Relaxed);
        }
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        writes.iter().for_each(|write| write.key.is_in(number));
        Ok(())
    }

    /// Has what is in memory written when there is enough of it, and waits until enough of what waited is:
    /// before each commit.
    ///
    /// # Errors
    /// When that takes longer than `patience`, or the database takes nothing any more.
    pub(super) fn catch_up(&self, patience: Duration) -> Result<(), Failure> {
        let limits = [POINTS_UNWRITTEN_BYTES, SMALL_UNWRITTEN_BYTES, SMALL_UNWRITTEN_BYTES];
        for (keyspace, limit) in self.keyspaces().into_iter().zip(limits) {
            if keyspace.tree.active_memtable().size() >= limit {
                let _was_there_anything = keyspace.rotate_memtable()?;
            }
        }
        let began = Instant::now();
        while self.is_behind() {
            self.check()?;
            if began.elapsed() > patience {
                return Err(Failure::Behind);
            }
            std::thread::sleep(CATCH_UP);
        }
        Ok(())
    }

    /// Has its database more to write than it should?
    pub(super) fn is_behind(&self) -> bool {
        self.keyspaces().iter().any(|keyspace| keyspace.sealed_memtable_count() >= MEMTABLES_WAITING_MAX)
            || self.points.l0_table_count() >= TABLES_WAITING_MAX
    }

    fn keyspaces(&self) -> [&Keyspace; 3] {
        [&self.points, &self.keys, &self.meta]
    }

    /// Appends points of a key, ascending, up to `limit`; says whether that was all.
    pub(super) fn read(
        &self,
        id: u64,
        range: RangeInclusive<i64>,
        limit: usize,
        into: &mut Vec<Point>,
    ) -> Result<bool, Failure> {
        let range = address(id, *range.start())..=address(id, *range.end());
        for (at, entry) in self.points.range(range).enumerate() {
            if at >= limit {
                return Ok(false);
            }
            let (key, value) = entry.into_inner()?;
            let point = point(&key, &value).ok_or_else(|| Failure::Damaged("a point".to_owned()))?;
            into.push(point);
        }
        Ok(true)
    }

    /// Every key that it holds, by id.
    pub(super) fn for_each_key(
        &self,
        mut each: impl FnMut(u64, Space, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for entry in self.keys.iter() {
            let (id, head) = entry.into_inner()?;
            let damaged = || Failure::Damaged("a key".to_owned());
            let id = u64::from_be_bytes((*id).try_into().map_err(|_| damaged())?);
            let (space, text) = parse_head(&head).ok_or_else(damaged)?;
            each(id, space, text)?;
        }
        Ok(())
    }

    /// Does it take points still?
    ///
    /// # Errors
    /// When one of its own threads has failed: it never writes anything again.
    pub(super) fn check(&self) -> Result<(), Failure> {
        Ok(self.database.persist(PersistMode::Buffer)?)
    }

    /// Has what is in memory written to tables, by a thread of the database.
    ///
    /// # Errors
    /// When it takes nothing any more.
    pub(super) fn write_down(&self) -> Result<(), Failure> {
        self.check()?;
        for keyspace in self.keyspaces() {
            let _was_there_anything = keyspace.rotate_memtable()?;
        }
        Ok(())
    }

    /// The same, and waits for it.
    #[cfg(test)]
    pub(super) fn flush(&self) {
        for keyspace in self.keyspaces() {
            keyspace.rotate_memtable_and_wait().expect("a disk that takes it");
        }
    }

    /// Nothing is written to tables until this is dropped.
    #[cfg(test)]
    pub(super) fn stand_still(&self) -> std::sync::MutexGuard<'_, ()> {
        self.points.tree.get_flush_lock()
    }

    /// Decides what becomes of its folder when nobody uses it any more.
    pub(super) fn ends(&self, end: End) {
        self.folder.ends(end);
    }
}

fn address(id: u64, ts: i64) -> [u8; 16] {
    let mut address = [0; 16];
    let (front, back) = address.split_at_mut(8);
    front.copy_from_slice(&id.to_be_bytes());
    // With the sign bit flipped, negative seconds come before the others.
    back.copy_from_slice(&(ts.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    address
}

fn point(address: &[u8], value: &[u8]) -> Option<Point> {
    let ts = u64::from_be_bytes(address.get(8..)?.try_into().ok()?) ^ (1 << 63);
    let value = f64::from_bits(u64::from_le_bytes(value.try_into().ok()?));
    Some(Point { ts: ts.cast_signed(), value })
}

fn head(key: &Key) -> Vec<u8> {
    let mut head = vec![match key.space {
        Space::Put => b'p',
        Space::Vital => b'v',
    }];
    head.extend_from_slice(key.text.as_bytes());
    head
}

fn parse_head(head: &[u8]) -> Option<(Space, &str)> {
    let (space, text) = head.split_first()?;
    let space = match space {
        b'p' => Space::Put,
        b'v' => Space::Vital,
        _ => return None,
    };
    Some((space, std::str::from_utf8(text).ok()?))
}
