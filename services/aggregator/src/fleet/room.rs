//! Room that many share: series of all agents, bytes of half received lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much and no more, for all together.
#[derive(Debug, Clone)]
pub struct Room {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Room {
    /// Room for `max` units.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    /// An empty share of it.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { room: self.clone(), held: 0 }
    }

    /// Units in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// All units.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }
}

/// What one holds of a room; given back when dropped.
#[derive(Debug)]
pub struct Share {
    room: Room,
    held: usize,
}

impl Share {
    /// Holds `units` from now on, more or fewer than before; false, and nothing changed, when
    /// there is no room for them.
    #[must_use]
    pub fn resize(&mut self, units: usize) -> bool {
        if units > self.held {
            let more = units - self.held;
            let grow = |used: usize| used.checked_add(more).filter(|sum| *sum <= self.room.max);
            if self.room.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_err() {
                return false;
            }
        } else {
            self.room.used.fetch_sub(self.held - units, Ordering::Relaxed);
        }
        self.held = units;
        true
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let room = Room::new(10);
        let (mut a, mut b) = (room.share(), room.share());
        assert!(a.resize(6) && b.resize(4) && !b.resize(5));
        assert_eq!((room.used(), b.held()), (10, 4));
        assert!(a.resize(2) && b.resize(8));
        drop(b);
        assert_eq!(room.used(), 2);
    }
}
