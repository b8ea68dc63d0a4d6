//! A page of metrics, and programs to compare it with.

use std::collections::BTreeMap;

/// Says that a comparison is skipped, or that it must not be.
pub(crate) fn skipped(peer: &str, why: &str) {
    assert!(std::env::var_os("REQUIRE_PEERS").is_none_or(|set| set != "1"), "{peer} is required here: {why}");
    eprintln!("skipped, nothing to compare with: {peer}: {why}");
}

/// A series' name and labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) series: BTreeMap<Series, f64>,
}

impl Page {
    /// The values of all series of this name with these labels.
    fn all<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
        let fits = move |series: &Series| {
            let has = |(label, value): &(&str, &str)| series.labels.get(*label).is_some_and(|got| got == value);
            series.name == name && labels.iter().all(has)
        };
        self.series.iter().filter(move |(series, _)| fits(series)).map(|(_, value)| *value)
    }

    /// The value of the only series with these labels.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<f64> = self.all(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0]
    }

    pub(crate) fn only(&self, name: &str) -> f64 {
        self.find(name, &[])
    }

    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).sum()
    }
}
