//! What happens to partitions when nobody asks: those that are over are sealed, those whose time is
//! over are removed, and what there is is measured. One thread, beside the writer, never in its way.

use std::collections::HashMap;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Shared;
use super::commit::Message;
use super::damage::{self, Failure};
use super::folder::End;
use super::hot::Hot;
use super::partitions::{Found, Kind, Partition, Store};
use super::point::Point;
use super::sealed::{Segment, SeriesHead, Writer};
use super::start;
use super::wall::Wall;
use crate::fleet::Moment;

/// How often it looks.
const TEND_EVERY: Duration = Duration::from_secs(10);
/// When what failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Keys that were never stored after all are looked for so many times less often.
const FORGET_EVERY: u64 = 60;
/// Points that are read at a time while a partition is sealed.
const PIECE_POINTS: usize = 8 * 1024;

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    /// To the writer, whose end does not wait for this.
    pub(super) messages: mpsc::WeakSender<Message>,
    pub(super) now: fn() -> Moment,
    /// Whether what is over may be removed.
    pub(super) wall: Wall,
    /// How often it has.
    pub(super) tended: u64,
    /// Partitions with which something failed, and when.
    pub(super) failed: HashMap<u64, Instant>,
}

/// Tends until nobody can nudge any more.
pub(super) fn run(keeper: &Mutex<Keeper>, nudges: &Receiver<()>) {
    loop {
        let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (keeper.now)();
        keeper.tend(now);
        drop(keeper);
        if let Err(RecvTimeoutError::Disconnected) = nudges.recv_timeout(TEND_EVERY) {
            return;
        }
    }
}

impl Keeper {
    /// Does what is due.
    pub(super) fn tend(&mut self, now: Moment) {
        self.ask(Message::Tick);
        self.failed.retain(|_, at| now.instant.saturating_duration_since(*at) < AGAIN_AFTER);
        let is_clock_right = self.wall.is_trusted(now);
        let list = self.shared.partitions.now();
        // The newest is the writer's, unless it was sealed before this start, or cannot be opened.
        let is_written = list.last().is_some_and(|newest| matches!(newest.store, Store::Raw(_)));
        let others = list.len() - usize::from(is_written);
        let mut is_any_over = false;
        for partition in list.iter().take(others) {
            if self.shared.is_stopping() {
                return;
            }
            if self.failed.contains_key(&partition.number()) {
                continue;
            }
            let outcome = damage::catch(|| match &partition.store {
                Store::Raw(hot) => self.seal(partition, hot).map(|()| false),
                Store::Sealed(_) if !is_clock_right => Ok(false),
                Store::Sealed(segment) => self.expire(partition, segment, now),
                Store::Unavailable => {
                    start::open(&self.shared, &partition.found, false);
                    Ok(false)
                }
            });
            let outcome = outcome.or_else(|failure| {
                // What cannot be sealed must not stay for ever.
                if is_clock_right && self.expire_raw(partition, now) { Ok(true) } else { Err(failure) }
            });
            is_any_over |= matches!(outcome, Ok(true));
            if let Err(failure) = outcome {
                self.failed.insert(partition.number(), now.instant);
                tracing::error!(%failure, partition = partition.number(), again_after = ?AGAIN_AFTER, "a partition of the history could not be tended");
            }
        }
        self.tended += 1;
        if is_any_over || self.tended.is_multiple_of(FORGET_EVERY) {
            self.ask(Message::Forget);
        }
        self.measure();
    }

    /// Asks the writer for something that can wait until the next time.
    fn ask(&self, message: Message) {
        if let Some(messages) = self.messages.upgrade() {
            let _busy = messages.try_send(message);
        }
    }

    /// Writes a partition anew, compressed, and lets go of its raw form.
    fn seal(&self, partition: &Partition, hot: &Arc<Hot>) -> Result<(), Failure> {
        let began = (self.now)().instant;
        let sealed = partition.found.sealed(&self.shared.dir);
        let mut damaged = 0;
        if hot.is_damaged() {
            // Where ids mean other keys elsewhere nothing is guessed.
            let name = |id| self.shared.keys.by_id(id).filter(|_| partition.aliases.is_empty());
            let unknown = hot.name_again(name)?;
            self.shared.telemetry.history.damaged("block", unknown);
        }
        let written = self.write(&partition.found, |writer| {
            hot.for_each_key(|id, space, key| {
                if self.shared.is_stopping() {
                    return Err(Failure::Stopping);
                }
                writer.begin(&SeriesHead { id, space, key: key.into() })?;
                damaged += self.copy(partition, id, i64::MIN, writer)?;
                Ok(())
            })?;
            // Now, as the clock may have been wrong when it was written, and as what was lost may have
            // been written later than what is left: rather too long than too short.
            let ended_ms = partition.found.begun_ms.max((self.now)().wall_ms);
            Ok(hot.stats().written_ms.max(ended_ms))
        });
        let segment = match written {
            // The raw form is whole still.
            Err(Failure::Stopping) => return Ok(()),
            written => written?,
        };
        let summary = segment.summary();
        self.shared
            .partitions
            .put(Partition::new(sealed, Store::Sealed(segment)).with_aliases(partition.aliases.clone()));
        // Somebody may still get out of it what we could not.
        hot.ends(if damaged == 0 && !hot.is_damaged() { End::Goes } else { End::Aside(self.shared.dir.clone()) });
        tracing::info!(partition = partition.number(), points = summary.points, series = summary.series, bytes = summary.file_bytes, took = ?((self.now)().instant - began), "partition sealed");
        Ok(())
    }

    /// Removes a partition whose time is over; says whether it did. What of it has a timestamp whose
    /// time is not over stays.
    fn expire(&self, partition: &Partition, segment: &Segment, now: Moment) -> Result<bool, Failure> {
        let rules = &self.shared.rules;
        let kept_from_ms = now.wall_ms.saturating_sub(millis(rules.retention));
        let summary = segment.summary();
        if summary.closed_at_ms >= kept_from_ms {
            return Ok(false);
        }
        let kept_from = kept_from_ms.div_euclid(1000);
        if summary.max_ts < kept_from {
            self.shared.partitions.remove(partition.number());
            fs::remove_file(&partition.found.path)?;
            start::sync_dir(&self.shared.dir)?;
            self.shared.telemetry.history.expired();
            tracing::info!(partition = partition.number(), points = summary.points, "the time of a partition is over");
            return Ok(true);
        }
        // Once it has been thinned out, what is over is again removed when it is worth it.
        let span = millis(rules.partition_span) / 1000;
        if summary.min_ts >= kept_from.saturating_sub(span) {
            return Ok(false);
        }
        let mut staying = Vec::new();
        let lost = segment.newer_than(kept_from.saturating_sub(1), |id| staying.push(id));
        let mut damaged = lost.pages;
        let thinned = self.write(&partition.found, |writer| {
            for head in segment.series() {
                match head {
                    Ok(head) if staying.binary_search(&head.id).is_ok() => {
                        writer.begin(&head)?;
                        damaged += self.copy(partition, head.id, kept_from, writer)?;
                    }
                    Ok(_) => {}
                    Err(lost) => damaged += lost.pages,
                }
            }
            // What could not be read now may be readable later: nothing is thrown away for it.
            if damaged > 0 { Err(Failure::Damaged("it stays as it is".to_owned())) } else { Ok(summary.closed_at_ms) }
        })?;
        let thinned = Partition::new(partition.found.clone(), Store::Sealed(thinned)).thinned();
        self.shared.partitions.put(thinned.with_aliases(partition.aliases.clone()));
        Ok(true)
    }

    /// Removes a raw partition whose time is wholly over; says whether it did.
    fn expire_raw(&self, partition: &Partition, now: Moment) -> bool {
        let Store::Raw(hot) = &partition.store else { return false };
        let kept_from_ms = now.wall_ms.saturating_sub(millis(self.shared.rules.retention));
        let stats = hot.stats();
        if stats.written_ms >= kept_from_ms || stats.ts_max >= kept_from_ms.div_euclid(1000) {
            return false;
        }
        self.shared.partitions.remove(partition.number());
        hot.ends(End::Goes);
        self.shared.telemetry.history.expired();
        tracing::info!(partition = partition.number(), "the time of a partition that could not be sealed is over");
        true
    }

    /// Copies the points of a series, by the id that it has in the partition, from this second on.
    /// Gives the number of damaged places.
    fn copy(&self, partition: &Partition, id: u64, from: i64, writer: &mut Writer) -> Result<u64, Failure> {
        let mut points: Vec<Point> = Vec::new();
        let mut damaged = 0;
        let mut next = Some(from);
        while let Some(from) = next {
            points.clear();
            let read = partition.read_local(id, from..=i64::MAX, PIECE_POINTS, &mut points)?;
            damaged += read.damaged;
            writer.points(&points)?;
            next = read.next_from;
        }
        self.shared.telemetry.history.damaged("block", damaged);
        Ok(damaged)
    }

    /// Writes a sealed file in the place of this partition's: it is there whole or not at all. `fill`
    /// says when the last of its points was written.
    fn write(&self, found: &Found, fill: impl FnOnce(&mut Writer) -> Result<i64, Failure>) -> Result<Segment, Failure> {
        let temporary = found.sealing(&self.shared.dir);
        let path = found.sealed(&self.shared.dir).path;
        let written = Writer::create(&temporary).map_err(Failure::from).and_then(|mut writer| {
            let closed_at_ms = fill(&mut writer)?;
            writer.finish(closed_at_ms)?;
            // Before anything is renamed: can it be read?
            Ok(Segment::open(&temporary)?)
        });
        let written = written.and_then(|segment| {
            fs::rename(&temporary, &path)?;
            start::sync_dir(&self.shared.dir)?;
            Ok(segment)
        });
        if written.is_err() {
            // It may never have been made.
            let _not_there = fs::remove_file(&temporary);
        }
        written
    }

    /// How much there is, and how old it is.
    fn measure(&self) {
        let telemetry = &self.shared.telemetry.history;
        let list = self.shared.partitions.now();
        let sealed = list.iter().filter(|partition| partition.found.kind == Kind::Sealed).count();
        telemetry.set_partitions(list.len() - sealed, sealed);
        let oldest = list.iter().filter_map(|partition| match &partition.store {
            Store::Raw(hot) => Some((hot.stats().points, hot.stats().ts_min)),
            Store::Sealed(segment) => Some((segment.summary().points, segment.summary().min_ts)),
            Store::Unavailable => None,
        });
        let oldest = oldest.filter(|(points, _)| *points > 0).map(|(_, oldest)| oldest).min();
        telemetry.oldest.set(oldest.unwrap_or(0));
        match lifecycle::disk::used_bytes(&self.shared.dir) {
            Ok(bytes) => telemetry.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX)),
            Err(error) => tracing::debug!(%error, "the history cannot be measured"),
        }
        if let Ok(Some(free)) = lifecycle::disk::free_bytes(&self.shared.dir) {
            telemetry.free.set(i64::try_from(free).unwrap_or(i64::MAX));
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
