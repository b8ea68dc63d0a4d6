//! docs/metrics.md is made of what the code says: the tables of both services, the page of a real
//! agent, and the golden page of a host made of files. This test makes it, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tests::Hub;

const HEAD: &str = "\
# Metrics

Every family that FleetGauge shows. Series of agents also carry `instance` (the agent's name), `job`, and the agent's own labels (`FLEETGAUGE_LABELS`); families about agents carry `instance`, `job` and `aggregator`.

- `fleetgauge_agent_up` is 1 while what an agent pushed is on the page, and 0 from the moment it has gone until its tombstone goes. After a restart of the aggregator an agent that has not come back yet has none for 15 s, and then 0.
- Samples are received, and then visible, duplicates, or dropped; nothing else: `fleetgauge_samples_received_total` is the sum of the other three.

| Label | Value | Meaning |
|---|---|---|
| `reason` of samples dropped | `late` | older than two intervals, or than what is shown, or sent as late: this version has no store for them |
| | `conflict` | another family owns the name: a histogram `x` and a gauge `x_count`; the log names it |
| | `superseded` | another connection of the agent had taken over |
| `reason` of `fleetgauge_link_closed_total` | `bye` | the agent stopped |
| | `closed`, `failed` | the agent closed without a word; the network says that the connection broke |
| | `unread` | the agent took none of our bytes |
| | `refused` | it was told why; `fleetgauge_link_refused_total` counts by `code`, docs/protocol.md explains each |
| | `stopping` | this aggregator stopped |
| `reason` of `fleetgauge_scrapes_aborted_total` | `busy` | too many pages were being sent |
| | `slow`, `client` | the reader took longer than a minute; it left before the end |
| `path` of `fleetgauge_http_requests_total` | `other`, `unreadable` | an unknown path or another method; a request that is none, or a head over 16 KiB |

";

const AGENT_HEAD: &str = "
## About the agent, sent by itself

";

const HOST_HEAD: &str = "
## About the host, sent by the agent

`host_*` are there on every system. `node_*` are there on Linux, with the names, types and labels of [node_exporter](https://github.com/prometheus/node_exporter), so that dashboards, rules and alerts written for it keep working. A family is only there where the host has what it tells about.

| Family | Type | Labels | Collector |
|---|---|---|---|
";

#[tokio::test]
async fn the_document_is_what_the_code_says() {
    let expected = document().await;
    let file = tests::root().join("docs/metrics.md");
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{} should read:\n\n{expected}\n", file.display());
}

/// A family that neither the golden page nor this host shows would be missing in the document.
#[test]
fn every_name_in_the_agents_code_is_in_the_document() {
    let document = std::fs::read_to_string(tests::root().join("docs/metrics.md")).expect("docs/metrics.md");
    let names = names_in(&tests::root().join("services/agent/src"));
    assert!(names.len() > 100, "only {} names were found", names.len());
    let missing: Vec<&String> = names.iter().filter(|name| !document.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "the agent can send these, the document does not know them: {missing:?}");
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
}

async fn document() -> String {
    let mut text = HEAD.to_owned();
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
    text.push_str(AGENT_HEAD);
    // The golden page leaves out the labels that no two hosts share; this host has them.
    let here = families(&page_of_an_agent().await);
    table(
        &mut text,
        here.iter()
            .filter(|(name, _)| is_about_itself(name))
            .map(|(name, family)| (name.as_str(), family.kind.as_str(), family.labels(), family.help.as_str())),
    );
    text.push_str(HOST_HEAD);
    let golden = ["vm.prom", "systemd.prom"].map(|page| tests::root().join("services/agent/tests/fixtures").join(page));
    let golden = golden.map(|page| std::fs::read_to_string(page).expect("a golden page of the agent")).concat();
    let mut collector = "";
    for part in golden.split("\n# ").map(|part| part.trim_start_matches("# ")) {
        match part.strip_prefix("TYPE ") {
            None => collector = part.lines().next().unwrap_or_default(),
            Some(_) => {
                let families = families(&format!("# {part}"));
                // What the host's own text files hold is theirs.
                for (name, mut family) in
                    families.into_iter().filter(|(name, _)| !is_about_itself(name) && is_name(name))
                {
                    family.label_names.extend(here.get(&name).map(|here| here.label_names.clone()).unwrap_or_default());
                    let _infallible =
                        writeln!(text, "| `{name}` | {} | {} | {collector} |", family.kind, family.labels());
                }
            }
        }
    }
    text
}

fn is_about_itself(name: &str) -> bool {
    ["fleetgauge_push_", "fleetgauge_collector_", "process_", "node_exporter_", "node_scrape_"]
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
