//! Connections that have not said a whole `hello` yet: so many and no more, of one address a quarter
//! of them. Where no place is free the one that has waited longest makes room, so that connections
//! that say nothing cannot keep out agents, which say `hello` at once. Until it has had its moment a
//! newcomer waits, those of an address in the order in which they came: a herd of agents takes turns,
//! and silent connections that come again as soon as they are closed come only so often.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::sender;

/// Nobody makes room sooner: that would only exchange one agent of a herd for another.
const SPARED: Duration = Duration::from_millis(500);
/// An address has so much of all places.
const PART_OF_SENDER: usize = 4;

/// All of them.
#[derive(Debug)]
pub struct Handshakes {
    max: usize,
    max_of_sender: usize,
    open: Mutex<Open>,
    /// A place of any address was given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By age, since numbers grow.
    places: BTreeMap<u64, Place>,
    /// Addresses that have a place or wait for one.
    senders: HashMap<IpAddr, Sender>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    from: IpAddr,
    leave: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Sender {
    places: BTreeSet<u64>,
    /// Its connections, those that wait too.
    present: usize,
    queue: Arc<Queue>,
}

/// Where the newcomers of an address wait.
#[derive(Debug, Default)]
struct Queue {
    turn: tokio::sync::Mutex<()>,
    /// A place of this address was given back.
    freed: Notify,
}

/// Why there is no place yet.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    /// When the one that has waited longest can make room.
    until: Duration,
    /// By others of the same address.
    by_sender: bool,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Handshake {
    id: u64,
    leave: oneshot::Receiver<()>,
    newcomer: Newcomer,
}

/// A connection that has a place or waits for one.
#[derive(Debug)]
struct Newcomer {
    from: IpAddr,
    of: Arc<Handshakes>,
}

impl Handshakes {
    /// Places for so many; where `shared`, an address has a part of them and no more.
    #[must_use]
    pub fn new(max: usize, shared: bool) -> Self {
        let max_of_sender = if shared { (max / PART_OF_SENDER).max(1) } else { max };
        Self { max, max_of_sender, open: Mutex::default(), freed: Notify::new() }
    }

    /// A place for a newcomer, once there is one.
    pub async fn begin(self: &Arc<Self>, from: IpAddr) -> Handshake {
        let from = sender(from);
        let (newcomer, queue) = self.enter(from);
        let _turn = queue.turn.lock().await;
        loop {
            let now = tokio::time::Instant::now().into_std();
            let taken = match self.take(from, now) {
                Ok((id, leave)) => return Handshake { id, leave, newcomer },
                Err(taken) => taken,
            };
            // Whoever gives back a place before this waits leaves word.
            let freed = if taken.by_sender { &queue.freed } else { &self.freed };
            tokio::select! {
                () = freed.notified() => {}
                () = sleep(taken.until) => {}
            }
        }
    }

    fn enter(self: &Arc<Self>, from: IpAddr) -> (Newcomer, Arc<Queue>) {
        let mut open = self.open();
        let sender = open.senders.entry(from).or_default();
        sender.present += 1;
        let queue = Arc::clone(&sender.queue);
        (Newcomer { from, of: Arc::clone(self) }, queue)
    }

    /// A place for this address now.
    fn take(&self, from: IpAddr, now: Instant) -> Result<(u64, oneshot::Receiver<()>), Taken> {
        let mut open = self.open();
        let of_sender = open.senders.get(&from).map(|sender| &sender.places);
        let by_sender = of_sender.is_some_and(|places| places.len() >= self.max_of_sender);
        let oldest = if by_sender {
            of_sender.and_then(|places| places.first()).copied()
        } else if open.places.len() >= self.max {
            open.places.first_key_value().map(|(id, _)| *id)
        } else {
            None
        };
        if let Some(id) = oldest {
            let had = open.places.get(&id).map_or(SPARED, |place| now.saturating_duration_since(place.since));
            if had < SPARED {
                return Err(Taken { until: SPARED - had, by_sender });
            }
            if let Some(place) = open.give_back(id) {
                let _may_be_done = place.leave.send(());
            }
        }
        let id = open.next;
        open.next += 1;
        let (leave, left) = oneshot::channel();
        open.places.insert(id, Place { since: now, from, leave });
        if let Some(sender) = open.senders.get_mut(&from) {
            sender.places.insert(id);
        }
        Ok((id, left))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open().places.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let open = self.open();
        let present: usize = open.senders.values().map(|sender| sender.present).sum();
        // Who was displaced is there for a moment still.
        present.saturating_sub(open.places.len())
    }
}

impl Open {
    fn give_back(&mut self, id: u64) -> Option<Place> {
        let place = self.places.remove(&id)?;
        if let Some(sender) = self.senders.get_mut(&place.from) {
            sender.places.remove(&id);
        }
        Some(place)
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
        let Newcomer { from, of } = &self.newcomer;
        let mut open = of.open();
        // Who was displaced has none.
        if open.give_back(self.id).is_none() {
            return;
        }
        let queue = open.senders.get(from).map(|sender| Arc::clone(&sender.queue));
        drop(open);
        if let Some(queue) = queue {
            queue.freed.notify_one();
        }
        of.freed.notify_one();
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut open = self.of.open();
        if let Some(sender) = open.senders.get_mut(&self.from) {
            sender.present -= 1;
            if sender.present == 0 {
                open.senders.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    /// Takes a place that is free.
    async fn free(all: &Arc<Handshakes>, from: u8) -> Handshake {
        let soon = SPARED / 100;
        tokio::time::timeout(soon, all.begin(address(from))).await.expect("a place is free")
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_once_it_has_had_its_moment() {
        let all = Arc::new(Handshakes::new(2, false));
        let (mut first, second) = (free(&all, 1).await, free(&all, 1).await);
        let began = tokio::time::Instant::now();
        let third = all.begin(address(1)).await;
        assert!(began.elapsed().abs_diff(SPARED) < Duration::from_millis(3), "{:?}", began.elapsed());
        first.displaced().await;
        assert_eq!(all.len(), 2, "the first one's place is the third's");
        drop(first);
        assert_eq!(all.len(), 2, "and is given back once");
        drop((second, third));
        assert!(all.is_empty() && all.open().senders.is_empty(), "nobody is remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_back_goes_to_who_came_first() {
        let all = Arc::new(Handshakes::new(1, false));
        let place = free(&all, 1).await;
        let took = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..3 {
            let (all, took) = (Arc::clone(&all), Arc::clone(&took));
            waiting.spawn(async move {
                let _place = all.begin(address(1)).await;
                took.lock().unwrap().push(number);
            });
            tokio::task::yield_now().await;
        }
        assert_eq!((all.waiting(), took.lock().unwrap().len()), (3, 0));
        let began = tokio::time::Instant::now();
        drop(place);
        waiting.join_all().await;
        assert_eq!(*took.lock().unwrap(), [0, 1, 2]);
        assert!(began.elapsed() < SPARED / 100, "{:?}", began.elapsed());
        assert_eq!(all.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_displaces_only_its_own_beyond_its_part() {
        let all = Arc::new(Handshakes::new(8, true));
        let mut silent = vec![free(&all, 1).await, free(&all, 1).await];
        for _ in 0..10 {
            let next = all.begin(address(1)).await;
            let mut displaced = std::mem::replace(&mut silent, vec![]);
            let kept = displaced.split_off(1);
            displaced[0].displaced().await;
            silent = kept.into_iter().chain([next]).collect();
        }
        assert_eq!(all.len(), 2);
        // Another one waits for its address alone.
        let _others = [free(&all, 2).await, free(&all, 3).await, free(&all, 4).await];
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_is_forgotten() {
        let all = Arc::new(Handshakes::new(1, true));
        let place = free(&all, 1).await;
        let gave_up = tokio::time::timeout(SPARED / 2, all.begin(address(2))).await;
        assert!(gave_up.is_err() && all.waiting() == 0);
        drop(place);
        assert!(all.open().senders.is_empty());
    }
}
