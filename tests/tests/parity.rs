//! Is an agent's part of the page what node_exporter shows of the same host? Names, types, label
//! names and values, family by family.
//!
//! Needs node_exporter: `PROMETHEUS_NODE_EXPORTER`, or `prometheus-node-exporter` on the path.
//! Without it the test says that it is skipped; with `REQUIRE_PEERS=1` it fails instead.

use std::collections::{BTreeMap, BTreeSet};

use tests::node_exporter::NodeExporter;
use tests::page::Sample;
use tests::{Host, Hub, Page, peers};

/// What dashboards and alerts ask for.
const DASHBOARDS: &str = include_str!("parity/dashboards.txt");
/// As many of them as a plain Linux host shows, at least.
const VISIBLE_MIN: usize = 197;
/// Labels that the aggregator adds.
const ADDED: [&str; 2] = ["instance", "job"];

/// A text file of the host's own.
const TEXTFILE: &str = "\
# HELP backup_last_success_timestamp_seconds When it ended well.
# TYPE backup_last_success_timestamp_seconds gauge
backup_last_success_timestamp_seconds{target=\"nas \\\"1\\\"\"} 1.79e9
# TYPE backup_duration_seconds histogram
backup_duration_seconds_bucket{le=\"60\"} 1
backup_duration_seconds_bucket{le=\"+Inf\"} 2
backup_duration_seconds_sum 90.5
backup_duration_seconds_count 2
";

/// Families that are only there, and why; the same list stands in docs/metrics.md.
const ONLY_THEIRS: [(&str, &str); 4] = [
    ("node_processes_threads_state", "one file to read for each thread of the host"),
    ("go_", "the exporter's own runtime"),
    ("promhttp_", "the exporter's own server"),
    ("process_network_", "the exporter's own; the agent has a link, with fleetgauge_push_bytes_total"),
];
/// Families that only the agent has.
const ONLY_OURS: [(&str, &str); 5] = [
    ("host_", "the vital signs of every operating system"),
    ("fleetgauge_", "about the agent itself"),
    ("process_threads", "the agent's own"),
    ("node_cpu_online", "since node_exporter 1.10"),
    ("node_filesystem_", "since node_exporter 1.10: mount_info and purgeable_bytes"),
];
/// Families about whoever measures: there, with the same type and labels, but other values.
const ABOUT_THE_MEASURER: [&str; 3] = ["process_", "node_scrape_collector_", "node_exporter_build_info"];

/// Families with values that are meant to differ, and why.
const MEANT_TO_DIFFER: [(&str, &str); 1] = [(
    "node_tcp_connection_states",
    "a state without a socket is 0, and missing there; backlogs of sockets that listen are no bytes, but are there",
)];

/// Families whose series come and go by the moment: a state in which just now no process is.
const COMES_AND_GOES: [&str; 1] = ["node_processes_state"];

/// How far a value that goes up and down may be beside both of ours: the beginning of a name, and
/// the slack. A counter of theirs must lie between our two readings.
const SLACK: [(&str, f64); 18] = [
    ("node_load", 0.5),
    ("node_procs_", 100.0),
    ("node_processes_", 300.0),
    ("node_disk_io_now", 100.0),
    ("node_filefd_allocated", 5_000.0),
    ("node_entropy_available_bits", 256.0),
    ("node_sockstat_", 500.0),
    ("node_udp_queues", 1_000_000.0),
    ("node_nf_conntrack_entries", 200.0),
    ("node_arp_entries", 20.0),
    ("node_netstat_Tcp_CurrEstab", 200.0),
    ("node_cpu_scaling_frequency_hertz", 5e9),
    ("node_cpu_frequency_avg_hertz", 5e9),
    ("node_filesystem_", 1e9),
    ("node_timex_", 0.01),
    ("node_hwmon_", 20.0),
    ("node_thermal_zone_temp", 20.0),
    // The times of CPUs and disks are read in hundredths or thousandths of a second.
    ("node_", 0.011),
];

/// A page as families: type, and series with the labels that the host gives them.
struct Families {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, BTreeMap<BTreeMap<String, String>, f64>>,
}

impl Families {
    fn of(page: &Page, is_shown: impl Fn(&Sample) -> bool) -> Self {
        let mut series: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for sample in page.samples.iter().filter(|sample| is_shown(sample)) {
            let mut labels = sample.labels.clone();
            // node_exporter writes empty labels, which are none.
            labels.retain(|name, value| !ADDED.contains(&name.as_str()) && !value.is_empty());
            if sample.name == "node_disk_info" {
                // It says 0 of every disk where any of the files beside this one is missing.
                labels.entry("rotational".to_owned()).and_modify(|value| "any".clone_into(value));
            }
            series.entry(sample.name.clone()).or_default().insert(labels, sample.value);
        }
        Self { types: page.types.clone(), series }
    }

    fn label_names(&self, family: &str) -> BTreeSet<&str> {
        self.series
            .get(family)
            .into_iter()
            .flat_map(|series| series.keys().flat_map(BTreeMap::keys))
            .map(String::as_str)
            .collect()
    }
}

/// The agent's part of the page, after `pushes` more pushes than it had.
async fn ours(hub: &Hub, agent: &Host, pushes: f64) -> (Families, f64) {
    let acked = |page: &Page| page.value("fleetgauge_push_total", &[("result", "acked")]).unwrap_or(0.0);
    let before = hub.scrape().await.map_or(0.0, |page| acked(&page));
    let page = hub.scrape_until("it has pushed anew", |page| acked(page) >= before + pushes).await;
    let sent = |sample: &Sample| sample.label("instance") == agent.name() && sample.label("aggregator").is_empty();
    let count = acked(&page);
    (Families::of(&page, sent), count)
}

fn excused<T>(name: &str, list: &[(&str, T)]) -> bool {
    list.iter().any(|(prefix, _)| name.starts_with(prefix))
}

fn shapes(ours: &Families, theirs: &Families) -> Vec<String> {
    let mut differences = Vec::new();
    for name in ours.series.keys().chain(theirs.series.keys()).collect::<BTreeSet<_>>() {
        match (ours.series.contains_key(name), theirs.series.contains_key(name)) {
            (true, true) => {
                let (our, their) = (ours.label_names(name), theirs.label_names(name));
                if our != their && name != "node_exporter_build_info" {
                    differences.push(format!("{name}: labels {our:?}, there {their:?}"));
                }
                // A histogram's parts have no type of their own.
                if ours.types.get(name) != theirs.types.get(name) {
                    differences.push(format!("{name}: {:?}, there {:?}", ours.types.get(name), theirs.types.get(name)));
                }
            }
            (true, false) if !excused(name, &ONLY_OURS) => differences.push(format!("{name}: only here")),
            (false, true) if !excused(name, &ONLY_THEIRS) => differences.push(format!("{name}: only there")),
            _ => {}
        }
    }
    differences
}

/// How many series were compared, and which have another value. What the exporter says was read
/// between our two readings.
fn values(before: &Families, theirs: &Families, after: &Families) -> (usize, Vec<String>) {
    let mut differences = Vec::new();
    let mut compared = 0;
    let is_compared = |name: &str| {
        !ABOUT_THE_MEASURER.iter().any(|prefix| name.starts_with(prefix)) && !excused(name, &MEANT_TO_DIFFER)
    };
    for (name, series) in theirs.series.iter().filter(|(name, _)| is_compared(name) && !excused(name, &ONLY_THEIRS)) {
        let empty = BTreeMap::new();
        let first = before.series.get(name).unwrap_or(&empty);
        let last = after.series.get(name).unwrap_or(&empty);
        let slack = slack(name, theirs);
        for (labels, their) in series {
            let (Some(low), Some(high)) = (first.get(labels), last.get(labels)) else {
                if !COMES_AND_GOES.contains(&name.as_str()) {
                    differences.push(format!("{name} {labels:?}: only there"));
                }
                continue;
            };
            compared += 1;
            if *their < low.min(*high) - slack || *their > low.max(*high) + slack {
                differences.push(format!("{name} {labels:?}: there {their}, which is not between {low} and {high}"));
            }
        }
        let gone =
            last.keys().filter(|labels| !series.contains_key(*labels) && !COMES_AND_GOES.contains(&name.as_str()));
        for labels in gone {
            differences.push(format!("{name} {labels:?}: only here"));
        }
    }
    (compared, differences)
}

fn slack(name: &str, page: &Families) -> f64 {
    if name.starts_with("node_memory_") {
        let total = page.series.get("node_memory_MemTotal_bytes").and_then(|series| series.values().next());
        return total.copied().unwrap_or(0.0) * 0.05;
    }
    SLACK.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(0.0, |(_, slack)| *slack)
}

#[tokio::test]
async fn an_agent_shows_what_node_exporter_shows() {
    let Some(program) = peers::program("PROMETHEUS_NODE_EXPORTER", "prometheus-node-exporter") else { return };
    let textfiles = tempfile::tempdir().expect("a directory");
    std::fs::write(textfiles.path().join("backup.prom"), TEXTFILE).expect("a file");
    let exporter = NodeExporter::start(&program, textfiles.path()).await;
    let hub = Hub::start().await;
    let config = agent::Settings::resolve(&lifecycle::Settings::default()).expect("the defaults are good");
    // Every collector for every push, so that all of the page is of one moment.
    let every: Vec<String> =
        agent::collect::all(&config.collect).iter().map(|collector| format!("{}=1s", collector.name())).collect();
    let agent = hub
        .agent("here")
        .with("FLEETGAUGE_INTERVAL", "1s")
        .with("FLEETGAUGE_COLLECTOR_INTERVALS", every.join(","))
        .with("FLEETGAUGE_COLLECTORS", "interrupts")
        .with("FLEETGAUGE_TEXTFILE_DIRECTORY", textfiles.path().display())
        .start();
    let (before, _) = ours(&hub, &agent, 2.0).await;
    let theirs = Families::of(&Page::parse(&exporter.page().await), |_| true);
    let (after, _) = ours(&hub, &agent, 2.0).await;

    let wanted: Vec<&str> = DASHBOARDS.lines().filter(|line| !line.starts_with('#')).collect();
    let visible = |page: &Families| wanted.iter().filter(|name| page.series.contains_key(**name)).count();
    let lacking: Vec<&&str> =
        wanted.iter().filter(|name| theirs.series.contains_key(**name) && !after.series.contains_key(**name)).collect();
    println!("of the {} families that dashboards ask for:", wanted.len());
    println!("  node_exporter shows {}, the agent {}; lacking: {lacking:?}", visible(&theirs), visible(&after));
    let shapes = shapes(&after, &theirs);
    println!("families with another shape: {}", shapes.len());
    let (compared, values) = values(&before, &theirs, &after);
    println!("series compared: {compared}; with another value: {}", values.len());

    let lacking = lacking.iter().map(|name| format!("{name}: dashboards ask for it"));
    let differences: Vec<String> = lacking.chain(shapes).chain(values).collect();
    assert!(differences.is_empty(), "node_exporter's page is another one:\n{}", differences.join("\n"));
    assert!(compared >= 300, "only {compared} series were compared");
    assert!(visible(&after) >= VISIBLE_MIN, "only {} of {VISIBLE_MIN} are visible here", visible(&after));
}
