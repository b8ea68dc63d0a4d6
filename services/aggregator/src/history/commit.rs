//! The one writer of the history: a thread that takes what waits, stores it as one batch, syncs,
//! and answers all who wait at once. While it syncs the next batch gathers, so that many writers
//! share each sync and one alone waits for no more than its own.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::batch::Received;
use super::damage::{self, Failure};
use super::folder::End;
use super::hot::{Hot, Write};
use super::keys::Key;
use super::partitions::{Found, Partition, Store};
use super::{PutError, Queued, Shared, start};
use crate::fleet::Moment;

/// Most points of one batch: what is added to the wait of the first of them is some 30 ms.
const BATCH_POINTS_MAX: usize = 32 * 1024;
/// How often the disk is asked for its free room. What is written in between is far less than the
/// reserve.
const ROOM_EVERY: Duration = Duration::from_millis(200);
/// How long points stay in memory only: a small fleet would fill it over hours. Where partitions fail it
/// is twice as long each time, since each of them keeps what could not be written down.
const WRITE_DOWN_AFTER_MIN: Duration = Duration::from_secs(120);
const WRITE_DOWN_AFTER_MAX: Duration = Duration::from_secs(3600);
/// When a partition is begun again after a failure: after this time, and twice as long each time.
const AGAIN_AFTER_MIN: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);
/// After so many times [`Rules::patience`](super::Rules::patience) a database that does not get on is given
/// up. What it has in memory stays there until it is sealed, so this must be seldom.
const PATIENCES: u32 = 15;
/// How often it is seen whether such a one can be closed.
const CLOSE_EVERY: Duration = Duration::from_secs(1);

/// Points to store, and whom to tell.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) writes: Vec<Write>,
    pub(super) done: oneshot::Sender<Result<(), PutError>>,
    /// Of which connection it is, until it is answered.
    #[expect(dead_code, reason = "it counts by being there")]
    pub(super) of: Queued,
    /// Of the batch that it was, until it is answered.
    #[expect(dead_code, reason = "it counts by being there")]
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Message {
    /// Store these.
    Put(Request),
    /// Begin a partition if it is time, though nothing comes.
    Tick,
    /// Forget keys of which nothing is left.
    Forget,
}

/// The partition that is written to.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) found: Found,
    pub(super) hot: Arc<Hot>,
}

/// The writer.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// `None`: none was begun yet, or the last one takes no more.
    current: Option<Current>,
    /// Number of the next partition; none has two.
    next: u64,
    now: fn() -> Moment,
    room_asked: Option<Instant>,
    written_down: WrittenDown,
    failed: Option<Failed>,
    /// The database that was given up last because it did not get on, as long as it is open.
    stuck: Weak<Hot>,
    /// It took points when it was last looked.
    is_up: bool,
}

/// When the partition that is written to was last written down.
#[derive(Debug, Clone, Copy)]
struct WrittenDown {
    at: Instant,
    /// Its number.
    partition: u64,
    /// When that is due again.
    after: Duration,
}

/// Something failed: not before that time is a partition begun again.
#[derive(Debug, Clone, Copy)]
struct Failed {
    again_at: Instant,
    after: Duration,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, current: Option<Current>, next: u64, now: fn() -> Moment) -> Self {
        let written_down = WrittenDown { at: now().instant, partition: 0, after: WRITE_DOWN_AFTER_MIN };
        Self {
            shared,
            current,
            next,
            now,
            room_asked: None,
            written_down,
            failed: None,
            stuck: Weak::new(),
            is_up: true,
        }
    }

    /// Works until nobody can ask any more, and everything asked for is answered.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        while let Some(message) = messages.blocking_recv() {
            let mut next = Some(message);
            let mut points = 0;
            while let Some(message) = next.take() {
                match message {
                    Message::Put(request) => {
                        points += request.writes.len();
                        batch.push(request);
                    }
                    Message::Tick => self.look(),
                    Message::Forget => self.forget(),
                }
                if points < BATCH_POINTS_MAX {
                    next = messages.try_recv().ok();
                }
            }
            if batch.is_empty() {
                continue;
            }
            let outcome = self.commit(&mut batch);
            for request in batch.drain(..) {
                // Who asked may be gone; what was asked is done.
                let _nobody_waits = request.done.send(outcome.clone());
            }
        }
    }

    /// Begins a partition if it is time, and sees whether points can be taken.
    fn look(&mut self) {
        let now = (self.now)();
        let outcome =
            self.room(now.instant).and_then(|()| self.begin_when_due(now)).and_then(|()| self.tend(now.instant));
        self.note(&outcome);
    }

    /// Shows whether points can be taken, and logs it when that changes.
    fn note(&mut self, outcome: &Result<(), PutError>) {
        match outcome {
            Ok(()) if !self.is_up => tracing::info!("the history takes points again"),
            Err(error) if self.is_up => tracing::error!(%error, "the history takes no points"),
            _ => {}
        }
        self.is_up = outcome.is_ok();
        self.shared.telemetry.history.is_up.set(i64::from(self.is_up));
    }

    /// Sees whether the partition that is written to still takes points, and writes it down when that is
    /// due. What a database cannot write it never forgives, so it is asked only while there is room.
    fn tend(&mut self, now: Instant) -> Result<(), PutError> {
        let Some(Current { found, hot }) = &self.current else { return Ok(()) };
        let WrittenDown { at, partition, after } = self.written_down;
        let is_due = now.saturating_duration_since(at) >= after;
        if is_due {
            // One that is still written to has survived it.
            let after = if partition == found.number { WRITE_DOWN_AFTER_MIN } else { after };
            self.written_down = WrittenDown { at: now, partition: found.number, after };
        }
        damage::catch(|| if is_due { hot.write_down() } else { hot.check() })
            .map_err(|failure| self.give_up(&failure, now))
    }

    /// It is here that keys are forgotten, because nothing else makes partitions hold them.
    fn forget(&self) {
        // What was on the page until a moment ago is in nobody's hand.
        self.shared.fresh.expire((self.now)().instant);
        let list = self.shared.partitions.now();
        let whole = |number| list.iter().any(|partition| partition.number() == number && !partition.is_thinned);
        let holder = |key: &Key| {
            let mut older = list.iter().rev().filter(|partition| partition.number() <= key.newest_partition());
            older.find(|partition| partition.holds(key.id)).map(|partition| partition.number())
        };
        let forgotten = self.shared.keys.forget(whole, holder);
        if forgotten > 0 {
            tracing::info!(keys = forgotten, "keys of which nothing is left are forgotten");
        }
    }

    /// Stores a batch.
    fn commit(&mut self, batch: &mut [Request]) -> Result<(), PutError> {
        let mut writes: Vec<Write> = batch.iter_mut().flat_map(|request| request.writes.drain(..)).collect();
        // Stable: of two writes of one key and second the last one stays.
        writes.sort_by_key(|write| (write.key.id, write.point.ts));
        let received = Received::of(&writes);
        writes.reverse();
        writes.dedup_by_key(|write| (write.key.id, write.point.ts));
        writes.reverse();
        let began = (self.now)();
        let outcome = self.room(began.instant).and_then(|()| self.store(&writes, began));
        let telemetry = &self.shared.telemetry.history;
        match &outcome {
            Ok(()) => {
                telemetry.stored(received.puts, received.vitals, (self.now)().instant - began.instant);
                self.shared.fresh.take(&writes, began);
            }
            Err(error) => {
                telemetry.refused(error.reason(), received.puts + received.vitals);
                // What was not stored must not take the room of what could be.
                let new = writes.iter().filter(|write| write.key.newest_partition() == 0);
                let new: Vec<u64> = new.map(|write| write.key.id).collect();
                drop(writes);
                self.shared.keys.forget_unstored(&new);
            }
        }
        self.note(&outcome);
        outcome
    }

    /// Is there room on the disk? What the database cannot write it never forgives, so it is not
    /// brought to that.
    fn room(&mut self, now: Instant) -> Result<(), PutError> {
        let is_known = self.room_asked.is_some_and(|asked| now.saturating_duration_since(asked) < ROOM_EVERY);
        if is_known {
            return Ok(());
        }
        self.check_presence(now);
        let rules = &self.shared.rules;
        match lifecycle::disk::free_bytes(&self.shared.dir) {
            Ok(Some(free)) => {
                self.shared.telemetry.history.free.set(i64::try_from(free).unwrap_or(i64::MAX));
                if free < rules.reserve_bytes {
                    return Err(PutError::Full { free, reserve: rules.reserve_bytes });
                }
            }
            Ok(None) => {}
            Err(error) => return Err(PutError::Unavailable(error.to_string())),
        }
        self.room_asked = Some(now);
        Ok(())
    }

    /// What is written to a folder that somebody has removed is nowhere.
    fn check_presence(&mut self, now: Instant) {
        let Some(current) = &self.current else { return };
        // An error says nothing about what is there.
        if matches!(current.found.path.try_exists(), Ok(false)) {
            tracing::error!(path = %current.found.path.display(), "the partition that is written to was removed: its points are lost");
            self.shared.telemetry.history.damaged("partition", 1);
            self.shared.partitions.remove(current.found.number);
            self.current = None;
            self.fail(now);
        }
    }

    fn store(&mut self, writes: &[Write], now: Moment) -> Result<(), PutError> {
        self.begin_when_due(now)?;
        let sync = self.shared.rules.sync;
        let Some(Current { found, hot }) = &self.current else { return Err(not_begun()) };
        let (number, hot) = (found.number, Arc::clone(hot));
        let caught_up = self.catch_up(&hot);
        match caught_up.and_then(|()| damage::catch(|| hot.commit(number, writes, now.wall_ms, sync))) {
            Ok(()) => {
                // Else a new partition could not be begun, and this one goes on meanwhile.
                if !self.is_due(now) {
                    self.failed = None;
                }
                if sync {
                    self.shared.telemetry.history.syncs.inc();
                }
                Ok(())
            }
            Err(failure) => {
                let error = self.give_up(&failure, (self.now)().instant);
                if matches!(failure, Failure::Behind) {
                    self.stuck = Arc::downgrade(&hot);
                    close_when_unused(hot);
                }
                Err(error)
            }
        }
    }

    /// Waits until a database has written enough of what it has in memory. Whoever waits for that has a
    /// limit of its own; that it is so is shown and logged.
    fn catch_up(&mut self, hot: &Hot) -> Result<(), Failure> {
        let patience = self.shared.rules.patience;
        for waited in 1_u32.. {
            match damage::catch(|| hot.catch_up(patience)) {
                // One that stands still for good cannot be closed; a second one is not given up.
                Err(Failure::Behind) if waited < PATIENCES || self.stuck.strong_count() > 0 => {
                    self.note(&Err(PutError::from(&Failure::Behind)));
                }
                outcome => return outcome,
            }
        }
        Err(Failure::Behind)
    }

    /// What a failed write or sync left behind is never written to again: it can be read, and is sealed in
    /// time. What was acknowledged before is safe in it.
    fn give_up(&mut self, failure: &Failure, now: Instant) -> PutError {
        self.written_down.after = (self.written_down.after * 2).min(WRITE_DOWN_AFTER_MAX);
        if let Some(Current { found, hot }) = self.current.take() {
            tracing::error!(%failure, partition = found.number, "a partition takes no points any more");
            if hot.stats().points == 0 {
                self.shared.partitions.remove(found.number);
                hot.ends(End::Goes);
            }
        }
        self.fail(now);
        PutError::from(failure)
    }

    fn fail(&mut self, now: Instant) {
        let after = self.failed.map_or(AGAIN_AFTER_MIN, |failed| (failed.after * 2).min(AGAIN_AFTER_MAX));
        self.failed = Some(Failed { again_at: now + after, after });
        // The next try asks the disk anew.
        self.room_asked = None;
    }

    /// Begins a partition when there is none, or when the one that is written to is full or its
    /// time is over; where that fails, the latter goes on.
    fn begin_when_due(&mut self, now: Moment) -> Result<(), PutError> {
        if !self.is_due(now) {
            return Ok(());
        }
        let is_too_soon = self.failed.is_some_and(|failed| now.instant < failed.again_at);
        let begun = if is_too_soon { Err(not_begun()) } else { self.begin(now) };
        if self.current.is_some() { Ok(()) } else { begun }
    }

    fn is_due(&self, now: Moment) -> bool {
        let Some(Current { found, hot }) = &self.current else { return true };
        let rules = &self.shared.rules;
        let span_ms = u64::try_from(rules.partition_span.as_millis()).unwrap_or(u64::MAX);
        // Also when the clock was set back by as much: what was begun years ahead would not end.
        let is_over = now.wall_ms.abs_diff(found.begun_ms) >= span_ms;
        let points = hot.stats().points;
        points >= rules.partition_points_max || (is_over && points > 0)
    }

    fn begin(&mut self, now: Moment) -> Result<(), PutError> {
        let found = Found::raw(&self.shared.dir, self.next, now.wall_ms);
        self.next += 1;
        let opened = Hot::open(&found.path).and_then(|opened| {
            // Else its folder itself might not be there after a power failure.
            start::sync_dir(&self.shared.dir)?;
            Ok(opened)
        });
        let hot = match opened {
            Ok(opened) => Arc::new(opened.hot),
            Err(failure) => {
                tracing::error!(%failure, partition = found.number, "a partition could not be begun");
                let _nothing_was_stored_in_it = std::fs::remove_dir_all(&found.path);
                self.fail(now.instant);
                return Err(PutError::from(&failure));
            }
        };
        self.shared.partitions.put(Partition::new(found.clone(), Store::Raw(Arc::clone(&hot))));
        self.current = Some(Current { found, hot });
        self.shared.nudge();
        Ok(())
    }
}

/// Closes a database once nobody reads it any more and its points are sealed. Closing waits for its own
/// thread, which may never end.
fn close_when_unused(hot: Arc<Hot>) {
    let thread = std::thread::Builder::new().name("history-close".to_owned()).spawn(move || {
        while Arc::strong_count(&hot) > 1 {
            std::thread::sleep(CLOSE_EVERY);
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread to close a database");
    }
}

fn not_begun() -> PutError {
    PutError::Unavailable("it could not be written a moment ago".to_owned())
}
