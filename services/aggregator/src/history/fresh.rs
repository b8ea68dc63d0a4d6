//! The newest value of each key that was put a short while ago, for the page. When it was put counts,
//! not of when it is; but a timestamp that is ahead of the clock, as seconds that are milliseconds
//! are, hides nothing that comes later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::hot::Write;
use super::keys::{Key, Space};
use super::point::Point;
use crate::fleet::Moment;

/// What is ahead of the wall clock by more gives way to whatever is put next. A client's clock may be
/// some minutes off.
const AHEAD_MAX_S: i64 = 3600;
/// Hidden keys that are told apart, of some 40 bytes each.
const HIDDEN_MAX: usize = 100_000;

/// A key with its newest value.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The key.
    pub key: Arc<Key>,
    /// The point with the largest timestamp, of those put while the key was fresh.
    pub point: Point,
    put_at: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct FreshKeys {
    inner: Mutex<Inner>,
    expiry: Duration,
    keys_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    shown: HashMap<u64, Fresh>,
    /// When keys were put that are not shown.
    hidden: HashMap<u64, Instant>,
}

impl FreshKeys {
    pub(super) fn new(expiry: Duration, keys_max: usize) -> Self {
        Self { inner: Mutex::default(), expiry, keys_max }
    }

    /// Takes in what was stored.
    pub(super) fn take(&self, writes: &[Write], now: Moment) {
        let ahead_s = now.wall_ms.div_euclid(1000).saturating_add(AHEAD_MAX_S);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of one key stand together, the newest last.
        for writes in writes.chunk_by(|a, b| a.key.id == b.key.id) {
            let Some(newest) = writes.last().filter(|write| write.key.space == Space::Put) else { continue };
            let believed = writes.iter().rev().find(|write| write.point.ts <= ahead_s);
            self.show(&mut inner, believed.unwrap_or(newest), now.instant, ahead_s);
        }
    }

    /// Shows this point of its key, if there is room, unless the one that is shown is newer.
    fn show(&self, inner: &mut Inner, Write { key, point }: &Write, now: Instant, ahead_s: i64) {
        if let Some(fresh) = inner.shown.get_mut(&key.id) {
            let is_over = !self.is_fresh(fresh.put_at, now);
            let is_newer = point.ts >= fresh.point.ts && point.ts <= ahead_s;
            if is_over || is_newer || fresh.point.ts > ahead_s {
                fresh.point = *point;
            }
            fresh.put_at = now;
        } else if inner.shown.len() < self.keys_max {
            inner.hidden.remove(&key.id);
            inner.shown.insert(key.id, Fresh { key: Arc::clone(key), point: *point, put_at: now });
        } else {
            inner.hide(key.id, now);
        }
    }

    /// What is fresh now, by key, and how many keys are that are not shown.
    pub(super) fn now(&self, now: Instant) -> (Vec<Fresh>, usize) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: Vec<Fresh> =
            inner.shown.values().filter(|fresh| self.is_fresh(fresh.put_at, now)).cloned().collect();
        let hidden = inner.hidden.values().filter(|put_at| self.is_fresh(**put_at, now)).count();
        drop(inner);
        fresh.sort_unstable_by(|a, b| a.key.text.cmp(&b.key.text));
        (fresh, hidden)
    }

    /// Frees what is over.
    pub(super) fn expire(&self, now: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.shown.retain(|_, fresh| self.is_fresh(fresh.put_at, now));
        inner.hidden.retain(|_, put_at| self.is_fresh(*put_at, now));
    }

    fn is_fresh(&self, put_at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(put_at) <= self.expiry
    }
}

impl Inner {
    fn hide(&mut self, id: u64, now: Instant) {
        if self.hidden.len() < HIDDEN_MAX || self.hidden.contains_key(&id) {
            self.hidden.insert(id, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;

    /// What the clock says at the start.
    const NOW: i64 = 1_642_667_947;

    struct Page {
        keys: Keys,
        fresh: FreshKeys,
        start: Instant,
    }

    impl Page {
        /// Shows so many keys, for 300 s.
        fn new(keys_max: usize) -> Self {
            let fresh = FreshKeys::new(Duration::from_secs(300), keys_max);
            Self { keys: Keys::new(10), fresh, start: Instant::now() }
        }

        fn at(&self, seconds: i64) -> Moment {
            let instant = self.start + Duration::from_secs(seconds.unsigned_abs());
            Moment { instant, wall_ms: (NOW + seconds) * 1000 }
        }

        /// Points of one batch after so many seconds: key, timestamp from NOW on, value.
        fn put(&self, seconds: i64, points: &[(&str, i64, f64)]) {
            let key = |text: &str| self.keys.find_or_add(Space::Put, text, || 1).unwrap();
            let write = |(text, ts, value): &(&str, i64, f64)| Write {
                key: key(text),
                point: Point { ts: NOW + ts, value: *value },
            };
            self.fresh.take(&points.iter().map(write).collect::<Vec<_>>(), self.at(seconds));
        }

        /// What is shown after so many seconds, and how many are hidden.
        #[track_caller]
        fn check(&self, seconds: i64, shown: &[(&str, f64)], hidden: usize) {
            let (fresh, count) = self.fresh.now(self.at(seconds).instant);
            let now: Vec<_> = fresh.iter().map(|one| (&*one.key.text, one.point.value)).collect();
            assert_eq!((now, count), (shown.to_vec(), hidden));
        }
    }

    #[test]
    fn the_newest_is_shown_until_it_expires() {
        let page = Page::new(2);
        page.put(0, &[("b", 5, 1.0), ("b", 7, 2.0), ("a", 1, 3.0)]);
        page.check(0, &[("a", 3.0), ("b", 2.0)], 0);
        page.put(100, &[("b", 6, 9.0), ("c", 6, 9.0)]);
        page.put(101, &[("c", 7, 9.0)]);
        page.check(101, &[("a", 3.0), ("b", 2.0)], 1);
        // An older point does not replace it, but keeps it fresh.
        page.check(301, &[("b", 2.0)], 1);
        page.fresh.expire(page.at(301).instant);
        page.put(301, &[("c", 6, 9.0)]);
        page.check(301, &[("b", 2.0), ("c", 9.0)], 0);
        page.check(401, &[("c", 9.0)], 0);
        let vital = page.keys.find_or_add(Space::Vital, "v", || 1).unwrap();
        page.fresh.take(&[Write { key: vital, point: Point { ts: NOW, value: 1.0 } }], page.at(401));
        // Vital signs are on the page already.
        page.check(401, &[("c", 9.0)], 0);
    }

    #[test]
    fn a_timestamp_far_ahead_freezes_nothing() {
        let page = Page::new(10);
        let in_millis = NOW * 999;
        page.put(0, &[("k", 0, 1.0), ("k", in_millis, 2.0), ("wrong", in_millis, 3.0)]);
        page.check(0, &[("k", 1.0), ("wrong", 3.0)], 0);
        page.put(10, &[("k", in_millis, 2.0)]);
        page.check(10, &[("k", 1.0), ("wrong", 3.0)], 0);
        page.put(20, &[("k", 20, 4.0), ("wrong", 20, 5.0)]);
        page.check(20, &[("k", 4.0), ("wrong", 5.0)], 0);
        // Of another time zone: shown, until there is a better one.
        page.put(400, &[("zone", 400 + 7200, 1.0)]);
        page.check(400, &[("zone", 1.0)], 0);
        page.put(401, &[("zone", 401, 2.0)]);
        page.check(401, &[("zone", 2.0)], 0);
    }

    #[test]
    fn when_a_point_was_put_counts_and_not_of_when_it_is() {
        let page = Page::new(1);
        page.put(0, &[("old", -NOW, 1.0)]);
        page.check(300, &[("old", 1.0)], 0);
        page.put(300, &[("old", -NOW + 1, 2.0)]);
        page.check(600, &[("old", 2.0)], 0);
        page.check(601, &[], 0);
    }

    #[test]
    fn ends_of_time_are_no_reason_to_fail() {
        let page = Page::new(10);
        for wall_ms in [i64::MIN, -1, i64::MAX] {
            page.fresh.take(&[], Moment { instant: page.start, wall_ms });
            let key = page.keys.find_or_add(Space::Put, "k", || 1).unwrap();
            let write = |ts| Write { key: Arc::clone(&key), point: Point { ts, value: 1.0 } };
            page.fresh.take(&[write(i64::MIN), write(i64::MAX)], Moment { instant: page.start, wall_ms });
        }
        page.check(0, &[("k", 1.0)], 0);
    }
}
