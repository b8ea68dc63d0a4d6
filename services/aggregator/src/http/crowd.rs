//! So many HTTP connections and no more. When all places are taken, the connection that has been
//! there longest without asking anything makes room: connections that say nothing cannot keep
//! Prometheus out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// Open HTTP connections: scrapers, browsers, health checks.
const CONNECTIONS_MAX: usize = 512;
/// How long one that is told to go may take; it has nothing to finish.
const GOES_WITHIN: Duration = Duration::from_secs(1);

/// Set with a connection's first request.
#[derive(Debug, Clone, Default)]
pub(super) struct HasAsked(Arc<AtomicBool>);

impl HasAsked {
    /// It has.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Place {
    /// Held as long as the connection is open.
    pub(super) slot: OwnedSemaphorePermit,
    /// Completes when the place is needed by somebody else.
    pub(super) leave: oneshot::Receiver<()>,
    /// To be set with the first request.
    pub(super) has_asked: HasAsked,
}

/// All places.
#[derive(Debug)]
pub(super) struct Crowd {
    slots: Arc<Semaphore>,
    /// Those that had not asked anything when they were last looked at, the oldest first. Never
    /// longer than twice the number of places.
    silent: VecDeque<(HasAsked, oneshot::Sender<()>)>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)), silent: VecDeque::new() }
    }

    /// A place for a newcomer; and whether somebody was turned away for it, or the newcomer itself,
    /// because everybody has asked something.
    pub(super) async fn enter(&mut self) -> (Option<Place>, bool) {
        if self.silent.len() > CONNECTIONS_MAX {
            self.silent.retain(|(has_asked, leave)| !has_asked.get() && !leave.is_closed());
        }
        let is_full = self.slots.available_permits() == 0;
        if is_full && !self.turn_one_away() {
            return (None, true);
        }
        // Who was turned away needs a moment to go.
        let slot = timeout(GOES_WITHIN, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { return (None, true) };
        let (sender, leave) = oneshot::channel();
        let has_asked = HasAsked::default();
        // A connection that is over, or has asked, leaves a useless entry here, which goes above.
        self.silent.push_back((has_asked.clone(), sender));
        (Some(Place { slot, leave, has_asked }), is_full)
    }

    /// Tells the longest silent connection to go; false if there is none.
    fn turn_one_away(&mut self) -> bool {
        while let Some((has_asked, leave)) = self.silent.pop_front() {
            if !has_asked.get() && leave.send(()).is_ok() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_one_makes_room() {
        let mut crowd = Crowd::new();
        let mut places: VecDeque<Place> = VecDeque::new();
        for _ in 0..CONNECTIONS_MAX {
            places.push_back(crowd.enter().await.0.unwrap());
        }
        let mut asked = places.pop_front().unwrap();
        asked.has_asked.set();
        let silent = places.pop_front().unwrap();
        // It goes as soon as it is told to, and the newcomer has its place.
        let goes = async {
            silent.leave.await.unwrap();
            drop(silent.slot);
        };
        let (newcomer, ()) = tokio::join!(crowd.enter(), goes);
        assert!(newcomer.0.is_some() && newcomer.1);
        assert!(asked.leave.try_recv().is_err() && places[0].leave.try_recv().is_err(), "nobody else is told");
    }

    #[tokio::test(start_paused = true)]
    async fn when_everybody_has_asked_the_newcomer_is_turned_away() {
        let mut crowd = Crowd::new();
        let mut places = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let place = crowd.enter().await.0.unwrap();
            place.has_asked.set();
            places.push(place);
        }
        assert!(matches!(crowd.enter().await, (None, true)));
        places.pop();
        assert!(matches!(crowd.enter().await, (Some(_), false)));
    }
}
