//! What is said on one connection: which sets are declared and what a push consists of.
//! Pure: measurements in, lines out.

use std::sync::Arc;

use protocol::encode;
use protocol::frame::{End, Failed, Limits, Push, Retire, Stream, ToAggregator};
use protocol::limits::{LINE_BYTES_MAX, SERIES_PER_AGENT_MAX, SETS_PER_AGENT_MAX};
use protocol::split::{declare_lines, values_lines};

use super::guest::{self, Guest, Hosts, is_clash};
use crate::clock::Moment;
use crate::collect::batch::Layout;
use crate::measurement::{Measurement, Outcome};

/// Longest reason for a failed set; the log has all of it.
const REASON_CHARS_MAX: usize = 300;

/// A set, or a part of the text files' one, that cannot be sent: the aggregator's limits have no
/// room for it, or another set has its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsent {
    pub(super) set: &'static str,
    pub(super) series: usize,
    pub(super) why: &'static str,
}

impl Unsent {
    /// For the log.
    pub(super) fn sentence(&self) -> &'static str {
        match self.why {
            "duplicate" => "a text file has metrics that the agent itself sends, they are not taken from it",
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

/// One connection's state.
#[derive(Debug)]
pub(super) struct Link {
    line_max: usize,
    sets_max: usize,
    series_max: usize,
    declared: Vec<Declared>,
    /// Replaced sets, to be retired after the push.
    retiring: Vec<Declared>,
    /// Numbers are never used again.
    next_number: u64,
    guest: Guest,
    /// Grows with every change of what is declared.
    age: u64,
}

impl Link {
    /// A new connection: nothing is declared.
    pub(super) fn new(limits: Limits) -> Self {
        let most = |granted: u64, own: usize| usize::try_from(granted).unwrap_or(usize::MAX).min(own);
        Self {
            line_max: most(limits.line_bytes, LINE_BYTES_MAX),
            sets_max: most(limits.sets, SETS_PER_AGENT_MAX),
            series_max: most(limits.series, SERIES_PER_AGENT_MAX),
            declared: vec![],
            retiring: vec![],
            next_number: 1,
            guest: Guest::default(),
            age: 0,
        }
    }

    /// Appends all lines of a push: new declarations, the push itself, and what is retired by it.
    /// Gives the sets for which there was no room.
    pub(super) fn push(&mut self, measurement: &Measurement, now: Moment, out: &mut Vec<u8>) -> Vec<Unsent> {
        let unsent = self.declare_all(measurement, out);
        let (seq, measured_ms) = (measurement.seq, measurement.taken.map_or(now.wall_ms, |taken| taken.wall_ms));
        let head = Push { stream: Stream::Live, seq, measured_ms, now_ms: now.wall_ms, mono_ms: now.mono_ms };
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
        let mut unsent = Vec::new();
        let mut guest = None;
        for reading in &measurement.readings {
            let Outcome::Values { layout, .. } = &reading.outcome else { continue };
            if reading.set == guest::SET {
                guest = Some(layout);
                continue;
            }
            self.make_way(reading.set, layout, out);
            if let Err(why) = self.declare(reading.set, layout, out) {
                unsent.push(Unsent { set: reading.set, series: layout.total(), why });
            }
        }
        if let Some(layout) = guest {
            let others = self.declared.iter().chain(&self.retiring).filter(|known| known.name != guest::SET);
            let layouts = others.map(|known| &*known.layout).collect();
            let hosts = Hosts { age: self.age, layouts, series_max: self.series_max };
            let (layout, left_out) = self.guest.admit(layout, &hosts);
            unsent.extend_from_slice(left_out);
            if let Err(why) = self.declare(guest::SET, &layout, out) {
                unsent.push(Unsent { set: guest::SET, series: layout.total(), why });
            }
        }
        unsent
    }

    /// The text files' set goes before a set that needs its room, or has a name that it used. What
    /// of it may stay is declared again before the push.
    fn make_way(&mut self, name: &'static str, layout: &Arc<Layout>, out: &mut Vec<u8>) {
        let is_known = |known: &Declared| known.name == name && Arc::ptr_eq(&known.layout, layout);
        let Some(at) = self.declared.iter().position(|known| known.name == guest::SET) else { return };
        let has_room = |spared: &[&str]| self.has_room(layout.total(), spared);
        if self.declared.iter().any(is_known) || !has_room(&[name, guest::SET]) {
            return;
        }
        let is_clash = self.declared.get(at).is_some_and(|guest| is_clash(&guest.layout, layout));
        if is_clash || !has_room(&[name]) {
            let guest = self.declared.swap_remove(at);
            self.retiring.push(guest);
            self.retire(out);
        }
    }

    /// Ends the replaced sets.
    fn retire(&mut self, out: &mut Vec<u8>) {
        self.age += u64::from(!self.retiring.is_empty());
        for gone in self.retiring.drain(..) {
            encode(&ToAggregator::Retire(Retire { set: gone.number }), out);
        }
    }

    /// Makes sure that a set is declared as it is now.
    fn declare(&mut self, name: &'static str, layout: &Arc<Layout>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let at = self.declared.iter().position(|known| known.name == name);
        if at.and_then(|at| self.declared.get(at)).is_some_and(|known| Arc::ptr_eq(&known.layout, layout)) {
            return Ok(());
        }
        if let Some(at) = at {
            self.retiring.push(self.declared.swap_remove(at));
            self.age += 1;
        }
        if layout.total() == 0 {
            return Ok(());
        }
        if !self.has_room(layout.total(), &[]) {
            // Without a moment of both there may be room: then the change is not of one moment.
            self.retire(out);
            if !self.has_room(layout.total(), &[]) {
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

    /// Would these series still be within what is granted, if sets of some names were gone?
    fn has_room(&self, more: usize, spared: &[&str]) -> bool {
        let all = || self.declared.iter().chain(&self.retiring).filter(|known| !spared.contains(&known.name));
        let series: usize = all().map(|known| known.layout.total()).sum();
        all().count() < self.sets_max && series + more <= self.series_max
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
