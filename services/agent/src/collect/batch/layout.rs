//! What a set consists of, and by which calls it came about.

use std::hash::{DefaultHasher, Hash, Hasher};

use protocol::frame::{Family, Series};
use protocol::{Labels, cost, declare};

/// Why a series is not sent: the `reason` label of `fleetgauge_collector_dropped_series_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// The aggregator would refuse its name, its labels or its shape.
    Unfit,
    /// The same series came before.
    Duplicate,
    /// More series than one batch takes.
    Limit,
}

impl Unsent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unfit, Self::Duplicate, Self::Limit];

    /// As it stands in the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfit => "unfit",
            Self::Duplicate => "duplicate",
            Self::Limit => "limit",
        }
    }
}

/// One call to a batch, as remembered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Slot {
    /// Which family, which of its series.
    Kept { family: u32, series: u32 },
    /// Which of the dropped ones.
    Dropped(u32),
    /// One of too many dropped ones: why, and by what it is recognised.
    Forgotten(Unsent, u64),
}

/// A series that is not sent, remembered so that it is recognised when it comes again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dropped {
    pub(super) family: String,
    pub(super) series: Series,
    pub(super) why: Unsent,
}

/// What a set consists of: families with their series, in the order of the values.
#[derive(Debug, Default, PartialEq)]
pub struct Layout {
    pub(super) families: Vec<Family>,
    /// Where the values of each family begin.
    pub(super) starts: Vec<usize>,
    pub(super) total: usize,
    /// What its names and labels take in an aggregator, in bytes.
    pub(super) text: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) dropped: Vec<Dropped>,
    /// How many series were dropped, in the order of [`Unsent::ALL`].
    pub(super) dropped_counts: [usize; Unsent::ALL.len()],
    /// What is wrong with the first dropped series, in words.
    pub(super) complaint: Option<String>,
}

impl Layout {
    /// The layout of families that were kept somewhere; `None` if they are not fit to be declared.
    #[must_use]
    pub(crate) fn of(families: Vec<Family>) -> Option<Self> {
        let mut layout = Self::default();
        for family in families {
            declare::check_family(&family).ok()?;
            for series in &family.series {
                declare::check_series(&family, series).ok()?;
            }
            layout.starts.push(layout.total);
            layout.total += family.series.len();
            layout.text += text_of(&family);
            layout.families.push(family);
        }
        Some(layout)
    }

    /// The layout of one family that is fit to be declared.
    #[must_use]
    pub(crate) fn of_one(family: &Family) -> Self {
        let (total, text) = (family.series.len(), text_of(family));
        Self { families: vec![family.clone()], starts: vec![0], total, text, ..Self::default() }
    }

    /// The families, fit to be declared.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// How many series, and so values, it has.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// What its names and labels take in an aggregator, in bytes, without those that the agent
    /// gives to all series.
    #[must_use]
    pub fn text(&self) -> usize {
        self.text
    }

    /// How many series were dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (Unsent, usize)> {
        Unsent::ALL.into_iter().zip(self.dropped_counts)
    }

    /// What is wrong with the first series that was dropped; `None` if none was, or if the collector
    /// tells the log itself.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// The layout without some of its families, and which of its values are left.
    #[must_use]
    pub fn only(&self, mut stays: impl FnMut(&Family) -> bool) -> (Self, Vec<usize>) {
        let (mut less, mut left) = (Self::default(), vec![]);
        for (family, start) in self.families.iter().zip(&self.starts).filter(|(family, _)| stays(family)) {
            less.starts.push(less.total);
            less.total += family.series.len();
            less.text += text_of(family);
            less.families.push(family.clone());
            left.extend(*start..*start + family.series.len());
        }
        (less, left)
    }

    pub(super) fn is(&self, slot: Slot, name: &str, suffix: &str, labels: &[(&str, &str)]) -> bool {
        let (family, series) = match slot {
            Slot::Kept { family, series } => {
                let Some(family) = self.families.get(family as usize) else { return false };
                (family.name.as_str(), family.series.get(series as usize))
            }
            Slot::Dropped(at) => {
                let dropped = self.dropped.get(at as usize);
                (dropped.map_or("", |dropped| dropped.family.as_str()), dropped.map(|dropped| &dropped.series))
            }
            Slot::Forgotten(_, mark) => return mark == mark_of(name, suffix, labels.iter().copied()),
        };
        family == name && series.is_some_and(|series| series.suffix == suffix && same_labels(&series.labels, labels))
    }

    pub(super) fn position(&self, slot: Slot) -> Option<usize> {
        match slot {
            Slot::Kept { family, series } => self.starts.get(family as usize).map(|start| start + series as usize),
            Slot::Dropped(_) | Slot::Forgotten(..) => None,
        }
    }
}

/// By what a dropped series is recognised that is not kept. Two with the same mark would be taken
/// for one another, and both are dropped.
pub(super) fn mark_of<'a>(name: &str, suffix: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, suffix).hash(&mut hasher);
    labels.for_each(|label| label.hash(&mut hasher));
    hasher.finish()
}

/// What it takes in an aggregator, see [`Layout::text`].
pub(super) fn text_of(family: &Family) -> usize {
    cost::of_head(family) + cost::of_series(family)
}

fn same_labels(known: &Labels, given: &[(&str, &str)]) -> bool {
    known.0.len() == given.len() && known.iter().eq(given.iter().copied())
}
