//! Agents and an aggregator: who is on the page, and when no longer.

use std::time::{Duration, Instant};

use tests::{Cable, Host, Hub, Page};

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Something that every host has.
const LOAD: &str = "host_load1";

fn all_up(page: &Page) -> bool {
    FIVE.iter().all(|agent| page.up(agent) == Some(1.0) && page.value(LOAD, &[("instance", agent)]).is_some())
}

fn start_five(hub: &Hub) -> Vec<Host> {
    FIVE.iter().map(|name| hub.agent(name).start()).collect()
}

fn is_gone(page: &Page, agent: &str) -> bool {
    page.up(agent) == Some(0.0) && page.sent_by(agent) == 0
}

#[tokio::test]
async fn five_agents_stand_on_one_page_under_their_own_names() {
    let hub = Hub::start().await;
    let _five = start_five(&hub);
    let page = hub.scrape_until("all five are there", all_up).await;
    assert_eq!(page.instances(LOAD), FIVE.into_iter().collect());
    for sample in page.of(LOAD) {
        assert_eq!(sample.label("job"), "node", "{sample:?}");
    }
    for sample in page.of("fleetgauge_agent_up") {
        assert_eq!((sample.label("aggregator"), sample.label("job")), (tests::hub::NAME, "node"), "{sample:?}");
    }
    let counts: Vec<usize> = FIVE.iter().map(|agent| page.sent_by(agent)).collect();
    // Five agents on one host: what comes and goes in between (a file system, an interface of
    // another test's container) may differ, the bulk may not.
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least > 50 && *least * 10 > *most * 9, "{counts:?}");
}

#[tokio::test]
async fn an_agents_own_labels_are_on_all_of_its_series() {
    let hub = Hub::start().await;
    let _agent = hub.agent("a").with("FLEETGAUGE_LABELS", "zone=north,rack=7").start();
    let page = hub.scrape_until("it is there", |page| page.sent_by("a") > 0).await;
    let sent =
        |sample: &&tests::page::Sample| sample.label("instance") == "a" && !tests::page::is_about_agents(&sample.name);
    for sample in page.samples.iter().filter(sent) {
        assert_eq!((sample.label("zone"), sample.label("rack")), ("north", "7"), "{sample:?}");
    }
}

#[tokio::test]
async fn what_a_killed_agent_sent_leaves_the_page_and_its_absence_stays() {
    let hub = Hub::start().await;
    let _survivor = hub.agent("survivor").start();
    let victim = hub.agent("victim").start();
    let both = |page: &Page| page.up("survivor") == Some(1.0) && page.up("victim") == Some(1.0);
    hub.scrape_until("both are there", both).await;
    victim.kill().await;
    let killed = Instant::now();
    let page = hub.scrape_until("the victim is gone", |page| is_gone(page, "victim")).await;
    // One interval of grace, and no more than three of them with 3 s at least if even its end was not seen.
    assert!(killed.elapsed() < Duration::from_secs(3), "gone after {:?}", killed.elapsed());
    assert!(page.up("survivor") == Some(1.0) && page.sent_by("survivor") > 0);
}

#[tokio::test]
async fn a_bye_takes_the_series_away_at_once() {
    let hub = Hub::start().await;
    // With a grace of 5 s, one that is gone sooner did not wait for it.
    let leaver = hub.agent("leaver").with("FLEETGAUGE_INTERVAL", "5s").start();
    hub.scrape_until("it is there", |page| page.up("leaver") == Some(1.0)).await;
    leaver.stop().await;
    let said = Instant::now();
    hub.scrape_until("it is gone", |page| is_gone(page, "leaver")).await;
    assert!(said.elapsed() < Duration::from_secs(2), "gone after {:?}", said.elapsed());
}

#[tokio::test]
async fn nothing_is_left_of_an_ephemeral_agent_after_its_bye() {
    let hub = Hub::start().await;
    let leaver = hub.agent("leaver").with("FLEETGAUGE_EPHEMERAL", "true").start();
    hub.scrape_until("it is there", |page| page.up("leaver") == Some(1.0)).await;
    leaver.stop().await;
    let no_trace = |page: &Page| page.samples.iter().all(|sample| sample.label("instance") != "leaver");
    hub.scrape_until("no trace is left", no_trace).await;
}

#[tokio::test]
async fn an_agent_whose_link_was_cut_comes_back_by_itself() {
    let hub = Hub::start().await;
    let cable = Cable::to(hub.link()).await;
    let _agent = hub.agent("a").with("FLEETGAUGE_AGGREGATOR", cable.addr()).start();
    hub.scrape_until("it is there", |page| page.up("a") == Some(1.0)).await;
    cable.cut();
    hub.scrape_until("it is gone", |page| is_gone(page, "a")).await;
    cable.mend();
    let mended = Instant::now();
    hub.scrape_until("it is back", |page| page.up("a") == Some(1.0) && page.sent_by("a") > 0).await;
    assert!(mended.elapsed() < Duration::from_secs(10), "back after {:?}", mended.elapsed());
}

#[tokio::test]
async fn an_agent_whose_link_went_silent_is_not_shown_frozen() {
    let hub = Hub::start().await;
    let cable = Cable::to(hub.link()).await;
    let _agent = hub.agent("a").with("FLEETGAUGE_AGGREGATOR", cable.addr()).start();
    hub.scrape_until("it is there", |page| page.up("a") == Some(1.0)).await;
    cable.silence();
    let silent = Instant::now();
    hub.scrape_until("it is gone", |page| is_gone(page, "a")).await;
    // Silence for three intervals, at least 3 s, then the grace.
    assert!(silent.elapsed() < Duration::from_secs(6), "gone after {:?}", silent.elapsed());
    cable.mend();
    let mended = Instant::now();
    hub.scrape_until("it is back", |page| page.up("a") == Some(1.0) && page.sent_by("a") > 0).await;
    assert!(mended.elapsed() < Duration::from_secs(10), "back after {:?}", mended.elapsed());
}

#[tokio::test]
async fn all_come_back_to_an_aggregator_that_was_restarted() {
    let mut hub = Hub::start().await;
    let _five = start_five(&hub);
    hub.scrape_until("all five are there", all_up).await;
    hub.stop().await;
    assert!(hub.scrape().await.is_err(), "nobody listens while it is down");
    hub.start_again().await;
    let restarted = Instant::now();
    hub.scrape_until("all five are back", all_up).await;
    assert!(restarted.elapsed() < Duration::from_secs(10), "back after {:?}", restarted.elapsed());
}

#[tokio::test]
async fn one_that_pushes_seldom_is_back_as_soon_as_others() {
    let mut hub = Hub::start().await;
    let _agent = hub.agent("slow").with("FLEETGAUGE_INTERVAL", "2m").start();
    hub.scrape_until("it is there", |page| page.up("slow") == Some(1.0)).await;
    hub.stop().await;
    hub.start_again().await;
    let restarted = Instant::now();
    hub.scrape_until("it is back, with all that it measures", |page| {
        page.up("slow") == Some(1.0) && page.sent_by("slow") > 100
    })
    .await;
    assert!(restarted.elapsed() < Duration::from_secs(10), "back after {:?}", restarted.elapsed());
}

#[tokio::test]
async fn a_dead_host_is_not_forgotten_when_the_aggregator_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", folder.path().display()).start().await;
    let victim = hub.agent("victim").start();
    hub.scrape_until("it is there", |page| page.up("victim") == Some(1.0)).await;
    victim.kill().await;
    hub.scrape_until("it is gone", |page| is_gone(page, "victim")).await;
    hub.stop().await;
    hub.start_again().await;
    assert_eq!(hub.scrape().await.unwrap().up("victim"), Some(0.0), "on the very first page");
    hub.kill().await;
    hub.start_again().await;
    assert_eq!(hub.scrape().await.unwrap().up("victim"), Some(0.0), "on the first page after a crash");
}

#[tokio::test]
async fn a_host_that_dies_while_the_aggregator_is_down_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::builder().with("FLEETGAUGE_DATA_DIR", folder.path().display()).start().await;
    let (victim, _survivor) = (hub.agent("victim").start(), hub.agent("survivor").start());
    let both = |page: &Page| page.up("survivor") == Some(1.0) && page.up("victim") == Some(1.0);
    hub.scrape_until("both are there", both).await;
    hub.stop().await;
    victim.kill().await;
    hub.start_again().await;
    // An alert must not fire for agents that are only on their way back, so nothing is said at first.
    assert_eq!(hub.scrape().await.unwrap().up("victim"), None);
    hub.scrape_until("the survivor is back", |page| page.up("survivor") == Some(1.0)).await;
    hub.scrape_until("the victim is missed", |page| is_gone(page, "victim")).await;
}

#[tokio::test]
async fn the_next_aggregator_of_the_list_takes_over() {
    let (mut first, second) = (Hub::start().await, Hub::start().await);
    let list = format!("{},{}", first.link(), second.link());
    let _agent = first.agent("a").with("FLEETGAUGE_AGGREGATOR", list).start();
    first.scrape_until("it is at the first", |page| page.up("a") == Some(1.0)).await;
    first.stop().await;
    second.scrape_until("it is at the second", |page| page.up("a") == Some(1.0) && page.sent_by("a") > 0).await;
}
