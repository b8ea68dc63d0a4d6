//! What the aggregator answers over HTTP when real agents are connected.

use serde_json::Value;
use tests::{Hub, Page, http};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

async fn hub_with_two() -> (Hub, tests::Host, tests::Host) {
    let hub = Hub::start().await;
    let (a, b) = (hub.agent("a").start(), hub.agent("b").start());
    let both = |page: &Page| page.up("a") == Some(1.0) && page.up("b") == Some(1.0);
    hub.scrape_until("both are there", both).await;
    (hub, a, b)
}

#[tokio::test]
async fn one_agents_page_is_its_own_series_and_nothing_else() {
    let (hub, _a, b) = hub_with_two().await;
    let reply = hub.get("/metrics?agent=a").await.unwrap();
    assert_eq!(reply.status, 200);
    let page = Page::parse(reply.text());
    assert!(page.sent_by("a") > 50);
    let others: Vec<_> = page.samples.iter().filter(|sample| sample.label("instance") != "a").collect();
    assert!(others.is_empty(), "{others:?}");

    assert_eq!(hub.get("/metrics?agent=nobody").await.unwrap().status, 404);
    b.kill().await;
    hub.scrape_until("b is gone", |page| page.up("b") == Some(0.0)).await;
    assert_eq!(hub.get("/metrics?agent=b").await.unwrap().status, 503, "only its tombstone is left");
}

#[tokio::test]
async fn agents_are_listed() {
    let (hub, _a, _b) = hub_with_two().await;
    let reply = hub.get("/api/v1/agents").await.unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    let text = reply.json().unwrap().to_string();
    for name in ["\"a\"", "\"b\""] {
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn every_agent_is_a_target_whose_address_answers_with_its_page() {
    let (hub, _a, _b) = hub_with_two().await;
    let reply = hub.get("/api/v1/targets").await.unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    let groups = reply.json().unwrap();
    let groups = groups.as_array().expect("a list of target groups, as http_sd wants it");
    let mut seen = Vec::new();
    for group in groups {
        let label = |name: &str| group.pointer(&format!("/labels/{name}")).and_then(Value::as_str);
        for target in group.pointer("/targets").and_then(Value::as_array).expect("targets") {
            let target = target.as_str().expect("a target is text").parse().expect("host and port");
            let agent = label("__param_agent").expect("the agent's name is the parameter");
            let path = format!("{}?agent={agent}", label("__metrics_path__").unwrap_or("/metrics"));
            let page = http::get(target, &path, &[]).await.unwrap();
            assert!(Page::parse(page.text()).sent_by(agent) > 0, "{path} of {target}");
            seen.push(agent.to_owned());
        }
    }
    seen.sort();
    assert_eq!(seen, ["a", "b"]);
}

#[tokio::test]
async fn the_form_of_the_page_is_what_was_asked_for() {
    let (hub, _a, _b) = hub_with_two().await;
    let plain = hub.get("/metrics").await.unwrap();
    assert!(plain.header("content-type").starts_with("text/plain; version=0.0.4"), "{:?}", plain.headers);
    assert!(!plain.text().contains("# EOF"));

    let open = http::get(hub.http(), "/metrics", &[("accept", OPENMETRICS)]).await.unwrap();
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.text().ends_with("# EOF\n"));

    let packed = http::get(hub.http(), "/metrics", &[("accept-encoding", "gzip")]).await.unwrap();
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.body.get(..2), Some(&[0x1f, 0x8b][..]), "a gzip member begins so");
    assert!(packed.body.len() * 3 < plain.body.len());
}

#[tokio::test]
async fn health_and_mistakes() {
    let hub = Hub::start().await;
    for path in ["/healthz", "/readyz"] {
        let reply = hub.get(path).await.unwrap();
        assert_eq!((reply.status, reply.text().trim_end()), (200, "ok"), "{path}");
    }
    assert_eq!(hub.get("/nothing").await.unwrap().status, 404);
}
