//! So many HTTP connections and no more. When all places are taken, the connection that has been
//! idle longest makes room: neither connections that say nothing nor ones that ask now and then
//! can keep Prometheus out.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

/// Open HTTP connections: scrapers, browsers, health checks.
const CONNECTIONS_MAX: usize = 512;
/// How long one that is told to go may take; it has nothing to finish.
const GOES_WITHIN: Duration = Duration::from_secs(1);

/// What a connection does.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Doing>);

#[derive(Debug)]
struct Doing {
    from: IpAddr,
    start: Instant,
    /// Milliseconds after `start` of the last request, or of the beginning.
    last_ms: AtomicU64,
    /// Pages that it waits for, or that are being sent to it.
    pages: AtomicUsize,
}

/// As long as this lives, a page is on its way to the connection.
#[derive(Debug)]
pub(crate) struct Busy(Activity);

impl Activity {
    /// A connection from there that begins.
    pub(super) fn new(from: IpAddr) -> Self {
        let doing = Doing { from, start: Instant::now(), last_ms: AtomicU64::new(0), pages: AtomicUsize::new(0) };
        Self(Arc::new(doing))
    }

    /// Where the connection comes from.
    pub(super) fn from(&self) -> IpAddr {
        self.0.from
    }

    /// It asks something.
    pub(super) fn asks(&self) {
        let elapsed = self.0.start.elapsed().as_millis();
        self.0.last_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// It waits for a page.
    pub(super) fn is_busy(&self) -> Busy {
        self.0.pages.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Since when it has been idle; `None`: it is not.
    fn idle_since(&self) -> Option<Instant> {
        let last = Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed));
        (self.0.pages.load(Ordering::Relaxed) == 0).then(|| self.0.start + last)
    }
}

impl Busy {
    /// Where the connection comes from.
    pub(super) fn from(&self) -> IpAddr {
        self.0.from()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.pages.fetch_sub(1, Ordering::Relaxed);
        self.0.asks();
    }
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Place {
    /// Held as long as the connection is open.
    pub(super) slot: OwnedSemaphorePermit,
    /// Completes when the place is needed by somebody else.
    pub(super) leave: oneshot::Receiver<()>,
    /// What the connection does is noted here.
    pub(super) activity: Activity,
}

/// All places.
#[derive(Debug)]
pub(super) struct Crowd {
    slots: Arc<Semaphore>,
    /// Who is there, or was a moment ago.
    here: Vec<(Activity, oneshot::Sender<()>)>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)), here: Vec::new() }
    }

    /// A place for a newcomer; and whether somebody was turned away for it, or the newcomer itself,
    /// because everybody is being sent a page.
    pub(super) async fn enter(&mut self, from: IpAddr) -> (Option<Place>, bool) {
        if self.here.len() >= CONNECTIONS_MAX {
            self.here.retain(|(_, leave)| !leave.is_closed());
        }
        let is_full = self.slots.available_permits() == 0;
        if is_full && !self.turn_one_away() {
            return (None, true);
        }
        // Who was turned away needs a moment to go.
        let slot = timeout(GOES_WITHIN, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { return (None, true) };
        let (sender, leave) = oneshot::channel();
        let activity = Activity::new(from);
        self.here.push((activity.clone(), sender));
        (Some(Place { slot, leave, activity }), is_full)
    }

    /// Tells the connection that has been idle longest to go; false if there is none.
    fn turn_one_away(&mut self) -> bool {
        let idle = self.here.iter().enumerate().filter_map(|(at, (activity, _))| Some((activity.idle_since()?, at)));
        let Some((_, longest)) = idle.min() else { return false };
        let (_, leave) = self.here.swap_remove(longest);
        leave.send(()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_one_makes_room() {
        let mut crowd = Crowd::new();
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            places.push(crowd.enter(FROM).await.0.unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The first two were there longest; one waits for a page, the other has just asked.
        let busy = places[0].activity.is_busy();
        places[1].activity.asks();
        let idle = places.remove(2);
        let goes = async {
            idle.leave.await.unwrap();
            drop(idle.slot);
        };
        let (newcomer, ()) = tokio::join!(crowd.enter(FROM), goes);
        assert!(newcomer.0.is_some() && newcomer.1);
        assert!(places.iter_mut().all(|place| place.leave.try_recv().is_err()), "nobody else is told");
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn when_everybody_is_busy_the_newcomer_is_turned_away() {
        let mut crowd = Crowd::new();
        let mut places = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let place = crowd.enter(FROM).await.0.unwrap();
            places.push((place.activity.is_busy(), place));
        }
        assert!(matches!(crowd.enter(FROM).await, (None, true)));
        places.pop();
        assert!(matches!(crowd.enter(FROM).await, (Some(_), false)));
    }
}
