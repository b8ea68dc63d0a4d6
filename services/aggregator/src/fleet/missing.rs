//! What an agent says that it lost itself, before anything of it came here. It counts within its
//! session; here the counts of all its sessions are added, and never go down.

use std::collections::BTreeMap;

use protocol::limits::LOST_REASONS;

/// Samples that never came, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    session: String,
    former: [u64; LOST_REASONS.len()],
    newest: [u64; LOST_REASONS.len()],
}

impl Missing {
    /// A connection of this session begins. In another one the agent counts from 0.
    pub(super) fn begin(&mut self, session: &str) {
        if self.session != session {
            session.clone_into(&mut self.session);
            self.former = self.totals();
            self.newest = Default::default();
        }
    }

    /// The agent's own counts, as of now. A reason that nobody knows is `other`.
    pub(super) fn add(&mut self, lost: &BTreeMap<String, u64>) {
        if lost.is_empty() {
            return;
        }
        let mut said = [0_u64; LOST_REASONS.len()];
        for (reason, count) in lost {
            let at = LOST_REASONS.iter().position(|known| known == reason).unwrap_or(LOST_REASONS.len() - 1);
            if let Some(sum) = said.get_mut(at) {
                *sum = sum.saturating_add(*count);
            }
        }
        for (newest, said) in self.newest.iter_mut().zip(said) {
            *newest = said.max(*newest);
        }
    }

    fn totals(&self) -> [u64; LOST_REASONS.len()] {
        let mut totals = self.former;
        for (total, newest) in totals.iter_mut().zip(self.newest) {
            *total = total.saturating_add(newest);
        }
        totals
    }

    /// Each reason, and how many samples were lost for it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LOST_REASONS.into_iter().zip(self.totals())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(missing: &mut Missing, lost: &[(&str, u64)]) -> Vec<(&'static str, u64)> {
        missing.add(&lost.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect());
        missing.iter().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn counts_of_all_sessions_are_added_and_never_go_down() {
        let mut missing = Missing::default();
        missing.begin("a");
        assert_eq!(said(&mut missing, &[("spool_full", 10)]), [("spool_full", 10)]);
        assert_eq!(said(&mut missing, &[("spool_full", 7)]), [("spool_full", 10)], "never down");
        missing.begin("a");
        assert_eq!(said(&mut missing, &[("spool_full", 12), ("moths", 1)]), [("spool_full", 12), ("other", 1)]);
        missing.begin("b");
        assert_eq!(
            said(&mut missing, &[("spool_full", 1), ("rust", 2), ("other", 3)]),
            [("spool_full", 13), ("other", 6)]
        );
        assert_eq!(said(&mut missing, &[("spool_full", u64::MAX)]), [("spool_full", u64::MAX), ("other", 6)]);
    }
}
