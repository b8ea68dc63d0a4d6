//! The one writer of the history: a thread that takes what waits, stores it as one batch, syncs,
//! and answers all who wait at once. While it syncs the next batch gathers, so that many writers
//! share each sync and one alone waits for no more than its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::hot::{Hot, Write};
use super::keys::{Key, Space};
use super::partitions::{Found, Partition, Store};
use super::{PutError, Shared, start};
use crate::fleet::Moment;

/// Most points of one batch: what is added to the wait of the first of them is some 30 ms.
const BATCH_POINTS_MAX: usize = 32 * 1024;
/// How often the disk is asked for its free room. What is written in between is far less than the
/// reserve.
const ROOM_EVERY: Duration = Duration::from_millis(200);
/// How often opening a partition that failed is tried again.
const OPEN_EVERY: Duration = Duration::from_secs(1);
/// How long readers may take to let go of a partition that must be opened again.
const READERS_WITHIN: Duration = Duration::from_millis(500);

/// Points to store, and whom to tell.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) writes: Vec<Write>,
    pub(super) done: oneshot::Sender<Result<(), PutError>>,
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
    /// `None`: a write failed, and it could not be opened again yet.
    pub(super) hot: Option<Arc<Hot>>,
}

/// The writer.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    /// `None`: none was begun, or none could be.
    pub(super) current: Option<Current>,
    /// Number of the next partition.
    pub(super) next: u64,
    pub(super) now: fn() -> Moment,
    pub(super) room_asked: Option<Instant>,
    pub(super) opened_at: Option<Instant>,
}

impl Committer {
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
                    Message::Tick => {
                        // An error is said, and comes again with the next points.
                        let _again_later = self.begin_when_due((self.now)());
                    }
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
            Err(error) => telemetry.refused(error.reason(), received.puts + received.vitals),
        }
        telemetry.is_up.set(i64::from(outcome.is_ok()));
        outcome
    }

    /// Is there room on the disk? What the database cannot write it never forgives, so it is not
    /// brought to that.
    fn room(&mut self, now: Instant) -> Result<(), PutError> {
        let is_known = self.room_asked.is_some_and(|asked| now.saturating_duration_since(asked) < ROOM_EVERY);
        if is_known {
            return Ok(());
        }
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

    fn store(&mut self, writes: &[Write], now: Moment) -> Result<(), PutError> {
        self.begin_when_due(now)?;
        let sync = self.shared.rules.sync;
        let hot = self.open(now)?;
        let number = self.current.as_ref().map_or(0, |current| current.found.number);
        match hot.commit(number, writes, now.wall_ms, sync) {
            Ok(()) => {
                if sync {
                    self.shared.telemetry.history.syncs.inc();
                }
                Ok(())
            }
            Err(failure) => {
                drop(hot);
                tracing::error!(%failure, partition = number, "points could not be stored");
                self.fail();
                // The next try asks the disk anew.
                self.room_asked = None;
                Err(PutError::from(&failure))
            }
        }
    }

    /// The partition that is written to is kept for reading until it is opened again.
    fn fail(&mut self) {
        if let Some(current) = &mut self.current {
            current.hot = None;
        }
    }

    /// Begins a partition when there is none, or when the one that is written to is full or its
    /// time is over.
    fn begin_when_due(&mut self, now: Moment) -> Result<(), PutError> {
        let rules = &self.shared.rules;
        let span_ms = u64::try_from(rules.partition_span.as_millis()).unwrap_or(u64::MAX);
        if let Some(current) = &self.current {
            let Some(hot) = &current.hot else { return Ok(()) };
            // Also when the clock was set back by as much: what was begun years ahead would not end.
            let is_over = now.wall_ms.abs_diff(current.found.begun_ms) >= span_ms;
            if !is_over && hot.stats().points < rules.partition_points_max {
                return Ok(());
            }
            if hot.stats().points == 0 {
                return Ok(());
            }
        }
        let number = self.next;
        let found = Found::raw(&self.shared.dir, number, now.wall_ms);
        let opened = Hot::open(&found.path).map_err(|failure| {
            tracing::error!(%failure, partition = number, "a partition could not be begun");
            PutError::from(&failure)
        })?;
        self.next += 1;
        let hot = Arc::new(opened.hot);
        self.shared.partitions.put(Partition::new(found.clone(), Store::Raw(Arc::clone(&hot))));
        self.current = Some(Current { found, hot: Some(hot) });
        self.shared.nudge();
        Ok(())
    }

    /// The partition that is written to, which is opened again after a failure.
    fn open(&mut self, now: Moment) -> Result<Arc<Hot>, PutError> {
        let unavailable = |why: &str| Err(PutError::Unavailable(why.to_owned()));
        let found = match &self.current {
            Some(Current { hot: Some(hot), .. }) => return Ok(Arc::clone(hot)),
            Some(current) => current.found.clone(),
            None => return unavailable("no partition could be begun"),
        };
        let is_too_soon = self.opened_at.is_some_and(|tried| now.instant.saturating_duration_since(tried) < OPEN_EVERY);
        if is_too_soon {
            return unavailable("a write failed before");
        }
        self.opened_at = Some(now.instant);
        if !self.let_go(found.number) {
            return unavailable("it is being read");
        }
        let Some(hot) = start::open(&self.shared, &found) else {
            if !found.path.exists() {
                self.current = None;
            }
            return unavailable("a write failed before");
        };
        tracing::info!(partition = found.number, "points can be stored again");
        self.current = Some(Current { found, hot: Some(Arc::clone(&hot)) });
        Ok(hot)
    }

    /// Takes a partition away from its readers, and waits until the last one is done: it cannot be
    /// opened twice.
    fn let_go(&self, number: u64) -> bool {
        let Some(partition) = self.shared.partitions.get(number) else { return true };
        let Store::Raw(hot) = &partition.store else { return true };
        let hot = Arc::downgrade(hot);
        self.shared.partitions.put(Partition::new(partition.found.clone(), Store::Unavailable));
        drop(partition);
        let until = Instant::now() + READERS_WITHIN;
        while hot.strong_count() > 0 {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

/// How many points were asked for.
struct Received {
    puts: u64,
    vitals: u64,
}

impl Received {
    fn of(writes: &[Write]) -> Self {
        let puts = writes.iter().filter(|write| write.key.space == Space::Put).count() as u64;
        Self { puts, vitals: writes.len() as u64 - puts }
    }
}
