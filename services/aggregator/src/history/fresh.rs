//! The newest value of each key that was put a short while ago, for the page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::hot::Write;
use super::keys::{Key, Space};
use super::point::Point;

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
    inner: Mutex<HashMap<u64, Fresh>>,
    expiry: Duration,
    keys_max: usize,
}

impl FreshKeys {
    pub(super) fn new(expiry: Duration, keys_max: usize) -> Self {
        Self { inner: Mutex::default(), expiry, keys_max }
    }

    /// Takes in what was stored; gives how many keys found no room.
    pub(super) fn take(&self, writes: &[Write], now: Instant) -> u64 {
        let mut hidden = 0;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of one key stand together, the newest last.
        for writes in writes.chunk_by(|a, b| a.key.id == b.key.id) {
            let Some(Write { key, point }) = writes.last().filter(|write| write.key.space == Space::Put) else {
                continue;
            };
            if let Some(fresh) = inner.get_mut(&key.id) {
                let is_over = now.saturating_duration_since(fresh.put_at) > self.expiry;
                if is_over || point.ts >= fresh.point.ts {
                    fresh.point = *point;
                }
                fresh.put_at = now;
                continue;
            }
            if inner.len() >= self.keys_max {
                hidden += 1;
                continue;
            }
            inner.insert(key.id, Fresh { key: Arc::clone(key), point: *point, put_at: now });
        }
        hidden
    }

    /// What is fresh now, by key.
    pub(super) fn now(&self, now: Instant) -> Vec<Fresh> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |fresh: &&Fresh| now.saturating_duration_since(fresh.put_at) <= self.expiry;
        let mut fresh: Vec<Fresh> = inner.values().filter(is_fresh).cloned().collect();
        drop(inner);
        fresh.sort_unstable_by(|a, b| a.key.text.cmp(&b.key.text));
        fresh
    }

    /// Frees what is over.
    pub(super) fn expire(&self, now: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.retain(|_, fresh| now.saturating_duration_since(fresh.put_at) <= self.expiry);
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;

    #[test]
    fn the_newest_is_shown_until_it_expires() {
        let keys = Keys::new(10);
        let key = |text: &str| keys.find_or_add(Space::Put, text, || 1).unwrap();
        let write = |text: &str, ts, value| Write { key: key(text), point: Point { ts, value } };
        let fresh = FreshKeys::new(Duration::from_secs(300), 2);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let shown =
            |at| fresh.now(at).iter().map(|one| (one.key.text.to_string(), one.point.value)).collect::<Vec<_>>();

        assert_eq!(fresh.take(&[write("b", 5, 1.0), write("b", 7, 2.0), write("a", 1, 3.0)], start), 0);
        assert_eq!(shown(start), [("a".to_owned(), 3.0), ("b".to_owned(), 2.0)]);
        assert_eq!(fresh.take(&[write("b", 6, 9.0), write("c", 6, 9.0)], later(100)), 1, "no room for c");
        assert_eq!(
            shown(later(301)),
            [("b".to_owned(), 2.0)],
            "an older point does not replace it, but keeps it fresh"
        );
        fresh.expire(later(301));
        assert_eq!(fresh.take(&[write("c", 6, 9.0)], later(301)), 0);
        assert_eq!(shown(later(401)).len(), 1);
        let vital = keys.find_or_add(Space::Vital, "v", || 1).unwrap();
        fresh.take(&[Write { key: vital, point: Point { ts: 1, value: 1.0 } }], later(401));
        assert!(!shown(later(401)).iter().any(|(text, _)| text == "v"), "vital signs are on the page already");
    }
}
