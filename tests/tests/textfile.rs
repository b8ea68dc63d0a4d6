//! Text files of others beside the agent's own metrics: they can neither get the agent refused nor
//! take the place of what it measured.

use std::path::Path;

use tests::{Hub, Page};

fn write(directory: &Path, name: &str, text: &str) {
    let new = directory.join("new");
    std::fs::write(&new, text).expect("a file in a directory of the test");
    std::fs::rename(new, directory.join(name)).expect("a file in a directory of the test");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn text_files_disturb_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = "# TYPE node_load1 counter\nnode_load1 -1\nnode_load1{zone=\"north\"} -2\n";
    let summary = "# TYPE node_load15 summary\nnode_load15_sum -3\n# TYPE node summary\nnode_count -4\n";
    let twice = "x 1\nx{zone=\"north\"} 2\nx{zone=\"\"} 3\ny{instance=\"other\"} 4\nup 0\nscrape_x 5\n";
    write(directory.path(), "a.prom", &format!("{own}{summary}{twice}"));
    let hub = Hub::start().await;
    let agent = hub.agent("a").with("FLEETGAUGE_TEXTFILE_DIRECTORY", directory.path().display());
    let _agent = agent.with("FLEETGAUGE_LABELS", "zone=north").start();
    let page = hub.scrape_until("the files are there", |page| page.value("x", &[]).is_some()).await;
    check(&page, "x", 1.0);
    let scrape_error = |page: &Page| page.value("node_textfile_scrape_error", &[]);
    assert_eq!(scrape_error(&page), Some(1.0));
    let text = hub.get("/metrics").await.expect("a page").text().to_owned();
    assert!(text.contains("# TYPE node_load1 gauge\n"), "the agent's own type");

    // What is right goes on; a name that nobody has any more is free.
    write(directory.path(), "a.prom", "x 7\nnode_load1 -1\n");
    write(directory.path(), "b.prom", "# TYPE z histogram\nz_bucket{le=\"+Inf\"} 1\nz_sum 1\nz_count 1\n");
    let good = |page: &Page| page.value("x", &[]) == Some(7.0) && page.value("z_count", &[]) == Some(1.0);
    let page = hub.scrape_until("they are as they are now", good).await;
    check(&page, "x", 7.0);
    assert_eq!(scrape_error(&page), Some(0.0));
    assert_eq!(page.value("fleetgauge_link_refused_total", &[("code", "duplicate")]).unwrap_or(0.0), 0.0);
}

/// The agent is up, what it measures is what it measured, and a text file's metric is there.
#[track_caller]
fn check(page: &Page, name: &str, value: f64) {
    assert_eq!(page.up("a"), Some(1.0));
    assert_eq!(page.value(name, &[("zone", "north")]), Some(value));
    assert!(page.value("node_load1", &[]).is_some_and(|load| load >= 0.0));
    assert!(page.value("node_load15", &[]).is_some_and(|load| load >= 0.0));
    let dropped = [("collector", "textfile"), ("reason", "duplicate")];
    assert!(page.value("fleetgauge_collector_dropped_series_total", &dropped).is_some_and(|count| count >= 1.0));
    assert_eq!(page.of("y").count() + page.of("up").count() + page.of("scrape_x").count(), 0);
}

/// What has no room is left out by the agent: it is never refused, for names and labels either.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_agent_that_is_granted_little_sends_what_has_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let families = |n: usize| format!("{}{n} 1\n", "x".repeat(200));
    write(directory.path(), "a.prom", &(0..5000).map(families).collect::<String>());
    let hub = Hub::builder().with("FLEETGAUGE_MAX_SERIES_PER_AGENT", 2000).start().await;
    let text = hub.agent("text").with("FLEETGAUGE_TEXTFILE_DIRECTORY", directory.path().display());
    let _text = text.start();
    let label = |name: &str| format!("{name}={}", "x".repeat(1000));
    let labels = ["a", "b"].map(label).join(",");
    let _long = hub.agent("long").with("FLEETGAUGE_LABELS", labels).start();
    let dropped = |page: &Page, agent: &str| {
        let mut dropped = page.of("fleetgauge_collector_dropped_series_total");
        dropped.any(|of| of.label("instance") == agent && of.label("reason") == "limit" && of.value > 0.0)
    };
    let page =
        hub.scrape_until("both say what is missing", |page| dropped(page, "text") && dropped(page, "long")).await;
    for agent in ["text", "long"] {
        assert_eq!(page.up(agent), Some(1.0), "{agent}");
        assert!(page.value("node_load1", &[("instance", agent)]).is_some() || agent == "long");
    }
    assert_eq!(page.value("fleetgauge_link_refused_total", &[("code", "limit")]).unwrap_or(0.0), 0.0);
}
