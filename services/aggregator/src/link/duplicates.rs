//! Which series an agent has declared under which set name, so that none stands in two sets.
//!
//! Hardly ever does a family stand in sets of different names; only those are looked at series by
//! series. What a declaration costs is what it holds, not what is declared already.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::fleet::declared::Declared;

/// All families of an agent's declared sets.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    families: HashMap<Box<str>, Holders>,
}

#[derive(Debug)]
enum Holders {
    /// Sets of one name (versions of one set, of which the page shows one): the sets, and which of
    /// their families it is.
    One { name: Box<str>, at: Vec<(u64, usize)> },
    /// Sets of several names: for each series, by its hash, the name and how many sets of it.
    /// 64 bits: two different series of an agent with 100,000 clash once in 10^9 agents, and then
    /// the agent is refused, with the series named.
    Many(HashMap<u64, (Arc<str>, usize)>),
}

impl Declarations {
    /// Takes in a set; or gives a series that stands in a set of another name, and that name.
    /// After that, nothing has changed for the families before.
    pub(super) fn add(
        &mut self,
        number: u64,
        set: &Arc<Declared>,
        sets: &HashMap<u64, Arc<Declared>>,
    ) -> Result<(), (String, String)> {
        let set_name: Arc<str> = set.name.as_ref().into();
        for (family, claim) in set.claims.iter().enumerate() {
            let holders = match self.families.entry(claim.name.clone()) {
                Entry::Vacant(free) => {
                    free.insert(Holders::One { name: set.name.clone(), at: vec![(number, family)] });
                    continue;
                }
                Entry::Occupied(taken) => taken.into_mut(),
            };
            if let Holders::One { name, at } = holders {
                if *name == set.name {
                    at.push((number, family));
                    continue;
                }
                *holders = Holders::Many(one_by_one(name, at, sets));
            }
            let Holders::Many(series) = holders else { continue };
            for number in set.series_of(family) {
                match series.entry(hash(set.prefix(number))) {
                    Entry::Vacant(free) => {
                        free.insert((Arc::clone(&set_name), 1));
                    }
                    Entry::Occupied(mut taken) if *taken.get().0 == *set.name => taken.get_mut().1 += 1,
                    Entry::Occupied(taken) => {
                        let text = String::from_utf8_lossy(set.prefix(number)).trim_end().to_owned();
                        return Err((text, taken.get().0.to_string()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets go of a set.
    pub(super) fn remove(&mut self, number: u64, set: &Declared) {
        for (family, claim) in set.claims.iter().enumerate() {
            let is_empty = match self.families.get_mut(&claim.name) {
                None => false,
                Some(Holders::One { at, .. }) => {
                    at.retain(|(held, _)| *held != number);
                    at.is_empty()
                }
                Some(Holders::Many(series)) => {
                    for prefix in set.series_of(family).map(|number| set.prefix(number)) {
                        if let Entry::Occupied(mut held) = series.entry(hash(prefix)) {
                            held.get_mut().1 -= 1;
                            if held.get().1 == 0 {
                                held.remove();
                            }
                        }
                    }
                    series.is_empty()
                }
            };
            if is_empty {
                self.families.remove(&claim.name);
            }
        }
    }
}

/// The series of a family that sets of one name had to themselves so far.
fn one_by_one(name: &str, at: &[(u64, usize)], sets: &HashMap<u64, Arc<Declared>>) -> HashMap<u64, (Arc<str>, usize)> {
    let name: Arc<str> = name.into();
    let mut series: HashMap<u64, (Arc<str>, usize)> = HashMap::new();
    for (number, family) in at {
        let Some(set) = sets.get(number) else { continue };
        for number in set.series_of(*family) {
            series.entry(hash(set.prefix(number))).or_insert_with(|| (Arc::clone(&name), 0)).1 += 1;
        }
    }
    series
}

fn hash(prefix: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    prefix.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use protocol::frame::{Declare, Family, MetricType, Series};
    use protocol::{AgentName, Labels};

    use super::*;
    use crate::fleet::declared::{Builder, Identity};

    fn set(name: &str, series: &[(&str, &str)]) -> Arc<Declared> {
        let identity = Identity::new(&AgentName::parse("a").unwrap(), "node", &Labels::default());
        let mut builder = Builder::new(name, identity);
        for (family, label) in series {
            let families = vec![Family {
                name: (*family).into(),
                kind: MetricType::Gauge,
                help: String::new(),
                unit: String::new(),
                series: vec![Series { suffix: String::new(), labels: Labels::of(&[("l", label)]) }],
            }];
            builder.add(&Declare { set: 1, name: name.into(), job: None, offset: 0, total: 0, families }).unwrap();
        }
        Arc::new(builder.finish().unwrap())
    }

    #[test]
    fn a_series_belongs_to_one_set_name_at_a_time() {
        let mut declarations = Declarations::default();
        let mut sets = HashMap::new();
        let mut add = |number, set: &Arc<Declared>| {
            declarations.add(number, set, &sets).map(|()| sets.insert(number, Arc::clone(set)))
        };
        let (first, again) = (set("s", &[("x", "1"), ("y", "1")]), set("s", &[("x", "1"), ("z", "1")]));
        let (other, clash) = (set("t", &[("x", "2"), ("z", "2")]), set("u", &[("w", "1"), ("z", "1")]));
        add(1, &first).unwrap();
        add(2, &again).unwrap();
        add(3, &other).unwrap();
        let found = add(4, &clash).map(|_| ()).unwrap_err();
        assert_eq!(found, (r#"z{instance="a",job="node",l="1"}"#.to_owned(), "s".to_owned()));
        for (number, set) in [(1, first), (2, again), (3, other)] {
            declarations.remove(number, &set);
        }
        // What the refused one had taken before it clashed belongs to a connection that has ended.
        assert_eq!(declarations.families.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["w"]);
    }
}
