//! What was measured and not acknowledged: it waits here until an aggregator has it.
//!
//! A spool is in memory, and with a folder on the disk too, where it outlives the process. Both hold
//! the same segments (`segment`) of checked records (`record`, `entry`); `store` decides what waits,
//! what gives way and what the disk lacks, `keeper` is the thread that carries it there, `disk` and
//! `files` are how. Who puts something in, or asks for it, never waits for a disk.

mod bytes;
mod disk;
mod entry;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keeper;
mod notes;
mod record;
mod segment;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lifecycle::data_dir::{DataDir, Refused};
use tokio::sync::Notify;

use crate::clock::Moment;
use crate::measurement::Measurement;
use disk::Newcomer;
use files::{Files, Folder};
use notes::Progress;
use store::Store;

pub(crate) use entry::present;
pub use entry::{Kept, Stored};
pub use status::{Lost, Status};
pub use store::Next;

/// How large a spool may get, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Most bytes in memory.
    pub memory: usize,
    /// Most bytes on the disk.
    pub disk: usize,
    /// The folder; `None`: in memory only.
    pub dir: Option<PathBuf>,
}

/// Why a folder cannot be a spool.
#[derive(Debug, thiserror::Error)]
#[error("FLEETGAUGE_SPOOL_DIR={}: {why}", dir.display())]
pub struct SpoolError {
    dir: PathBuf,
    why: Refused,
}

/// What waits. It is shared by all who put something in or take it out.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    incarnation: u64,
    base: u64,
    /// Nobody else may use the folder.
    _dir: Option<DataDir>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// For the keeper: there is something to do.
    work: Condvar,
    /// For who wants to send: there is something that was not there.
    changed: Notify,
    /// For who waits for the end: the keeper is gone.
    ended: Notify,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    is_stopped: bool,
    has_keeper: bool,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// A spool as it is set up. `id` is a new id for one that has none, `host` what tells this host
    /// from others, `boot` this boot of it.
    ///
    /// # Errors
    /// When there is a folder and it cannot be used; never because of what is in it.
    pub fn open(settings: &SpoolSettings, id: &str, host: &str, boot: u64) -> Result<Self, SpoolError> {
        let Some(dir) = &settings.dir else { return Ok(Self::in_memory(settings.memory, id, boot)) };
        let refused = |why| SpoolError { dir: dir.clone(), why };
        files::make(dir).map_err(|error| refused(error.into()))?;
        let lock = DataDir::take(dir).map_err(refused)?;
        let newcomer = Newcomer { id: id.to_owned(), host: crc32fast::hash(host.as_bytes()), boot };
        let folder = Box::new(Folder(dir.clone()));
        let mut spool = Self::on(folder, settings, newcomer).map_err(|error| refused(error.into()))?;
        spool._dir = Some(lock);
        Ok(spool)
    }

    /// A spool that ends with the process. Its numbers begin at 1, because its id is new.
    #[must_use]
    pub fn in_memory(bytes: usize, id: &str, boot: u64) -> Self {
        let mut store = Store::new(store::Limits { memory: bytes, disk: None }, boot, Progress::default());
        store.begin(id, 0);
        let incarnation = u64::try_from(lifecycle::clock::unix_ms()).unwrap_or(0);
        Self::new(store, incarnation, 0)
    }

    /// A spool whose files are kept there.
    fn on(files: Box<dyn Files>, settings: &SpoolSettings, newcomer: Newcomer) -> std::io::Result<Self> {
        let limits = store::Limits { memory: settings.memory, disk: Some(settings.disk) };
        let opened = disk::open(&*files, limits, newcomer)?;
        if let Some(error) = opened.unwritten {
            tracing::warn!(%error, "cannot write the spool's identity, this process has one of its own");
        }
        let spool = Self::new(opened.store, opened.identity.incarnation, opened.base);
        spool.shared.inner().has_keeper = true;
        keeper::start(files, Arc::clone(&spool.shared))?;
        Ok(spool)
    }

    fn new(store: Store, incarnation: u64, base: u64) -> Self {
        let inner = Mutex::new(Inner { store, is_stopped: false, has_keeper: false });
        let (work, changed, ended) = (Condvar::new(), Notify::new(), Notify::new());
        let shared = Arc::new(Shared { inner, work, changed, ended });
        Self { shared, incarnation, base, _dir: None }
    }

    /// Its id, the session of the link.
    #[must_use]
    pub fn session(&self) -> String {
        self.shared.inner().store.progress.session.clone()
    }

    /// Goes on under another id: under the present one somebody used the numbers of this process, as
    /// when a host was restored from an older copy of itself. What waits still does.
    pub fn renew(&self, id: &str) {
        self.change(|store| store.renew(id));
    }

    /// Which process of those that used it this is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The numbers of this process, on both streams, begin above this one.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Does what waits outlive the process?
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.shared.inner().has_keeper
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut inner = self.shared.inner();
        let changed = change(&mut inner.store);
        let is_work = inner.has_keeper && (inner.store.is_work() || inner.store.is_wanted());
        drop(inner);
        if is_work {
            self.shared.work.notify_one();
        }
        changed
    }

    /// Keeps a measurement; gives its number on the late stream, unless there can be no room for it:
    /// then it is counted as lost.
    pub fn put(&self, measurement: &Measurement) -> Option<u64> {
        let seq = self.change(|store| store.put(measurement));
        self.shared.changed.notify_one();
        seq
    }

    /// Does one above a number wait?
    #[must_use]
    pub fn is_more(&self, after: u64) -> bool {
        self.shared.inner().store.find(after).is_some()
    }

    /// The first push above a number. Cheapest when they are asked for one after the other.
    #[must_use]
    pub fn next(&self, after: u64) -> Next {
        self.change(|store| store.next(after))
    }

    /// Completes when something was put in, or read from the disk, since the last time.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// All pushes up to this one are done with.
    pub fn acked(&self, seq: u64) {
        self.change(|store| store.acked(seq));
    }

    /// The aggregator turned out to have this push already.
    pub fn safe(&self, seq: u64) {
        self.change(|store| store.safe(seq));
    }

    /// Gives one push up.
    pub fn give_up(&self, seq: u64, why: Lost) {
        self.change(|store| store.give_up(seq, why));
    }

    /// Counts samples of a push of which the rest is sent.
    pub fn lose(&self, why: Lost, samples: u64) {
        self.change(|store| store.lose(why, samples));
    }

    /// The highest number that was given to a push.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.shared.inner().store.last()
    }

    /// When something was measured, by the wall clock as it is now.
    #[must_use]
    pub fn measured_ms(&self, push: &Stored, now: Moment) -> i64 {
        self.shared.inner().store.measured_ms(push.boot, push.taken, now)
    }

    /// An aggregator said what time it is.
    pub fn heard(&self, aggregator_ms: i64, now: Moment) {
        self.change(|store| store.heard(aggregator_ms, now));
    }

    /// All of it in numbers.
    #[must_use]
    pub fn status(&self, now: Moment) -> Status {
        self.shared.inner().store.status(now)
    }

    /// The end: what waits is on the disk when this is over, or given up. False when that took too
    /// long, or there is no disk.
    pub async fn finish(&self, within: Duration) -> bool {
        let has_keeper = {
            let mut inner = self.shared.inner();
            inner.is_stopped = true;
            if !inner.has_keeper {
                inner.store.give_up_all(Lost::Stopped);
            }
            inner.has_keeper
        };
        if !has_keeper {
            return false;
        }
        self.shared.work.notify_one();
        tokio::time::timeout(within, self.shared.ended.notified()).await.is_ok()
    }
}

impl Drop for Spool {
    /// The keeper ends with it; what it was doing it does to the end.
    fn drop(&mut self) {
        self.shared.inner().is_stopped = true;
        self.shared.work.notify_one();
    }
}

/// At most one round of syncs in this time.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// A disk that failed is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// When the keeper may write next.
fn not_before(last: Option<Instant>, is_failing: bool) -> Option<Instant> {
    last.map(|last| last + if is_failing { AGAIN_AFTER } else { ROUND_EVERY })
}
