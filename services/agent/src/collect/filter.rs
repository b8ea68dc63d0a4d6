//! Which devices, mounts or fields are shown: by regular expressions, as node_exporter has them.
//! Like there, an expression matches anywhere in a name unless it has `^` and `$`.

use std::collections::HashMap;
use std::sync::Arc;

use regex_lite::Regex;

/// Most names whose decisions are remembered; then they are made anew.
const KNOWN_MAX: usize = 4096;
/// Longest name of a device that is shown. The kernel's own limits are lower: 15 bytes of a network
/// device, 31 of a disk. Decisions on longer names are made anew each time.
pub const NAME_BYTES_MAX: usize = 256;

/// What is shown: everything that `include` matches (without one: everything), but nothing that
/// `exclude` matches.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Option<Arc<Regex>>,
    exclude: Option<Arc<Regex>>,
    /// The same names come at every measurement.
    known: HashMap<String, bool>,
}

impl Filter {
    /// A filter of these two expressions.
    #[must_use]
    pub fn new(include: Option<Regex>, exclude: Option<Regex>) -> Self {
        Self { include: include.map(Arc::new), exclude: exclude.map(Arc::new), known: HashMap::new() }
    }

    /// Is this name shown?
    pub fn shows(&mut self, name: &str) -> bool {
        if let Some(decision) = self.known.get(name) {
            return *decision;
        }
        let matches = |expression: &Option<Arc<Regex>>| expression.as_ref().map(|regex| regex.is_match(name));
        let decision = matches(&self.include).unwrap_or(true) && !matches(&self.exclude).unwrap_or(false);
        if name.len() <= NAME_BYTES_MAX {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            self.known.insert(name.to_owned(), decision);
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_expressions_count() {
        let regex = |text| Some(Regex::new(text).unwrap());
        let mut filter = Filter::new(regex("^sd"), regex("a$"));
        for _ in 0..2 {
            assert_eq!(["sda", "sdb", "vdb", "xsdb"].map(|name| filter.shows(name)), [false, true, false, false]);
        }
        assert!(Filter::default().shows("anything"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut filter = Filter::default();
        assert!((0..KNOWN_MAX * 2 + 10).all(|n| filter.shows(&n.to_string())));
        assert!(filter.known.len() <= KNOWN_MAX);
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        assert!(filter.shows(&long) && !filter.known.contains_key(&long));
        assert!(filter.known.capacity() <= KNOWN_MAX * 2);
    }
}
