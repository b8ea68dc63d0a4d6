//! What a simulated agent measures: about a hundred families with one to three labels, in ten
//! sets, like a host's collectors. The same seed gives the same series.
//!
//! Names are as long as a host's real ones, because a page's size, and with it the cost of a
//! scrape, is mostly names: about 75 to 90 bytes before each value.

use protocol::Labels;
use protocol::frame::{Family, MetricType, Series};
use protocol::limits::LINE_BYTES_MAX;
use protocol::split::declare_lines;

/// How the values of a family look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Whole numbers that grow.
    Count,
    /// Whole numbers of bytes, up to terabytes, that grow.
    Bytes,
    /// Seconds with two decimals, that grow.
    Seconds,
    /// Between zero and one with all the digits of a double, up and down.
    Ratio,
    /// Pages of memory: multiples of 4,096, up and down.
    Pages,
}

/// One family and how its values look.
#[derive(Debug, Clone)]
pub struct Shaped {
    /// The family, as it is declared.
    pub family: Family,
    /// How its values look.
    pub look: Look,
}

/// All that one agent measures.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The sets, numbered from 1 in this order.
    pub sets: Vec<Vec<Shaped>>,
    /// How many series they have together.
    pub series: usize,
}

const SUBSYSTEMS: [&str; 10] =
    ["cpu", "disk", "network", "memory", "filesystem", "schedstat", "netstat", "softirqs", "pressure", "thermal"];

/// Name, type, look and number of labels of the families that each subsystem has.
const KINDS: [(&str, MetricType, Look, usize); 10] = [
    ("operations_total", MetricType::Counter, Look::Count, 1),
    ("busy_seconds_total", MetricType::Counter, Look::Seconds, 2),
    ("transmitted_bytes_total", MetricType::Counter, Look::Bytes, 1),
    ("used_ratio", MetricType::Gauge, Look::Ratio, 1),
    ("size_bytes", MetricType::Gauge, Look::Pages, 3),
    ("errors_total", MetricType::Counter, Look::Count, 2),
    ("waiting_seconds_total", MetricType::Counter, Look::Seconds, 1),
    ("completed_total", MetricType::Counter, Look::Count, 2),
    ("available_bytes", MetricType::Gauge, Look::Pages, 1),
    ("saturation_ratio", MetricType::Gauge, Look::Ratio, 2),
];

impl Shape {
    /// `series` series: some families with many, some with few.
    #[must_use]
    pub fn new(series: usize, seed: u64) -> Self {
        let sizes = family_sizes(series, seed);
        let mut sets = Vec::new();
        let mut sizes = sizes.into_iter();
        for subsystem in SUBSYSTEMS {
            let of_subsystem = KINDS.iter().zip(sizes.by_ref()).filter(|(_, size)| *size > 0);
            let set: Vec<Shaped> = of_subsystem.map(|(kind, size)| shaped(subsystem, *kind, size)).collect();
            if !set.is_empty() {
                sets.push(set);
            }
        }
        Self { sets, series }
    }

    /// The `declare` lines of all sets.
    #[must_use]
    pub fn declaration(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (number, set) in (1..).zip(&self.sets) {
            let families: Vec<Family> = set.iter().map(|shaped| shaped.family.clone()).collect();
            declare_lines(number, &format!("collector-{number}"), None, &families, LINE_BYTES_MAX, &mut lines);
        }
        lines
    }

    /// All families.
    pub fn families(&self) -> impl Iterator<Item = &Shaped> {
        self.sets.iter().flatten()
    }
}

/// How many series each of the families has: weights from 2 to 18, scaled to the sum.
fn family_sizes(series: usize, seed: u64) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let weights: Vec<usize> = (0..SUBSYSTEMS.len() * KINDS.len()).map(|_| random.usize(2..=18)).collect();
    let sum: usize = weights.iter().sum();
    let mut sizes: Vec<usize> = weights.iter().map(|weight| series * weight / sum).collect();
    let missing = series - sizes.iter().sum::<usize>();
    sizes.iter_mut().take(missing).for_each(|size| *size += 1);
    sizes
}

fn shaped(subsystem: &str, kind: (&str, MetricType, Look, usize), size: usize) -> Shaped {
    let (name, kind, look, labels) = kind;
    let series = (0..size).map(|n| Series { suffix: String::new(), labels: labels_of(labels, n) }).collect();
    let family = Family {
        name: format!("node_{subsystem}_{name}"),
        kind,
        help: format!("What {subsystem} says about {}.", name.replace('_', " ")),
        unit: String::new(),
        series,
    };
    Shaped { family, look }
}

/// The labels of a family's n-th series; no two are equal.
fn labels_of(count: usize, n: usize) -> Labels {
    const MODES: [&str; 4] = ["user", "system", "iowait", "idle"];
    match count {
        1 => Labels::of(&[("device", &format!("eth{n}"))]),
        2 => {
            let mode = MODES.get(n % MODES.len()).copied().unwrap_or_default();
            Labels::of(&[("cpu", &(n / MODES.len()).to_string()), ("mode", mode)])
        }
        _ => Labels::of(&[("device", &format!("sd{n}")), ("fstype", "ext4"), ("mountpoint", &format!("/srv/{n}"))]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use protocol::declare::{check_family, check_series};

    use super::*;

    #[test]
    fn a_thousand_series_look_like_a_host() {
        let shape = Shape::new(1000, 7);
        assert_eq!(shape.sets.len(), 10);
        assert_eq!(shape.families().count(), 100);
        let mut seen = HashSet::new();
        let mut bytes = 0;
        for shaped in shape.families() {
            check_family(&shaped.family).unwrap();
            for series in &shaped.family.series {
                check_series(&shaped.family, series).unwrap();
                let mut prefix = format!("{}{{instance=\"bench-00001\",job=\"node\"", shaped.family.name);
                for (name, value) in series.labels.iter() {
                    prefix.push_str(&format!(",{name}=\"{value}\""));
                }
                prefix.push_str("} ");
                bytes += prefix.len();
                assert!(seen.insert(prefix), "no series twice");
            }
        }
        assert_eq!(seen.len(), 1000);
        assert!((75..=90).contains(&(bytes / 1000)), "{} bytes before a value", bytes / 1000);
    }

    #[test]
    fn every_number_of_series_is_met() {
        for series in [1, 7, 99, 100, 101, 2500] {
            let shape = Shape::new(series, 1);
            assert_eq!(shape.families().map(|shaped| shaped.family.series.len()).sum::<usize>(), series);
            assert!(shape.families().all(|shaped| !shaped.family.series.is_empty()));
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(Shape::new(500, 3).declaration(), Shape::new(500, 3).declaration());
        assert_ne!(Shape::new(500, 3).declaration(), Shape::new(500, 4).declaration());
    }
}
