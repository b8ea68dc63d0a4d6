//! Reading: points by key and time, a piece at a time, so that an answer of any length takes little
//! memory. Between two pieces a reader holds points that it has read ahead, and by prefix the list of
//! keys (8 bytes each, at most `FLEETGAUGE_MAX_KEYS`), but no file and no lock of the history.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::damage::Failure;
use super::keys::{Key, Space};
use super::point::Point;
use super::{History, ReadError};

/// Points that are read from one partition at a time.
const REFILL_POINTS: usize = 2048;
/// Points that the sources of a key hold together, 16 bytes each, besides [`AHEAD_POINTS`] of each: a
/// block of a sealed partition has up to 12,288, however few are asked for. With room for three of
/// the usual 8,640, a series that was written three times is read without reading blocks twice.
const READY_POINTS: usize = 28 * 1024;
/// Points that a source keeps of what it read when there is no room for more: most begin later than
/// those before them, and are only to be compared. The rest is read again when its turn comes.
const AHEAD_POINTS: usize = 128;
/// Points of one piece.
const PIECE_POINTS: usize = 4096;

/// Which keys are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This one; what was put under it, else the vital sign of that name.
    Key(String),
    /// All that were put, in the order in which they first were.
    Puts,
    /// Those that begin so, by name; what was put hides a vital sign of the same name.
    Prefix(String),
}

/// A reader. Every call may wait for the disk.
#[derive(Debug)]
pub struct Rows {
    history: Arc<History>,
    queue: Queue,
    range: RangeInclusive<i64>,
    /// The key that is being read.
    reading: Option<Merge>,
}

/// Keys that are still to be read.
#[derive(Debug)]
enum Queue {
    /// These.
    List(std::vec::IntoIter<Arc<Key>>),
    /// All that were put, after this one.
    PutsAfter(Option<u64>),
}

impl Rows {
    pub(super) fn new(history: Arc<History>, what: What, range: RangeInclusive<i64>) -> Self {
        let keys = &history.shared.keys;
        let queue = match what {
            What::Key(text) => {
                let stored = |space| keys.find(space, &text).filter(|key| key.newest_partition() > 0);
                let key = stored(Space::Put).or_else(|| stored(Space::Vital));
                Queue::List(Vec::from_iter(key).into_iter())
            }
            What::Prefix(prefix) => Queue::List(keys.with_prefix(&prefix).into_iter()),
            What::Puts => Queue::PutsAfter(None),
        };
        Self { history, queue, range, reading: None }
    }

    /// The next points of a key, ascending; `None` at the end. Pieces of one key follow one
    /// another, and none is empty.
    ///
    /// # Errors
    /// When a partition cannot be read now. What is damaged is passed over, and counted.
    pub fn next_piece(&mut self, into: &mut Vec<Point>) -> Result<Option<Arc<Key>>, ReadError> {
        into.clear();
        self.history.shared.check_keys()?;
        loop {
            if let Some(merge) = &mut self.reading {
                merge.piece(&self.history, into)?;
                if !into.is_empty() {
                    return Ok(Some(Arc::clone(&merge.key)));
                }
            }
            let Some(key) = self.next_key() else { return Ok(None) };
            self.reading = Some(Merge::new(&self.history, key, &self.range));
        }
    }

    fn next_key(&mut self) -> Option<Arc<Key>> {
        match &mut self.queue {
            Queue::List(keys) => keys.next(),
            Queue::PutsAfter(last) => {
                let key = self.history.shared.keys.after(Space::Put, *last)?;
                *last = Some(key.id);
                Some(key)
            }
        }
    }
}

/// One key's points of all partitions, merged by time; where two have one of the same second, the
/// newer partition's is the last written.
#[derive(Debug)]
struct Merge {
    key: Arc<Key>,
    /// Oldest partition first.
    sources: Vec<Source>,
}

/// One partition's points of the key.
#[derive(Debug)]
struct Source {
    partition: u64,
    /// What is still to be read of it.
    rest: Option<RangeInclusive<i64>>,
    /// Read, not given out yet; the next one last.
    ready: Vec<Point>,
}

impl Merge {
    fn new(history: &History, key: Arc<Key>, range: &RangeInclusive<i64>) -> Self {
        let newest = key.newest_partition();
        let list = history.shared.partitions.now();
        let holding = list.iter().filter(|partition| partition.number() <= newest);
        let source =
            |number| Source { partition: number, rest: (!range.is_empty()).then(|| range.clone()), ready: Vec::new() };
        let sources = holding.map(|partition| source(partition.number())).collect();
        Self { key, sources }
    }

    fn piece(&mut self, history: &History, into: &mut Vec<Point>) -> Result<(), ReadError> {
        while into.len() < PIECE_POINTS {
            let mut ready: usize = self.sources.iter().map(Source::held).sum();
            for source in self.sources.iter_mut().filter(|source| source.ready.is_empty()) {
                source.refill(history, self.key.id, READY_POINTS.saturating_sub(ready))?;
                ready += source.held();
            }
            self.sources.retain(|source| !source.ready.is_empty());
            match self.sources.as_mut_slice() {
                [] => return Ok(()),
                // What most keys have most of the time.
                [only] => into.extend(std::mem::take(&mut only.ready).into_iter().rev()),
                many => {
                    let next = many.iter().filter_map(|source| source.ready.last()).map(|point| point.ts).min();
                    let mut point = None;
                    for source in many {
                        if source.ready.last().map(|point| point.ts) == next {
                            point = source.ready.pop();
                        }
                    }
                    into.extend(point);
                }
            }
        }
        Ok(())
    }
}

impl Source {
    /// What it holds of the common room. Points that were given out are still in the memory.
    fn held(&self) -> usize {
        if self.ready.is_empty() { 0 } else { self.ready.capacity().saturating_sub(AHEAD_POINTS) }
    }

    /// Reads on. There is room for so many points.
    fn refill(&mut self, history: &History, id: u64, room: usize) -> Result<(), ReadError> {
        while self.ready.is_empty() {
            let Some(rest) = self.rest.take() else { return Ok(()) };
            self.ready = Vec::new();
            self.read(history, id, rest)?;
        }
        self.keep(room);
        Ok(())
    }

    /// Gives back what there is no room for.
    fn keep(&mut self, room: usize) {
        let Some(newest) = self.ready.first().map(|point| point.ts) else { return };
        let too_many = self.ready.len().saturating_sub(AHEAD_POINTS);
        if too_many > room {
            let end = self.rest.as_ref().map_or(newest, |rest| *rest.end());
            drop(self.ready.drain(..too_many));
            self.rest = self.ready.first().map(|last| last.ts.saturating_add(1)..=end);
        }
        self.ready.shrink_to_fit();
    }

    fn read(&mut self, history: &History, id: u64, rest: RangeInclusive<i64>) -> Result<(), ReadError> {
        // It may have been sealed since, or have passed away.
        let Some(partition) = history.shared.partitions.get(self.partition) else { return Ok(()) };
        let read = partition.read(id, rest.clone(), REFILL_POINTS, &mut self.ready).map_err(|failure| {
            self.ready.clear();
            unavailable(&failure)
        })?;
        history.shared.telemetry.history.damaged("block", read.damaged);
        self.rest = read.next_from.map(|next| next..=*rest.end());
        self.ready.reverse();
        Ok(())
    }
}

fn unavailable(failure: &Failure) -> ReadError {
    ReadError(failure.to_string())
}

#[cfg(test)]
mod tests;
