//! What a collector fills: named series and their values, in any order.
//!
//! A host says nearly the same at every measurement, so a batch remembers the last sequence of
//! calls as its [`Layout`]. While the calls are the same ones again, only their values are
//! written and nothing is allocated; at the first that differs, the layout is built anew.

mod layout;

use std::collections::HashMap;
use std::sync::Arc;

use protocol::frame::{Family, MetricType, Series};
use protocol::{ABSENT, Labels, declare};

use layout::{Dropped, Slot, mark_of, text_of};
pub use layout::{Layout, Unsent};

/// Most series that one batch takes; what comes after is dropped and counted. It is what a link
/// grants to a whole agent.
pub const SERIES_MAX: usize = protocol::limits::SERIES_PER_AGENT_MAX;

/// Most dropped series that are kept as such; of the others only a mark is left.
const DROPPED_MAX: usize = 1000;

/// The series of one collector and their values.
#[derive(Debug, Default)]
pub struct Batch {
    layout: Arc<Layout>,
    values: Vec<f64>,
    /// How many calls came so far.
    calls: usize,
    /// The layout that is being built because the calls are no longer the former ones.
    building: Option<Box<Building>>,
    /// Does the collector tell the log itself what is dropped?
    is_told: bool,
}

#[derive(Debug, Default)]
struct Building {
    layout: Layout,
    values: Vec<(Slot, f64)>,
    families: HashMap<String, u32>,
    /// Keys of the series taken so far.
    seen: HashMap<String, ()>,
}

impl Batch {
    /// A batch that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(MetricType::Gauge, name, help, "", labels, value);
    }

    /// A value that only grows.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(MetricType::Counter, name, help, "", labels, value);
    }

    /// A value of which only the name is known.
    pub fn untyped(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(MetricType::Untyped, name, help, "", labels, value);
    }

    /// Any series; `suffix` is `_bucket`, `_sum` or `_count` of a histogram or summary.
    pub fn push(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        suffix: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        if self.building.is_none() {
            let known = self.layout.slots.get(self.calls).copied();
            if let Some(slot) = known.filter(|slot| self.layout.is(*slot, name, suffix, labels)) {
                if let Some(at) = self.layout.position(slot).and_then(|at| self.values.get_mut(at)) {
                    *at = value;
                }
                self.calls += 1;
                return;
            }
        }
        let building = match self.building.take() {
            Some(building) => building,
            None => Box::new(self.rebuild()),
        };
        self.building.insert(building).add(kind, name, help, suffix, labels, value);
        self.calls += 1;
    }

    /// The collector tells the log itself what of this batch is dropped, and better.
    pub fn tells_itself(&mut self) {
        self.is_told = true;
    }

    /// Begins a new layout with the calls that were still the former ones.
    fn rebuild(&self) -> Building {
        let mut building = Building::default();
        for slot in self.layout.slots.iter().take(self.calls) {
            match *slot {
                Slot::Kept { family, series } => {
                    let value = self.layout.position(*slot).and_then(|at| self.values.get(at)).copied();
                    let family = self.layout.families.get(family as usize);
                    let known = family.and_then(|family| Some((family, family.series.get(series as usize)?)));
                    if let (Some((family, series)), Some(value)) = (known, value) {
                        let labels: Vec<(&str, &str)> = series.labels.iter().collect();
                        building.add(family.kind, &family.name, &family.help, &series.suffix, &labels, value);
                    }
                }
                Slot::Dropped(at) => {
                    if let Some(dropped) = self.layout.dropped.get(at as usize) {
                        let complaint = || self.layout.complaint.clone().unwrap_or_default();
                        building.drop_series(dropped.clone(), complaint);
                    }
                }
                Slot::Forgotten(why, mark) => building.forget_series(why, mark),
            }
        }
        building
    }

    /// Forgets the values and begins anew; the layout stays known.
    pub fn begin(&mut self) {
        self.calls = 0;
        self.building = None;
        self.values.fill(ABSENT);
    }

    /// Forgets the layout: to be called before the first series of a reading in which types or
    /// helps are no longer the former ones.
    pub fn forget(&mut self) {
        self.layout = Arc::default();
        self.values.clear();
    }

    /// Ends a reading. `whole` is false when the collector failed on the way: then series that
    /// did not come are absent for now, instead of gone.
    pub fn finish(&mut self, whole: bool) {
        if whole && self.building.is_none() && self.calls < self.layout.slots.len() {
            self.building = Some(Box::new(self.rebuild()));
        }
        if let Some(building) = self.building.take() {
            let (mut layout, values) = building.finish();
            layout.complaint.take_if(|_| self.is_told);
            self.layout = Arc::new(layout);
            self.values = values;
        }
    }

    /// Did no series come since [`Batch::begin`]?
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.calls == 0
    }

    /// The layout; the same `Arc` as long as it does not change.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The values, in the order of the layout.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

impl Building {
    fn add(&mut self, kind: MetricType, name: &str, help: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let series = Series { suffix: suffix.to_owned(), labels: Labels::of(labels) };
        match self.place(kind, name, help, &series) {
            Ok(family) => {
                let Some(known) = self.layout.families.get_mut(family as usize) else { return };
                let slot = Slot::Kept { family, series: index(known.series.len()) };
                known.series.push(series);
                self.layout.slots.push(slot);
                self.values.push((slot, value));
            }
            Err((why, complaint)) => {
                self.drop_series(Dropped { family: name.to_owned(), series, why }, || complaint);
            }
        }
    }

    fn drop_series(&mut self, dropped: Dropped, complaint: impl FnOnce() -> String) {
        self.layout.complaint.get_or_insert_with(complaint);
        let Dropped { family, series, why } = &dropped;
        if self.layout.dropped.len() >= DROPPED_MAX {
            return self.forget_series(*why, mark_of(family, &series.suffix, series.labels.iter()));
        }
        self.count(*why);
        self.layout.slots.push(Slot::Dropped(index(self.layout.dropped.len())));
        self.layout.dropped.push(dropped);
    }

    fn forget_series(&mut self, why: Unsent, mark: u64) {
        self.count(why);
        self.layout.slots.push(Slot::Forgotten(why, mark));
    }

    fn count(&mut self, why: Unsent) {
        let counts = Unsent::ALL.iter().zip(&mut self.layout.dropped_counts);
        counts.filter(|(of, _)| **of == why).for_each(|(_, count)| *count += 1);
    }

    /// The number of the family that this series may join.
    fn place(&mut self, kind: MetricType, name: &str, help: &str, series: &Series) -> Result<u32, (Unsent, String)> {
        if self.values.len() >= SERIES_MAX {
            return Err((Unsent::Limit, format!("more than {SERIES_MAX} series")));
        }
        let bare = Family { name: name.to_owned(), kind, help: clipped(help), unit: String::new(), series: vec![] };
        let known = self.families.get(name).copied();
        if let Some(other) = known.and_then(|at| self.layout.families.get(at as usize)).filter(|f| f.kind != kind) {
            let other = other.kind;
            return Err((Unsent::Unfit, format!("{name} is a {other:?} here and a {kind:?} there")));
        }
        let fit = declare::check_family(&bare).and_then(|()| declare::check_series(&bare, series));
        fit.map_err(|unfit| (Unsent::Unfit, unfit.reason))?;
        let key = key(name, series);
        if self.seen.contains_key(&key) {
            return Err((Unsent::Duplicate, format!("{key} stands twice")));
        }
        self.seen.insert(key, ());
        Ok(known.unwrap_or_else(|| {
            let at = index(self.layout.families.len());
            self.layout.families.push(bare);
            self.families.insert(name.to_owned(), at);
            at
        }))
    }

    fn finish(self) -> (Layout, Vec<f64>) {
        let mut layout = self.layout;
        for family in &layout.families {
            layout.starts.push(layout.total);
            layout.total += family.series.len();
            layout.text += text_of(family);
        }
        let mut values = vec![ABSENT; layout.total];
        for (slot, value) in self.values {
            if let Some(at) = layout.position(slot).and_then(|at| values.get_mut(at)) {
                *at = value;
            }
        }
        (layout, values)
    }
}

/// A HELP text within its limit: too long a one is no reason to lose the numbers.
fn clipped(help: &str) -> String {
    let mut end = help.len().min(protocol::limits::HELP_BYTES_MAX);
    while !help.is_char_boundary(end) {
        end -= 1;
    }
    help.get(..end).unwrap_or_default().to_owned()
}

/// A series' name and labels as text, labels in alphabetical order: their order does not make
/// two series of one.
fn key(name: &str, series: &Series) -> String {
    let mut labels: Vec<(&str, &str)> = series.labels.iter().collect();
    labels.sort_unstable();
    format!("{name}{}{labels:?}", series.suffix)
}

/// Batches end at [`SERIES_MAX`] kept series, and a collector that makes four billion calls does
/// not come back.
fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
