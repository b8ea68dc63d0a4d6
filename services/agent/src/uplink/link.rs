//! What is said on one connection: which sets are declared and what a push consists of.
//! Pure: measurements in, lines out.

use std::sync::Arc;

use protocol::encode;
use protocol::frame::{End, Failed, Limits, Push, Retire, Stream, ToAggregator};
use protocol::limits::LINE_BYTES_MAX;
use protocol::split::{declare_lines, values_lines};

use super::guest::{self, Guest, Hosts, is_clash};
use super::late_sets::LateSets;
use super::room::Room;
use crate::clock::Moment;
use crate::collect::batch::Layout;
use crate::measurement::{Measurement, Outcome};
use crate::spool::Status;

/// Longest reason for a failed set; the log has all of it.
const REASON_CHARS_MAX: usize = 300;

/// The set of the agent's own metrics: they tell what else is missing.
const OWN_SET: &str = "agent";

/// A set, or a part of the text files' one, that cannot be sent: the aggregator's limits have no
/// room for it, or another set has its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsent {
    pub(super) set: &'static str,
    /// The first family, if it is not the whole set.
    pub(super) family: Option<String>,
    pub(super) series: usize,
    pub(super) why: &'static str,
}

impl Unsent {
    /// For the log.
    pub(super) fn sentence(&self) -> &'static str {
        match (self.why, &self.family) {
            ("duplicate", _) => "a text file has metrics that the agent itself sends, they are not taken from it",
            (_, Some(_)) => "text files have more than there is room for beside the agent's own series",
            _ => "a set goes over what the aggregator grants, it is not sent",
        }
    }
}

/// A set as the aggregator knows it.
#[derive(Debug)]
struct Declared {
    name: &'static str,
    number: u64,
    layout: Arc<Layout>,
    /// Which reading of it was sent last.
    sent: Option<u64>,
}

impl Declared {
    fn is(&self, name: &str, layout: &Arc<Layout>) -> bool {
        self.name == name && Arc::ptr_eq(&self.layout, layout)
    }
}

/// One connection's state.
#[derive(Debug)]
pub(super) struct Link {
    line_max: usize,
    granted: Room,
    /// What the agent's labels take of each series' room.
    labels: usize,
    declared: Vec<Declared>,
    /// Replaced and left out sets, to be retired after the push.
    retiring: Vec<Declared>,
    /// Numbers are never used again.
    next_number: u64,
    guest: Guest,
    /// Grows with every change of what is declared for live pushes.
    age: u64,
    /// What is declared for late ones only.
    pub(super) late: LateSets,
}

impl Link {
    /// A new connection: nothing is declared. `labels` are bytes that each series takes for what
    /// is not its own.
    pub(super) fn new(limits: Limits, labels: usize) -> Self {
        let line_max = usize::try_from(limits.line_bytes).unwrap_or(usize::MAX).min(LINE_BYTES_MAX);
        Self {
            line_max,
            granted: Room::granted(limits),
            labels,
            declared: vec![],
            retiring: vec![],
            next_number: 1,
            guest: Guest::default(),
            age: 0,
            late: LateSets::default(),
        }
    }

    /// Longest line.
    pub(super) fn line_max(&self) -> usize {
        self.line_max
    }

    /// Another number than before for the same sets of live pushes.
    pub(super) fn age(&self) -> u64 {
        self.age
    }

    /// The sets of live pushes.
    pub(super) fn live(&self) -> impl Iterator<Item = (&'static str, &Layout)> {
        self.declared.iter().map(|known| (known.name, &*known.layout))
    }

    /// The number of a live set that is just like this one.
    pub(super) fn live_number(&self, name: &str, layout: &Layout) -> Option<u64> {
        let is_it = |known: &&Declared| known.name == name && known.layout.families() == layout.families();
        self.declared.iter().find(is_it).map(|known| known.number)
    }

    /// A number that was never used.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Appends all lines of a push: new declarations, the push itself, and what is retired by it.
    /// Gives the sets for which there was no room. `waiting` is what else the agent has to tell.
    pub(super) fn push(
        &mut self,
        measurement: &Measurement,
        now: Moment,
        waiting: &Status,
        out: &mut Vec<u8>,
    ) -> Vec<Unsent> {
        let unsent = self.declare_all(measurement, out);
        let (seq, measured_ms) = (measurement.seq, measurement.taken.map_or(now.wall_ms, |taken| taken.wall_at(now)));
        let head = Push {
            stream: Stream::Live,
            seq,
            measured_ms,
            now_ms: now.wall_ms,
            mono_ms: now.mono_ms,
            backlog_ms: waiting.oldest_ms,
            lost: waiting.lost_by_reason(),
        };
        encode(&ToAggregator::Push(head), out);
        for reading in &measurement.readings {
            let Some(known) = self.declared.iter_mut().find(|known| known.name == reading.set) else { continue };
            match &reading.outcome {
                // A slow set that was not measured anew keeps what it has.
                Outcome::Values { .. } if known.sent == Some(reading.version) => {}
                Outcome::Values { layout, from } => {
                    known.sent = Some(reading.version);
                    let values = measurement.values(layout, *from);
                    let picked = if reading.set == guest::SET { self.guest.pick(values) } else { None };
                    values_lines(known.number, picked.as_deref().unwrap_or(values), self.line_max, out);
                }
                Outcome::Failed(reason) => {
                    known.sent = None;
                    let reason = reason.chars().take(REASON_CHARS_MAX).collect();
                    encode(&ToAggregator::Failed(Failed { set: known.number, reason }), out);
                }
            }
        }
        encode(&ToAggregator::End(End { seq }), out);
        self.retire(out);
        unsent
    }

    /// Declares the sets that are new or no longer as they were; gives what there is no room for.
    fn declare_all(&mut self, measurement: &Measurement, out: &mut Vec<u8>) -> Vec<Unsent> {
        let (wanted, mut unsent) = self.plan(measurement);
        let is_wanted = |known: &Declared| wanted.iter().any(|(name, layout)| known.is(name, layout));
        self.let_go(|known| known.name == guest::SET || is_wanted(known));
        for (name, layout) in &wanted {
            if self.declared.iter().any(|known| known.name == *name) {
                continue;
            }
            self.make_way(layout, out);
            if let Err(why) = self.declare(name, layout, out) {
                unsent.push(Unsent { set: name, family: None, series: layout.total(), why });
            }
        }
        let guest = measurement.readings.iter().find(|reading| reading.set == guest::SET);
        if let Some(Outcome::Values { layout, .. }) = guest.map(|reading| &reading.outcome) {
            self.declare_guest(layout, out, &mut unsent);
        }
        unsent
    }

    /// What is to be declared of the agent's own sets: as much as there is room for, the most
    /// important ones first. Those are the agent's metrics, then the order of the measurement.
    fn plan(&self, measurement: &Measurement) -> (Vec<(&'static str, Arc<Layout>)>, Vec<Unsent>) {
        let known = |name: &str| self.declared.iter().find(|known| known.name == name);
        let is_said = |name: &str| measurement.readings.iter().any(|reading| reading.set == name);
        // A set of which nothing is said, or only that it failed, stays as it is.
        let silent = self.declared.iter().filter(|known| known.name != guest::SET && !is_said(known.name));
        let mut sets: Vec<_> = silent.map(|known| (known.name, Arc::clone(&known.layout))).collect();
        let (first, others): (Vec<_>, Vec<_>) = measurement.readings.iter().partition(|reading| reading.set == OWN_SET);
        for reading in first.into_iter().chain(others).filter(|reading| reading.set != guest::SET) {
            let layout = match &reading.outcome {
                Outcome::Values { layout, .. } => Some(layout),
                Outcome::Failed(_) => known(reading.set).map(|known| &known.layout),
            };
            sets.extend(layout.map(|layout| (reading.set, Arc::clone(layout))));
        }
        let (mut taken, mut unsent) = (Room::default(), vec![]);
        // A set with nothing in it is none.
        sets.retain(|(_, layout)| layout.total() > 0);
        sets.retain(|(set, layout)| {
            let with_it = taken.and(Room::of_set(layout, self.labels));
            let is_held = self.granted.holds(with_it);
            if is_held {
                taken = with_it;
            } else {
                unsent.push(Unsent { set, family: None, series: layout.total(), why: "limit" });
            }
            is_held
        });
        (sets, unsent)
    }

    /// Replaced sets, and those that have no room any more, stand until the push is over.
    fn let_go(&mut self, stays: impl Fn(&Declared) -> bool) {
        let before = self.declared.len();
        self.retiring.extend(self.declared.extract_if(.., |known| !stays(known)));
        self.age += u64::from(self.declared.len() != before);
    }

    /// The text files' set goes before a set that needs its room, or has a name that it used. What
    /// of it may stay is declared again before the push.
    fn make_way(&mut self, layout: &Layout, out: &mut Vec<u8>) {
        let Some(at) = self.declared.iter().position(|known| known.name == guest::SET) else { return };
        let is_clash = self.declared.get(at).is_some_and(|guest| is_clash(&guest.layout, layout));
        let declared = self.taken_by(self.declared.iter());
        if is_clash || !self.granted.holds(declared.and(Room::of_set(layout, self.labels))) {
            let guest = self.declared.swap_remove(at);
            encode(&ToAggregator::Retire(Retire { set: guest.number }), out);
            self.age += 1;
        }
    }

    /// Declares what may be of the text files' set.
    fn declare_guest(&mut self, layout: &Arc<Layout>, out: &mut Vec<u8>, unsent: &mut Vec<Unsent>) {
        let others = || self.declared.iter().chain(&self.retiring).filter(|known| known.name != guest::SET);
        let left = self.granted.without(self.taken_by(others()));
        // With all of the room, any change of the agent's own sets would be one of the guest, too.
        let room = Room { text: left.text.min(self.granted.text / 2), ..left };
        let layouts = others().map(|known| &*known.layout).collect();
        let hosts = Hosts { age: self.age, layouts, room, labels: self.labels };
        let (layout, left_out) = self.guest.admit(layout, &hosts);
        unsent.extend_from_slice(left_out);
        self.let_go(|known| known.name != guest::SET || known.is(guest::SET, &layout));
        let is_there = self.declared.iter().any(|known| known.name == guest::SET);
        if is_there || layout.total() == 0 {
            return;
        }
        if let Err(why) = self.declare(guest::SET, &layout, out) {
            unsent.push(Unsent { set: guest::SET, family: None, series: layout.total(), why });
        }
    }

    /// Ends the replaced sets.
    fn retire(&mut self, out: &mut Vec<u8>) {
        self.age += u64::from(!self.retiring.is_empty());
        for gone in self.retiring.drain(..) {
            encode(&ToAggregator::Retire(Retire { set: gone.number }), out);
        }
    }

    /// Declares a set that is not declared.
    fn declare(&mut self, name: &'static str, layout: &Arc<Layout>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        // Room and names are for what is measured now; late pushes have theirs declared again.
        self.late.retire(out);
        if !self.has_room(layout) {
            // Without a moment of both there may be room: then the change is not of one moment.
            self.retire(out);
            if !self.has_room(layout) {
                return Err("limit");
            }
        }
        let before = out.len();
        declare_lines(self.next_number, name, None, layout.families(), self.line_max, out);
        let lines = out.get(before..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        if lines.map(<[u8]>::len).max().unwrap_or(0) > self.line_max {
            out.truncate(before);
            return Err("line");
        }
        self.declared.push(Declared { name, number: self.next_number, layout: Arc::clone(layout), sent: None });
        self.next_number += 1;
        self.age += 1;
        Ok(())
    }

    /// Would a set still be within what is granted?
    pub(super) fn has_room(&self, layout: &Layout) -> bool {
        let taken = self.taken_by(self.declared.iter().chain(&self.retiring)).and(self.late.taken(self.labels));
        self.granted.holds(taken.and(Room::of_set(layout, self.labels)))
    }

    fn taken_by<'a>(&self, sets: impl Iterator<Item = &'a Declared>) -> Room {
        sets.fold(Room::default(), |taken, known| taken.and(Room::of_set(&known.layout, self.labels)))
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
