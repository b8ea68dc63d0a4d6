//! Why samples are dropped: the `reason` of `fleetgauge_samples_dropped_total`, and of the counters
//! that are kept for each agent.

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Another family owns their name.
    Conflict,
    /// They were late, and there was nowhere to put them.
    Late,
    /// They were late, and measured while their agent's series stood on the page: between what was
    /// scraped then they would look like counters that begin anew.
    OnPage,
    /// They are older than remote write takes (`FLEETGAUGE_REMOTE_WRITE_WINDOW`).
    TooOld,
    /// Nobody can have measured them then.
    AbsurdTime,
    /// Remote write refused them.
    Refused,
    /// No room was left for what waits (`FLEETGAUGE_REMOTE_WRITE_BUFFER`).
    NoRoom,
    /// The history did not take them.
    History,
    /// The connection ended before they were safe: their agent keeps them, and sends them again.
    LinkLost,
    /// Another connection of their agent had taken over.
    Superseded,
    /// Another aggregator still showed their agent's series, so they were not shown here.
    Hidden,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Conflict,
        Self::Late,
        Self::OnPage,
        Self::TooOld,
        Self::AbsurdTime,
        Self::Refused,
        Self::NoRoom,
        Self::History,
        Self::LinkLost,
        Self::Superseded,
        Self::Hidden,
    ];

    /// The `reason` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Late => "late",
            Self::OnPage => "on_page",
            Self::TooOld => "too_old",
            Self::AbsurdTime => "absurd_time",
            Self::Refused => "refused",
            Self::NoRoom => "no_room",
            Self::History => "history",
            Self::LinkLost => "link_lost",
            Self::Superseded => "superseded",
            Self::Hidden => "hidden",
        }
    }
}

/// How many samples were dropped, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DroppedSamples([u64; Dropped::ALL.len()]);

impl DroppedSamples {
    /// So many more.
    pub fn add(&mut self, reason: Dropped, samples: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += samples;
        }
    }

    /// How many for this reason.
    #[must_use]
    pub fn get(&self, reason: Dropped) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Each reason, by its label, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Dropped::ALL.iter().map(|reason| (reason.as_str(), self.get(*reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_under_its_own_label() {
        for (at, reason) in Dropped::ALL.into_iter().enumerate() {
            let mut dropped = DroppedSamples::default();
            dropped.add(reason, 2);
            dropped.add(reason, 3);
            let counted: Vec<_> = dropped.iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!((counted, reason as usize), (vec![(reason.as_str(), 5)], at));
        }
    }
}
