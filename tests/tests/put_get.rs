//! Put and get through a whole aggregator: the client library, beside agents, over restarts.

use std::time::Duration;

use client::{Client, ClientError, Point};
use tests::Hub;

const WITHIN: Duration = Duration::from_secs(10);

async fn client(hub: &Hub) -> Client {
    Client::connect(hub.line().to_string(), WITHIN).await.expect("the hub listens")
}

fn points(points: &[(i64, f64)]) -> Vec<Point> {
    points.iter().map(|(timestamp, value)| Point { timestamp: *timestamp, value: *value }).collect()
}

#[tokio::test]
async fn what_a_client_puts_it_gets_back_and_the_page_shows() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", data.path().display()).start().await;
    let mut client = client(&hub).await;
    assert!(client.get("huginn.cpu").await.unwrap().is_empty());
    let now = aggregator::link::moment().wall_ms / 1000;
    client.put("huginn.cpu", 2.0, Some(now)).await.unwrap();
    client.put("huginn.cpu", 10.6, Some(now - 1)).await.unwrap();
    client.put("huginn.cpu", 0.5, Some(now)).await.unwrap();
    client.put("backup", -1e300, None).await.unwrap();
    client.put("last.year", 7.0, Some(1_642_667_947)).await.unwrap();
    let expected = points(&[(now - 1, 10.6), (now, 0.5)]);
    assert_eq!(client.get("huginn.cpu").await.unwrap()["huginn.cpu"], expected);
    let page = hub.scrape().await.unwrap();
    let shown: Vec<_> =
        page.of("fleetgauge_put").map(|sample| (sample.label("instance"), sample.label("name"))).collect();
    assert_eq!(shown, [("", "backup"), ("huginn", "cpu"), ("last", "year")], "whatever the timestamp");

    // The connection breaks with the aggregator; the next call after its restart makes another.
    hub.stop().await;
    assert!(client.put("huginn.cpu", 1.0, Some(1)).await.is_err());
    hub.start_again().await;
    let all = client.get("*").await.unwrap();
    assert_eq!(all["huginn.cpu"], expected);
    assert_eq!(all["backup"].len(), 1);
}

#[tokio::test]
async fn an_aggregator_without_a_data_directory_says_what_is_missing() {
    let hub = Hub::start().await;
    let mut client = client(&hub).await;
    match client.put("k", 1.0, Some(1)).await {
        Err(ClientError::Error(text)) => assert!(text.contains("FLEETGAUGE_DATA_DIR"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_agent_s_vital_signs_answer_to_its_name_and_are_not_listed() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", data.path().display()).start().await;
    let _huginn = hub.agent("huginn").start();
    let mut client = client(&hub).await;
    let memory = tests::wait::until("its memory is recorded", async || {
        let mut answer = client.get("huginn.memory").await.map_err(std::io::Error::other)?;
        answer.remove("huginn.memory").ok_or_else(|| std::io::Error::other("nothing yet"))
    })
    .await;
    assert!(memory.iter().all(|point| (0.0..=100.0).contains(&point.value)), "{memory:?}");
    assert!(client.get("*").await.unwrap().is_empty());
}
