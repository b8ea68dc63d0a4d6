//! What a single sender may take, enforced and only counted.

use super::*;
use crate::limits::Limit;

/// A set `w` of one series with these labels.
fn labelled(set: u64, labels: &Value) -> Value {
    json!({"declare": {"set": set, "name": "w", "total": 1,
        "families": [{"name": "c", "type": "gauge", "series": [{"labels": labels}]}]}})
}

/// Says this after `welcome` and set 1; gives the refusal, if there is one, and how often the limit
/// was exceeded, by the aggregator's counters and by the agent's own.
async fn say(change: impl FnOnce(&mut Caps), frame: Value, limit: Limit) -> (Option<String>, f64, u64) {
    let inside = Inside::limited(change);
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.say(frame).await;
    talk.say(json!({"ping": {"id": 7}})).await;
    let heard = talk.hear().await;
    let refusal = heard["refuse"]["reason"].as_str().map(|reason| format!("{} {reason}", heard["refuse"]["code"]));
    let of_agent = inside.view("a").unwrap().meter.exceeded[limit as usize];
    (refusal, inside.exceeded(limit.as_str()), of_agent)
}

#[track_caller]
fn check(
    change: impl Fn(&mut Caps) + Copy + 'static,
    frame: Value,
    limit: Limit,
    sentence: &'static str,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let (refusal, all, of_agent) = say(change, frame.clone(), limit).await;
        let refusal = refusal.unwrap_or_else(|| panic!("refused, at {caller}"));
        assert!(refusal.contains(sentence), "{refusal} at {caller}");
        assert_eq!((all, of_agent), (1.0, 1), "{caller}");
        let only_count = move |caps: &mut Caps| {
            change(caps);
            caps.enforce = false;
        };
        assert_eq!(say(only_count, frame, limit).await, (None, 1.0, 1), "counted and taken, at {caller}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_a_limit_one_is_refused_or_only_counted() {
    let labels = json!({"l": "1234", "m": "x"});
    let sentence = "\"limit\" a series of c has 2 labels; FLEETGAUGE_MAX_LABELS of the aggregator allows 1";
    check(|caps| caps.labels = 1, labelled(2, &labels), Limit::Labels, sentence).await;
    let sentence = "4 bytes in the value of a label; FLEETGAUGE_MAX_LABEL_VALUE of the aggregator allows 3";
    check(|caps| caps.label_value_bytes = 3, labelled(2, &labels), Limit::LabelValue, sentence).await;
    let names: Vec<String> = (0..101).map(|at| format!("f{at}")).collect();
    let many = declare(2, "w", &names.iter().map(String::as_str).collect::<Vec<_>>());
    check(|_| {}, many, Limit::Series, "\"limit\" more than 100 series; FLEETGAUGE_MAX_SERIES_PER_AGENT").await;
    let long = json!({"pong": {"id": 1, "ignored": "x".repeat(5000)}});
    let sentence = "\"line_too_long\" a line is longer than 4096 bytes";
    check(|caps| caps.line_bytes = 4096, long, Limit::LineBytes, sentence).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_is_what_is_enforced() {
    let granted = async |enforce| {
        let inside = Inside::limited(|caps| (caps.line_bytes, caps.enforce) = (5000, enforce));
        let mut talk = inside.connect();
        talk.say(hello("a", "s", 1)).await;
        let limits = talk.hear().await["welcome"]["limits"].clone();
        talk.say(declare(1, "s", &["a", "b"])).await;
        talk.push(1, &[1.0, 2.0]).await;
        assert_eq!(inside.view("a").unwrap().meter.granted, 100, "what is tried is shown, enforced or not");
        (limits["line_bytes"].as_u64().unwrap(), limits["series"].as_u64().unwrap())
    };
    assert_eq!(granted(true).await, (5000, 100));
    assert_eq!(granted(false).await, (65536, 1000), "up to what all agents together may have");
}

/// Sends pings as fast as they are taken; gives how much was taken in so many seconds, and the last
/// word if there is one.
async fn flood(inside: &Inside, session: &str, seconds: u64) -> (u64, Value) {
    let (mut talk, mut said) = (inside.connect(), hello("a", session, 1));
    // What waits in the pipe for some seconds must not be late.
    said["hello"]["interval_ms"] = json!(60_000);
    talk.say(said).await;
    assert!(talk.hear().await["welcome"].is_object());
    talk.say(declare(1, "s", &["a", "b"])).await;
    talk.push(1, &[1.0, 2.0]).await;
    let (mut read, mut write) = (talk.read, talk.write);
    let before = inside.view("a").unwrap().meter.received;
    let mut heard = tokio::spawn(async move {
        let mut line = String::new();
        loop {
            line.clear();
            if read.read_line(&mut line).await.unwrap() == 0 || line.contains("refuse") {
                return serde_json::from_str(&line).unwrap_or_default();
            }
        }
    });
    let mut seq = 1;
    let flood = async {
        loop {
            seq += 1;
            let (head, end) = (head("live", seq, 0), json!({"end": {"seq": seq}}));
            let push = format!("{head}\n{}\n{end}\n", values(1, 0, &[1.0, 2.0]));
            write.write_all(push.as_bytes()).await.unwrap();
        }
    };
    // Whoever was refused must fall silent: while somebody writes, paused time stands still.
    let last_word = tokio::select! {
        () = flood => unreachable!("it has no end"),
        last_word = &mut heard => last_word.unwrap(),
        () = tokio::time::sleep(Duration::from_secs(seconds)) => Value::Null,
    };
    let received = inside.view("a").unwrap().meter.received - before;
    if last_word.is_null() {
        write.write_all(b"\n").await.unwrap();
        heard.await.unwrap();
    }
    (received, last_word)
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_much_is_held_back_and_in_the_end_refused() {
    const RATE: u64 = 64 * 1024;
    let inside = Inside::limited(|caps| caps.bytes_per_second = RATE);
    let (received, last_word) = flood(&inside, "s", 20).await;
    assert!(received > 20 * RATE && received < 26 * RATE, "{received}");
    assert_eq!(last_word, Value::Null, "nobody is refused for that");
    assert_eq!(inside.exceeded("bytes_per_second"), 1.0);
    let (_, last_word) = flood(&inside, "t", 60).await;
    assert_eq!(last_word["refuse"]["code"], "limit", "{last_word}");
    assert!(last_word["refuse"]["reason"].as_str().unwrap().starts_with("more than 65536 bytes a second for 30s"));
    assert_eq!(last_word["refuse"]["retry_after_ms"], 30_000);
    assert_eq!(inside.view("a").unwrap().meter.exceeded[Limit::BytesPerSecond as usize], 2);
}

#[tokio::test(start_paused = true)]
async fn silent_connections_make_room_for_agents() {
    // One address has two of them.
    let inside = Inside::limited(|caps| caps.handshakes = 8);
    let (silent, other) = (inside.connect(), inside.connect());
    // When they have been there for a moment, one of them makes room; until then others wait.
    tokio::time::sleep(Duration::from_millis(450)).await;
    let began = Instant::now();
    let _welcomed = inside.agent("a", "s", 1).await;
    let waited = began.elapsed();
    assert!((600..610).contains(&waited.as_millis()), "{waited:?}");
    silent.expect_refusal("too_slow").await;
    assert_eq!(inside.shared.limits.handshakes.len(), 1, "the other one's");
    assert_eq!(inside.exceeded("handshakes"), 1.0);
    other.expect_refusal("too_slow").await;
    assert!(inside.shared.limits.handshakes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_is_told_to_come_later_and_sent_away_slowly() {
    let inside = Inside::limited(|caps| (caps.handshakes, caps.patience) = (4, 1));
    // The only place of this address.
    let _silent = inside.connect();
    tokio::task::yield_now().await;
    let began = Instant::now();
    let (mut first, mut second) = (inside.connect(), inside.connect());
    for (agent, waited) in [(&mut second, 0), (&mut first, 600)] {
        let heard = agent.hear().await;
        assert_eq!(heard["refuse"]["code"], "overloaded", "{heard}");
        assert!((250..5000).contains(&heard["refuse"]["retry_after_ms"].as_u64().unwrap()), "{heard}");
        // One can wait for a place.
        assert_eq!(began.elapsed().as_millis() / 100 * 100, waited);
    }
    // Its end waits for one only, too.
    for (agent, closed) in [(&mut first, 600), (&mut second, 1000)] {
        assert_eq!(agent.hear().await, Value::Null, "it is closed");
        assert_eq!(began.elapsed().as_millis() / 100 * 100, closed);
    }
    assert_eq!(inside.exceeded("handshakes"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn where_limits_are_only_counted_an_address_has_more_than_its_part() {
    let inside = Inside::limited(|caps| (caps.handshakes, caps.enforce) = (4, false));
    let _silent = [inside.connect(), inside.connect()];
    let _welcomed = inside.agent("a", "s", 1).await;
    assert_eq!(inside.exceeded("handshakes"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_herd_is_let_in_in_its_turn() {
    let inside = Inside::limited(|caps| caps.welcomes_per_second = 2);
    let mut waits = Vec::new();
    for at in 0..9 {
        let mut talk = inside.connect_from([192, 0, 2, at]);
        talk.say(hello(&format!("a{at}"), "s", 1)).await;
        let heard = talk.hear().await;
        if let Some(wait) = heard["refuse"]["retry_after_ms"].as_u64() {
            assert_eq!(heard["refuse"]["code"], "overloaded");
            waits.push(wait);
        }
    }
    assert_eq!((waits.len(), inside.exceeded("welcomes")), (5, 5.0), "four at one moment");
    assert!(waits.iter().all(|wait| (250..=4000).contains(wait)), "{waits:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    inside.agent("later", "s", 1).await;
}

/// Is an agent from there welcomed? Else the reason.
async fn comes_in(inside: &Inside, from: [u8; 4], name: &str) -> Result<Talk, String> {
    let mut talk = inside.connect_from(from);
    talk.say(hello(name, name, 1)).await;
    let heard = talk.hear().await;
    if heard["welcome"].is_object() { Ok(talk) } else { Err(heard["refuse"]["reason"].as_str().unwrap().to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_comes_again_and_again_takes_nobody_elses_turn() {
    let mut inside = Inside::limited(|caps| caps.welcomes_per_second = 4);
    let flood = [192, 0, 2, 66];
    for second in 0..20 {
        let mut let_in = 0;
        for _ in 0..50 {
            match comes_in(&inside, flood, "flood").await {
                Ok(_) => let_in += 1,
                Err(reason) => assert!(reason.starts_with("one address has a quarter of the 4 agents"), "{reason}"),
            }
        }
        assert_eq!(let_in, if second == 0 { 4 } else { 1 });
        comes_in(&inside, [192, 0, 2, 1], "honest").await.expect("others are let in");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Where limits of senders are only counted, this one is too.
    let caps = Caps { welcomes_per_second: 4, enforce: false, ..Caps::default() };
    Arc::get_mut(&mut inside.shared).unwrap().limits = Limits::new(caps, moment().instant);
    for _ in 0..8 {
        comes_in(&inside, flood, "flood").await.expect("only counted");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_name_takes_no_turn() {
    let inside = Inside::limited(|caps| caps.welcomes_per_second = 8);
    let mut holder = inside.agent("a", "s", 1).await;
    holder.push(1, &[1.0, 2.0]).await;
    for at in 2..40 {
        let mut thief = inside.connect_from([192, 0, 2, at]);
        thief.say(hello("a", "t", 1)).await;
        assert!(holder.hear().await["ping"].is_object());
        holder.say(json!({"pong": {"id": 0}})).await;
        thief.expect_refusal("name_in_use").await;
    }
    comes_in(&inside, [192, 0, 2, 1], "b").await.expect("its turn is still there");
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_lost_is_told_of_all_its_sessions() {
    let inside = Inside::new();
    let push = async |talk: &mut Talk, seq: u64, more: Value| {
        let mut head = head("live", seq, 0);
        head["push"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        talk.say(head).await;
        talk.say(values(1, 0, &[1.0, 2.0])).await;
        talk.say(json!({"end": {"seq": seq}})).await;
        assert!(talk.hear().await["ack"].is_object());
        let facts = inside.view("a").unwrap().facts;
        let missing: Vec<_> = facts.missing.iter().filter(|(_, count)| *count > 0).collect();
        (facts.backlog_ms, missing)
    };
    let mut talk = inside.agent("a", "s", 1).await;
    assert_eq!(push(&mut talk, 1, json!({})).await, (0, vec![]));
    let lost = json!({"lost": {"spool_full": 5, "gremlins": 2}, "backlog_ms": 4000});
    assert_eq!(push(&mut talk, 2, lost).await, (4000, vec![("spool_full", 5), ("other", 2)]));
    assert_eq!(push(&mut talk, 3, json!({})).await, (0, vec![("spool_full", 5), ("other", 2)]));
    talk.say(json!({"bye": {}})).await;
    assert_eq!(talk.hear().await, Value::Null);
    let mut talk = inside.agent("a", "another", 1).await;
    let lost = json!({"lost": {"spool_full": 1}});
    assert_eq!(push(&mut talk, 1, lost).await, (0, vec![("spool_full", 6), ("other", 2)]));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_remembered_under_the_name() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.say(declare(1, "again", &["c"])).await;
    talk.expect_refusal("set_reused").await;
    let inspected = inside.shared.fleet.inspect("a", moment()).unwrap();
    assert_eq!(inspected.refusals.iter().map(|one| one.code).collect::<Vec<_>>(), ["set_reused"]);
    let mut stranger = inside.connect();
    let mut said = hello("b", "s", 1);
    said["hello"]["labels"] = json!({"le": "1"});
    stranger.say(said).await;
    stranger.expect_refusal("reserved").await;
    assert!(inside.shared.limits.strangers.of("b").is_empty(), "its name was not checked yet");
    let pushed_nothing = inside.agent("c", "s", 1).await;
    let mut pushed_nothing = pushed_nothing;
    pushed_nothing.say(json!({"retire": {"set": 9}})).await;
    pushed_nothing.expect_refusal("unknown_set").await;
    assert_eq!(inside.shared.limits.strangers.of("c").len(), 1, "nobody knows the name any more");
}
