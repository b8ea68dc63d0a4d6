//! The page: all that is shown at one moment, ordered and ready to be written.
//!
//! Data flows one way: views of the agents and the aggregator's own metrics come in as sets, their
//! families are brought together, and [`encode`] writes them out in pieces. A page is immutable;
//! writing it waits for no agent, and no agent waits for it.

pub mod buffers;
pub mod encode;
pub mod gzip;
pub mod own;
pub mod put;
pub mod stream;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::fleet::agent::Shown;
use crate::fleet::families::Family;

/// Everything that is shown at one moment.
#[derive(Debug)]
pub struct Page {
    /// Sorted by name, each once.
    families: Vec<PageFamily>,
    sets: Vec<Shown>,
}

/// A family and where its series are.
#[derive(Debug)]
struct PageFamily {
    family: Arc<Family>,
    runs: Vec<Run>,
}

/// Series of one family that follow each other in one set.
#[derive(Debug, Clone, Copy)]
struct Run {
    set: u32,
    first: u32,
    end: u32,
}

impl Run {
    fn series(self) -> Range<usize> {
        self.first as usize..self.end as usize
    }
}

impl Page {
    /// Brings the families of these sets together.
    #[must_use]
    pub fn new(sets: Vec<Shown>) -> Self {
        let mut found: Vec<PageFamily> = Vec::new();
        let mut index: HashMap<u64, usize> = HashMap::new();
        for (at, shown) in sets.iter().enumerate() {
            for (number, family) in shown.families.iter().enumerate() {
                if family.is_blocked() {
                    continue;
                }
                let series = shown.declared.series_of(number);
                let run = Run { set: narrow(at), first: narrow(series.start), end: narrow(series.end) };
                let place = *index.entry(family.order).or_insert_with(|| {
                    found.push(PageFamily { family: Arc::clone(family), runs: Vec::new() });
                    found.len() - 1
                });
                if let Some(place) = found.get_mut(place) {
                    place.runs.push(run);
                }
            }
        }
        Self { families: one_of_each_name(found), sets }
    }

    /// Number of families.
    #[must_use]
    pub fn families(&self) -> usize {
        self.families.len()
    }
}

/// Sorts the families by name, and makes sure of what the table of families promises: one owner
/// for each name. Agents are viewed one after the other, so a family may have gone and come back
/// with another type in between; without this look, such a page would be invalid.
fn one_of_each_name(mut found: Vec<PageFamily>) -> Vec<PageFamily> {
    found.sort_by_key(|one| one.family.order);
    let mut owned: HashSet<String> = HashSet::new();
    let mut by_name: BTreeMap<Box<str>, PageFamily> = BTreeMap::new();
    for one in found {
        let (name, shape) = (&one.family.name, one.family.shape());
        match by_name.get_mut(name) {
            Some(same) if same.family.shape() == shape => same.runs.extend(one.runs),
            _ if shape.names(name).any(|name| owned.contains(&name)) => {}
            _ => {
                owned.extend(shape.names(name));
                by_name.insert(name.clone(), one);
            }
        }
    }
    by_name.into_values().collect()
}

/// A page has fewer than 2^32 series and sets: both are limited far below that.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("series and sets are limited far below 2^32")
}

#[cfg(test)]
pub(crate) mod tests;
