//! What declared names and labels take, in bytes, as an aggregator counts them against what it
//! grants to an agent ([`crate::limits::text_bytes_max`]). An agent that counts the same way
//! leaves out what has no room, instead of being refused.

use crate::frame::{Family, Hello, Series};

/// What a series takes besides its text: where it ends, its value, and the aggregator's own job.
const SERIES_OVERHEAD: usize = 32;
/// What a family takes besides its text: its claim, and its place on the page.
const FAMILY_OVERHEAD: usize = 1024;
/// How often its name is kept, with those of the names that it owns.
const FAMILY_NAMES: usize = 8;

/// What each series takes for the labels that its agent gives to all of them.
#[must_use]
pub fn of_agent(hello: &Hello) -> usize {
    of_label("instance", &hello.agent) + of_labels(hello.labels.iter())
}

/// What each series of a set takes for the job that is declared with the set.
#[must_use]
pub fn of_job(job: Option<&str>) -> usize {
    job.map_or(0, |job| of_label("job", job))
}

/// What a family takes without its series.
#[must_use]
pub fn of_head(family: &Family) -> usize {
    family.name.len() * FAMILY_NAMES + family.help.len() + family.unit.len() + FAMILY_OVERHEAD
}

/// What the series of a family take, without the labels of their agent.
#[must_use]
pub fn of_series(family: &Family) -> usize {
    let each = family.name.len() + SERIES_OVERHEAD;
    let one = |series: &Series| each + series.suffix.len() + of_labels(series.labels.iter());
    family.series.iter().map(one).sum()
}

fn of_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    labels.map(|(name, value)| of_label(name, value)).sum()
}

fn of_label(name: &str, value: &str) -> usize {
    name.len() + value.len() + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;
    use crate::frame::MetricType;

    #[test]
    fn each_text_counts_as_often_as_the_protocol_says() {
        let series = |suffix: &str, labels| Series { suffix: suffix.into(), labels };
        let family = Family {
            name: "wait".into(),
            kind: MetricType::Summary,
            help: "Long.".into(),
            unit: "s".into(),
            series: vec![series("_sum", Labels::of(&[("a", "bc")])), series("", Labels::default())],
        };
        assert_eq!(of_head(&family), 1024 + 8 * 4 + 5 + 1);
        assert_eq!(of_series(&family), (32 + 4 + 4 + 7) + (32 + 4));
        assert_eq!((of_job(None), of_job(Some("node"))), (0, 11));
    }
}
