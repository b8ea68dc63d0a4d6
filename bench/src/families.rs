//! What a page of one host holds: its families and how many series each has. Two pages are compared
//! by these.

use std::collections::BTreeMap;

/// The families on a page, with the number of their series. A family without series is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Families {
    series: BTreeMap<String, u64>,
}

impl Families {
    /// Reads a page of the text format. A sample belongs to the family whose TYPE stands before it,
    /// if its name begins with that family's, as those of histograms and summaries do.
    #[must_use]
    pub fn of(page: &str) -> Self {
        let mut families = Self::default();
        let mut current = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap_or_default();
            } else if !line.is_empty() && !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let family = if !current.is_empty() && name.starts_with(current) { current } else { name };
                *families.series.entry(family.to_owned()).or_insert(0) += 1;
            }
        }
        families
    }

    /// How many families and series there are whose names begin with `prefix`.
    #[must_use]
    pub fn count(&self, prefix: &str) -> (usize, u64) {
        let fits = || self.series.iter().filter(|(name, _)| name.starts_with(prefix));
        (fits().count(), fits().map(|(_, series)| series).sum())
    }

    /// Of the families of `other` that tell of a host or a process: how many are here too, and
    /// which are not.
    #[must_use]
    pub fn compared_with<'a>(&self, other: &'a Self) -> (usize, Vec<&'a str>) {
        let told = other.series.keys().filter(|name| name.starts_with("node_") || name.starts_with("process_"));
        let (here, missing): (Vec<&str>, Vec<&str>) =
            told.map(String::as_str).partition(|name| self.series.contains_key(*name));
        (here.len(), missing)
    }
}

/// The value of the first series of this name whose labels hold `label`, which is written as on the
/// page: `result="acked"`, or nothing for any, or none.
#[must_use]
pub fn value(page: &str, name: &str, label: &str) -> Option<f64> {
    page.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels.contains(label).then_some(value)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP node_a A.\n# TYPE node_a gauge\nnode_a{x=\"1\"} 1\nnode_a{x=\"2\"} 2\n\
        # TYPE fleetgauge_h histogram\nfleetgauge_h_bucket{le=\"+Inf\"} 3\nfleetgauge_h_sum 1.5\nfleetgauge_h_count 3\n\
        # TYPE node_empty gauge\n# TYPE process_p counter\nprocess_p 7\nuntyped_u 8\n";

    #[test]
    fn families_have_series() {
        let families = Families::of(PAGE);
        assert_eq!(families.count(""), (4, 7));
        assert_eq!(families.count("node_"), (1, 2));
        assert_eq!(families.count("fleetgauge_"), (1, 3));
        assert_eq!(Families::of("").count(""), (0, 0));
    }

    #[test]
    fn what_another_page_has_more_is_missing() {
        let other = Families::of("# TYPE node_a gauge\nnode_a 1\nnode_b 1\nprocess_p 2\nprocess_q 1\ngo_x 1\n");
        assert_eq!(Families::of(PAGE).compared_with(&other), (2, vec!["node_b", "process_q"]));
    }

    #[test]
    fn values_are_found() {
        let page =
            "# TYPE a counter\na{r=\"dropped\",instance=\"i\"} 2\na{r=\"acked\",instance=\"i\"} 40\nab{} 1\nabc 5\n";
        assert_eq!(value(page, "a", "r=\"acked\""), Some(40.0));
        assert_eq!(value(page, "ab", ""), Some(1.0));
        assert_eq!((value(page, "abc", ""), value(page, "abc", "x")), (Some(5.0), None));
        assert_eq!(value(page, "a", "r=\"other\""), None);
        assert_eq!(value("a{r=\"acked\"} x\n", "a", ""), None);
    }
}
