//! Which family has which type, and who may use a name: the first to show a series of it.
//!
//! An entry lives as long as any set on the page uses it. Two entries clash when a line of one
//! could be read as a line of the other (a histogram `x` and a gauge `x_count`): then the one that
//! is shown already stays, the other is *blocked*, and its series are dropped and counted until the
//! first is gone. A type that only differs among counter, gauge and untyped is no clash: all are
//! shown under the first one's type.
//!
//! The table has one lock. It is taken when a set appears on the page or leaves it, never by a
//! push of values.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// Kept beside the table so that a look at it waits for nobody.
    count: AtomicUsize,
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
        let claimed = claims.iter().map(|claim| table.claim(claim)).collect();
        self.count.store(table.entries.len(), Ordering::Relaxed);
        claimed
    }

    /// Gives back what [`Families::claim`] gave.
    pub fn release(&self, families: &[Arc<Family>]) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for family in families {
            table.release(family);
        }
        self.count.store(table.entries.len(), Ordering::Relaxed);
    }

    /// The family that keeps this one off the page.
    #[must_use]
    pub fn blocker(&self, family: &Family) -> Option<Arc<Family>> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.rivals(&(family.name.clone(), family.shape())).into_iter().find(|rival| !rival.is_blocked())
    }

    /// How many families there are, blocked ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
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
        // The newcomer is the youngest, so it changes nothing for those that are there.
        let is_blocked = self.rivals(&key).iter().any(|rival| !rival.is_blocked());
        family.blocked.store(is_blocked, Ordering::Relaxed);
        self.entries.insert(key, Entry { family: Arc::clone(&family), users: 1 });
        family
    }

    fn release(&mut self, family: &Family) {
        let key = (family.name.clone(), family.shape());
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let mut waiting = self.rivals(&key);
        self.entries.remove(&key);
        for name in key.1.names(&key.0) {
            if let Some(owners) = self.owners.get_mut(name.as_str()) {
                owners.retain(|owner| *owner != key);
                if owners.is_empty() {
                    self.owners.remove(name.as_str());
                }
            }
        }
        // Those that it blocked come up, the oldest first, unless somebody else blocks them too.
        waiting.retain(|rival| rival.is_blocked());
        waiting.sort_by_key(|rival| rival.order);
        for rival in waiting {
            let key = (rival.name.clone(), rival.shape());
            if self.rivals(&key).iter().all(|other| other.is_blocked()) {
                rival.blocked.store(false, Ordering::Relaxed);
            }
        }
    }

    /// The other families that share a name with this one. A name has five possible owners (three
    /// shapes of its own, two of the family whose suffix it ends in), a family four names: never
    /// more than a handful, whatever anyone declares.
    fn rivals(&self, key: &Key) -> Vec<Arc<Family>> {
        let names = key.1.names(&key.0);
        let owners = names.filter_map(|name| self.owners.get(name.as_str())).flatten();
        let others: BTreeSet<&Key> = owners.filter(|owner| *owner != key).collect();
        others.into_iter().filter_map(|other| self.entries.get(other)).map(|entry| Arc::clone(&entry.family)).collect()
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
    fn what_only_clashes_with_a_blocked_one_is_shown_and_stays() {
        let families = Families::default();
        let x = one(&families, "x", MetricType::Histogram);
        let x_sum = one(&families, "x_sum", MetricType::Histogram);
        let x_sum_sum = one(&families, "x_sum_sum", MetricType::Gauge);
        assert_eq!([&x, &x_sum, &x_sum_sum].map(|f| f[0].is_blocked()), [false, true, false]);
        families.release(&x);
        assert_eq!([&x_sum, &x_sum_sum].map(|f| f[0].is_blocked()), [true, false]);
        families.release(&x_sum_sum);
        assert!(!x_sum[0].is_blocked());
    }

    #[test]
    fn a_tree_of_clashing_families_costs_no_more_than_others() {
        let families = Families::default();
        let mut names = vec!["x".to_owned()];
        for at in 0..10_000 {
            let parent = names[at].clone();
            names.extend(["_sum", "_count", "_bucket"].map(|suffix| format!("{parent}{suffix}")));
        }
        names.truncate(10_000);
        let claims: Vec<Claim> = names.iter().map(|name| claim(name, MetricType::Histogram)).collect();
        // Searching the whole tree for each would be 10^8 steps here, minutes in this build.
        let claimed = families.claim(&claims);
        let shown = claimed.iter().filter(|family| !family.is_blocked()).count();
        assert!(shown > 1 && shown < claimed.len());
        families.release(&claimed);
        assert!(families.is_empty());
    }
}
