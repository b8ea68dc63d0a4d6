//! The uplink against an aggregator that the test plays itself, over an in-memory stream and with
//! a clock that jumps: timeouts cost no time.

use protocol::frame::*;
use protocol::limits::late_after;
use protocol::{ToAgent, ToAggregator};
use tokio::io::AsyncWriteExt;

use super::stage::{Stage, names, welcome, welcome_with};
use super::*;

#[tokio::test(start_paused = true)]
async fn declares_once_then_sends_values_and_takes_acks() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.accept().await;
        let ToAggregator::Hello(hello) = peer.hears().await else { panic!("a hello comes first") };
        assert_eq!((hello.agent.as_str(), hello.session.as_str()), ("huginn", "5f2c"));
        assert_eq!((hello.interval_ms, hello.labels.get("zone")), (5000, Some("a")));
        assert_eq!(protocol::declare::check_hello(&hello).unwrap().as_str(), "huginn");
        for key in ["version", "os", "arch", "kernel"] {
            assert!(hello.info.get(key).is_some(), "{key}");
        }
        peer.says(&welcome()).await;
        stage.measure(&[20.0, 21.0]);
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["declare", "push", "values"], 1));
        peer.acks(1).await;
        stage.measure(&[20.5, f64::NAN]);
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["push", "values"], 2));
        peer.acks(2).await;
        stage.measure(&[20.5]);
        let (frames, _) = peer.hears_push().await;
        assert_eq!(names(&frames), ["declare", "push", "values"], "another set of series");
        assert!(matches!(peer.hears().await, ToAggregator::Retire(Retire { set: 1 })));
        assert_eq!(stage.own("fleetgauge_push_total{result=\"acked\"}"), 2.0);
        assert_eq!(stage.own("fleetgauge_push_ack_seconds_count"), 2.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_pushes_wait_for_acks_and_the_newest_comes_before_those_behind_them() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        for seq in 1..=3 {
            stage.measure(&[1.0]);
            peer.hears_push().await;
            if seq == 1 {
                peer.acks(1).await;
            }
        }
        stage.measure(&[4.0]);
        stage.measure(&[5.0]);
        let head = peer.hears_head().await;
        assert_eq!((head.stream, head.seq), (Stream::Late, 1), "the live stream is full, and the fourth was kept");
        peer.acks(3).await;
        let head = peer.hears_head().await;
        assert_eq!((head.stream, head.seq), (Stream::Live, 5));
        assert_eq!(stage.own("fleetgauge_push_spooled_total{reason=\"not_sent\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_comes_back_and_declares_everything_again() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        peer.acks(1).await;
        stage.measure(&[2.0]);
        peer.hears_push().await;
        drop(peer);
        let start = Instant::now();
        let mut peer = stage.welcome().await;
        assert!(start.elapsed() <= crate::backoff::BASE, "the first wait is a short one");
        stage.measure(&[3.0]);
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["declare", "push", "values"], 3), "what is measured now goes first");
        peer.acks(3).await;
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["push", "values"], 1), "what was not acked comes late");
        stage.measure(&[4.0]);
        peer.hears_push().await;
        assert_eq!(stage.own("fleetgauge_push_reconnects_total"), 1.0);
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"closed\"}"), 1.0);
        assert_eq!(stage.own("fleetgauge_push_spooled_total{reason=\"not_acked\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_safe_is_not_sent_again_and_what_is_stale_comes_late() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        drop(peer);
        let mut peer = stage.accept().await;
        peer.hears().await;
        peer.says(&welcome_with(1000, 1)).await;
        stage.measure(&[2.0]);
        let head = peer.hears_head().await;
        assert_eq!((head.stream, head.seq), (Stream::Live, 2));
        assert_eq!(stage.own("fleetgauge_push_late_total{result=\"safe\"}"), 1.0);
        assert_eq!(stage.own("fleetgauge_spool_records"), 0.0);
        drop(peer);
        let mut peer = stage.accept().await;
        tokio::time::sleep(late_after(Duration::from_secs(5)) + Duration::from_millis(1)).await;
        drop(peer);
        peer = stage.welcome().await;
        stage.measure(&[3.0]);
        let head = peer.hears_head().await;
        assert_eq!((head.stream, head.seq), (Stream::Live, 3));
        peer.acks(3).await;
        let head = peer.hears_head().await;
        assert_eq!((head.stream, head.seq), (Stream::Late, 2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_that_does_not_acknowledge_is_left() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        let start = Instant::now();
        peer.waits_until_left().await;
        assert_eq!(start.elapsed().as_secs(), silence_after(Duration::from_secs(5)).as_secs());
        stage.welcome().await;
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"timeout\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_that_says_nothing_or_reads_nothing_is_left() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let peer = stage.accept().await;
        let start = Instant::now();
        peer.waits_until_left().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        let peer = stage.welcome().await;
        stage.measure(&[1.0; 2000]);
        // The pipe is full long before the declaration is through.
        stage.accept().await;
        drop(peer);
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"timeout\"}"), 2.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_counted_and_its_wait_is_kept() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let peer = stage.accept().await;
        peer.refuses(RefuseCode::NameInUse, 30_000).await;
        let start = Instant::now();
        let peer = stage.accept().await;
        assert!(start.elapsed() >= Duration::from_secs(30));
        peer.refuses(RefuseCode::Superseded, 0).await;
        let start = Instant::now();
        stage.welcome().await;
        assert!(start.elapsed() <= crate::backoff::CAP);
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"refused_name_in_use\"}"), 1.0);
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"refused_superseded\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_things_had_worked_is_kept_to_as_well() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        peer.acks(1).await;
        peer.refuses(RefuseCode::Overloaded, 30_000).await;
        let start = Instant::now();
        stage.welcome().await;
        assert!(start.elapsed() >= Duration::from_secs(30));
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"refused_overloaded\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_protocol_ends_the_connection_and_not_the_agent() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let long = vec![b'x'; 5000];
        let lines: [&[u8]; 5] = [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"{\"welcome\":{}}\n",
            b"{\"ack\":{\"stream\":\"live\",\"seq\":9}}\n",
            b"\xff\xfe\n",
            &long,
        ];
        for line in lines {
            let mut peer = stage.accept().await;
            // Of a line that is too long the agent does not read the end.
            let _read_or_not = peer.stream.write_all(line).await;
            peer.waits_until_left().await;
        }
        let mut peer = stage.accept().await;
        peer.says(&welcome_with(1000, 44)).await;
        peer.waits_until_left().await;
        stage.welcome().await;
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"protocol\"}"), 6.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_token_a_challenge_is_answered_by_leaving() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.accept().await;
        peer.says(&ToAgent::Challenge(Challenge { nonce: "00".into() })).await;
        peer.waits_until_left().await;
        stage.welcome().await;
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"auth\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn goaway_is_answered_by_bye_and_the_next_aggregator() {
    Stage::play(&["one", "two"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        peer.acks(1).await;
        peer.says(&ToAgent::Goaway(Goaway { reason: "drain".into(), retry_after_ms: 60_000 })).await;
        assert!(matches!(peer.hears().await, ToAggregator::Bye(_)));
        drop(peer);
        let mut peer = stage.accept().await;
        assert_eq!(peer.place, 1);
        let ToAggregator::Hello(hello) = peer.hears().await else { panic!("a hello comes first") };
        assert_eq!(hello.shown_elsewhere_ms, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bye_that_nobody_took_says_how_long_the_former_may_still_show_it() {
    for is_deaf in [true, false] {
        Stage::play(&["one", "two"], "5s", |mut stage| async move {
            let mut peer = stage.welcome().await;
            stage.measure(&[1.0]);
            peer.hears_push().await;
            peer.acks(1).await;
            peer.says(&ToAgent::Goaway(Goaway { reason: "drain".into(), retry_after_ms: 60_000 })).await;
            // One neither reads nor closes, the other is gone before it can be told.
            let kept = is_deaf.then_some(peer);
            let mut peer = stage.accept().await;
            assert_eq!(peer.place, 1);
            let ToAggregator::Hello(hello) = peer.hears().await else { panic!("a hello comes first") };
            assert!((14_000..=15_000).contains(&hello.shown_elsewhere_ms), "{}", hello.shown_elsewhere_ms);
            drop(kept);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn fail_over_says_how_long_the_former_may_still_show_it() {
    Stage::play(&["one", "two"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        peer.acks(1).await;
        drop(peer);
        let peer = stage.accept().await;
        assert_eq!(peer.place, 0, "the first of the list is the first again");
        drop(peer);
        let mut peer = stage.accept().await;
        assert_eq!(peer.place, 1);
        let ToAggregator::Hello(hello) = peer.hears().await else { panic!("a hello comes first") };
        assert!((10_000..=15_000).contains(&hello.shown_elsewhere_ms), "{}", hello.shown_elsewhere_ms);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_reached_is_passed_over() {
    Stage::play(&["down", "up"], "5s", |mut stage| async move {
        let start = Instant::now();
        let peer = stage.accept().await;
        assert_eq!((peer.place, start.elapsed()), (1, Duration::ZERO));
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"connect\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_asked_in_long_intervals() {
    Stage::play(&["up"], "60s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        peer.says(&ToAgent::Ping(Ping { id: 42 })).await;
        assert!(matches!(peer.hears().await, ToAggregator::Pong(Ping { id: 42 })));
        let start = Instant::now();
        let ToAggregator::Ping(ping) = peer.hears().await else { panic!("a ping") };
        assert_eq!(start.elapsed().as_secs(), 10);
        peer.says(&ToAgent::Pong(ping)).await;
        let ToAggregator::Ping(_) = peer.hears().await else { panic!("a ping") };
        let start = Instant::now();
        peer.waits_until_left().await;
        assert_eq!(start.elapsed().as_secs(), 30, "nobody answered the second");
        stage.accept().await;
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"timeout\"}"), 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_over_the_limit_is_not_sent() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.accept().await;
        peer.hears().await;
        peer.says(&welcome_with(2, 0)).await;
        stage.measure(&[1.0, 2.0, 3.0]);
        let (frames, _) = peer.hears_push().await;
        assert_eq!(names(&frames), ["push"]);
        peer.acks(1).await;
        // The clock is paused: it moves when the ack was taken in.
        tokio::time::sleep(Duration::from_secs(1)).await;
        stage.measure(&[1.0, 2.0]);
        let (frames, _) = peer.hears_push().await;
        assert_eq!(names(&frames), ["declare", "push", "values"]);
        let ToAggregator::Push(head) = &frames[1] else { panic!("a push") };
        assert_eq!(head.lost, [("refused".to_owned(), 3)].into(), "the aggregator hears of it");
        assert_eq!(stage.own("fleetgauge_spool_lost_samples_total{reason=\"refused\"}"), 3.0);
        let dropped = "fleetgauge_collector_dropped_series_total{collector=\"rooms\",reason=\"limit\"}";
        assert_eq!(stage.own(dropped), 3.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_says_bye_whole_lines_only() {
    let (mut stage, mut uplink) = Stage::new(&["up"], "5s");
    let mut peer = tokio::select! {
        () = uplink.run() => unreachable!(),
        peer = stage.welcome() => peer,
    };
    stage.measure(&[1.0; 500]);
    // Some of the push is on its way, some is not.
    tokio::select! {
        () = uplink.run() => unreachable!(),
        frame = peer.hears() => assert!(matches!(frame, ToAggregator::Declare(_))),
    }
    let hear_all = async {
        let mut last = None;
        while let Some(frame) = peer.next().await {
            last = Some(frame);
        }
        last
    };
    let ((), last) = tokio::join!(uplink.farewell(), hear_all);
    assert!(matches!(last, Some(ToAggregator::Bye(_))));
    assert_eq!(stage.own("fleetgauge_push_spooled_total{reason=\"stopped\"}"), 1.0);
    assert_eq!(stage.own("fleetgauge_spool_lost_samples_total{reason=\"stopped\"}"), 500.0, "nothing outlives it");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_nobody() {
    let (mut stage, mut uplink) = Stage::new(&["up"], "5s");
    let peer = tokio::select! {
        () = uplink.run() => unreachable!(),
        peer = stage.welcome() => peer,
    };
    stage.measure(&[1.0; 2000]);
    let full = tokio::time::sleep(Duration::from_millis(100));
    tokio::select! {
        () = uplink.run() => unreachable!(),
        () = full => {}
    }
    let start = Instant::now();
    uplink.farewell().await;
    assert!(start.elapsed() < Duration::from_secs(1), "a pipe that is full keeps nobody");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_answered_by_a_proof_of_the_token() {
    let token = [("FLEETGAUGE_TOKEN", "0123456789abcdef")];
    Stage::play_with(&["up"], "5s", &token, |mut stage| async move {
        let mut peer = stage.accept().await;
        let ToAggregator::Hello(_) = peer.hears().await else { panic!("a hello comes first") };
        peer.says(&ToAgent::Challenge(Challenge { nonce: "00112233445566778899aabbccddeeff".into() })).await;
        let ToAggregator::Proof(proof) = peer.hears().await else { panic!("a proof is the answer") };
        assert_eq!(proof.hmac, "11ba7bdb127b5954ed1a468b400a6ecac7b58f9cb780f7eda67745c6eca39a24");
        peer.says(&welcome()).await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        // Whoever has welcomed has nothing to ask any more.
        peer.says(&ToAgent::Challenge(Challenge { nonce: "00112233445566778899aabbccddeeff".into() })).await;
        peer.waits_until_left().await;
    })
    .await;
}
