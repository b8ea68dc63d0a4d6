//! What is said on one connection: which sets are declared and what a push consists of.
//! Pure: measurements in, lines out.

use std::sync::Arc;

use protocol::encode;
use protocol::frame::{End, Failed, Limits, Push, Retire, Stream, ToAggregator};
use protocol::limits::{LINE_BYTES_MAX, SERIES_PER_AGENT_MAX, SETS_PER_AGENT_MAX};
use protocol::split::{declare_lines, values_lines};

use crate::clock::Moment;
use crate::collect::batch::Layout;
use crate::measurement::{Measurement, Outcome};

/// Longest reason for a failed set; the log has all of it.
const REASON_CHARS_MAX: usize = 300;

/// A set that the aggregator's limits have no room for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    pub(super) set: &'static str,
    pub(super) series: usize,
    pub(super) why: &'static str,
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
        }
    }

    /// Appends all lines of a push: new declarations, the push itself, and what is retired by it.
    /// Gives the sets for which there was no room.
    pub(super) fn push(&mut self, measurement: &Measurement, now: Moment, out: &mut Vec<u8>) -> Vec<Unsent> {
        let mut unsent = Vec::new();
        for reading in &measurement.readings {
            if let Outcome::Values { layout, .. } = &reading.outcome
                && let Err(why) = self.declare(reading.set, layout, out)
            {
                unsent.push(Unsent { set: reading.set, series: layout.total(), why });
            }
        }
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
                    values_lines(known.number, measurement.values(layout, *from), self.line_max, out);
                }
                Outcome::Failed(reason) => {
                    known.sent = None;
                    let reason = reason.chars().take(REASON_CHARS_MAX).collect();
                    encode(&ToAggregator::Failed(Failed { set: known.number, reason }), out);
                }
            }
        }
        encode(&ToAggregator::End(End { seq }), out);
        for gone in self.retiring.drain(..) {
            encode(&ToAggregator::Retire(Retire { set: gone.number }), out);
        }
        unsent
    }

    /// Makes sure that a set is declared as it is now.
    fn declare(&mut self, name: &'static str, layout: &Arc<Layout>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let at = self.declared.iter().position(|known| known.name == name);
        if at.and_then(|at| self.declared.get(at)).is_some_and(|known| Arc::ptr_eq(&known.layout, layout)) {
            return Ok(());
        }
        if let Some(at) = at {
            self.retiring.push(self.declared.swap_remove(at));
        }
        if layout.total() == 0 {
            return Ok(());
        }
        if !self.has_room(layout.total()) {
            // Without a moment of both there may be room: then the change is not of one moment.
            for gone in self.retiring.drain(..) {
                encode(&ToAggregator::Retire(Retire { set: gone.number }), out);
            }
            if !self.has_room(layout.total()) {
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
        Ok(())
    }

    /// Would these series still be within what is granted?
    fn has_room(&self, more: usize) -> bool {
        let all = || self.declared.iter().chain(&self.retiring);
        let series: usize = all().map(|known| known.layout.total()).sum();
        all().count() < self.sets_max && series + more <= self.series_max
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
