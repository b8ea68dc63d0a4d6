//! When what is read: every interval, on a clock of its own that never drifts.
//!
//! A collector that does not come back in time is left to the thread that it hangs on; its set
//! is sent as failed until it comes back, and all others are read as if nothing were.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::crew::Crew;
use super::error::CollectError;
use super::files::Roots;
use super::news::News;
use super::{Collector, Planned};
use crate::clock::Moment;
use crate::mailbox::Mailbox;
use crate::measurement::Measurement;
use crate::spool::Status;
use crate::telemetry::{CollectorMetrics, Spooled, Telemetry};

/// Most collectors that may hang at one time before the others wait for them too.
const THREADS_MAX: usize = 16;
/// No push waits longer than this for a collector.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// No reading takes longer than this, or than an interval, and is still shown.
const READING_MAX: Duration = Duration::from_secs(60);
/// A collector with a long interval that could read nothing is asked again after this.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Most different things that the log is told of one collector: the kinds of errors and of series
/// that are not sent are fewer.
const TOLD_MAX: usize = 20;

/// What the collecting thread is told from outside.
#[derive(Debug, Default)]
pub struct Pace {
    told: Mutex<Told>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    is_stopped: bool,
    is_asked: bool,
}

impl Pace {
    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// Ends the thread at its next pause.
    pub fn stop(&self) {
        self.tell(|told| told.is_stopped = true);
    }

    /// Asks for a measurement now: a new connection should not wait for the next interval. The
    /// measurements after it come when they would have come anyway.
    pub fn ask(&self) {
        self.tell(|told| told.is_asked = true);
    }

    /// Sleeps until then, or until asked; true when the thread should end.
    fn sleep_until(&self, then: Instant) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let left = then.saturating_duration_since(Instant::now());
        let waits = |told: &mut Told| !told.is_stopped && !told.is_asked;
        let (mut told, _) = self.wake.wait_timeout_while(told, left, waits).unwrap_or_else(PoisonError::into_inner);
        told.is_asked = false;
        told.is_stopped
    }
}

/// A collector with its batch, wherever they are.
struct Unit {
    place: usize,
    collector: Box<dyn Collector>,
    batch: Batch,
}

/// What a thread gives back.
struct Done {
    unit: Unit,
    result: Result<(), CollectError>,
    took: Duration,
}

/// A collector as the scheduler sees it.
struct Station {
    name: &'static str,
    metrics: CollectorMetrics,
    every: Option<Duration>,
    /// When it was last sent out.
    left: Instant,
    /// `None` while it is being read.
    home: Option<Unit>,
    /// When it is to be read next.
    due: Instant,
    /// For which push it was last sent out.
    sent_for: u64,
    /// At which push it last came back later than for the one that it was sent out for.
    back_for: u64,
    version: u64,
    failed: Option<Arc<str>>,
    /// What the log was told of it.
    told: News<&'static str>,
}

impl Station {
    /// How long a reading may take. A sensor that takes its time is no fault, as long as it answers
    /// before it would be read anew; but what is read once an hour does not hang unsaid for one.
    fn reading_max(&self, interval: Duration) -> Duration {
        self.every.unwrap_or(interval).min(READING_MAX.max(interval))
    }

    /// Has it been out for longer than it may?
    fn is_overdue(&self, now: Instant, interval: Duration) -> bool {
        now.saturating_duration_since(self.left) > self.reading_max(interval)
    }
}

/// Reads all collectors, again and again.
pub struct Scheduler {
    stations: Vec<Station>,
    crew: Crew<(Unit, Arc<Roots>), Done>,
    roots: Arc<Roots>,
    interval: Duration,
    patience: Duration,
    telemetry: Arc<Telemetry>,
    /// The set with the agent's own metrics.
    own: Batch,
    /// The spool as it was before this measurement.
    spooled: Option<Status>,
    seq: u64,
    /// Numbers of pushes begin above this one.
    base: u64,
    overdue: Arc<str>,
}

impl Scheduler {
    /// A scheduler of these collectors.
    #[must_use]
    pub fn new(collectors: Vec<Planned>, roots: Roots, interval: Duration, telemetry: Arc<Telemetry>) -> Self {
        let now = Instant::now();
        let station = |(place, planned): (usize, Planned)| {
            let Planned { collector, every } = planned;
            Station {
                name: collector.name(),
                metrics: telemetry.collector(collector.name(), collector.is_node()),
                every,
                left: now,
                home: Some(Unit { place, collector, batch: Batch::new() }),
                due: now,
                sent_for: 0,
                back_for: 0,
                version: 0,
                failed: None,
                told: News::new(every.unwrap_or(interval), TOLD_MAX),
            }
        };
        Self {
            stations: collectors.into_iter().enumerate().map(station).collect(),
            crew: Crew::new("collect", THREADS_MAX, read),
            roots: Arc::new(roots),
            interval,
            // The rest of the interval is for sending, so that a slow collector delays no tick.
            patience: (interval * 3 / 4).min(PATIENCE_MAX),
            telemetry,
            own: Batch::new(),
            spooled: None,
            seq: 0,
            base: 0,
            overdue: Arc::from("it did not come back in time"),
        }
    }

    /// The same, with numbers above this one.
    #[must_use]
    pub fn above(self, base: u64) -> Self {
        Self { base, ..self }
    }

    /// Measures at once, then every interval, until told to stop.
    pub fn run(mut self, now: fn() -> Moment, mailbox: &Mailbox, pace: &Pace) {
        let start = Instant::now();
        let mut next = start;
        while !pace.sleep_until(next) {
            let mut measurement = mailbox.spare();
            self.spooled = Some(mailbox.spool().status(now()));
            self.measure(now(), &mut measurement);
            if mailbox.put(measurement) {
                self.telemetry.spooled(Spooled::NotSent);
            }
            next = next_tick(start, self.interval, Instant::now());
        }
    }

    /// Reads what is due and writes down what everything has to say.
    pub fn measure(&mut self, taken: Moment, into: &mut Measurement) {
        self.seq += 1;
        into.begin(self.base + self.seq, taken);
        while let Some(done) = self.crew.next_ready() {
            self.take_home(done);
        }
        let mut waiting = self.send_out();
        let deadline = Instant::now() + self.patience;
        while waiting > 0 {
            let Some(done) = self.crew.next_before(deadline) else { break };
            waiting -= usize::from(self.take_home(done));
        }
        for station in &self.stations {
            match (&station.home, &station.failed) {
                // What it said last stays a little longer.
                (None, _) if !station.is_overdue(deadline, self.interval) => {}
                (None, _) => into.add_failed(station.name, self.seq, &self.overdue),
                (Some(_), Some(reason)) => into.add_failed(station.name, station.version, reason),
                (Some(unit), None) => {
                    into.add(station.name, station.version, unit.batch.layout(), unit.batch.values());
                }
            }
        }
        let is_overdue = |station: &&mut Station| station.home.is_none() && station.is_overdue(deadline, self.interval);
        for station in self.stations.iter_mut().filter(is_overdue) {
            station.metrics.overdue();
            if station.told.is_news("overdue", deadline) {
                tracing::warn!(collector = station.name, "does not come back in time, its series are not shown");
            }
        }
        self.own.begin();
        self.telemetry.report(&mut self.own);
        self.stations.iter().for_each(|station| station.metrics.report(&mut self.own));
        self.spooled.iter().for_each(|status| status.report(&mut self.own));
        self.own.finish(true);
        into.add("agent", self.seq, self.own.layout(), self.own.values());
    }

    /// Gives the due collectors to the crew, and says how many.
    fn send_out(&mut self) -> usize {
        let now = Instant::now();
        let mut jobs = Vec::with_capacity(self.stations.len());
        for station in &mut self.stations {
            // What came back late is shown before it goes out again.
            if station.due > now || station.back_for == self.seq {
                continue;
            }
            if let Some(unit) = station.home.take() {
                // Half an interval early, so that it is due at a tick and not beside one. An hour's
                // worth of missed readings is not made up for.
                station.due =
                    station.every.map_or(now, |every| now + whole_ticks(every, self.interval) - self.interval / 2);
                station.left = now;
                station.sent_for = self.seq;
                jobs.push((unit, Arc::clone(&self.roots)));
            }
        }
        let sent = jobs.len();
        self.crew.submit(jobs);
        sent
    }

    /// A collector is back. Says whether it is one that was sent out for this push.
    fn take_home(&mut self, done: Done) -> bool {
        let Done { unit, result, took } = done;
        let Some(station) = self.stations.get_mut(unit.place) else { return false };
        let now = Instant::now();
        let in_time = took <= station.reading_max(self.interval);
        if station.sent_for != self.seq {
            station.back_for = self.seq;
        }
        station.metrics.collected(result.is_ok() && in_time, took);
        for (why, count) in unit.batch.layout().dropped().filter(|(_, count)| *count > 0) {
            self.telemetry.series_dropped(station.name, why.as_str(), count);
            if let Some(reason) = unit.batch.layout().complaint()
                && station.told.is_news(why.as_str(), now)
            {
                tracing::warn!(collector = station.name, count, reason, "series are not sent");
            }
        }
        if let Err(error) = &result
            && station.told.is_news(error.kind(), now)
        {
            tracing::warn!(collector = station.name, reason = %error, "cannot read everything");
        }
        station.version = self.seq;
        station.failed = match result {
            Err(error) if unit.batch.is_blank() => Some(Arc::from(error.to_string())),
            _ if in_time => None,
            // What it says is of another time; it is read again as soon as possible.
            _ => Some(Arc::clone(&self.overdue)),
        };
        if !in_time {
            station.due = now;
        } else if station.failed.is_some() {
            station.due = station.due.min(now + RETRY_AFTER);
        }
        station.home = Some(unit);
        station.sent_for == self.seq
    }
}

/// What the crew does: one reading, whatever happens in it.
fn read((mut unit, roots): (Unit, Arc<Roots>)) -> Done {
    let start = Instant::now();
    unit.batch.begin();
    let reading = AssertUnwindSafe(|| unit.collector.read(&roots, &mut unit.batch));
    let result = std::panic::catch_unwind(reading).unwrap_or(Err(CollectError::Panicked));
    unit.batch.finish(result.is_ok());
    Done { unit, result, took: start.elapsed() }
}

/// A collector's interval as a multiple of that of the pushes.
fn whole_ticks(every: Duration, interval: Duration) -> Duration {
    let ticks = (every.as_secs_f64() / interval.as_secs_f64().max(0.001)).round().clamp(1.0, f64::from(u32::MAX));
    interval.mul_f64(ticks)
}

/// The first multiple of the interval after now: a late tick does not shift the later ones, and
/// missed ones are not made up for.
fn next_tick(start: Instant, interval: Duration, now: Instant) -> Instant {
    let since = now.saturating_duration_since(start).as_nanos();
    let ticks = since / interval.as_nanos().max(1) + 1;
    start + interval.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
