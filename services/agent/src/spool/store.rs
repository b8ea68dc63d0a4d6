//! What waits, in segments, and what is to be done on the disk about it. Pure: it does none of it.
//!
//! New pushes are always written to memory first; `upkeep` tells what of that the disk lacks. So a disk
//! that is slow, full or broken holds up nothing; what it does not take waits in memory, within its limit.

use std::collections::{BTreeMap, VecDeque};

use super::entry::{Declared, Head, Stored, Writer, samples_of};
use super::files::FILE_BYTES_MAX;
use super::notes::{BOOTS_MAX, Identity, Progress};
use super::record::Records;
use super::segment::{Entry, Found, Segment};
use super::status::Lost;
use crate::clock::Moment;
use crate::measurement::Measurement;

/// How large a segment may get, unless its declarations alone are larger than an eighth of that.
const SEGMENT_BYTES_MAX: usize = 1 << 20;
/// Its least size: a spool that is smaller than sixteen of these has fewer segments.
const SEGMENT_BYTES_MIN: usize = 16 << 10;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes in memory.
    pub(super) memory: usize,
    /// Bytes in all, which are on the disk; `None`: there is no disk.
    pub(super) disk: Option<usize>,
}

impl Limits {
    pub(super) fn all(self) -> usize {
        self.disk.unwrap_or(self.memory)
    }

    fn segment(self) -> usize {
        (self.all() / 16).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }
}

/// What there is to send next.
#[derive(Debug)]
pub enum Next {
    /// A push.
    Push(Stored),
    /// It has to be read from the disk first.
    Loading,
    /// Nothing.
    Nothing,
}

/// Where a segment is being read.
#[derive(Debug)]
struct Reading {
    number: u64,
    at: usize,
    declared: Declared,
}

/// All that waits.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) limits: Limits,
    pub(super) boot: u64,
    /// The oldest first; only the last one may be open.
    pub(super) segments: VecDeque<Segment>,
    writer: Writer,
    /// Bytes of the open segment that are declarations.
    declarations: usize,
    next_number: u64,
    /// The highest number that was given to a push.
    last: u64,
    pub(super) progress: Progress,
    pub(super) is_progress_new: bool,
    /// What was lost before this process.
    lost_before: BTreeMap<String, u64>,
    /// Who it is, as it stands on the disk, or is to stand there.
    pub(super) identity: Option<Identity>,
    pub(super) is_identity_new: bool,
    /// Files that are to be removed.
    pub(super) doomed: Vec<u64>,
    reading: Option<Reading>,
    pub(super) wanted: Option<u64>,
    pub(super) is_disk_failing: bool,
    pub(super) damages: u64,
}

impl Store {
    /// An empty one that goes on from there.
    pub(super) fn new(limits: Limits, boot: u64, progress: Progress) -> Self {
        Self {
            limits,
            boot,
            segments: VecDeque::new(),
            writer: Writer::default(),
            declarations: 0,
            next_number: 1,
            last: progress.late,
            progress,
            is_progress_new: false,
            lost_before: BTreeMap::new(),
            identity: None,
            is_identity_new: false,
            doomed: vec![],
            reading: None,
            wanted: None,
            is_disk_failing: false,
            damages: 0,
        }
    }

    /// What is put in from now on has numbers above `base`. In another session than before, losses
    /// are counted anew.
    pub(super) fn begin(&mut self, session: &str, base: u64) {
        self.last = self.last.max(base);
        if self.progress.session != session {
            self.progress.session = session.to_owned();
            self.progress.lost.clear();
            self.is_progress_new = self.limits.disk.is_some();
        }
        self.lost_before.clone_from(&self.progress.lost);
    }

    /// Goes on as another session, with what waits. What this process lost is still to be told.
    pub(super) fn renew(&mut self, session: &str) {
        for (why, samples) in std::mem::take(&mut self.lost_before) {
            self.progress.lost.entry(why).and_modify(|lost| *lost = lost.saturating_sub(samples));
        }
        self.progress.session = session.to_owned();
        self.is_progress_new = self.limits.disk.is_some();
        if let Some(identity) = &mut self.identity {
            identity.id = session.to_owned();
            self.is_identity_new = true;
        }
    }

    /// Takes over a segment that was found on the disk. They come in the order of their numbers.
    pub(super) fn restore(&mut self, number: u64, len: usize, found: &Found) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.damaged(found.damages, found.lost);
        let before = self.segments.back().and_then(|segment| segment.entries.back()).map_or(0, |last| last.head.seq);
        let waits = |head: &&Head| head.seq > self.progress.late.max(before);
        let entries: VecDeque<Entry> =
            found.heads.iter().filter(waits).map(|head| Entry { head: *head, is_safe: false }).collect();
        for Entry { head, .. } in &entries {
            remember(&mut self.progress.boots, head.boot, head.taken);
        }
        self.last = self.last.max(entries.back().map_or(0, |last| last.head.seq));
        if entries.is_empty() {
            self.doomed.push(number);
        } else {
            let segment = Segment { number, entries, len, synced: len, is_closed: true, ..Segment::default() };
            self.segments.push_back(segment);
        }
        self.trim();
    }

    /// Counts what could not be read.
    pub(super) fn damaged(&mut self, damages: u64, samples: u64) {
        self.damages = self.damages.saturating_add(damages);
        self.lose(Lost::Damaged, samples);
    }

    /// Keeps a measurement; gives its number on the late stream, unless there can be no room for it.
    pub(super) fn put(&mut self, measurement: &Measurement) -> Option<u64> {
        let seq = self.last + 1;
        let mut records = Vec::new();
        let (mut samples, mut declarations) = self.writer.write(seq, self.boot, measurement, &mut records);
        let open = self.segments.back().filter(|segment| !segment.is_closed);
        let is_room = open.is_some_and(|open| {
            // Where declarations are large, it takes more pushes to make them worth their while.
            let roomy = (self.declarations * 8).min(self.limits.all() / 4).min(FILE_BYTES_MAX);
            open.len + records.len() <= self.limits.segment().max(roomy)
        });
        if !is_room {
            self.close();
            records.clear();
            (samples, declarations) = self.writer.write(seq, self.boot, measurement, &mut records);
            if records.len() > FILE_BYTES_MAX.min(self.limits.all() / 2) {
                self.writer = Writer::default();
                self.lose(Lost::Full, samples_of(measurement));
                return None;
            }
            let number = self.next_number;
            self.next_number += 1;
            self.segments.push_back(Segment { number, bytes: Some(vec![]), ..Segment::default() });
        }
        let taken = measurement.taken.unwrap_or(Moment { wall_ms: 0, mono_ms: 0 });
        remember(&mut self.progress.boots, self.boot, taken);
        self.declarations += declarations;
        self.last = seq;
        if let Some(open) = self.segments.back_mut() {
            open.entries.push_back(Entry { head: Head { seq, samples, boot: self.boot, taken }, is_safe: false });
            open.bytes.get_or_insert_default().extend_from_slice(&records);
            open.len = open.in_memory();
        }
        self.trim();
        Some(seq)
    }

    /// Ends the open segment.
    fn close(&mut self) {
        self.writer = Writer::default();
        self.declarations = 0;
        if let Some(open) = self.segments.back_mut() {
            open.is_closed = true;
            open.bytes.iter_mut().for_each(Vec::shrink_to_fit);
        }
        self.evict();
    }

    /// What is on the disk need not be in memory, unless it is being read.
    pub(super) fn evict(&mut self) {
        let read = self.reading.as_ref().map(|reading| reading.number);
        for segment in &mut self.segments {
            if segment.is_closed && segment.is_on_disk() && self.limits.disk.is_some() && read != Some(segment.number) {
                segment.bytes = None;
            }
        }
    }

    /// Makes room: the oldest goes.
    fn trim(&mut self) {
        // A segment that is consumed or dropped stays on the disk until the next round of jobs.
        let most = self.limits.all() - self.limits.segment();
        while self.segments.len() > 1 && self.segments.iter().map(|segment| segment.len).sum::<usize>() > most {
            self.drop_at(0, Lost::Full);
        }
        let why = if self.is_disk_failing { Lost::Failed } else { Lost::Full };
        while self.segments.iter().map(Segment::in_memory).sum::<usize>() > self.limits.memory {
            let oldest = self.segments.iter().position(|segment| segment.is_closed && segment.in_memory() > 0);
            let Some(oldest) = oldest else { break };
            self.drop_at(oldest, why);
        }
    }

    pub(super) fn drop_at(&mut self, at: usize, why: Lost) {
        let Some(segment) = self.segments.remove(at) else { return };
        self.lose(why, segment.samples());
        if at == 0 {
            self.advance(segment.entries.back().map_or(0, |last| last.head.seq));
        }
        self.let_go(&segment);
    }

    fn let_go(&mut self, segment: &Segment) {
        if !segment.is_closed {
            self.writer = Writer::default();
            self.declarations = 0;
        }
        if segment.has_file() {
            self.doomed.push(segment.number);
            self.is_progress_new = true;
        }
        self.reading.take_if(|reading| reading.number == segment.number);
        self.wanted.take_if(|wanted| *wanted == segment.number);
    }

    fn advance(&mut self, seq: u64) {
        if seq > self.progress.late {
            self.progress.late = seq;
            self.is_progress_new |= self.segments.iter().any(Segment::has_file);
        }
    }

    /// Counts samples that nobody will get.
    pub(super) fn lose(&mut self, why: Lost, samples: u64) {
        if samples > 0 {
            let lost = self.progress.lost.entry(why.as_str().to_owned()).or_default();
            *lost = lost.saturating_add(samples);
            self.is_progress_new |= self.limits.disk.is_some();
        }
    }

    /// All pushes up to this one are done with.
    pub(super) fn acked(&mut self, seq: u64) {
        self.advance(seq.min(self.last));
        while let Some(front) = self.segments.front_mut() {
            let mut done = 0;
            while let Some(entry) = front.entries.pop_front_if(|entry| entry.head.seq <= seq || entry.is_safe) {
                done = entry.head.seq;
            }
            let is_over = front.entries.is_empty();
            self.advance(done);
            if !is_over {
                return;
            }
            if let Some(over) = self.segments.pop_front() {
                self.let_go(&over);
            }
        }
    }

    /// This push need not be sent: the aggregator has it. It goes with those before it.
    pub(super) fn safe(&mut self, seq: u64) {
        let mut entries = self.segments.iter_mut().flat_map(|segment| &mut segment.entries);
        if let Some(entry) = entries.find(|entry| entry.head.seq == seq) {
            entry.is_safe = true;
        }
        // With nothing before it, it is done with.
        self.acked(0);
    }

    /// Gives one push up; those before it still wait.
    pub(super) fn give_up(&mut self, seq: u64, why: Lost) {
        let entries = self.segments.iter().flat_map(|segment| &segment.entries);
        let waits = entries.filter(|entry| entry.head.seq == seq && !entry.is_safe);
        let samples = waits.map(|entry| entry.head.samples).sum();
        self.lose(why, samples);
        self.safe(seq);
    }

    /// Gives up all that waits.
    pub(super) fn give_up_all(&mut self, why: Lost) {
        let samples = self.segments.iter().map(Segment::samples).sum();
        self.lose(why, samples);
        self.acked(self.last);
    }

    /// The first push above a number: in which segment, and which it is.
    pub(super) fn find(&self, after: u64) -> Option<(usize, u64)> {
        self.segments.iter().enumerate().find_map(|(at, segment)| {
            let is_it = |entry: &&Entry| entry.head.seq > after && !entry.is_safe;
            segment.entries.iter().find(is_it).map(|entry| (at, entry.head.seq))
        })
    }

    /// The first push above a number.
    pub(super) fn next(&mut self, after: u64) -> Next {
        loop {
            let Some((at, seq)) = self.find(after) else { return Next::Nothing };
            let Some(segment) = self.segments.get_mut(at) else { return Next::Nothing };
            let number = segment.number;
            let Some(bytes) = &segment.bytes else {
                self.wanted = Some(number);
                return Next::Loading;
            };
            let is_there = self.reading.as_ref().is_some_and(|reading| reading.number == number);
            if !is_there {
                self.reading = Some(Reading { number, at: 0, declared: Declared::default() });
            }
            let mut found = self.reading.as_mut().and_then(|reading| reading.seek(bytes, seq));
            if found.is_none() && is_there {
                // It may have been read before, on another connection.
                let mut again = Reading { number, at: 0, declared: Declared::default() };
                found = again.seek(bytes, seq);
                self.reading = Some(again);
            }
            if !is_there {
                self.evict();
            }
            match found {
                Some((push, untold)) => {
                    self.lose(Lost::Damaged, untold);
                    return Next::Push(push);
                }
                None => {
                    self.damages += 1;
                    self.give_up(seq, Lost::Damaged);
                }
            }
        }
    }

    /// The highest number that was given to a push.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

impl Reading {
    /// Reads on to a push.
    fn seek(&mut self, bytes: &[u8], seq: u64) -> Option<(Stored, u64)> {
        let mut records = Records::new(bytes, self.at);
        while let Some(record) = records.next() {
            self.at = records.position();
            if let Some(found) = self.declared.take(self.number, record).filter(|(push, _)| push.seq >= seq) {
                return (found.0.seq == seq).then_some(found);
            }
        }
        None
    }
}

/// Remembers the clocks of a boot: the last time that both were read.
pub(super) fn remember(boots: &mut BTreeMap<u64, Moment>, boot: u64, now: Moment) {
    let known = boots.entry(boot).or_insert(now);
    if now.mono_ms >= known.mono_ms {
        *known = now;
    }
    while boots.len() > BOOTS_MAX {
        // Not the present one. Which of the others goes matters little: that many boots ago is long ago.
        let Some(other) = boots.keys().find(|known| **known != boot).copied() else { return };
        boots.remove(&other);
    }
}
