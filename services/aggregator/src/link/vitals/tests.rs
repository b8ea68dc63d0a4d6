//! Vital signs of agents that declare and push all kinds of things.

use protocol::frame::{Declare, Family, MetricType, Series};
use protocol::{ABSENT, Labels};

use super::*;
use crate::fleet::declared::{Builder, Identity};

type Given<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

const DEVICES: [&[(&str, &str)]; 3] = [&[("device", "lo")], &[("device", "eth0")], &[("device", "eth1")]];

fn agent() -> AgentName {
    AgentName::parse("huginn").unwrap()
}

fn vitals(dir: &std::path::Path) -> Vitals {
    Vitals::new(crate::history::tests::open(dir, crate::history::tests::rules()), &agent())
}

fn declared_as(kind: MetricType, series: &[Given<'_>]) -> Arc<Declared> {
    let mut builder = Builder::new("set", Identity::new(&agent(), "node", &Labels::of(&[("a", "{x=\"1\",")])));
    let family = |(name, labels, _): &Given<'_>| Family {
        name: (*name).into(),
        kind,
        help: String::new(),
        unit: String::new(),
        series: vec![Series { suffix: String::new(), labels: Labels::of(labels) }],
    };
    let families = series.iter().map(family).collect();
    builder.add(&Declare { set: 1, name: "set".into(), job: None, offset: 0, total: 0, families }).unwrap();
    Arc::new(builder.finish().unwrap())
}

/// Declares this as a new set and pushes it; gives the vital signs by name.
fn push(vitals: &mut Vitals, set: u64, mono_ms: i64, series: &[Given<'_>]) -> Vec<(&'static str, f64)> {
    let declared = declared_as(MetricType::Gauge, series);
    vitals.declared(set, &declared);
    let values = Some(series.iter().map(|(_, _, value)| *value).collect());
    by_name(vitals.measure(Stream::Live, &[PushedSet { set, declared, values, reason: Box::default() }], mono_ms))
}

fn by_name(signs: Signs) -> Vec<(&'static str, f64)> {
    VITALS.iter().zip(signs).filter_map(|(vital, sign)| Some((vital.name, sign?))).collect()
}

#[track_caller]
fn check(series: &[Given<'_>], expected: &[(&'static str, f64)]) {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(push(&mut vitals(dir.path()), 1, 0, series), expected);
}

#[test]
fn ratios_are_percent_and_loads_are_loads() {
    check(
        &[
            ("host_cpu_used_ratio", &[], 0.123),
            ("other", &[], 7.0),
            ("host_memory_used_ratio", &[], 1.0 / 3.0),
            ("host_swap_used_ratio", &[], 0.0),
            ("host_load1", &[], 0.07),
            ("host_load5", &[], 0.08),
        ],
        &[("cpu", 12.3), ("memory", 33.3333), ("swap", 0.0), ("load1", 0.07)],
    );
}

#[test]
fn what_is_not_there_is_not_recorded() {
    let none: [f64; 4] = [ABSENT, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for value in none {
        check(&[("host_cpu_used_ratio", &[], value), ("host_load1", &[], value)], &[]);
    }
    check(&[("node_load1", &[], 1.0), ("host_load", &[], 1.0)], &[]);
    let histogram = declared_as(MetricType::Histogram, &[("host_load1", &[], 1.0)]);
    assert_eq!(Places::of(&histogram), None);
    assert_eq!(Places::of(&declared_as(MetricType::Gauge, &[("host_load5", &[], 1.0)])), None);
}

#[test]
fn the_disk_is_the_root_or_else_the_fullest() {
    let (root, boot, data) = ([("mountpoint", "/")], [("mountpoint", "/boot")], [("mountpoint", "/data")]);
    let family = "host_filesystem_used_ratio";
    check(&[(family, &boot, 0.9), (family, &root, 0.4), (family, &data, 0.8)], &[("disk", 40.0)]);
    check(&[(family, &boot, 0.9), (family, &root, ABSENT)], &[]);
    check(&[(family, &boot, f64::NAN), (family, &data, 0.8), (family, &[], 0.1)], &[("disk", 80.0)]);
}

#[test]
fn rates_are_of_all_devices_but_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let mut vitals = vitals(dir.path());
    let mut next_set = 0;
    let mut push = |mono_ms, bytes: &[f64]| {
        let names = ["host_network_receive_bytes_total", "host_network_transmit_bytes_total"];
        let series = |name| DEVICES.iter().zip(bytes).map(move |(device, bytes)| (name, *device, *bytes));
        next_set += 1;
        let [receive, transmit] = names.map(|name| series(name).collect::<Vec<Given<'_>>>());
        push(&mut vitals, next_set, mono_ms, &[receive, transmit].concat())
    };
    let rate = |rate| vec![("network_receive", rate), ("network_transmit", rate)];
    assert_eq!(push(1000, &[1.0, 100.0, 1000.0]), [], "there is nothing to compare with");
    // Another set with the same devices goes on where the one before ended.
    assert_eq!(push(3000, &[1e9, 300.0, 1100.0]), rate(150.0));
    assert_eq!(push(3000, &[1e9, 300.0, 1100.0]), [], "no time has passed");
    assert_eq!(push(4000, &[1e9, 0.0, 9999.0]), [], "a counter began anew");
    assert_eq!(push(5000, &[1e9, 10.0, 9999.0]), rate(10.0));
    assert_eq!(push(6000, &[1e9, 20.0]), [], "a device went");
    assert_eq!(push(7000, &[1e9, 30.0]), rate(10.0));
    assert_eq!(push(8000, &[1e9]), [], "only loopback is left");
    assert_eq!(push(9000, &[1e9, ABSENT]), []);
}

#[test]
fn a_set_that_failed_or_was_retired_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut vitals = vitals(dir.path());
    let declared = declared_as(MetricType::Gauge, &[("host_load1", &[], 1.0)]);
    for set in [1, 2] {
        vitals.declared(set, &declared);
    }
    let pushed = |set, values| PushedSet { set, declared: Arc::clone(&declared), values, reason: Box::default() };
    assert_eq!(
        by_name(vitals.measure(Stream::Live, &[pushed(1, None), pushed(2, Some(vec![5.0]))], 0)),
        [("load1", 5.0)]
    );
    let both = [pushed(1, Some(vec![4.0])), pushed(2, Some(vec![5.0]))];
    assert_eq!(by_name(vitals.measure(Stream::Live, &both, 0)), [("load1", 4.0)]);
    vitals.retired(1);
    assert_eq!(by_name(vitals.measure(Stream::Live, &both, 0)), [("load1", 5.0)]);
    vitals.retired(2);
    let nothing = vitals.measure(Stream::Live, &both, 0);
    assert!(vitals.record(nothing, 0, Stream::Live).is_none());
}
