//! Which sets late pushes are said with. Most are declared already, for live pushes. The others are
//! declared beside those, under the same name, in the room that they leave, and only for a while:
//! whenever a live set changes, they go first.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::encode;
use protocol::frame::{End, Failed, Push, Retire, Series, ToAggregator};
use protocol::split::{declare_lines, values_lines};

use super::guest::{self, is_clash};
use super::link::Link;
use super::room::Room;
use crate::collect::batch::Layout;
use crate::spool::{Kept, Stored};

/// A set that is declared for late pushes only.
#[derive(Debug)]
struct LateSet {
    name: Arc<str>,
    number: u64,
    layout: Arc<Layout>,
}

/// What a kept layout is said as.
#[derive(Debug, Clone)]
struct Said {
    number: u64,
    /// Which of its values; `None`: all.
    left: Option<Arc<Vec<usize>>>,
}

/// The late pushes' part of a link.
#[derive(Debug, Default)]
pub(super) struct LateSets {
    declared: Vec<LateSet>,
    /// What was decided on the layouts of the present segment: nothing may be said of some.
    decided: Vec<(Arc<Layout>, Option<Said>)>,
    /// What that was decided for: the segment, and the age of the live sets.
    of: (u64, u64),
}

impl LateSets {
    /// The room that they take.
    pub(super) fn taken(&self, labels: usize) -> Room {
        let rooms = self.declared.iter().map(|set| Room::of_set(&set.layout, labels));
        rooms.fold(Room::default(), Room::and)
    }

    /// Ends all of them.
    pub(super) fn retire(&mut self, out: &mut Vec<u8>) {
        self.decided.clear();
        for gone in self.declared.drain(..) {
            encode(&ToAggregator::Retire(Retire { set: gone.number }), out);
        }
    }
}

impl Link {
    /// Appends all lines of a late push. Gives how many samples are left out because there is no
    /// room for them, or because another set has their names.
    pub(super) fn push_late(&mut self, push: &Stored, head: Push, out: &mut Vec<u8>) -> u64 {
        let of = (push.segment, self.age());
        if self.late.of != of {
            self.late.decided.clear();
            // The sets of another segment are most likely others.
            if self.late.of.0 != push.segment {
                self.late.retire(out);
            }
            self.late.of = of;
        }
        let said: Vec<Option<Said>> = push.readings.iter().map(|reading| self.decide(reading, out)).collect();
        let (seq, mut refused) = (head.seq, 0);
        encode(&ToAggregator::Push(head), out);
        for (reading, said) in push.readings.iter().zip(said) {
            match (&reading.outcome, said) {
                (Ok(values), Some(Said { number, left: None })) => values_lines(number, values, self.line_max(), out),
                (Ok(values), Some(Said { number, left: Some(left) })) => {
                    let picked: Vec<f64> = left.iter().filter_map(|at| values.get(*at)).copied().collect();
                    refused += crate::spool::present(values) - crate::spool::present(&picked);
                    values_lines(number, &picked, self.line_max(), out);
                }
                (Ok(values), None) => refused += crate::spool::present(values),
                (Err(reason), Some(Said { number, .. })) => {
                    encode(&ToAggregator::Failed(Failed { set: number, reason: reason.clone() }), out);
                }
                (Err(_), None) => {}
            }
        }
        encode(&ToAggregator::End(End { seq }), out);
        refused
    }

    /// As what a kept set is said. It is declared if it has to be and can be.
    fn decide(&mut self, kept: &Kept, out: &mut Vec<u8>) -> Option<Said> {
        if let Some((_, said)) = self.late.decided.iter().find(|(layout, _)| Arc::ptr_eq(layout, &kept.layout)) {
            return said.clone();
        }
        let said = self.find_or_declare(kept, out);
        self.late.decided.push((Arc::clone(&kept.layout), said.clone()));
        said
    }

    fn find_or_declare(&mut self, kept: &Kept, out: &mut Vec<u8>) -> Option<Said> {
        let is_guest = &*kept.set == guest::SET;
        // The agent's own sets may share a family, but no series; of what others choose not even that.
        let clash = if is_guest { is_clash } else { is_shared };
        let clashes = |layout: &Layout| {
            let live = self.live().any(|(name, other)| name != &*kept.set && clash(layout, other));
            let late = self.late.declared.iter();
            live || late.filter(|set| set.name != kept.set).any(|set| clash(layout, &set.layout))
        };
        let (layout, left) = if is_guest && clashes(&kept.layout) {
            // Others choose these names: what others have is left out, as it is in live pushes.
            let (layout, left) = kept.layout.only(|family| !clashes(&Layout::of_one(family)));
            (Arc::new(layout), Some(Arc::new(left)))
        } else {
            (Arc::clone(&kept.layout), None)
        };
        if layout.total() == 0 {
            return None;
        }
        let of_live = self.live_number(&kept.set, &layout);
        let same = |set: &&LateSet| set.name == kept.set && set.layout.families() == layout.families();
        if let Some(number) = of_live.or_else(|| Some(self.late.declared.iter().find(same)?.number)) {
            return Some(Said { number, left });
        }
        if (!is_guest && clashes(&layout)) || !self.has_room(&layout) {
            return None;
        }
        let (number, before) = (self.take_number(), out.len());
        declare_lines(number, &kept.set, None, layout.families(), self.line_max(), out);
        let mut lines = out.get(before..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        if lines.any(|line| line.len() > self.line_max()) {
            out.truncate(before);
            return None;
        }
        self.late.declared.push(LateSet { name: Arc::clone(&kept.set), number, layout });
        Some(Said { number, left })
    }
}

/// Is there a series that stands in both?
fn is_shared(some: &Layout, other: &Layout) -> bool {
    let shared = some.families().iter().filter_map(|family| {
        let same = other.families().iter().find(|other| other.name == family.name)?;
        Some((family, same))
    });
    shared.into_iter().any(|(family, same)| {
        let known: HashSet<_> = same.series.iter().map(key).collect();
        family.series.iter().any(|series| known.contains(&key(series)))
    })
}

/// Labels in another order make no other series.
fn key(series: &Series) -> (&str, Vec<(&str, &str)>) {
    let mut labels: Vec<(&str, &str)> = series.labels.iter().collect();
    labels.sort_unstable();
    (&series.suffix, labels)
}
