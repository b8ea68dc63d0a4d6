//! What a real Prometheus, its tools and a strict reader make of the page.
//!
//! These tests need programs that this project does not build; where one is missing the test says
//! that it is skipped. With `REQUIRE_PEERS=1` it fails instead.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::prometheus::Series;
use tests::{Host, Hub, Page, Prometheus, http, peers, wait};

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What every agent on Linux sends, one for each way a value can come about.
const SENT: [&str; 4] = ["node_load1", "node_memory_MemTotal_bytes", "node_uname_info", "host_uptime_seconds"];

/// What `promtool check metrics` also finds on the page of node_exporter, whose names these are:
/// the beginning of the name, and the complaint.
const ACCEPTED: [(&str, &str); 4] = [
    ("node_memory_", CAMEL_CASE),
    ("node_netstat_", CAMEL_CASE),
    ("node_sockstat_", CAMEL_CASE),
    ("node_entropy_", "use base unit \"bytes\" instead of \"bits\""),
];
const CAMEL_CASE: &str = "metric names should be written in 'snake_case' not 'camelCase'";

async fn five_agents() -> (Hub, Vec<Host>) {
    let hub = Hub::start().await;
    let hosts = FIVE.iter().map(|name| hub.agent(name).start()).collect();
    let complete = |page: &Page| {
        FIVE.iter().all(|agent| SENT.iter().all(|name| page.value(name, &[("instance", agent)]).is_some()))
    };
    hub.scrape_until("all five are there", complete).await;
    (hub, hosts)
}

/// As prometheus/prometheus.yml has it, but for the address.
fn one_page(addr: SocketAddr) -> String {
    format!("  - job_name: fleetgauge\n    honor_labels: true\n    static_configs:\n      - targets: [\"{addr}\"]\n")
}

/// The alternative of prometheus/prometheus.yml.
fn every_agent_a_target(addr: SocketAddr) -> String {
    format!(
        "  - job_name: fleet\n    honor_labels: true\n    http_sd_configs:\n      \
         - url: http://{addr}/api/v1/targets\n        refresh_interval: 1s\n"
    )
}

fn instances(result: &[Series]) -> BTreeSet<&str> {
    result.iter().map(|series| series.label("instance")).collect()
}

fn all_five(result: &[Series]) -> bool {
    result.len() == 5 && instances(result) == FIVE.into_iter().collect()
}

#[tokio::test]
async fn prometheus_sees_five_agents_under_their_own_names() {
    let Some(program) = peers::program("PROMETHEUS", "prometheus") else { return };
    let (hub, _hosts) = five_agents().await;
    let prometheus = Prometheus::start(&program, &one_page(hub.http())).await;
    for name in SENT {
        let result = prometheus.query_until("all five are there", name, all_five).await;
        for series in result {
            assert_eq!(series.label("job"), "node", "{series:?}");
            assert!(!series.labels.keys().any(|label| label.starts_with("exported_")), "{series:?}");
        }
    }
    prometheus.query_until("all are up", "fleetgauge_agent_up == 1", all_five).await;
    let target = wait::until("the target is healthy", || healthy_target(&prometheus)).await;
    assert_eq!(target.pointer("/lastError").and_then(serde_json::Value::as_str), Some(""));
    // The aggregator's own series got the labels of the target, not those of an agent.
    let own = prometheus.query("process_resident_memory_bytes{job=\"fleetgauge\"}").await.unwrap();
    assert_eq!(instances(&own), [hub.http().to_string().as_str()].into_iter().collect());
}

async fn healthy_target(prometheus: &Prometheus) -> io::Result<serde_json::Value> {
    let targets = prometheus.targets().await?;
    let healthy = targets.iter().find(|target| target.pointer("/health").is_some_and(|health| health == "up"));
    healthy.cloned().ok_or_else(|| io::Error::other(format!("{targets:?}")))
}

#[tokio::test]
async fn a_killed_agents_series_are_stale_with_the_scrape_that_says_it_is_gone() {
    let Some(program) = peers::program("PROMETHEUS", "prometheus") else { return };
    let (hub, mut hosts) = five_agents().await;
    let prometheus = Prometheus::start(&program, &one_page(hub.http())).await;
    prometheus.query_until("all five are there", "node_load1", all_five).await;
    let victim = hosts.pop().expect("five were started");
    let name = victim.name().to_owned();
    victim.kill().await;
    // One expression, so both sides are of one moment: what it sent, as long as it is not down.
    let down = format!("fleetgauge_agent_up{{instance=\"{name}\"}} == 0");
    prometheus.query_until("it is down", &down, |result| result.len() == 1).await;
    let sent = format!("{{instance=\"{name}\",__name__!~\"fleetgauge_agent_.*\"}}");
    let left = prometheus.query(&sent).await.unwrap();
    assert!(left.is_empty(), "the scrape that said it is down still had {} series: {:?}", left.len(), left.first());
    let others = prometheus.query("node_load1").await.unwrap();
    assert_eq!(others.len(), 4, "the others are untouched: {others:?}");
}

#[tokio::test]
async fn all_are_back_within_ten_seconds_of_an_aggregators_restart() {
    let Some(program) = peers::program("PROMETHEUS", "prometheus") else { return };
    let (mut hub, _hosts) = five_agents().await;
    let prometheus = Prometheus::start(&program, &one_page(hub.http())).await;
    prometheus.query_until("all five are there", "node_load1", all_five).await;
    hub.stop().await;
    prometheus.query_until("all are stale", "node_load1", <[Series]>::is_empty).await;
    hub.start_again().await;
    let restarted = Instant::now();
    prometheus.query_until("all five are back", "node_load1", all_five).await;
    assert!(restarted.elapsed() < Duration::from_secs(10), "back after {:?}", restarted.elapsed());
}

#[tokio::test]
async fn every_agent_can_be_a_target_of_its_own() {
    let Some(program) = peers::program("PROMETHEUS", "prometheus") else { return };
    let (hub, mut hosts) = five_agents().await;
    let prometheus = Prometheus::start(&program, &every_agent_a_target(hub.http())).await;
    let up = prometheus.query_until("five targets are up", "up == 1", all_five).await;
    for series in &up {
        assert_eq!(series.labels.len(), 3, "name, instance and job only: {series:?}");
    }
    prometheus.query_until("their series are there", "node_load1", all_five).await;
    let twisted = prometheus.query("{__name__!=\"\",exported_instance!=\"\"} or {__name__!=\"\",exported_job!=\"\"}");
    let twisted = twisted.await.unwrap();
    assert!(twisted.is_empty(), "{:?}", twisted.first());
    // Its own `up` is what an agent gets by this: one that is gone is a target that fails.
    let victim = hosts.pop().expect("five were started");
    let down = format!("up{{instance=\"{}\"}} == 0", victim.name());
    victim.kill().await;
    prometheus.query_until("its target is down", &down, |result| result.len() == 1).await;
    let left = prometheus.query("up == 1").await.unwrap();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[tokio::test]
async fn promtool_finds_nothing_that_is_ours_to_mend() {
    let Some(promtool) = peers::program("PROMTOOL", "promtool") else { return };
    let (hub, _hosts) = five_agents().await;
    let page = hub.get("/metrics").await.unwrap();
    let output = peers::run(&promtool, &["check", "metrics"], &page.body).await;
    // 0: nothing found, 3: some words about style. Anything else: the page cannot be read.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    let found = String::from_utf8(output.stderr).expect("UTF-8") + &String::from_utf8_lossy(&output.stdout);
    let accepted =
        |line: &&str| ACCEPTED.iter().any(|(name, complaint)| line.starts_with(name) && line.ends_with(complaint));
    let (known, new): (Vec<&str>, Vec<&str>) = found.lines().filter(|line| !line.is_empty()).partition(accepted);
    assert!(new.is_empty(), "{new:#?}");
    assert!(!known.is_empty(), "node_memory_MemTotal_bytes is on the page, so promtool must say something");
}

/// The pages that the agent's collectors make of hosts made of files.
#[tokio::test]
async fn promtool_can_read_the_golden_pages() {
    let Some(promtool) = peers::program("PROMTOOL", "promtool") else { return };
    let fixtures = std::fs::read_dir(tests::root().join("services/agent/tests/fixtures")).unwrap();
    let files =
        fixtures.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "prom"));
    let mut read = 0;
    for file in files {
        // Several collectors say this, each of itself; on a page it is one family.
        let page = std::fs::read_to_string(&file).unwrap();
        let page: Vec<&str> =
            page.lines().filter(|line| !line.contains("fleetgauge_collector_own_namespace")).collect();
        let output = peers::run(&promtool, &["check", "metrics"], (page.join("\n") + "\n").as_bytes()).await;
        // They have no help texts, which is a matter of style.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {output:?}", file.display());
        read += 1;
    }
    assert!(read >= 5, "only {read} golden pages");
}

#[tokio::test]
async fn promtool_accepts_the_configuration_that_is_shipped() {
    let Some(promtool) = peers::program("PROMTOOL", "promtool") else { return };
    let config = tests::root().join("prometheus/prometheus.yml");
    let config = config.to_str().expect("the repository's path is UTF-8");
    let output = peers::run(&promtool, &["check", "config", "--lint=all", "--lint-fatal", config], b"").await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_strict_reader_accepts_the_openmetrics_page() {
    const READ: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.type, len(family.samples), family.name)
";
    let Some(python) = peers::python_with("prometheus_client").await else { return };
    let (hub, _hosts) = five_agents().await;
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let page = http::get(hub.http(), "/metrics", &accept).await.unwrap();
    assert!(page.header("content-type").starts_with("application/openmetrics-text"), "{:?}", page.headers);
    let output = peers::run(&python, &["-c", READ], &page.body).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(read.lines().any(|line| line == "gauge 5 node_load1"), "{read}");
    let plain = Page::parse(hub.get("/metrics").await.unwrap().text());
    let families = read.lines().count();
    assert!(families > 50, "{families} families of {} samples", plain.samples.len());
}
