//! How much an aggregator grants to an agent, and what sets take of it.

use protocol::cost;
use protocol::frame::{Family, Limits};
use protocol::limits::{SERIES_PER_AGENT_MAX, SETS_PER_AGENT_MAX, text_bytes_max};

use crate::collect::batch::Layout;

/// Room that there is, or that is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) sets: usize,
    pub(super) series: usize,
    /// Bytes of names and labels, as [`protocol::cost`] counts them.
    pub(super) text: usize,
}

impl Room {
    /// What is granted: not more than this version ever uses.
    pub(super) fn granted(granted: Limits) -> Self {
        let most = |granted: u64, own: usize| usize::try_from(granted).unwrap_or(usize::MAX).min(own);
        let series = most(granted.series, SERIES_PER_AGENT_MAX);
        Self { sets: most(granted.sets, SETS_PER_AGENT_MAX), series, text: text_bytes_max(series) }
    }

    /// What a set takes when the agent's labels take so much of each series.
    pub(super) fn of_set(layout: &Layout, labels: usize) -> Self {
        let series = layout.total();
        Self { sets: 1, series, text: layout.text() + series * labels }
    }

    /// The same of a family in a set.
    pub(super) fn of_family(family: &Family, labels: usize) -> Self {
        let series = family.series.len();
        Self { sets: 0, series, text: cost::of_head(family) + cost::of_series(family) + series * labels }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { sets: self.sets + other.sets, series: self.series + other.series, text: self.text + other.text }
    }

    /// What is left of it.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            sets: self.sets.saturating_sub(other.sets),
            series: self.series.saturating_sub(other.series),
            text: self.text.saturating_sub(other.text),
        }
    }

    pub(super) fn holds(self, other: Self) -> bool {
        self.sets >= other.sets && self.series >= other.series && self.text >= other.text
    }
}
