//! docs/metrics.md is made of what the code says: the tables of both services, the page of a real
//! agent, and the golden page of a host made of files. This test makes it, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tests::Hub;

const HEAD: &str = include_str!("metrics/head.md");

const PUT_HEAD: &str = "
## What programs put

`instance` is the longest name of a known agent that the key begins with, before a dot, else what stands before the first dot; `name` is the rest. A key with nothing before its first dot, nothing behind it, or no dot has a `name` only. There is no `job`: Prometheus adds its own, and its `instance` where a key has none. A key is shown until it was not put for `FLEETGAUGE_PUT_EXPIRY`.

";

const AGENT_HEAD: &str = "
## About the agent, sent by itself

";

/// Families about the agent that a healthy one does not send.
const LATER: [(&str, &str, &[&str], &str); 1] = [(
    "fleetgauge_collector_dropped_series_total",
    "counter",
    &["collector", "reason"],
    "Samples of series that were not sent, by reason: unfit (names or labels that no page can have), duplicate, limit.",
)];

/// The collector that these tests are built without, and what it reads.
const SYSTEMD: (&str, &str) = ("systemd", "`/run/dbus/system_bus_socket` (an agent built with the feature `systemd`)");

const HOST_HEAD: &str = include_str!("metrics/host.md");

#[tokio::test]
async fn the_document_is_what_the_code_says() {
    tests::check_document("docs/metrics.md", &document().await);
}

/// A family that neither the golden page nor this host shows would be missing in the document.
#[test]
#[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the tests")]
fn every_name_in_the_agents_code_is_in_the_document() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return; // The document is being written by the other test.
    }
    let document = std::fs::read_to_string(tests::root().join("docs/metrics.md")).expect("docs/metrics.md");
    let names = names_in(&tests::root().join("services/agent/src"));
    assert!(names.len() > 100, "only {} names were found", names.len());
    let missing: Vec<&String> = names.iter().filter(|name| !document.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "the agent can send these, the document does not know them: {missing:?}");
}

#[test]
fn what_is_said_to_be_missing_is() {
    let unsupported = HOST_HEAD.lines().find(|line| line.starts_with("Not supported:")).expect("a list");
    let config = agent::Settings::resolve(&lifecycle::Settings::default()).expect("the defaults are good").collect;
    for collector in agent::collect::all(&config) {
        let name = format!("`{}`", collector.name());
        assert!(!unsupported.contains(&name), "tests/tests/metrics/host.md: {name} is there");
    }
}

/// The literals that look like a metric's name, in all Rust files of a directory but its tests.
fn names_in(directory: &std::path::Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).expect("a directory of the agent").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            names.extend(names_in(&path));
        } else if !path.ends_with("tests.rs") && !path.to_string_lossy().ends_with("_tests.rs") {
            let text = std::fs::read_to_string(&path).expect("a file of the agent");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            names.extend(code.split('"').filter(|word| is_name(word)).map(str::to_owned));
        }
    }
    names
}

fn is_name(word: &str) -> bool {
    ["node_", "host_", "fleetgauge_", "process_"].iter().any(|prefix| word.starts_with(prefix))
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        // The beginning of names that are made of what a file says.
        && !word.ends_with('_')
}

async fn document() -> String {
    let mut text = format!("{HEAD}\n");
    text.push_str("## About the aggregator\n\n");
    table(
        &mut text,
        aggregator::telemetry::TABLE.iter().map(|metric| {
            let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            (metric.name, metric.kind, labels, metric.help)
        }),
    );
    text.push_str("\nOn Linux also `process_*` of the aggregator, without `instance`.\n\n## About each agent, made by the aggregator\n\n");
    table(
        &mut text,
        aggregator::page::own::AGENT_FAMILIES.iter().map(|family| {
            let kind = format!("{:?}", family.kind).to_lowercase();
            (family.name, if kind == "counter" { "counter" } else { "gauge" }, family.labels.to_owned(), family.help)
        }),
    );
    text.push_str(PUT_HEAD);
    let put = aggregator::page::put::PUT;
    table(&mut text, std::iter::once((put.name, "gauge", put.labels.to_owned(), put.help)));
    text.push_str(AGENT_HEAD);
    // The golden page leaves out the labels that no two hosts share; this host has them.
    let mut here = families(&page_of_an_agent().await);
    // These are only there once they have something to tell.
    for (name, kind, labels, help) in LATER {
        let label_names = labels.iter().map(|label| (*label).to_owned()).collect();
        let family = Family { kind: kind.to_owned(), help: help.to_owned(), label_names };
        here.entry(name.to_owned()).or_insert(family);
    }
    table(
        &mut text,
        here.iter()
            .filter(|(name, _)| is_about_itself(name))
            .map(|(name, family)| (name.as_str(), family.kind.as_str(), family.labels(), family.help.as_str())),
    );
    let _infallible = write!(text, "\n{HOST_HEAD}\n");
    collectors(&mut text, &here);
    text
}

/// A table of the collectors, and for each of them one of its families: those of the golden pages.
fn collectors(text: &mut String, here: &BTreeMap<String, Family>) {
    let config = agent::Settings::resolve(&lifecycle::Settings::default()).expect("the defaults are good").collect;
    let mut collectors: Vec<(&str, String)> = agent::collect::all(&config)
        .iter()
        .map(|collector| {
            let every = collector.every().map_or("for every push".to_owned(), in_words);
            let on = if collector.is_default() { "on" } else { "off" };
            (collector.name(), format!("{on} | {every} | {}", collector.source()))
        })
        .collect();
    if !collectors.iter().any(|(name, _)| *name == SYSTEMD.0) {
        collectors.push((SYSTEMD.0, format!("on | every 15 s | {}", SYSTEMD.1)));
    }
    text.push_str("| Collector | By default | Read | From |\n|---|---|---|---|\n");
    for (name, about) in &collectors {
        let _infallible = writeln!(text, "| [{name}](#{name}) | {about} |");
    }
    let golden = golden_families();
    for (name, _) in &collectors {
        let families = golden.get(*name).into_iter().flatten();
        // What the host's own text files hold is theirs.
        let mut families = families.filter(|(name, _)| !is_about_itself(name) && is_name(name)).peekable();
        if families.peek().is_none() {
            continue;
        }
        let _infallible =
            writeln!(text, "\n#### {name}\n\n| Family | Type | Unit | Labels | Meaning |\n|---|---|---|---|---|");
        for (name, family) in families {
            let mut labels = family.label_names.clone();
            labels.extend(here.get(name).map(|here| here.label_names.clone()).unwrap_or_default());
            let labels = Family { label_names: labels, ..Family::default() }.labels();
            let (kind, unit, help) = (&family.kind, unit(name), family.help.replace('|', "\\|"));
            let _infallible = writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
        }
    }
}

fn in_words(every: std::time::Duration) -> String {
    match every.as_secs() {
        3600 => "every hour".to_owned(),
        seconds => format!("every {seconds} s"),
    }
}

/// The unit that the end of a name says.
fn unit(name: &str) -> &'static str {
    const UNITS: [(&str, &str); 22] = [
        ("_bytes", "bytes"),
        ("_seconds", "seconds"),
        ("_hertz", "hertz"),
        ("_mhz", "megahertz"),
        ("_celsius", "°C"),
        ("zone_temp", "°C"),
        ("_volts", "volts"),
        ("_volt", "volts"),
        ("_amps", "amperes"),
        ("_ampere", "amperes"),
        ("_watt", "watts"),
        ("_watts", "watts"),
        ("_watthour", "watt-hours"),
        ("_joules", "joules"),
        ("_rpm", "turns per minute"),
        ("_ratio", "0 to 1"),
        ("_bits", "bits"),
        ("_sectors", "512 bytes"),
        ("_blocks", "blocks"),
        ("_cores", "CPUs"),
        ("_mem", "pages"),
        ("_info", "always 1"),
    ];
    let name = name.strip_suffix("_total").unwrap_or(name);
    UNITS.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// What the golden pages show: families by name, by collector.
fn golden_families() -> BTreeMap<String, BTreeMap<String, Family>> {
    let mut all: BTreeMap<String, BTreeMap<String, Family>> = BTreeMap::new();
    let fixtures = tests::root().join("services/agent/tests/fixtures");
    for entry in std::fs::read_dir(fixtures).expect("the agent's fixtures").map(|entry| entry.expect("an entry")) {
        if entry.path().extension().is_none_or(|extension| extension != "prom") {
            continue;
        }
        let page = std::fs::read_to_string(entry.path()).expect("a golden page");
        for (collector, part) in by_collector(&page) {
            for (name, family) in families(&part) {
                let known = all.entry(collector.clone()).or_default().entry(name).or_default();
                known.label_names.extend(family.label_names.iter().cloned());
                *known = Family { label_names: std::mem::take(&mut known.label_names), ..family };
            }
        }
    }
    all
}

/// The parts of a golden page, each after a comment with the collector's name.
fn by_collector(page: &str) -> BTreeMap<String, String> {
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    let mut collector = "";
    for line in page.lines() {
        match line.strip_prefix("# ").filter(|rest| !["HELP ", "TYPE "].iter().any(|head| rest.starts_with(head))) {
            Some(rest) if !rest.contains(' ') => collector = rest,
            Some(_) => {}
            None => *parts.entry(collector.to_owned()).or_default() += &format!("{line}\n"),
        }
    }
    parts
}

fn is_about_itself(name: &str) -> bool {
    ["fleetgauge_push_", "fleetgauge_spool_", "fleetgauge_collector_", "process_", "node_exporter_", "node_scrape_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

async fn page_of_an_agent() -> String {
    let hub = Hub::start().await;
    let _agent = hub.agent("a").start();
    // Some of its metrics are first sent after the first ack.
    hub.scrape_until("it has pushed twice", |page| page.value("fleetgauge_push_ack_seconds_count", &[]) >= Some(1.0))
        .await;
    hub.get("/metrics?agent=a").await.expect("its page").text().to_owned()
}

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    label_names: BTreeSet<String>,
}

impl Family {
    fn labels(&self) -> String {
        self.label_names.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
    }
}

/// The families of a page, with the labels that the aggregator adds left out.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut help, mut name) = (String::new(), String::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, help)| help.to_owned()).unwrap_or_default();
        } else if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            name = family.to_owned();
            let family = Family { kind: kind.to_owned(), help: std::mem::take(&mut help), ..Family::default() };
            families.insert(name.clone(), family);
        } else if let (Some(family), Some(labels)) = (families.get_mut(&name), line.split_once('{')) {
            let labels = labels.1.rsplit_once('}').map(|(labels, _)| labels).unwrap_or_default();
            let names = labels.split(',').filter_map(|pair| pair.split_once("=\"")).map(|(name, _)| name.to_owned());
            family.label_names.extend(names.filter(|name| !["instance", "job", "le"].contains(&name.as_str())));
        }
    }
    families
}

fn table<'a>(text: &mut String, rows: impl Iterator<Item = (&'a str, &'a str, String, &'a str)>) {
    text.push_str("| Family | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for (name, kind, labels, help) in rows {
        let _infallible = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
    }
}
