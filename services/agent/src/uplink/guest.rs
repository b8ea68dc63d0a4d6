//! What of the text files may be declared beside the agent's own sets.
//!
//! Others choose the names there, and an aggregator refuses an agent that has a series in two
//! sets. So a family that the agent itself sends is not taken from them, nor one that would own
//! one of its names, nor what the agent's own sets leave no room for.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::frame::{Family, MetricType};

use super::link::Unsent;
use crate::collect::batch::Layout;

/// The set whose names others choose.
pub(super) const SET: &str = "textfile";
/// How much text its names and labels may be, for each series that is granted to the agent: a
/// quarter of what an aggregator gives room for, since a set is declared anew before it is retired.
const TEXT_BYTES_PER_SERIES: usize = 64;
/// What a series and a family take in the aggregator besides their own text, about.
const SERIES_OVERHEAD: usize = 128;
const FAMILY_OVERHEAD: usize = 2048;

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
    /// How many series are granted to the agent.
    pub(super) series_max: usize,
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
        let mut series = hosts.series_max.saturating_sub(hosts.layouts.iter().map(|other| other.total()).sum());
        let mut text = hosts.series_max.saturating_mul(TEXT_BYTES_PER_SERIES);
        let (mut duplicate, mut limit) = (0, 0);
        let (admitted, left) = layout.only(|family| {
            let (count, cost) = (family.series.len(), cost(family));
            if names(family).any(|name| taken.contains(&name)) {
                duplicate += count;
                return false;
            }
            if count > series || cost > text {
                limit += count;
                return false;
            }
            (series, text) = (series - count, text - cost);
            true
        });
        let unsent = [(duplicate, "duplicate"), (limit, "limit")].into_iter().filter(|(series, _)| *series > 0);
        self.unsent = unsent.map(|(series, why)| Unsent { set: SET, series, why }).collect();
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

/// Would a line of one of these families be read as one of the other's?
pub(super) fn is_clash(some: &Layout, others: &Layout) -> bool {
    let taken: HashSet<String> = others.families().iter().flat_map(names).collect();
    some.families().iter().flat_map(names).any(|name| taken.contains(&name))
}

/// The names that a family owns on the page.
fn names(family: &Family) -> impl Iterator<Item = String> {
    let suffixes: &[&str] = match family.kind {
        MetricType::Histogram => &["", "_bucket", "_sum", "_count"],
        MetricType::Summary => &["", "_sum", "_count"],
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => &[""],
    };
    suffixes.iter().map(|suffix| format!("{}{suffix}", family.name))
}

fn cost(family: &Family) -> usize {
    let labels = |series: &protocol::frame::Series| {
        series.labels.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>()
    };
    let each = family.name.len() + SERIES_OVERHEAD;
    let series: usize = family.series.iter().map(|series| each + series.suffix.len() + labels(series)).sum();
    FAMILY_OVERHEAD + family.name.len() * 8 + family.help.len() + series
}
