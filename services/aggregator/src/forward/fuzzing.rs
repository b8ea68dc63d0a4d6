//! A door for the fuzzers in `fuzz/`, in builds with the feature `fuzzing` alone.

use protocol::frame::MetricType;

use super::labels::labels;
use crate::fleet::declared::{Builder, Identity};

/// A series with these labels has them on the page and in remote write alike.
pub fn check_labels(all: &[(&str, &str)]) {
    let mut set = Builder::new("fuzz", Identity::none());
    set.series("x", "_y", all.iter().copied());
    let set = set.finish_unchecked();
    let found = labels(set.prefix(0), MetricType::Gauge);
    let found: Vec<_> = found.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
    let mut expected: Vec<_> = all.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
    expected.push(("__name__", "x_y"));
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Reads a series as it stands on a page, whatever that is.
pub fn read_labels(prefix: &[u8]) {
    for kind in [MetricType::Gauge, MetricType::Histogram, MetricType::Summary] {
        assert!(labels(prefix, kind).is_sorted(), "Prometheus wants them sorted");
    }
}
