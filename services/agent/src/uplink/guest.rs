//! What of the text files may be declared beside the agent's own sets.
//!
//! Others choose the names there, and an aggregator refuses an agent that has a series in two
//! sets. So a family that the agent itself sends is not taken from them, nor one that would own
//! one of its names, nor what the agent's own sets leave no room for.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::declare::owned_names;
use protocol::frame::Family;

use super::link::Unsent;
use super::room::Room;
use crate::collect::batch::Layout;

/// The set whose names others choose.
pub(super) const SET: &str = "textfile";
/// The guest's layout, and what of it may be declared.
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// Which layout that was decided for, and when.
    of: Option<(Arc<Layout>, u64)>,
    admitted: Arc<Layout>,
    /// Which values are those of the admitted; `None`: all.
    left: Option<Vec<usize>>,
    unsent: Vec<Unsent>,
}

/// What there is besides the guest.
pub(super) struct Hosts<'a> {
    /// Changes whenever something else here does.
    pub(super) age: u64,
    /// All other sets that the aggregator knows at the moment.
    pub(super) layouts: Vec<&'a Layout>,
    /// The room that they leave.
    pub(super) room: Room,
    /// What the agent's labels take of each series' room.
    pub(super) labels: usize,
}

impl Guest {
    /// Decides what of a layout may be declared now, and gives it with what is left out.
    pub(super) fn admit(&mut self, layout: &Arc<Layout>, hosts: &Hosts<'_>) -> (Arc<Layout>, &[Unsent]) {
        if !self.of.as_ref().is_some_and(|(of, age)| Arc::ptr_eq(of, layout) && *age == hosts.age) {
            self.decide(layout, hosts);
            self.of = Some((Arc::clone(layout), hosts.age));
        }
        (Arc::clone(&self.admitted), &self.unsent)
    }

    fn decide(&mut self, layout: &Arc<Layout>, hosts: &Hosts<'_>) {
        let taken: HashSet<String> = hosts.layouts.iter().flat_map(|other| other.families()).flat_map(names).collect();
        let mut room = hosts.room;
        let (mut duplicate, mut limit) = (LeftOut::default(), LeftOut::default());
        let (admitted, left) = layout.only(|family| {
            let takes = Room::of_family(family, hosts.labels);
            if names(family).any(|name| taken.contains(&name)) {
                duplicate.add(family);
                return false;
            }
            if !room.holds(takes) {
                limit.add(family);
                return false;
            }
            room = room.without(takes);
            true
        });
        self.unsent = duplicate.unsent("duplicate").into_iter().chain(limit.unsent("limit")).collect();
        // The same families as before need not be declared anew.
        if self.unsent.is_empty() {
            (self.admitted, self.left) = (Arc::clone(layout), None);
        } else {
            if self.admitted.families() != admitted.families() {
                self.admitted = Arc::new(admitted);
            }
            self.left = Some(left);
        }
    }

    /// The values of what is admitted.
    pub(super) fn pick(&self, values: &[f64]) -> Option<Vec<f64>> {
        let left = self.left.as_ref()?;
        Some(left.iter().filter_map(|at| values.get(*at)).copied().collect())
    }
}

/// Families that are left out for one reason.
#[derive(Debug, Default)]
struct LeftOut {
    first: Option<String>,
    series: usize,
}

impl LeftOut {
    fn add(&mut self, family: &Family) {
        self.first.get_or_insert_with(|| family.name.clone());
        self.series += family.series.len();
    }

    fn unsent(self, why: &'static str) -> Option<Unsent> {
        let Self { first, series } = self;
        first.map(|family| Unsent { set: SET, family: Some(family), series, why })
    }
}

/// Would a line of one of these families be read as one of the other's?
pub(super) fn is_clash(some: &Layout, others: &Layout) -> bool {
    let taken: HashSet<String> = others.families().iter().flat_map(names).collect();
    some.families().iter().flat_map(names).any(|name| taken.contains(&name))
}

fn names(family: &Family) -> impl Iterator<Item = String> {
    owned_names(family.kind, &family.name)
}
