//! Who has a name, who is there, and for how long.

use tokio::net::{TcpListener, TcpStream};

use super::*;

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_and_then_the_series() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    assert!(inside.view("a").unwrap().is_up && !inside.page("a").is_empty());
    let reason = talk.expect_refusal("silent").await;
    assert_eq!(reason, "no push that could be shown for 3s");
    assert_eq!(start.elapsed().as_secs(), 3);
    // It was silent for three intervals: there is no grace on top of that.
    let tombstone = inside.view("a").unwrap();
    assert!(!tombstone.is_up && tombstone.shown.is_empty(), "without any tick having passed");
    inside.shared.fleet.expire(moment());
    assert!(!inside.view("a").unwrap().is_up);
    tokio::time::sleep(Duration::from_secs(3601)).await;
    inside.shared.fleet.expire(moment());
    assert!(inside.view("a").is_none() && !inside.shared.fleet.is_known("a"));
}

#[tokio::test(start_paused = true)]
async fn bye_takes_the_series_at_once() {
    let inside = Inside::new();
    for (ephemeral, remembered) in [(false, true), (true, false)] {
        let mut talk = inside.connect();
        let mut frame = hello("a", "s", 1);
        frame["hello"]["ephemeral"] = json!(ephemeral);
        talk.say(frame).await;
        talk.hear().await;
        talk.say(declare(1, "s", &["a", "b"])).await;
        talk.push(1 + u64::from(ephemeral), &[1.0, 2.0]).await;
        talk.say(json!({"bye": {}})).await;
        assert_eq!(talk.hear().await, Value::Null);
        assert!(inside.page("a").is_empty());
        assert_eq!(inside.view("a").map(|view| view.is_up), remembered.then_some(false));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_session_takes_over_at_once_and_an_older_process_does_not() {
    let inside = Inside::new();
    let mut first = inside.agent("a", "s", 1).await;
    first.push(1, &[1.0, 2.0]).await;
    let mut second = inside.connect();
    second.say(hello("a", "s", 2)).await;
    assert_eq!(second.hear().await["welcome"]["acked"]["live"], 1, "what is safe of the session is said");
    first.expect_refusal("superseded").await;
    // The old values stay until the new connection's first push replaces them.
    assert_eq!(inside.page("a"), ["a 1", "b 2"]);
    second.say(declare(1, "other", &["c"])).await;
    second.say(head("live", 2, 0)).await;
    second.say(json!({"values": {"set": 1, "values": [7]}})).await;
    second.say(json!({"end": {"seq": 2}})).await;
    second.hear().await;
    assert_eq!(inside.page("a"), ["c 7"]);
    let mut old = inside.connect();
    old.say(hello("a", "s", 1)).await;
    old.expect_refusal("superseded").await;
}

#[tokio::test(start_paused = true)]
async fn another_session_waits_for_the_incumbents_sign_of_life() {
    let inside = Inside::new();
    let mut incumbent = inside.agent("a", "s", 1).await;
    incumbent.push(1, &[1.0, 2.0]).await;
    let mut newcomer = inside.connect();
    newcomer.say(hello("a", "t", 1)).await;
    assert!(incumbent.hear().await["ping"].is_object());
    incumbent.say(json!({"pong": {"id": 0}})).await;
    let reason = newcomer.expect_refusal("name_in_use").await;
    assert!(reason.contains("192.0.2.1:4000"), "{reason}");
    // An incumbent that does not answer within a second loses the name.
    let start = Instant::now();
    let mut newcomer = inside.connect();
    newcomer.say(hello("a", "t", 1)).await;
    assert_eq!(newcomer.hear().await["welcome"]["acked"]["live"], 0);
    assert_eq!(start.elapsed().as_secs(), 1);
    incumbent.hear().await;
    incumbent.expect_refusal("superseded").await;
}

#[tokio::test(start_paused = true)]
async fn clones_that_displace_each_other_are_stopped() {
    let inside = Inside::new();
    let mut holder = inside.agent("a", "s", 1).await;
    for _ in 0..3 {
        holder = inside.agent("a", "s", 1).await;
    }
    holder.push(1, &[1.0, 2.0]).await;
    let mut clone = inside.connect();
    clone.say(hello("a", "s", 1)).await;
    assert!(holder.hear().await["ping"].is_object());
    holder.say(json!({"pong": {"id": 0}})).await;
    clone.expect_refusal("name_in_use").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_given_up_displaces_nobody() {
    let inside = Inside::new();
    let mut live = inside.agent("a", "s", 1).await;
    live.push(1, &[1.0, 2.0]).await;
    for _ in 0..6 {
        let mut given_up = inside.connect();
        given_up.say(hello("a", "s", 1)).await;
        let Talk { read, write, task } = given_up;
        drop((read, write));
        task.await.unwrap();
    }
    assert_eq!(inside.metric("fleetgauge_link_closed_total{reason=\"closed\"}"), 6.0);
    live.push(2, &[3.0, 4.0]).await;
    // Nobody has fought for the name, so the agent itself may take it over.
    let _newer = inside.agent("a", "s", 1).await;
    live.expect_refusal("superseded").await;
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_that_is_given_up_while_the_incumbent_is_asked() {
    let inside = Inside::new();
    let mut incumbent = inside.agent("a", "s", 1).await;
    incumbent.push(1, &[1.0, 2.0]).await;
    let mut newcomer = inside.connect();
    newcomer.say(hello("a", "t", 1)).await;
    assert!(incumbent.hear().await["ping"].is_object());
    let Talk { read, write, task } = newcomer;
    drop((read, write));
    task.await.unwrap();
    incumbent.push(2, &[3.0, 4.0]).await;
}

#[tokio::test]
async fn what_waited_in_the_backlog_and_was_given_up_displaces_nobody() {
    let inside = Inside::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = format!("{}\n", hello("a", "s", 1));
    let mut live = inside.agent("a", "s", 1).await;
    for _ in 0..6 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
    }
    for _ in 0..6 {
        let (stream, peer) = listener.accept().await.unwrap();
        serve(stream, peer, Arc::clone(&inside.shared), inside.stop.clone()).await;
    }
    live.push(1, &[1.0, 2.0]).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_all_in_one_piece_and_no_more_is_heard() {
    let inside = Inside::new();
    let mut talk = inside.connect();
    let frames = [hello("a", "s", 1), declare(1, "s", &["a", "b"]), head("live", 1, 0), values(1, 0, &[1.0, 2.0])];
    let mut said: String = frames.iter().map(|frame| format!("{frame}\n")).collect();
    said += "{\"end\":{\"seq\":1}}\n";
    talk.say_raw(said.as_bytes()).await;
    talk.write.shutdown().await.unwrap();
    assert!(talk.hear().await["welcome"].is_object());
    assert_eq!(talk.hear().await, json!({"ack": {"stream": "live", "seq": 1}}));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_said_to_every_agent() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    inside.stopper.stop();
    assert_eq!(talk.hear().await["goaway"]["reason"], "this aggregator stops");
    assert_eq!(talk.hear().await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn names_are_capped_and_tombstones_give_way() {
    let inside = Inside::with(|rules| rules.agents_max = 2, 1 << 20);
    let mut gone = inside.agent("gone", "s", 1).await;
    gone.push(1, &[1.0, 2.0]).await;
    gone.say(json!({"bye": {}})).await;
    gone.hear().await;
    let one = inside.agent("one", "s", 1).await;
    let _two = inside.agent("two", "s", 1).await;
    assert!(inside.shared.fleet.is_known("gone"), "a bare hello displaces no tombstone");
    let mut one = one;
    one.push(1, &[1.0, 2.0]).await;
    assert!(!inside.shared.fleet.is_known("gone"), "a first push does");
    let mut three = inside.connect();
    three.say(hello("three", "s", 1)).await;
    three.expect_refusal("overloaded").await;
}

#[tokio::test(start_paused = true)]
async fn series_wait_while_another_aggregator_shows_them_unless_the_page_is_exact() {
    for exact in [false, true] {
        let mut inside = Inside::new();
        Arc::get_mut(&mut inside.shared).unwrap().exact = exact;
        let mut talk = inside.connect();
        let mut frame = hello("a", "s", 1);
        frame["hello"]["shown_elsewhere_ms"] = json!(2_000);
        talk.say(frame).await;
        talk.hear().await;
        talk.say(declare(1, "s", &["a", "b"])).await;
        talk.push(1, &[1.0, 2.0]).await;
        assert!(inside.view("a").unwrap().is_up);
        // What nobody could see is not counted as visible.
        let (shown, visible, hidden) = if exact { (2, 2.0, 0.0) } else { (0, 0.0, 2.0) };
        assert_eq!(inside.page("a").len(), shown);
        assert_eq!(inside.metric("fleetgauge_samples_visible_total"), visible);
        assert_eq!(inside.counter("fleetgauge_samples_dropped_total", "hidden"), hidden);
        let facts = inside.view("a").unwrap().facts;
        assert_eq!((facts.samples, facts.dropped.get(crate::fleet::dropped::Dropped::Hidden)), (2, hidden as u64));
        tokio::time::sleep(Duration::from_millis(2_001)).await;
        talk.push(2, &[3.0, 4.0]).await;
        assert_eq!(inside.page("a"), ["a 3", "b 4"]);
        assert_eq!(inside.metric("fleetgauge_samples_visible_total"), visible + 2.0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_says_of_other_pages_is_of_no_other_name() {
    let inside = Inside::new();
    let is_seen = |name: &'static str| {
        let inside = &inside;
        async move {
            let mut talk = inside.agent(name, "s", 1).await;
            talk.say(head("late", 1, 10_000)).await;
            talk.say(values(1, 0, &[1.0, 1.0])).await;
            talk.say(json!({"end": {"seq": 1}})).await;
            talk.hear().await;
            let agent = inside.shared.fleet.agent(name).unwrap();
            let now = moment();
            talk.say(json!({"bye": {}})).await;
            (agent.could_be_seen(now.wall_ms - 10_000), agent.could_be_seen(now.wall_ms + 10_000))
        }
    };
    assert_eq!(is_seen("before").await, (false, false));
    for pushes in [false, true] {
        let mut talk = inside.connect();
        let mut frame = hello("x", "s", 1);
        frame["hello"]["interval_ms"] = json!(600_000);
        frame["hello"]["shown_elsewhere_ms"] = json!(1_800_000);
        frame["hello"]["ephemeral"] = json!(true);
        talk.say(frame).await;
        talk.hear().await;
        if pushes {
            talk.say(declare(1, "s", &["a", "b"])).await;
            talk.push(1, &[1.0, 2.0]).await;
        }
        talk.say(json!({"bye": {}})).await;
        assert_eq!(talk.hear().await, Value::Null);
        assert!(!inside.shared.fleet.is_known("x"));
        let (before, after) = is_seen(if pushes { "later" } else { "then" }).await;
        // Of a name that was seen here, and is forgotten, nothing is known until now.
        assert_eq!((before, after), (pushes, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_cannot_be_taken_by_many_at_once() {
    let inside = Inside::new();
    let mut incumbent = inside.agent("a", "s", 1).await;
    incumbent.push(1, &[1.0, 2.0]).await;
    let mut newcomers: Vec<Talk> = Vec::new();
    for at in 0..40 {
        let mut newcomer = inside.connect();
        newcomer.say(hello("a", &format!("t{at}"), 1)).await;
        newcomers.push(newcomer);
    }
    assert!(incumbent.hear().await["ping"].is_object(), "asked once for all of them");
    incumbent.say(json!({"pong": {"id": 0}})).await;
    for newcomer in newcomers {
        newcomer.expect_refusal("name_in_use").await;
    }
    incumbent.push(2, &[3.0, 4.0]).await;
    assert_eq!(inside.page("a"), ["a 3", "b 4"]);
}

#[tokio::test(start_paused = true)]
async fn a_bare_hello_keeps_nothing_old_on_the_page() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    drop(talk);
    // It comes back again and again within the grace of one interval, and never pushes.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(inside.agent("a", "s", 1).await);
    }
    assert!(inside.page("a").is_empty());
    assert!(!inside.view("a").unwrap().is_up);
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_leaves_its_series_for_one_interval() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    drop(talk);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(inside.view("a").unwrap().is_up && !inside.page("a").is_empty());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!inside.view("a").unwrap().is_up && inside.page("a").is_empty(), "without any tick having passed");
}
