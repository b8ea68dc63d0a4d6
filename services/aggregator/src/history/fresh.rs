//! The newest value of each key that was put a short while ago, for the page. Only points of about
//! now count: what was measured long ago is history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::hot::Write;
use super::keys::{Key, Space};
use super::point::Point;
use crate::fleet::Moment;

/// How far a timestamp may be ahead of the wall clock: clocks that are set to the time of another
/// zone are less, seconds that are milliseconds are more.
const AHEAD_MAX_S: i64 = 24 * 3600;
/// How old a point may be, at least, to count as current: a client's clock may be some minutes off.
const AGE_S: i64 = 3600;
/// Hidden keys that are told apart, of some 40 bytes each.
const HIDDEN_MAX: usize = 100_000;

/// A key with its newest value.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The key.
    pub key: Arc<Key>,
    /// The current point with the largest timestamp, of those put while the key was fresh.
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

    /// Takes in what was stored. Points that are not of about now are not what the page is for: old
    /// ones are passed over, and ones that are far ahead, which would hide all that come later, are
    /// hidden themselves.
    pub(super) fn take(&self, writes: &[Write], now: Moment) {
        let now_s = now.wall_ms.div_euclid(1000);
        let age = AGE_S.max(i64::try_from(self.expiry.as_secs()).unwrap_or(i64::MAX));
        let current = now_s.saturating_sub(age)..=now_s.saturating_add(AHEAD_MAX_S);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of one key stand together, the newest last.
        for writes in writes.chunk_by(|a, b| a.key.id == b.key.id) {
            let Some(Write { key, point: newest }) = writes.last().filter(|write| write.key.space == Space::Put) else {
                continue;
            };
            match writes.iter().rev().map(|write| write.point).find(|point| current.contains(&point.ts)) {
                // One that is ahead of the clock gives way to any that comes later.
                Some(point) => self.show(&mut inner, key, point, now.instant, now_s.saturating_add(age)),
                None if newest.ts > *current.end() && !inner.shown.contains_key(&key.id) => {
                    inner.hide(key.id, now.instant);
                }
                None => {}
            }
        }
    }

    /// Shows this point of the key, if there is room, unless the one that is shown is newer and not
    /// after `ahead_s`.
    fn show(&self, inner: &mut Inner, key: &Arc<Key>, point: Point, now: Instant, ahead_s: i64) {
        if let Some(fresh) = inner.shown.get_mut(&key.id) {
            let is_over = now.saturating_duration_since(fresh.put_at) > self.expiry;
            if is_over || point.ts >= fresh.point.ts || fresh.point.ts > ahead_s {
                fresh.point = point;
            }
            fresh.put_at = now;
        } else if inner.shown.len() < self.keys_max {
            inner.hidden.remove(&key.id);
            inner.shown.insert(key.id, Fresh { key: Arc::clone(key), point, put_at: now });
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
        page.check(0, &[("k", 1.0)], 1);
        page.put(10, &[("k", 10, 4.0)]);
        page.check(10, &[("k", 4.0)], 1);
        page.put(20, &[("wrong", 20, 5.0)]);
        page.check(20, &[("k", 4.0), ("wrong", 5.0)], 0);
        page.put(20, &[("wrong", i64::MAX - NOW, 6.0)]);
        page.check(20, &[("k", 4.0), ("wrong", 5.0)], 0);
        // One hidden key is gone like a shown one.
        page.put(30, &[("late", AHEAD_MAX_S + 31, 5.0)]);
        page.check(330, &[], 1);
        page.check(331, &[], 0);
        // Of another time zone: shown, until there is a better one.
        page.put(400, &[("zone", 400 + 7200, 1.0)]);
        page.put(401, &[("zone", 401, 2.0)]);
        page.check(401, &[("zone", 2.0)], 0);
    }

    #[test]
    fn what_is_old_is_not_current() {
        let page = Page::new(1);
        page.put(0, &[("old", -NOW, 1.0), ("x", -AGE_S - 1, 2.0)]);
        page.check(0, &[], 0);
        page.put(0, &[("slow.clock", -AGE_S, 3.0)]);
        page.check(0, &[("slow.clock", 3.0)], 0);
        // It is put again, but nothing of now: that keeps nothing fresh.
        page.put(200, &[("slow.clock", -NOW, 4.0)]);
        page.check(200, &[("slow.clock", 3.0)], 0);
        page.check(301, &[], 0);
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
        page.check(0, &[], 1);
    }
}
