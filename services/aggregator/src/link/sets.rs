//! The sets that a connection has declared.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::frame::Declare;

use crate::fleet::declared::Declared;

/// The sets of a connection.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) declared: HashMap<u64, Arc<Declared>>,
    /// What each took of the room for text.
    costs: HashMap<u64, usize>,
}

impl Sets {
    pub(super) fn insert(&mut self, number: u64, declared: Arc<Declared>, cost: usize) {
        self.declared.insert(number, declared);
        self.costs.insert(number, cost);
    }

    /// Is there a set of that name which has about as many series? Then the new one takes its place.
    pub(super) fn has_such(&self, line: &Declare) -> bool {
        let mut same = self.declared.values().filter(|declared| *declared.name == line.name);
        let total = usize::try_from(line.total).unwrap_or(usize::MAX);
        same.any(|declared| total <= declared.len() + declared.len() / 10 + 16)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<(Arc<Declared>, usize)> {
        Some((self.declared.remove(&number)?, self.costs.remove(&number)?))
    }
}
