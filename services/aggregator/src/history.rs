//! The history: a durable store of points, (key, Unix second) → value, where the last write wins.
//!
//! Its promise:
//! - [`History::commit`] says `Ok` when the points are synced to the disk (with
//!   `FLEETGAUGE_DURABILITY=os`: handed to the operating system). After a kill or a power failure
//!   every point that was acknowledged is there, with the last acknowledged value or one that was
//!   written later.
//! - Damage to a file costs at most its partition, what was written in one stretch of time (a day
//!   at most); it is counted, named in the log, set aside where that is needed, and the aggregator
//!   starts. In a sealed partition it costs the block that is damaged.
//! - A full disk is answered with an error, and nothing has to be restarted when there is room again.
//! - A point is kept at least for `FLEETGAUGE_RETENTION` after it was last written, and after its
//!   own timestamp; a clock that jumps is believed after a day.
//! - Reading takes little memory, however long the answer: about a megabyte, and by prefix 8 bytes for
//!   each key that begins so.
//!
//! Reading order: [`point`], `keys` (which there are), `batch` (what is stored together), `hot` (a partition that is written to),
//! `inventory` and `journal` (is it what was written?),
//! `sealed` (one that is over), `partitions` (all of them), `commit` (the one writer), `keeper` (what
//! happens when nobody asks), `wall` (whether the clock is right), `rows` (reading), `fresh` (what the page
//! shows). Nothing outside of this folder touches its files.

mod batch;
mod commit;
mod damage;
mod errors;
mod folder;
mod fresh;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hot;
mod inventory;
mod journal;
mod keeper;
mod keys;
mod partitions;
pub mod point;
mod rows;
mod sealed;
mod start;
mod wall;

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

pub use self::batch::Batch;
use self::commit::{Message, Request};
pub use self::errors::{OpenError, PutError, ReadError};
pub use self::fresh::Fresh;
use self::fresh::FreshKeys;
use self::hot::Write;
use self::keeper::Keeper;
use self::keys::Keys;
pub use self::keys::{Key, NoRoom, Space};
use self::partitions::{Found, Partitions};
pub use self::point::Point;
pub use self::rows::{Rows, What};
use self::wall::Wall;
use crate::fleet::Moment;
use crate::telemetry::Telemetry;

/// Batches that may be made or wait at the same time. One holds the points of 64 KiB of lines at
/// most, some 200 KB: 50 MB together.
const BATCHES_MAX: usize = 256;
/// Requests that may wait for the writer: all batches, and the vital signs of a large fleet.
const QUEUE_MAX: usize = 16 * 1024;

/// How long points may wait to be stored before whoever put them is told that they were not. A disk
/// that is slower than this hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Vital signs of one connection that may wait for the writer.
const OF_CONNECTION_MAX: usize = 64;

/// What one connection has waiting for the writer.
#[derive(Debug, Clone, Default)]
pub struct Queued(Arc<()>);

impl Queued {
    fn is_full(&self) -> bool {
        // One is the connection's own, and one of what is about to wait.
        Arc::strong_count(&self.0) > OF_CONNECTION_MAX + 1
    }
}

/// What a history must keep to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Sync before a point is acknowledged.
    pub sync: bool,
    /// How long points are kept.
    pub retention: Duration,
    /// Most keys.
    pub keys_max: usize,
    /// How long a put key stays on the page.
    pub put_expiry: Duration,
    /// Most put keys on the page.
    pub put_series_max: usize,
    /// Room that is left on the disk.
    pub reserve_bytes: u64,
    /// What is written within this time is one partition.
    pub partition_span: Duration,
    /// A partition has no more points than about this.
    pub partition_points_max: u64,
    /// How long points wait for a database that is behind before that is shown; fifteen times as long: given up.
    pub patience: Duration,
}

/// What all parts of the history share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    rules: Rules,
    keys: Keys,
    partitions: Partitions,
    fresh: FreshKeys,
    telemetry: Arc<Telemetry>,
    /// Partitions whose keys could not be read yet.
    unread: Mutex<BTreeSet<u64>>,
    /// Wakes the keeper; `None`: it is to end.
    nudges: Mutex<Option<SyncSender<()>>>,
}

impl Shared {
    /// A partition that cannot be read is put where nothing reads it.
    fn set_aside(&self, found: &Found, why: &str) {
        self.partitions.remove(found.number);
        self.telemetry.history.damaged("partition", 1);
        match partitions::set_aside(&self.dir, &found.path) {
            Ok(aside) => {
                tracing::error!(%why, partition = found.number, aside = %aside.display(), "a partition of the history is damaged and was set aside: what was written while it was open is not shown");
            }
            Err(error) => {
                tracing::error!(%why, %error, path = %found.path.display(), "a partition of the history is damaged, and could not be set aside");
            }
        }
    }

    fn misses_keys_of(&self, partition: u64) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).insert(partition);
    }

    fn read_keys_of(&self, partition: u64) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    /// Does a partition hold keys that are not known? Then a new key might be none, and an answer
    /// might lack what is stored.
    fn check_keys(&self) -> Result<(), ReadError> {
        match self.unread.lock().unwrap_or_else(PoisonError::into_inner).first() {
            None => Ok(()),
            Some(number) => Err(ReadError(format!("its partition {number} cannot be opened"))),
        }
    }

    /// There may be something to seal.
    fn nudge(&self) {
        if let Some(nudges) = &*self.nudges.lock().unwrap_or_else(PoisonError::into_inner) {
            // A full queue is a nudge already.
            let _nudged_already = nudges.try_send(());
        }
    }

    fn is_stopping(&self) -> bool {
        self.nudges.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// A history that is open.
#[derive(Debug)]
pub struct History {
    shared: Arc<Shared>,
    messages: Mutex<Option<mpsc::Sender<Message>>>,
    batches: Arc<Semaphore>,
    /// The keeper and the writer, in the order in which they end.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Tests do its work at times of their own.
    #[cfg(test)]
    keeper: Arc<Mutex<Keeper>>,
    now: fn() -> Moment,
}

impl History {
    /// Opens the history in this folder, which is made if it is missing. Takes time: all partitions
    /// are looked at. Only one process may have it open; the caller sees to that.
    ///
    /// # Errors
    /// When the folder cannot be used, or is of a newer version. Damage is no error.
    pub fn open(
        dir: &Path,
        rules: Rules,
        telemetry: Arc<Telemetry>,
        now: fn() -> Moment,
    ) -> Result<Arc<Self>, OpenError> {
        start::check_version(dir)?;
        let (nudges, nudged) = sync_channel(1);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            keys: Keys::new(rules.keys_max),
            partitions: Partitions::default(),
            fresh: FreshKeys::new(rules.put_expiry, rules.put_series_max),
            rules,
            telemetry,
            unread: Mutex::default(),
            nudges: Mutex::new(Some(nudges)),
        });
        let committer = start::start(&shared, now)?;
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            messages: messages.downgrade(),
            now,
            wall: Wall::default(),
            tended: 0,
            failed: HashMap::new(),
        };
        let keeper = Arc::new(Mutex::new(keeper));
        let of_thread = Arc::clone(&keeper);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = vec![
            thread("history-keeper").spawn(move || keeper::run(&of_thread, &nudged))?,
            thread("history").spawn(move || committer.run(queue))?,
        ];
        if !shared.rules.sync {
            tracing::warn!(
                "FLEETGAUGE_DURABILITY=os: points are acknowledged before they are on the disk, a power failure loses what the system has not written"
            );
        }
        shared.telemetry.history.opened(shared.rules.sync);
        Ok(Arc::new(Self {
            shared,
            messages: Mutex::new(Some(messages)),
            batches: Arc::new(Semaphore::new(BATCHES_MAX)),
            threads: Mutex::new(threads),
            #[cfg(test)]
            keeper,
            now,
        }))
    }

    /// A batch to be filled. Waits while too many are made or stored already; after a while it gives
    /// one that takes nothing.
    pub async fn batch(&self) -> Batch<'_> {
        let permit = timeout(ANSWER_WITHIN, Arc::clone(&self.batches).acquire_owned()).await;
        Batch::new(self, permit.ok().and_then(Result::ok))
    }

    /// Stores a batch, in order and whole; `Ok` keeps the promise of this module.
    ///
    /// # Errors
    /// When nothing of it was stored; or when the disk does not answer, and it may still be.
    pub async fn commit(&self, batch: Batch<'_>) -> Result<(), PutError> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let messages = self.messages().ok_or(PutError::Closed)?;
        let request = Message::Put(Request { writes: batch.writes, done, of: Queued::default(), permit: batch.permit });
        let stored = async {
            messages.send(request).await.map_err(|_| PutError::Closed)?;
            drop(messages);
            answer.await.unwrap_or(Err(PutError::Closed))
        };
        let no_answer = |_| Err(PutError::Unavailable(format!("the disk has not answered for {ANSWER_WITHIN:?}")));
        timeout(ANSWER_WITHIN, stored).await.unwrap_or_else(no_answer)
    }

    /// Stores vital signs, without waiting: the receiver says when they are stored. Where all that can
    /// wait does, or too much of one connection, it is tried again for a while if they `may_wait`:
    /// whoever lets them is to have few that do.
    ///
    /// # Errors
    /// When they cannot even wait to be stored; that is counted.
    pub fn record<'a>(
        &self,
        points: impl IntoIterator<Item = (&'a str, Point)>,
        of: &Queued,
        may_wait: bool,
    ) -> Result<oneshot::Receiver<Result<(), PutError>>, PutError> {
        let mut writes = Vec::new();
        let mut refused = (0, PutError::Busy);
        for (key, point) in points {
            match self.write(Space::Vital, key, point) {
                Ok(write) => writes.push(write),
                Err(error) => refused = (refused.0 + 1, error),
            }
        }
        self.shared.telemetry.history.refused(refused.1.reason(), refused.0);
        if writes.is_empty() {
            return Err(refused.1);
        }
        let (done, answer) = oneshot::channel();
        let count = writes.len() as u64;
        let request = Request { writes, done, of: of.clone(), permit: None };
        let sent = match self.messages() {
            Some(messages) => {
                let left = if of.is_full() { Err(request) } else { try_put(&messages, request) };
                match left {
                    Ok(()) => Ok(()),
                    Err(_) if messages.is_closed() => Err(PutError::Closed),
                    Err(request) if may_wait => {
                        tokio::spawn(put_when_room(messages, request, Arc::clone(&self.shared.telemetry)));
                        Ok(())
                    }
                    Err(_) => Err(PutError::Busy),
                }
            }
            None => Err(PutError::Closed),
        };
        sent.inspect_err(|error| self.shared.telemetry.history.refused(error.reason(), count))?;
        Ok(answer)
    }

    /// Reads points.
    #[must_use]
    pub fn rows(self: &Arc<Self>, what: What, range: RangeInclusive<i64>) -> Rows {
        Rows::new(Arc::clone(self), what, range)
    }

    /// Keys of which something is stored and that begin so, by name.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<Arc<Key>> {
        self.shared.keys.with_prefix(prefix)
    }

    /// What was put a short while ago, by key, and how many such keys are not shown.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> (Vec<Fresh>, usize) {
        self.shared.fresh.now(now)
    }

    /// Frees what is over, and looks how many keys there are.
    pub fn keep_house(&self, now: Instant) {
        self.shared.fresh.expire(now);
        self.shared.telemetry.history.set_keys(self.shared.keys.count(), self.shared.keys.max());
    }

    /// Stores what waits, and closes. Blocks until that is done.
    pub fn close(&self) {
        drop(self.shared.nudges.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.messages.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the history failed");
            }
        }
    }

    fn messages(&self) -> Option<mpsc::Sender<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, space: Space, key: &str, point: Point) -> Result<Write, PutError> {
        if let Some(key) = self.shared.keys.find(space, key) {
            return Ok(Write { key, point });
        }
        self.shared.check_keys().map_err(|error| PutError::Unavailable(error.0))?;
        let now_us = || (self.now)().wall_ms.max(1).cast_unsigned().saturating_mul(1000);
        Ok(Write { key: self.shared.keys.find_or_add(space, key, now_us)?, point })
    }
}

/// Gives back what cannot wait there.
fn try_put(messages: &mpsc::Sender<Message>, request: Request) -> Result<(), Request> {
    match messages.try_reserve() {
        Ok(permit) => {
            permit.send(Message::Put(request));
            Ok(())
        }
        Err(_) => Err(request),
    }
}

/// Waits for its turn as long as whoever asked does, but not for ever.
async fn put_when_room(messages: mpsc::Sender<Message>, mut request: Request, telemetry: Arc<Telemetry>) {
    let permit = tokio::select! {
        () = request.done.closed() => return,
        permit = timeout(ANSWER_WITHIN, messages.reserve()) => permit,
    };
    let error = match permit {
        Ok(Ok(permit)) => return permit.send(Message::Put(request)),
        Ok(Err(_)) => PutError::Closed,
        Err(_) => PutError::Busy,
    };
    telemetry.history.refused(error.reason(), request.writes.len() as u64);
    // Who asked may be gone.
    let _nobody_waits = request.done.send(Err(error));
}

#[cfg(test)]
pub(crate) mod tests;
