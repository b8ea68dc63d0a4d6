//! Connections that have not said a whole `hello` yet: so many and no more. When all places are
//! taken, the one that has waited longest makes room, so that connections that say nothing cannot
//! keep out agents, which say `hello` at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Nobody makes room sooner: that would only exchange one agent of a herd for another.
const SPARED: Duration = Duration::from_millis(250);

/// All of them.
#[derive(Debug)]
pub struct Handshakes {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By age, since numbers grow.
    places: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Handshake {
    id: u64,
    of: Arc<Handshakes>,
    leave: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Places for so many.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    /// A place for a newcomer; `None`: all are taken, by others that came a moment ago.
    #[must_use]
    pub fn begin(self: &Arc<Self>, now: Instant) -> Option<Handshake> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.places.len() >= self.max {
            let oldest = open.places.first_entry()?;
            if now.saturating_duration_since(oldest.get().0) < SPARED {
                return None;
            }
            let (_, leave) = oldest.remove();
            let _may_be_done = leave.send(());
        }
        let id = open.next;
        open.next += 1;
        let (sender, leave) = oneshot::channel();
        open.places.insert(id, (now, sender));
        Some(Handshake { id, of: Arc::clone(self), leave })
    }

    /// How many there are now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).places.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Handshake {
    /// Completes when the place is needed by a newcomer.
    pub async fn displaced(&mut self) {
        // Without an answer the place was given up already.
        let _told = (&mut self.leave).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.of.open.lock().unwrap_or_else(PoisonError::into_inner).places.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_unless_it_has_just_come() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(2));
        let (mut first, second) = (all.begin(start).unwrap(), all.begin(start).unwrap());
        assert!(all.begin(start + SPARED / 2).is_none());
        let third = all.begin(start + SPARED).unwrap();
        first.displaced().await;
        assert_eq!(all.len(), 2, "the first one's place is the third's");
        drop(first);
        assert_eq!(all.len(), 2, "and is given back once");
        drop((second, third));
        assert!(all.is_empty());
    }
}
