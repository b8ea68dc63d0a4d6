//! The keys of the history: which there are, and in what order they were first put. In memory only;
//! each partition on disk names the keys that it holds, so that none needs another.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Memory that a key takes besides its text: two entries, the key itself and its allocations.
const KEY_BYTES: usize = 160;
/// Memory for the texts of keys that each key of the limit stands for. Ordinary ones take 20 to 60.
const TEXT_BYTES_PER_KEY: usize = 256;
/// Keys that are looked at under one lock, in about a millisecond. Whoever puts a new key waits for
/// it, and everybody else for whoever waits.
const STEP_KEYS: usize = 4096;

/// What a key belongs to. The same text may be a key in both, which have nothing to do with each
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// What programs put.
    Put,
    /// Vital signs of agents.
    Vital,
}

/// A key.
pub struct Key {
    /// Orders keys by when they were first written; never used again.
    pub id: u64,
    /// What it belongs to.
    pub space: Space,
    /// The key as people know it.
    pub text: Box<str>,
    /// Number of the newest partition that holds it; 0: none yet.
    newest: AtomicU64,
}

impl Key {
    /// Number of the newest partition that holds it; 0: nothing of it is stored yet.
    #[must_use]
    pub fn newest_partition(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// This partition holds it.
    pub(super) fn is_in(&self, partition: u64) {
        self.newest.fetch_max(partition, Ordering::AcqRel);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.text, self.id)
    }
}

/// There is no room for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another key: {keys} keys, which take {bytes} bytes, are kept; FLEETGAUGE_MAX_KEYS limits both")]
pub struct NoRoom {
    keys: usize,
    bytes: usize,
}

/// All keys.
#[derive(Debug)]
pub(super) struct Keys {
    inner: RwLock<Inner>,
    keys_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    puts: HashMap<Box<str>, Arc<Key>>,
    vitals: HashMap<Box<str>, Arc<Key>>,
    by_id: BTreeMap<u64, Arc<Key>>,
    /// Memory that those take which were put, and the vital ones: each have room of their own, so
    /// that no program can keep an agent out.
    bytes: [usize; 2],
}

impl Inner {
    fn space(&self, space: Space) -> &HashMap<Box<str>, Arc<Key>> {
        match space {
            Space::Put => &self.puts,
            Space::Vital => &self.vitals,
        }
    }

    fn bytes(&mut self, space: Space) -> &mut usize {
        let [put, vital] = &mut self.bytes;
        match space {
            Space::Put => put,
            Space::Vital => vital,
        }
    }

    fn insert(&mut self, key: Arc<Key>) {
        *self.bytes(key.space) += cost(&key.text);
        self.by_id.insert(key.id, Arc::clone(&key));
        let texts = match key.space {
            Space::Put => &mut self.puts,
            Space::Vital => &mut self.vitals,
        };
        texts.insert(key.text.clone(), key);
    }

    fn remove(&mut self, id: u64) {
        let Some(key) = self.by_id.remove(&id) else { return };
        *self.bytes(key.space) -= cost(&key.text);
        match key.space {
            Space::Put => self.puts.remove(&key.text),
            Space::Vital => self.vitals.remove(&key.text),
        };
    }
}

/// How a look at some keys ended.
#[derive(Debug, PartialEq, Eq)]
enum Step<T> {
    /// With what was looked for.
    Found(T),
    /// There may be more after this id.
    GoOn(u64),
    /// There are no more.
    End,
}

/// The text is kept three times.
fn cost(text: &str) -> usize {
    KEY_BYTES + 3 * text.len()
}

impl Keys {
    /// None yet, and room for so many that are put, and as many vital ones.
    #[must_use]
    pub(super) fn new(keys_max: usize) -> Self {
        Self { inner: RwLock::default(), keys_max }
    }

    /// The key of this text.
    #[must_use]
    pub(super) fn find(&self, space: Space, text: &str) -> Option<Arc<Key>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).space(space).get(text).cloned()
    }

    /// The key of this id.
    #[must_use]
    pub(super) fn by_id(&self, id: u64) -> Option<Arc<Key>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// The key of this text, which becomes one if it is none. `now_us`: Unix microseconds, of which
    /// its id is made.
    ///
    /// # Errors
    /// When there is no room for another.
    pub(super) fn find_or_add(
        &self,
        space: Space,
        text: &str,
        now_us: impl FnOnce() -> u64,
    ) -> Result<Arc<Key>, NoRoom> {
        if let Some(key) = self.find(space, text) {
            return Ok(key);
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = inner.space(space).get(text) {
            return Ok(Arc::clone(key));
        }
        let bytes_max = self.keys_max.saturating_mul(TEXT_BYTES_PER_KEY + KEY_BYTES);
        let (keys, bytes) = (inner.space(space).len(), *inner.bytes(space));
        if keys >= self.keys_max || bytes + cost(text) > bytes_max {
            return Err(NoRoom { keys, bytes });
        }
        // Larger than any before, also when the clock was set back.
        let last = inner.by_id.last_key_value().map_or(0, |(id, _)| *id);
        let id = now_us().max(last + 1);
        let key = Arc::new(Key { id, space, text: text.into(), newest: AtomicU64::new(0) });
        inner.insert(Arc::clone(&key));
        Ok(key)
    }

    /// Takes in a key that a partition on disk holds, under the id that it has there. Where the
    /// text has another id already, that of a newer partition, that one is given back: the two are
    /// one key. The limit does not count here: what is stored can be read.
    pub(super) fn restore(&self, space: Space, text: &str, id: u64, partition: u64) -> Arc<Key> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let key = match inner.space(space).get(text) {
            Some(key) => Arc::clone(key),
            None => {
                // No two keys can have one id, whatever a partition says.
                let id = if inner.by_id.contains_key(&id) {
                    inner.by_id.last_key_value().map_or(0, |(last, _)| *last) + 1
                } else {
                    id
                };
                let key = Arc::new(Key { id, space, text: text.into(), newest: AtomicU64::new(0) });
                inner.insert(Arc::clone(&key));
                key
            }
        };
        key.is_in(partition);
        key
    }

    /// Forgets those of these keys of which nothing was ever stored, and which nobody has in hand.
    pub(super) fn forget_unstored(&self, ids: &[u64]) {
        if ids.is_empty() {
            return;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let is_over = |key: &Arc<Key>| key.newest_partition() == 0 && Arc::strong_count(key) == 2;
            if inner.by_id.get(id).is_some_and(is_over) {
                inner.remove(*id);
            }
        }
    }

    /// Forgets the keys of which nothing is left: the newest partition that held them is not whole
    /// any more, no other does (`holder` names the newest that does), and nobody has them in hand.
    /// Costs the number of keys.
    pub(super) fn forget(&self, is_whole: impl Fn(u64) -> bool, holder: impl Fn(&Key) -> Option<u64>) -> usize {
        let mut candidates: Vec<Arc<Key>> = Vec::new();
        self.walk(None, |key| {
            if !is_whole(key.newest_partition()) {
                candidates.push(Arc::clone(key));
            }
            None::<()>
        });
        let mut over = Vec::new();
        for key in candidates {
            match holder(&key) {
                Some(partition) => key.newest.store(partition, Ordering::Release),
                None => over.push(key.id),
            }
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        // Two references are the table's own. Somebody who has it in hand may be about to write it.
        over.retain(|id| inner.by_id.get(id).is_some_and(|key| Arc::strong_count(key) == 2));
        over.iter().for_each(|id| inner.remove(*id));
        over.len()
    }

    /// The first key of this space, in the order of their first write, after this one.
    #[must_use]
    pub(super) fn after(&self, space: Space, id: Option<u64>) -> Option<Arc<Key>> {
        let is_next = |key: &Arc<Key>| key.space == space && key.newest_partition() > 0;
        self.walk(id, |key| is_next(key).then(|| Arc::clone(key)))
    }

    /// All keys of which something is stored and whose text begins so, by text; a key that was put
    /// hides a vital sign of the same text. A key that comes or goes meanwhile may be in it or not.
    /// Takes 8 bytes for each, so `FLEETGAUGE_MAX_KEYS` bounds it: 8 MB for a million.
    #[must_use]
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<Arc<Key>> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        self.walk(None, |key| {
            if key.text.starts_with(prefix) && key.newest_partition() > 0 {
                keys.push(Arc::clone(key));
            }
            None::<()>
        });
        keys.sort_unstable_by(|a, b| (&a.text, a.space).cmp(&(&b.text, b.space)));
        // Of two that are called the same the first one stays, which was put.
        keys.dedup_by(|after, first| after.text == first.text);
        keys
    }

    /// Shows the keys after this id to `find`, in the order of their first write, until it finds
    /// something.
    fn walk<T>(&self, mut after: Option<u64>, mut find: impl FnMut(&Arc<Key>) -> Option<T>) -> Option<T> {
        loop {
            match self.step(after, &mut find) {
                Step::Found(found) => return Some(found),
                Step::GoOn(last) => after = Some(last),
                Step::End => return None,
            }
        }
    }

    /// The same under one lock, for [`STEP_KEYS`] of them.
    fn step<T>(&self, after: Option<u64>, mut find: impl FnMut(&Arc<Key>) -> Option<T>) -> Step<T> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut seen, mut last) = (0, None);
        for (id, key) in inner.by_id.range((from, Bound::Unbounded)).take(STEP_KEYS) {
            if let Some(found) = find(key) {
                return Step::Found(found);
            }
            (seen, last) = (seen + 1, Some(*id));
        }
        last.filter(|_| seen == STEP_KEYS).map_or(Step::End, Step::GoOn)
    }

    /// Number of keys: put, vital.
    #[must_use]
    pub(super) fn count(&self) -> [usize; 2] {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        [inner.puts.len(), inner.vitals.len()]
    }

    /// Most keys.
    #[must_use]
    pub(super) fn max(&self) -> usize {
        self.keys_max
    }
}

#[cfg(test)]
mod tests;
