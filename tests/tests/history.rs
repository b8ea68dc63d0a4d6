//! Vital signs of real agents in the history, and what HTTP says of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use aggregator::fleet::families::Families;
use aggregator::history::{History, Rules};
use aggregator::page::encode::{Encoder, Format, Times, pieces};
use aggregator::page::own::Own;
use aggregator::telemetry::Telemetry;
use tests::{Hub, Page, peers, wait};

const VITALS: [&str; 3] = ["huginn.cpu", "huginn.memory", "huginn.load1"];

/// The points of one key: second and value.
async fn points(hub: &Hub, key: &str) -> io::Result<Vec<(i64, f64)>> {
    let answer = hub.get(&format!("/api/v1/history?key={key}")).await?.json()?;
    let part = |path: &str| answer.pointer(path).cloned().unwrap_or_default();
    assert!(part("/series").is_array(), "{answer}");
    assert!(part("/series/0/key") == key || part("/series/0").is_null(), "{answer}");
    serde_json::from_value(part("/series/0/points")).or_else(|_| Ok(vec![]))
}

async fn several_points(hub: &Hub, key: &str) -> Vec<(i64, f64)> {
    let several = async || match points(hub, key).await? {
        points if points.len() >= 3 => Ok(points),
        points => Err(io::Error::other(format!("{points:?}"))),
    };
    wait::until(&format!("{key} has several points"), several).await
}

#[tokio::test]
async fn vital_signs_of_an_agent_are_answered_and_outlive_the_aggregator() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", folder.path().display()).start().await;
    let began = lifecycle::clock::unix_ms().div_euclid(1000);
    let huginn = hub.agent("huginn").start();
    for key in VITALS {
        let points = several_points(&hub, key).await;
        let now = lifecycle::clock::unix_ms().div_euclid(1000);
        let percent = if key.ends_with("load1") { 0.0..=1e4 } else { 0.0..=100.0 };
        for (second, value) in &points {
            assert!((began - 2..=now).contains(second), "{key}: {second} is not between {began} and {now}");
            assert!(percent.contains(value), "{key} is {value}");
        }
        assert!(points.is_sorted_by(|a, b| a.0 < b.0), "{key}: one point a second, in order: {points:?}");
    }
    let page = hub.scrape().await.unwrap();
    assert_eq!(page.of("fleetgauge_put").count(), 0, "nobody put anything");
    huginn.stop().await;
    let before = points(&hub, "huginn.cpu").await.unwrap();
    hub.stop().await;
    hub.start_again().await;
    assert_eq!(points(&hub, "huginn.cpu").await.unwrap(), before, "nothing came since");
    let [first, last] = [before.first(), before.last()].map(|point| point.expect("a point").0);
    let some = hub.get(&format!("/api/v1/history?prefix=huginn.c&from={first}&to={}", last - 1)).await.unwrap();
    assert_eq!(some.header("content-type"), "application/json");
    let some = some.json().unwrap();
    assert_eq!(some["series"].as_array().unwrap().len(), 1);
    assert_eq!(some["series"][0]["points"].as_array().unwrap().len(), before.len() - 1);

    let keys = hub.get("/api/v1/keys?prefix=huginn.").await.unwrap().json().unwrap();
    let keys = keys["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key["source"] == "vital"), "{keys:?}");
    let names: BTreeSet<&str> = keys.iter().filter_map(|key| key["key"].as_str()).collect();
    let may: BTreeSet<String> =
        aggregator::link::vitals::VITALS.iter().map(|vital| format!("huginn.{}", vital.name)).collect();
    assert!(VITALS.iter().all(|key| names.contains(key)), "{names:?}");
    assert!(names.iter().all(|name| may.contains(*name)), "{names:?}");
}

#[tokio::test]
async fn nothing_is_recorded_where_that_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", folder.path().display());
    let hub = hub.with("FLEETGAUGE_RECORD_VITALS", "off").start().await;
    let _huginn = hub.agent("huginn").start();
    let acked = |page: &Page| page.value("fleetgauge_push_ack_seconds_count", &[]) >= Some(3.0);
    hub.scrape_until("several pushes are acknowledged", acked).await;
    assert_eq!(hub.get("/api/v1/keys").await.unwrap().text(), "{\"keys\":[]}\n");
}

#[tokio::test]
async fn mistakes_are_answered_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", folder.path().display()).start().await;
    for (query, status, says) in [
        ("history?key=nobody", 200, "{\"series\":[]}"),
        ("history?key=a%20b%22&from=-5&to=5", 200, "{\"series\":[]}"),
        ("history?prefix=", 200, "{\"series\":[]}"),
        ("history", 400, "key=KEY or prefix="),
        ("history?key=a&prefix=b", 400, "key=KEY or prefix="),
        ("history?key=a&from=soon", 400, "Unix seconds"),
        ("history?key=a&from=2&to=1", 400, "later"),
        ("history?key=a&step=1", 400, "\"step\""),
        ("keys?key=a", 400, "\"key\""),
        ("keys/a", 404, "not found"),
    ] {
        let reply = hub.get(&format!("/api/v1/{query}")).await.unwrap();
        assert_eq!(reply.status, status, "{query}: {}", reply.text());
        assert!(reply.text().contains(says), "{query}: {}", reply.text());
    }
    let forgetful = Hub::start().await;
    for path in ["/api/v1/history?key=a", "/api/v1/keys"] {
        let reply = forgetful.get(path).await.unwrap();
        assert_eq!(reply.status, 503);
        assert!(reply.text().contains("FLEETGAUGE_DATA_DIR"), "{}", reply.text());
    }
}

#[test]
fn the_document_names_every_vital_sign() {
    let document = std::fs::read_to_string(tests::root().join("docs/http.md")).expect("docs/http.md");
    for vital in &aggregator::link::vitals::VITALS {
        let row = format!("| `AGENT.{}` | `{}` |", vital.name, vital.family);
        assert!(document.contains(&row), "docs/http.md does not have {row}");
    }
}

/// Keys that are hard to tell apart, or to write.
fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "huginn",
        "huginn.",
        ".huginn",
        "huginn.cpu",
        "huginn..cpu",
        "huginn.cpu.",
        ".huginn.cpu",
        "huginn.cpu.0",
        "huginn.example",
        "huginn.example.cpu",
        "huginn.example.",
        "huginn.example.cpu.0",
        "cpu",
        "cpu.",
        ".cpu",
        ".",
        "..",
        "...",
        "a.b.c",
        "a..b",
        "a.b",
        "*",
        "{}",
        "x\"y",
        "x\\y",
        "x\\\"y",
        "x\\n",
        "\"",
        "\\",
        "\\.\\",
        "\".\"",
        "a.\",name=\"b",
        "a\",instance=\"b.c",
        "ä.ö",
        "日本.語",
        "\u{2028}.\u{85}",
        "\u{1}.\u{7f}",
        "#.HELP",
        "fleetgauge_put",
        "instance.name",
        "a.b{c=\"d\"}",
        "NaN",
        "1.5",
        "-1",
        "=",
        ",",
        "a,b.c,d",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.extend([1024, 1025].map(|length| "n".repeat(length)));
    keys.extend([1024, 1025].map(|length| format!("i.{}", "n".repeat(length))));
    keys.extend([1024, 1025].map(|length| format!("{}.n", "i".repeat(length))));
    keys
}

#[tokio::test]
async fn what_was_put_makes_a_valid_page_whatever_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let settings = lifecycle::Settings::default();
    let rules = aggregator::Settings::resolve(&settings).expect("the defaults are good").history;
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    let rules = Rules { reserve_bytes: 0, ..rules };
    let history = History::open(folder.path(), rules, telemetry, aggregator::link::moment).unwrap();
    let keys = odd_keys();
    let mut batch = history.batch().await;
    for (value, key) in (0_u32..).zip(&keys) {
        batch.put(key, value.into(), aggregator::link::moment().wall_ms / 1000).unwrap();
    }
    history.commit(batch).await.unwrap();
    let own = Own::new(Arc::<Families>::default(), &[]);
    let agents = HashSet::from(["huginn", "huginn.example", "cpu", "a.b", "instance"].map(str::to_owned));
    let (fresh, hidden) = history.fresh(Instant::now());
    assert_eq!((fresh.len(), hidden), (keys.len(), 0));
    let (shown, too_long) = own.puts(&fresh, &agents);
    assert_eq!(too_long, 3, "those that are one byte too long");
    let page = aggregator::page::Page::new(vec![shown]);
    let text = |format| {
        let encoder = Encoder::new(&page, format, Times::Hidden);
        let mut out = Vec::new();
        pieces(&page).into_iter().for_each(|piece| encoder.write(&page, piece, &mut out));
        encoder.finish(&mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    let plain = text(Format::Text);
    let read = Page::parse(&plain);
    assert_eq!(read.types, BTreeMap::from([("fleetgauge_put".to_owned(), "gauge".to_owned())]));
    let mut seen = BTreeSet::new();
    for sample in &read.samples {
        assert_eq!(sample.name, "fleetgauge_put");
        assert!(seen.insert(sample.labels.clone()), "twice: {:?}", sample.labels);
        assert!(sample.labels.keys().all(|label| ["instance", "name"].contains(&label.as_str())));
        // An empty label is none: two series that differ only so would be one.
        assert!(sample.labels.values().all(|value| !value.is_empty()), "{:?}", sample.labels);
        let key = match sample.label("instance") {
            "" => sample.label("name").to_owned(),
            instance => format!("{instance}.{}", sample.label("name")),
        };
        let expected = keys.iter().position(|known| *known == key).expect("a key that was put");
        assert_eq!(sample.value, f64::from(u32::try_from(expected).unwrap()), "{key}");
    }
    assert_eq!(read.samples.len(), keys.len() - 3);
    let named = [("instance", "huginn.example"), ("name", "cpu")];
    assert!(read.value("fleetgauge_put", &named).is_some(), "the longest name of an agent");
    if let Some(promtool) = peers::program("PROMTOOL", "promtool") {
        for page in [plain, text(Format::OpenMetrics).replace("# EOF\n", "")] {
            let output = peers::run(&promtool, &["check", "metrics"], page.as_bytes()).await;
            assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
        }
    }
}
