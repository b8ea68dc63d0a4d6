//! Whose turn it is: long answers take memory while their clients read, so only some are under way
//! at a time, and one address has only a part of those. Pages over HTTP are sent so too.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Long answers of all connections.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    each_max: usize,
    /// Those of addresses that have one, or wait for one.
    each: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// A long answer may be under way as long as this is held.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_its_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at a time, and so many of one address.
    pub(crate) fn new(max: usize, each_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(max)), each_max, each: Mutex::default() }
    }

    /// A turn, if there is one at once.
    pub(crate) fn try_take(&self, address: IpAddr) -> Option<Turn> {
        let of_its_address = self.of(address).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Turn { _of_its_address: of_its_address, _of_all: of_all })
    }

    /// Waits for a turn; whoever came first is first. Dropping it gives up the place.
    pub(crate) async fn take(&self, address: IpAddr) -> Option<Turn> {
        // In this order: who waits for its own address takes nothing from others.
        let of_its_address = self.of(address).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _of_its_address: of_its_address, _of_all: of_all })
    }

    fn of(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = each.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        // So there are never more than connections, and one.
        each.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.each_max));
        each.insert(address, Arc::downgrade(&turns));
        turns
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn taken(&self, max: usize) -> usize {
        max - self.all.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_part_and_is_forgotten() {
        let turns = Turns::new(5, 2);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let first: Vec<_> = (0..3).filter_map(|_| turns.try_take(address(1))).collect();
        assert_eq!(first.len(), 2, "its part");
        let others: Vec<_> = (2..9).filter_map(|last| turns.try_take(address(last))).collect();
        assert_eq!((others.len(), turns.taken(5)), (3, 5), "all there are");
        drop(first);
        assert!(turns.try_take(address(9)).is_some());
        drop(others);
        for last in 0..=255 {
            assert!(turns.try_take(address(last)).is_some());
        }
        assert_eq!(turns.each.lock().unwrap().len(), 1, "the last one");
        assert_eq!(turns.taken(5), 0);
    }
}
