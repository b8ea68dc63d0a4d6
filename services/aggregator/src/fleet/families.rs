//! Which family has which type, and who may use a name: the first to show a series of it.
//!
//! An entry lives as long as any set on the page uses it. Two entries clash when a line of one
//! could be read as a line of the other (a histogram `x` and a gauge `x_count`): then the older
//! one is shown, the younger is *blocked*, and its series are dropped and counted until the older
//! one is gone. A type that only differs among counter, gauge and untyped is no clash: all are
//! shown under the first one's type.
//!
//! The table has one lock. It is taken when a set appears on the page or leaves it, never by a
//! push of values.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::frame::MetricType;

/// What lines a family consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Lines that bear the family's name.
    Scalar,
    /// `_bucket`, `_sum`, `_count`.
    Histogram,
    /// Lines that bear the family's name, `_sum`, `_count`.
    Summary,
}

impl Shape {
    /// The shape of a type.
    #[must_use]
    pub fn of(kind: MetricType) -> Self {
        match kind {
            MetricType::Histogram => Self::Histogram,
            MetricType::Summary => Self::Summary,
            MetricType::Counter | MetricType::Gauge | MetricType::Untyped => Self::Scalar,
        }
    }

    /// What follows the family's name in the names that it owns.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Scalar => &[""],
            Self::Histogram => &["", "_bucket", "_sum", "_count"],
            Self::Summary => &["", "_sum", "_count"],
        }
    }

    /// All names that a family of this shape owns.
    pub fn names(self, family: &str) -> impl Iterator<Item = String> {
        self.suffixes().iter().map(move |suffix| format!("{family}{suffix}"))
    }
}

/// A family that is, or was a moment ago, on the page.
#[derive(Debug)]
pub struct Family {
    /// Grows with every new entry: the older claim has the lower number.
    pub order: u64,
    /// The name, a counter's with `_total`.
    pub name: Box<str>,
    /// The type under which all its series are shown: the first one's.
    pub kind: MetricType,
    /// The first one's HELP.
    pub help: Box<str>,
    /// The first one's unit.
    pub unit: Box<str>,
    blocked: AtomicBool,
}

impl Family {
    /// Is it kept off the page by an older family that owns one of its names?
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// What lines it consists of.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape::of(self.kind)
    }
}

/// What a sender says about a family when it claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The family's name.
    pub name: Box<str>,
    /// The type that this sender gives it.
    pub kind: MetricType,
    /// Its HELP.
    pub help: Box<str>,
    /// Its unit.
    pub unit: Box<str>,
}

type Key = (Box<str>, Shape);

/// All families on the page.
#[derive(Debug, Default)]
pub struct Families {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    /// Who owns, or would own, a name: never more than a few.
    owners: HashMap<Box<str>, Vec<Key>>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    family: Arc<Family>,
    users: usize,
}

impl Families {
    /// Takes part in a family, which is made if nobody has it.
    #[must_use]
    pub fn claim(&self, claims: &[Claim]) -> Arc<[Arc<Family>]> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        claims.iter().map(|claim| table.claim(claim)).collect()
    }

    /// Gives back what [`Families::claim`] gave.
    pub fn release(&self, families: &[Arc<Family>]) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for family in families {
            table.release(family);
        }
    }

    /// How many families there are, blocked ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn claim(&mut self, claim: &Claim) -> Arc<Family> {
        let key = (claim.name.clone(), Shape::of(claim.kind));
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.users += 1;
            return Arc::clone(&entry.family);
        }
        let family = Arc::new(Family {
            order: self.next,
            name: claim.name.clone(),
            kind: claim.kind,
            help: claim.help.clone(),
            unit: claim.unit.clone(),
            blocked: AtomicBool::new(false),
        });
        self.next += 1;
        for name in key.1.names(&key.0) {
            self.owners.entry(name.into()).or_default().push(key.clone());
        }
        self.entries.insert(key.clone(), Entry { family: Arc::clone(&family), users: 1 });
        self.settle(&key);
        family
    }

    fn release(&mut self, family: &Family) {
        let key = (family.name.clone(), family.shape());
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let rivals = self.rivals(&key);
        self.entries.remove(&key);
        for name in key.1.names(&key.0) {
            if let Some(owners) = self.owners.get_mut(name.as_str()) {
                owners.retain(|owner| *owner != key);
                if owners.is_empty() {
                    self.owners.remove(name.as_str());
                }
            }
        }
        for rival in rivals {
            self.settle(&rival);
        }
    }

    /// The other families that share a name with this one.
    fn rivals(&self, key: &Key) -> Vec<Key> {
        let names = key.1.names(&key.0);
        let owners = names.filter_map(|name| self.owners.get(name.as_str())).flatten();
        owners.filter(|owner| *owner != key).cloned().collect::<BTreeSet<Key>>().into_iter().collect()
    }

    /// Decides anew who is blocked among all that are connected with `key` through shared names.
    /// Each name has a handful of possible owners and each owner four names at most, so this
    /// stays small whatever anyone declares.
    fn settle(&mut self, key: &Key) {
        let mut group = BTreeSet::from([key.clone()]);
        let mut open = vec![key.clone()];
        while let Some(one) = open.pop() {
            for rival in self.rivals(&one) {
                if group.insert(rival.clone()) {
                    open.push(rival);
                }
            }
        }
        let mut members: Vec<Arc<Family>> =
            group.iter().filter_map(|one| self.entries.get(one)).map(|entry| Arc::clone(&entry.family)).collect();
        members.sort_by_key(|family| family.order);
        let mut taken = BTreeSet::new();
        for family in members {
            let names: Vec<String> = family.shape().names(&family.name).collect();
            let blocked = names.iter().any(|name| taken.contains(name));
            family.blocked.store(blocked, Ordering::Relaxed);
            if !blocked {
                taken.extend(names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, kind: MetricType) -> Claim {
        Claim { name: name.into(), kind, help: "".into(), unit: "".into() }
    }

    fn one(families: &Families, name: &str, kind: MetricType) -> Arc<[Arc<Family>]> {
        families.claim(&[claim(name, kind)])
    }

    #[test]
    fn the_first_type_wins_until_its_last_user_is_gone() {
        let families = Families::default();
        let first = one(&families, "x", MetricType::Gauge);
        let second = one(&families, "x", MetricType::Counter);
        assert!(Arc::ptr_eq(&first[0], &second[0]));
        families.release(&first);
        assert_eq!(one(&families, "x", MetricType::Untyped)[0].kind, MetricType::Gauge);
        families.release(&second);
        families.release(&second);
        assert!(families.is_empty());
        assert_eq!(one(&families, "x", MetricType::Counter)[0].kind, MetricType::Counter);
    }

    #[test]
    fn a_clash_blocks_the_younger_until_the_older_is_gone() {
        let families = Families::default();
        let histogram = one(&families, "x", MetricType::Histogram);
        let gauge = one(&families, "x_count", MetricType::Gauge);
        let other = one(&families, "x", MetricType::Gauge);
        assert!(!histogram[0].is_blocked() && gauge[0].is_blocked() && other[0].is_blocked());
        families.release(&histogram);
        assert!(!gauge[0].is_blocked() && !other[0].is_blocked());
    }

    #[test]
    fn what_only_clashes_with_a_blocked_one_is_shown() {
        let families = Families::default();
        let x = one(&families, "x", MetricType::Histogram);
        let x_sum = one(&families, "x_sum", MetricType::Histogram);
        let x_sum_sum = one(&families, "x_sum_sum", MetricType::Gauge);
        assert_eq!([&x, &x_sum, &x_sum_sum].map(|f| f[0].is_blocked()), [false, true, false]);
        families.release(&x);
        assert_eq!([&x_sum, &x_sum_sum].map(|f| f[0].is_blocked()), [false, true]);
    }
}
