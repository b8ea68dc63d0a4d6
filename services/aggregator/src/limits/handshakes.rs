//! Connections that are not in the fleet yet: so many and no more, of one address a quarter of them.
//! When there is no place for a newcomer, one that has waited long makes room, of the address that has
//! most of them. Whoever speaks at once, as agents do, need not wait for long: connections that say
//! nothing make room for it sooner. Pure: time is passed in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::sender;

/// Nobody makes room sooner: that would only exchange one agent of a herd for another.
pub const SPARED: Duration = Duration::from_secs(1);
/// But whoever has said nothing by then makes room for somebody who speaks.
pub const SPARED_IF_SILENT: Duration = Duration::from_millis(500);
/// An address has so much of all places.
const PART_OF_SENDER: usize = 4;

/// All of them.
#[derive(Debug)]
pub struct Handshakes {
    max: usize,
    max_of_sender: usize,
    enforce: bool,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By age, since numbers grow.
    places: BTreeMap<u64, Place>,
    /// Those of each address that has one.
    senders: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    from: IpAddr,
    has_spoken: bool,
    leave: oneshot::Sender<()>,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Handshake {
    id: u64,
    of: Arc<Handshakes>,
    leave: oneshot::Receiver<()>,
    /// Has its address more than its part, which is only counted?
    pub is_over: bool,
}

impl Handshakes {
    /// Places for so many. What an address has of them beyond its part is only counted unless `enforce`.
    #[must_use]
    pub fn new(max: usize, enforce: bool) -> Self {
        Self { max, max_of_sender: (max / PART_OF_SENDER).max(1), enforce, open: Mutex::default() }
    }

    /// A place for a newcomer, which `speaks` already or not; `None`: all that it could have are taken, by
    /// others that came a moment ago.
    #[must_use]
    pub fn begin(self: &Arc<Self>, from: IpAddr, speaks: bool, now: Instant) -> Option<Handshake> {
        let from = sender(from);
        let mut open = self.open();
        let is_over = open.senders.get(&from).is_some_and(|own| own.len() >= self.max_of_sender);
        if is_over && self.enforce {
            let oldest = open.replaceable_of(from, speaks, now)?;
            open.make_room(oldest);
        } else if open.places.len() >= self.max {
            let oldest = open.replaceable_of_largest(from, speaks, now)?;
            open.make_room(oldest);
        }
        let id = open.next;
        open.next += 1;
        let (leave, left) = oneshot::channel();
        open.places.insert(id, Place { since: now, from, has_spoken: false, leave });
        open.senders.entry(from).or_default().insert(id);
        Some(Handshake { id, of: Arc::clone(self), leave: left, is_over: is_over && !self.enforce })
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

    /// How many the address has that has most, and how many one may have.
    #[must_use]
    pub fn of_one_address(&self) -> (usize, usize) {
        (self.open().senders.values().map(BTreeSet::len).max().unwrap_or_default(), self.max_of_sender)
    }
}

impl Open {
    /// The place of this address that was taken first, unless that was a moment ago; for somebody who
    /// `speaks` it may as well be the first whose connection is silent.
    fn replaceable_of(&self, from: IpAddr, speaks: bool, now: Instant) -> Option<u64> {
        let own = self.senders.get(&from)?;
        let has = |id: u64, spared| {
            self.places.get(&id).is_some_and(|place| now.saturating_duration_since(place.since) >= spared)
        };
        let oldest = own.first().copied().filter(|id| has(*id, SPARED));
        oldest.or_else(|| {
            let is_silent = |id: &u64| self.places.get(id).is_some_and(|place| !place.has_spoken);
            own.iter().copied().find(is_silent).filter(|id| speaks && has(*id, SPARED_IF_SILENT))
        })
    }

    /// The same of the address that has most places, of those that have such a one; of several, the one
    /// that was taken first. An address takes none from another that has no more than it has itself: many
    /// connections of one must not push out the few of others.
    fn replaceable_of_largest(&self, from: IpAddr, speaks: bool, now: Instant) -> Option<u64> {
        // Most of the time, while many come, nobody has been here for long enough.
        let spared = if speaks { SPARED_IF_SILENT } else { SPARED };
        let (_, oldest) = self.places.first_key_value()?;
        if now.saturating_duration_since(oldest.since) < spared {
            return None;
        }
        let own = self.senders.get(&from).map_or(0, BTreeSet::len);
        let others = self.senders.iter().filter(|(other, places)| **other == from || places.len() > own);
        let replaceable = |(other, places): (&IpAddr, &BTreeSet<u64>)| {
            self.replaceable_of(*other, speaks, now).map(|id| (places.len(), Reverse(id)))
        };
        others.filter_map(replaceable).max().map(|(_, Reverse(id))| id)
    }

    fn make_room(&mut self, id: u64) {
        if let Some(place) = self.give_back(id) {
            let _may_be_done = place.leave.send(());
        }
    }

    fn give_back(&mut self, id: u64) -> Option<Place> {
        let place = self.places.remove(&id)?;
        if let Some(own) = self.senders.get_mut(&place.from) {
            own.remove(&id);
            if own.is_empty() {
                self.senders.remove(&place.from);
            }
        }
        Some(place)
    }
}

impl Handshake {
    /// Its connection is no silent one any more.
    pub fn spoke(&self) {
        if let Some(place) = self.of.open().places.get_mut(&self.id) {
            place.has_spoken = true;
        }
    }

    /// Completes when the place is needed by a newcomer.
    pub async fn displaced(&mut self) {
        // Without an answer the place was given up already.
        let _told = (&mut self.leave).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        // Who was displaced has none.
        let _place = self.of.open().give_back(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    #[tokio::test]
    async fn the_oldest_makes_room_unless_it_has_just_come() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(2, false));
        let begin = |after| all.begin(address(1), false, start + after);
        let (mut first, second) = (begin(Duration::ZERO).unwrap(), begin(Duration::ZERO).unwrap());
        assert!(begin(SPARED / 2).is_none());
        let third = begin(SPARED).unwrap();
        first.displaced().await;
        assert_eq!(all.len(), 2, "the first one's place is the third's");
        drop(first);
        assert_eq!(all.len(), 2, "and is given back once");
        drop((second, third));
        assert!(all.is_empty() && all.open().senders.is_empty(), "nobody is remembered");
    }

    #[tokio::test]
    async fn an_address_displaces_its_own_beyond_its_part() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(8, true));
        let begin = |from, after| all.begin(address(from), false, start + after);
        let other = begin(2, Duration::ZERO).unwrap();
        let mut first = begin(1, Duration::ZERO).unwrap();
        let second = begin(1, Duration::ZERO).unwrap();
        assert!(begin(1, SPARED / 2).is_none(), "it has two of eight");
        let third = begin(1, SPARED).unwrap();
        first.displaced().await;
        assert_eq!((all.len(), all.of_one_address()), (3, (2, 2)));
        drop((other, second, third));
        // The address 2001:db8:: is one sender with all of its network.
        let v6 = |text: &str| all.begin(text.parse().unwrap(), false, start);
        let _two = (v6("2001:db8::1").unwrap(), v6("2001:db8::2").unwrap());
        assert!(v6("2001:db8::3").is_none());
    }

    #[tokio::test]
    async fn where_all_is_full_the_largest_makes_room() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(4, false));
        let begin = |from, after| all.begin(address(from), false, start + after);
        let slow = begin(1, Duration::ZERO).unwrap();
        let mut many: Vec<_> = (0..3).map(|_| begin(2, Duration::from_millis(1)).unwrap()).collect();
        assert!(many.last().unwrap().is_over, "that is counted");
        let _newcomer = begin(3, 2 * SPARED).unwrap();
        many[0].displaced().await;
        let _newcomer = begin(4, 2 * SPARED).unwrap();
        many[1].displaced().await;
        // Now each has one, and the oldest goes.
        let _newcomer = begin(5, 2 * SPARED).unwrap();
        let mut slow = slow;
        slow.displaced().await;
    }

    #[tokio::test]
    async fn an_address_that_comes_again_and_again_protects_no_other() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(3, false));
        let begin = |from, after| all.begin(address(from), false, start + after);
        let mut silent = begin(1, Duration::ZERO).unwrap();
        let _fresh = (begin(2, SPARED).unwrap(), begin(2, SPARED).unwrap());
        let _newcomer = begin(3, SPARED).unwrap();
        silent.displaced().await;
    }

    #[tokio::test]
    async fn the_silent_make_room_for_who_speaks() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(8, true));
        let begin = |speaks, after| all.begin(address(1), speaks, start + after);
        let talks = begin(true, Duration::ZERO).unwrap();
        talks.spoke();
        let mut silent = begin(false, Duration::ZERO).unwrap();
        assert!(begin(true, SPARED_IF_SILENT / 2).is_none() && begin(false, SPARED_IF_SILENT).is_none());
        let newcomer = begin(true, SPARED_IF_SILENT).unwrap();
        silent.displaced().await;
        newcomer.spoke();
        assert!(begin(true, SPARED_IF_SILENT * 3 / 2).is_none(), "these two have spoken");
        let mut talks = talks;
        let _newcomer = begin(true, SPARED).unwrap();
        talks.displaced().await;
    }

    #[tokio::test]
    async fn an_address_with_many_pushes_out_none_of_an_address_with_few() {
        let start = Instant::now();
        let all = Arc::new(Handshakes::new(4, false));
        let begin = |from, after| all.begin(address(from), true, start + after);
        let mut slow = begin(1, Duration::ZERO).unwrap();
        let many: Vec<_> = (0..3).map(|_| begin(2, SPARED).unwrap()).collect();
        assert!(begin(2, SPARED).is_none(), "its own have just come");
        assert!(begin(1, SPARED * 5 / 4).is_some(), "of its own it may");
        slow.displaced().await;
        drop(many);
    }
}
