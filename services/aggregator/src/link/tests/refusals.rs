//! What may not be said, and what is not waited for.

use super::*;

/// Says these frames after `welcome` and set 1, and expects a refusal while another agent's
/// series stay as they are.
#[track_caller]
fn check(code: &'static str, frames: Vec<Value>) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let inside = Inside::new();
        let mut other = inside.agent("other", "o", 1).await;
        other.push(1, &[1.0, 2.0]).await;
        let mut talk = inside.agent("a", "s", 1).await;
        for frame in frames {
            talk.say(frame).await;
        }
        let heard = talk.hear().await;
        assert_eq!(heard["refuse"]["code"], code, "{heard} at {caller}");
        assert_eq!(inside.page("other"), ["a 1", "b 2"]);
        let registry = inside.shared.telemetry.gather(crate::telemetry::Levels::default());
        let refused = registry.iter().find(|family| family.name() == "fleetgauge_link_refused_total").unwrap();
        let counted = refused.get_metric().iter().find(|m| m.get_label()[0].value() == code).unwrap();
        assert_eq!(counted.get_counter().get_value(), 1.0, "counted as {code}, at {caller}");
    }
}

fn series(labels: Value) -> Value {
    json!({"declare": {"set": 2, "name": "t", "total": 1,
        "families": [{"name": "c", "type": "gauge", "series": [{"labels": labels}]}]}})
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_said_is_refused_with_a_reason() {
    let push = || head("live", 1, 0);
    check("bad_frame", vec![json!({"hullo": {}})]).await;
    check("bad_frame", vec![json!({"push": {"seq": "one"}})]).await;
    check("unexpected", vec![hello("a", "s", 1)]).await;
    check("unexpected", vec![json!({"proof": {"hmac": "00"}})]).await;
    check("unexpected", vec![json!({"end": {"seq": 1}})]).await;
    check("unexpected", vec![values(1, 0, &[1.0])]).await;
    check("unexpected", vec![push(), push()]).await;
    check("unexpected", vec![push(), declare(2, "t", &["c"])]).await;
    check("unknown_set", vec![push(), values(7, 0, &[1.0])]).await;
    check("unknown_set", vec![push(), json!({"failed": {"set": 7}})]).await;
    check("unknown_set", vec![json!({"retire": {"set": 7}})]).await;
    let half = json!({"declare": {"set": 2, "name": "t", "total": 2, "families":
        [{"name": "c", "type": "gauge", "series": [{}]}]}});
    check("unknown_set", vec![half.clone(), push()]).await;
    check("unknown_set", vec![half.clone(), declare(3, "u", &["d"])]).await;
    check("wrong_length", vec![half.clone(), half]).await;
    check("set_reused", vec![declare(1, "t", &["c"])]).await;
    check("set_reused", vec![json!({"retire": {"set": 1}}), declare(1, "t", &["c"])]).await;
    check("wrong_length", vec![push(), values(1, 0, &[1.0, 2.0, 3.0])]).await;
    check("wrong_length", vec![push(), values(1, 0, &[1.0]), json!({"end": {"seq": 1}})]).await;
    check("wrong_length", vec![push(), values(1, 1, &[1.0])]).await;
    check("wrong_length", vec![push(), values(1, 0, &[1.0]), values(1, 0, &[1.0, 2.0])]).await;
    check("duplicate", vec![push(), values(1, 0, &[1.0, 2.0]), json!({"failed": {"set": 1}})]).await;
    check("sequence", vec![push(), json!({"end": {"seq": 2}})]).await;
    check("duplicate", vec![declare(2, "t", &["c", "a"])]).await;
    check("duplicate", vec![declare(2, "t", &["c", "d", "c"])]).await;
    check("duplicate", vec![json!({"declare": {"set": 2, "name": "t", "total": 2, "families": [
        {"name": "c", "type": "gauge", "series": [{}]}, {"name": "c", "type": "counter", "series": [{"labels": {"l": "1"}}]}]}})])
    .await;
    check("set_reused", vec![declare(0, "t", &["c"])]).await;
    check(
        "bad_series",
        vec![json!({"declare": {"set": 2, "name": "t", "total": 0, "families":
        [{"name": "c", "type": "gauge", "help": "x".repeat(1000), "series": []}]}})],
    )
    .await;
    check("reserved", vec![series(json!({"instance": "x"}))]).await;
    check("reserved", vec![series(json!({"job": "x"}))]).await;
    check("reserved", vec![series(json!({"__name__": "x"}))]).await;
    check("bad_name", vec![series(json!({"a-b": "x"}))]).await;
    check("reserved", vec![declare(2, "t", &["up"])]).await;
    check("limit", vec![json!({"declare": {"set": 2, "name": "t", "total": 99, "families": []}})]).await;
    check("limit", vec![json!({"declare": {"set": 2, "name": "t", "total": u64::MAX, "families": []}})]).await;
}

#[tokio::test(start_paused = true)]
async fn numbers_that_go_back_are_refused() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(5, &[1.0, 2.0]).await;
    talk.say(head("live", 5, 0)).await;
    let reason = talk.expect_refusal("sequence").await;
    assert_eq!(reason, "push 5 comes after push 5: numbers must grow");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_hello_are_refused() {
    let inside = Inside::new();
    for (bytes, code) in [
        (&b"GET /metrics HTTP/1.1\r\n\r\n"[..], "bad_frame"),
        (b"\x16\x03\x01\x02\x00\x01\n", "bad_frame"),
        (b"\n", "bad_frame"),
        (b"{\"bye\":{}}\n", "unexpected"),
        (&[b'x'; 5000], "line_too_long"),
        (&[[b' '; 4096].as_slice(), b"\n"].concat(), "line_too_long"),
    ] {
        let mut talk = inside.connect();
        talk.say_raw(bytes).await;
        talk.expect_refusal(code).await;
    }
    for (version, code) in [([2, 9], "version"), ([0, 0], "version")] {
        let mut talk = inside.connect();
        let mut frame = hello("a", "s", 1);
        frame["hello"]["versions"] = json!(version);
        talk.say(frame).await;
        talk.expect_refusal(code).await;
    }
    for (name, session, code) in [("a b", "s", "bad_name"), ("", "s", "bad_name"), ("a", "", "bad_name")] {
        let mut talk = inside.connect();
        talk.say(hello(name, session, 1)).await;
        talk.expect_refusal(code).await;
    }
    assert_eq!(inside.shared.fleet.view(moment()).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_too_little_is_not_waited_for() {
    let inside = Inside::new();
    let start = Instant::now();
    let mut silent = inside.connect();
    let heard = silent.hear().await;
    assert_eq!(
        (&heard["refuse"]["code"], &heard["refuse"]["reason"]),
        (&json!("too_slow"), &json!("no hello within 5s"))
    );
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(silent.hear().await, Value::Null);
    assert_eq!(start.elapsed().as_secs(), 6, "a second after that it is closed");

    let mut drip = inside.agent("a", "s", 1).await;
    drip.push(1, &[1.0, 2.0]).await;
    let dripping = async {
        loop {
            drip.say_raw(b" ").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut peeked = [0; 1];
            let mut buffer = tokio::io::ReadBuf::new(&mut peeked);
            let reader = drip.read.get_mut();
            let read = std::future::poll_fn(|context| {
                std::task::Poll::Ready(std::pin::Pin::new(&mut *reader).poll_read(context, &mut buffer).is_ready())
            });
            if read.await {
                return;
            }
        }
    };
    // Silence of pushes ends it before the line's time is over: three intervals, at least 3 s.
    let start = Instant::now();
    dripping.await;
    assert!((3..=4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_line_must_become_whole() {
    let inside = Inside::new();
    let mut talk = inside.connect();
    let mut frame = hello("a", "s", 1);
    frame["hello"]["interval_ms"] = json!(600_000);
    talk.say(frame).await;
    talk.hear().await;
    let start = Instant::now();
    talk.say_raw(b"{\"declare\":").await;
    talk.expect_refusal("too_slow").await;
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn half_lines_share_one_room_and_wait_for_it() {
    let inside = Inside::with(|_| {}, 64 * 1024);
    let mut hoarder = inside.agent("a", "s", 1).await;
    let mut other = inside.agent("b", "s", 1).await;
    hoarder.say_raw(&[b' '; 40_000]).await;
    other.push(1, &[1.0, 2.0]).await;
    let mut second = inside.agent("c", "s", 1).await;
    second.push(1, &[3.0, 4.0]).await;
    // Its line is longer than what is left: it waits, and goes on when the hoarder has gone.
    let mut line = declare(9, "long", &["e"]).to_string().into_bytes();
    line.resize(60_000, b' ');
    line.push(b'\n');
    second.say_raw(&line).await;
    second.say(json!({"ping": {"id": 7}})).await;
    other.push(2, &[1.0, 2.0]).await;
    assert!(inside.shared.buffers.used() > 30_000);
    drop(hoarder);
    assert_eq!(second.hear().await["pong"]["id"], 7);
    other.push(3, &[1.0, 2.0]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(inside.shared.buffers.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn strangers_take_nothing_of_the_common_room() {
    let inside = Inside::with(|_| {}, 1);
    let mut stranger = inside.connect();
    stranger.say_raw(&[b' '; 4_000]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(inside.shared.buffers.used(), 0);
    stranger.say_raw(b"{}\n").await;
    stranger.expect_refusal("bad_frame").await;
}

#[tokio::test(start_paused = true)]
async fn promises_of_series_take_no_room_from_others() {
    let inside = Inside::with(|rules| rules.series_per_agent_max = 900, 1 << 20);
    let mut talks = Vec::new();
    for name in ["a", "b", "c"] {
        let mut talk = inside.agent(name, "s", 1).await;
        talk.say(json!({"declare": {"set": 2, "name": "t", "total": 800, "families":
            [{"name": "c", "type": "gauge", "series": [{}]}]}}))
            .await;
        talk.say(json!({"ping": {"id": 1}})).await;
        talk.hear().await;
        talks.push(talk);
    }
    assert_eq!(inside.shared.fleet.room().used(), 9, "two series and one of the half set, three times");
}

#[tokio::test(start_paused = true)]
async fn labels_of_the_agent_count_for_each_of_its_series() {
    let inside = Inside::with(|rules| rules.series_per_agent_max = 1_000, 1 << 20);
    let mut talk = inside.connect();
    let mut frame = hello("a", "s", 1);
    let long = "x".repeat(1000);
    frame["hello"]["labels"] = json!({"a": long, "b": long, "c": long});
    talk.say(frame).await;
    talk.hear().await;
    let series: Vec<Value> = (0..400).map(|at| json!({"labels": {"i": at.to_string()}})).collect();
    talk.say(json!({"declare": {"set": 1, "name": "t", "total": 400, "families":
        [{"name": "c", "type": "gauge", "series": series}]}}))
        .await;
    let reason = talk.expect_refusal("limit").await;
    assert!(reason.contains("names and labels"), "{reason}");
    assert_eq!(inside.shared.text.used(), 0, "what a connection took is free when it has ended");
}

#[tokio::test(start_paused = true)]
async fn labels_of_histograms_are_not_an_agents() {
    let inside = Inside::new();
    for label in ["le", "quantile"] {
        let mut talk = inside.connect();
        let mut frame = hello("a", "s", 1);
        frame["hello"]["labels"] = json!({label: "1"});
        talk.say(frame).await;
        talk.expect_refusal("reserved").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_welcomed_agent_must_push_soon_and_be_heard() {
    let inside = Inside::new();
    for (interval_ms, pings, after) in [(600_000, true, 60), (60_000, false, 30), (1_000, false, 3)] {
        let mut talk = inside.connect();
        let mut frame = hello("a", "s", 1);
        frame["hello"]["interval_ms"] = json!(interval_ms);
        talk.say(frame).await;
        talk.hear().await;
        let start = Instant::now();
        let refused = loop {
            if pings && start.elapsed().as_secs() < after {
                talk.say(json!({"ping": {"id": 1}})).await;
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            let heard = talk.hear().await;
            if heard["pong"].is_null() {
                break heard;
            }
        };
        assert_eq!(refused["refuse"]["code"], "silent");
        assert_eq!(start.elapsed().as_secs(), after, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_nothing_is_given_up() {
    let inside = Inside::new();
    let (near, far) = tokio::io::duplex(512);
    let peer = "192.0.2.1:4000".parse().unwrap();
    let task = tokio::spawn(serve(far, peer, Arc::clone(&inside.shared), inside.stop.clone()));
    let (_unread, mut write) = split(near);
    let start = Instant::now();
    write.write_all(format!("{}\n", hello("a", "s", 1)).as_bytes()).await.unwrap();
    let pings = async { while write.write_all(b"{\"ping\":{\"id\":1}}\n").await.is_ok() {} };
    pings.await;
    task.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
}
