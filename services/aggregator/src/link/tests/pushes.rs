//! What a push does to the page.

use super::*;
use crate::fleet::dropped::Dropped;

#[tokio::test(start_paused = true)]
async fn a_push_is_shown_whole_or_not_at_all() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.say(declare(2, "t", &["c"])).await;
    assert!(inside.view("a").is_none(), "nothing is known of an agent that has not pushed");
    talk.say(head("live", 1, 0)).await;
    talk.say(json!({"values": {"set": 1, "values": [1]}})).await;
    talk.say(json!({"ping": {"id": 9}})).await;
    assert_eq!(talk.hear().await, json!({"pong": {"id": 9}}));
    assert!(inside.view("a").is_none());
    talk.say(json!({"values": {"set": 1, "offset": 1, "values": [2]}})).await;
    talk.say(json!({"values": {"set": 2, "values": [3]}})).await;
    talk.say(json!({"end": {"seq": 1}})).await;
    assert_eq!(talk.hear().await["ack"]["seq"], 1);
    assert_eq!(inside.page("a"), ["a 1", "b 2", "c 3"]);
    // A set that is not mentioned keeps its values, one that failed leaves.
    talk.say(head("live", 2, 0)).await;
    talk.say(json!({"failed": {"set": 1, "reason": "gone"}})).await;
    talk.say(json!({"end": {"seq": 2}})).await;
    assert_eq!(talk.hear().await["ack"]["seq"], 2);
    assert_eq!(inside.page("a"), ["c 3"]);
    talk.push(3, &[5.0, 6.0]).await;
    assert_eq!(inside.page("a"), ["a 5", "b 6", "c 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_declaration_under_the_same_name_replaces_the_old_at_one_moment() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.say(declare(2, "s", &["b", "c"])).await;
    talk.say(json!({"ping": {"id": 1}})).await;
    talk.hear().await;
    assert_eq!(inside.page("a"), ["a 1", "b 2"]);
    talk.say(head("live", 2, 0)).await;
    talk.say(json!({"values": {"set": 2, "values": [3, 4]}})).await;
    talk.say(json!({"end": {"seq": 2}})).await;
    talk.hear().await;
    assert_eq!(inside.page("a"), ["b 3", "c 4"]);
    talk.say(json!({"retire": {"set": 1}})).await;
    talk.say(json!({"ping": {"id": 2}})).await;
    talk.hear().await;
    assert_eq!(inside.page("a"), ["b 3", "c 4"]);
    assert_eq!(inside.shared.fleet.room().used(), 2, "a retired set gives its room back");
}

#[tokio::test(start_paused = true)]
async fn what_is_late_is_dropped_counted_and_acknowledged() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.push_at(2, 2_001, &[8.0, 8.0]).await;
    assert_eq!(talk.hear().await["ack"]["seq"], 2);
    talk.say(head("late", 1, 0)).await;
    talk.say(json!({"values": {"set": 1, "values": [9, null]}})).await;
    talk.say(json!({"end": {"seq": 1}})).await;
    assert_eq!(talk.hear().await, json!({"ack": {"stream": "late", "seq": 1}}));
    assert_eq!(inside.page("a"), ["a 1", "b 2"]);
    let facts = inside.view("a").unwrap().facts;
    assert_eq!((facts.samples, facts.dropped.get(Dropped::Late)), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_stalls_and_bursts_shows_nothing_old_as_new() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    for (seq, mono_ms) in [(1, 1_000), (2, 2_000)] {
        if seq == 2 {
            tokio::time::sleep(Duration::from_millis(2_900)).await;
        }
        talk.say(json!({"push": {"stream": "live", "seq": seq, "measured_ms": 0, "now_ms": 0, "mono_ms": mono_ms}}))
            .await;
        talk.say(values(1, 0, &[f64::from(seq), 0.0])).await;
        talk.say(json!({"end": {"seq": seq}})).await;
        assert_eq!(talk.hear().await["ack"]["seq"], seq);
    }
    // The second was sent 1 s after the first and came 2.9 s after it: 1.9 s late, which is not
    // yet two intervals.
    assert_eq!(inside.page("a"), ["a 2", "b 0"]);
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    talk.say(json!({"push": {"stream": "live", "seq": 3, "measured_ms": 0, "now_ms": 0, "mono_ms": 2_900}})).await;
    talk.say(values(1, 0, &[3.0, 0.0])).await;
    talk.say(json!({"end": {"seq": 3}})).await;
    talk.hear().await;
    assert_eq!(inside.page("a"), ["a 2", "b 0"]);
    assert_eq!(inside.view("a").unwrap().facts.dropped.get(Dropped::Late), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clash_costs_the_younger_its_series_until_the_older_is_gone() {
    let inside = Inside::new();
    let mut histogram = inside.agent("a", "s", 1).await;
    histogram
        .say(json!({"declare": {"set": 2, "name": "h", "total": 1, "families":
            [{"name": "x", "type": "histogram", "series": [{"suffix": "_count"}]}]}}))
        .await;
    histogram.say(head("live", 1, 0)).await;
    histogram.say(values(2, 0, &[1.0])).await;
    histogram.say(json!({"end": {"seq": 1}})).await;
    histogram.hear().await;
    let mut gauge = inside.connect();
    gauge.say(hello("b", "s", 1)).await;
    gauge.hear().await;
    gauge.say(declare(1, "g", &["x_count", "y"])).await;
    gauge.push(1, &[1.0, 2.0]).await;
    assert_eq!(inside.view("b").unwrap().series(), 1);
    assert_eq!(inside.view("b").unwrap().facts.dropped.get(Dropped::Conflict), 1);
    histogram.say(json!({"bye": {}})).await;
    histogram.hear().await;
    gauge.push(2, &[1.0, 2.0]).await;
    assert_eq!(inside.view("b").unwrap().series(), 2);
}

/// The example in docs/protocol.md, byte for byte.
#[tokio::test(start_paused = true)]
async fn the_worked_example_is_true() {
    let text = include_str!("../../../../../docs/protocol.md");
    let block = |name: &str| {
        let start = text.find(&format!("```{name}\n")).unwrap() + name.len() + 4;
        &text[start..start + text[start..].find("```").unwrap()]
    };
    let inside = Inside::with(|rules| rules.series_per_agent_max = 100_000, 1 << 20);
    let mut talk = inside.connect();
    let mut page = None;
    for line in block("link").lines() {
        let (who, frame) = line.split_at(2);
        if who == "> " {
            talk.say_raw(format!("{frame}\n").as_bytes()).await;
            continue;
        }
        let mut heard = String::new();
        talk.read.read_line(&mut heard).await.unwrap();
        // The aggregator's clock is the one thing that differs.
        let clock = |text: &str| {
            let frame: Value = serde_json::from_str(text).unwrap();
            frame["welcome"]["now_ms"].to_string()
        };
        assert_eq!(heard.trim_end().replace(&clock(&heard), "NOW"), frame.replace(&clock(frame), "NOW"));
        if page.is_none() && frame.starts_with("{\"ack\"") {
            let found = crate::page::Page::new(inside.view("huginn").unwrap().shown);
            page = Some(crate::page::tests::text(&found, crate::page::encode::Format::Text));
        }
    }
    assert_eq!(page.as_deref(), Some(block("page")));
}

#[tokio::test(start_paused = true)]
async fn late_pushes_keep_nothing_old_on_the_page() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    let start = Instant::now();
    let refused = loop {
        let seq = 2 + start.elapsed().as_millis();
        let push =
            [head("late", u64::try_from(seq).unwrap(), 0), values(1, 0, &[9.0, 9.0]), json!({"end": {"seq": seq}})];
        let push: String = push.iter().map(|frame| format!("{frame}\n")).collect();
        let _refused_meanwhile = talk.write.write_all(push.as_bytes()).await;
        let heard = talk.hear().await;
        if heard["ack"].is_null() {
            break heard;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!((refused["refuse"]["code"].as_str(), start.elapsed().as_secs()), (Some("silent"), 3));
    assert!(inside.page("a").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_before_the_freshest_is_late() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.push_at(2, 500, &[9.0, 9.0]).await;
    assert_eq!(talk.hear().await["ack"]["seq"], 2);
    assert_eq!(inside.page("a"), ["a 1", "b 2"]);
}

/// Received = visible + duplicate + dropped for any reason, to the sample.
#[tokio::test(start_paused = true)]
async fn no_sample_is_lost_count_of() {
    let inside = Inside::new();
    let mut first = inside.agent("a", "s", 1).await;
    first.push(1, &[1.0, 2.0]).await;
    first.push_at(2, 60_000, &[3.0, 4.0]).await;
    first.hear().await;
    first.say(head("late", 1, 0)).await;
    first.say(json!({"values": {"set": 1, "values": [5, null]}})).await;
    first.say(json!({"end": {"seq": 1}})).await;
    first.hear().await;
    let mut clashing = inside.connect();
    clashing.say(hello("b", "s", 1)).await;
    clashing.hear().await;
    clashing
        .say(json!({"declare": {"set": 1, "name": "h", "total": 2, "families": [
            {"name": "a", "type": "histogram", "series": [{"suffix": "_count"}]},
            {"name": "z", "type": "gauge", "series": [{}]}]}}))
        .await;
    clashing.push(1, &[1.0, 2.0]).await;
    // The same session again: what is safe is not counted twice.
    let mut second = inside.agent("a", "s", 1).await;
    second.push_at(2, 0, &[6.0, 7.0]).await;
    second.hear().await;
    second.push(3, &[8.0, 9.0]).await;
    let families = inside.shared.telemetry.gather(crate::telemetry::Levels::default());
    let sum = |name: &str| {
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>()
    };
    let [received, visible, duplicate, dropped] =
        ["received", "visible", "duplicate", "dropped"].map(|what| sum(&format!("fleetgauge_samples_{what}_total")));
    assert_eq!([received, visible, duplicate, dropped], [11.0, 5.0, 2.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn a_measurement_from_the_future_makes_no_later_one_late() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push_at(1, -3_600_000, &[1.0, 2.0]).await;
    talk.hear().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    talk.push(2, &[3.0, 4.0]).await;
    assert_eq!(inside.page("a"), ["a 3", "b 4"]);
}
