//! What was measured while nobody took it, and how it comes after: on a clock that jumps.

use protocol::frame::*;
use protocol::{ToAgent, ToAggregator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};

use super::stage::{Peer, Stage, names, now, step_the_clock, welcome_with};
use super::*;

const INTERVAL: Duration = Duration::from_secs(5);

/// Nobody answers the agent for a while.
async fn silence(stage: &mut Stage, within: Duration) {
    let end = Instant::now() + within;
    while timeout_at(end, stage.accept()).await.is_ok() {}
}

/// Lets an agent that nobody answers measure for a while; gives when that was.
async fn outage(stage: &mut Stage, pushes: usize) -> Vec<i64> {
    let mut measured = Vec::new();
    for n in 0..pushes {
        silence(stage, INTERVAL).await;
        measured.push(now().wall_ms);
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        stage.measure(&[n as f64, 1.0]);
    }
    silence(stage, INTERVAL).await;
    measured
}

/// Takes the first live push of a connection, of these values: nothing late comes before its ack.
async fn first_live(stage: &mut Stage, peer: &mut Peer, values: &[f64]) {
    let seq = stage.measure(values);
    let head = peer.hears_head().await;
    assert_eq!((head.stream, head.seq), (Stream::Live, seq));
    peer.acks(seq).await;
}

/// Takes pushes and acknowledges them, until nothing comes for a while.
async fn take_all(peer: &mut Peer) -> Vec<Push> {
    let mut heads = Vec::new();
    while let Ok(head) = timeout(Duration::from_secs(3), peer.hears_head()).await {
        peer.says(&ToAgent::Ack(Ack { stream: head.stream, seq: head.seq })).await;
        heads.push(head);
    }
    heads
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_an_aggregator_loses_nothing() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let measured = outage(&mut stage, 720).await;
        let waiting = stage.mailbox.spool().status(now());
        assert_eq!(waiting.records, 720);
        assert!((3600.0..3610.0).contains(&stage.own("fleetgauge_spool_oldest_age_seconds")));
        let mut peer = stage.welcome().await;
        first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
        let start = Instant::now();
        let heads = take_all(&mut peer).await;
        let took = start.elapsed().as_secs();
        let got: Vec<(u64, i64)> = heads.iter().map(|head| (head.seq, head.measured_ms)).collect();
        let expected: Vec<(u64, i64)> = (1..).zip(measured).collect();
        assert_eq!(got, expected, "all of it, in its order, with its times");
        assert!(heads.iter().all(|head| head.stream == Stream::Late));
        assert!((355..=365).contains(&took), "ten times as fast as it was measured, in {took} s");
        assert_eq!(stage.mailbox.spool().status(now()).records, 0);
        assert_eq!(stage.own("fleetgauge_push_late_total{result=\"acked\"}"), 720.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_measured_now_goes_before_what_waits_and_tells_of_it() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        outage(&mut stage, 30).await;
        let mut peer = stage.welcome().await;
        let mut late = 0;
        for round in 1..=2_u64 {
            stage.measure(&[1.0, 2.0]);
            let start = Instant::now();
            let mut others = 0;
            let live = loop {
                let head = peer.hears_head().await;
                if head.stream == Stream::Live {
                    break head;
                }
                peer.acks_late(head.seq).await;
                others += 1;
            };
            assert!(others <= 1 && start.elapsed() < Duration::from_millis(100), "{others} went before it");
            assert!((150_000..190_000).contains(&live.backlog_ms), "{}", live.backlog_ms);
            assert!(live.lost.is_empty());
            peer.acks(live.seq).await;
            late += others;
            assert_eq!(live.seq, 30 + round);
        }
        assert!(late <= 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_late_pushes_are_under_way_than_are_granted() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        outage(&mut stage, 40).await;
        let mut peer = stage.welcome().await;
        first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
        for seq in 1..=16 {
            assert_eq!(peer.hears_head().await.seq, seq);
        }
        assert!(timeout(Duration::from_secs(9), peer.next()).await.is_err(), "sixteen are enough");
        peer.acks_late(10).await;
        for seq in 17..=26 {
            assert_eq!(peer.hears_head().await.seq, seq);
        }
        drop(peer);
        let mut peer = stage.accept().await;
        peer.hears().await;
        let ToAgent::Welcome(mut grant) = welcome_with(1000, 0) else { panic!("a welcome") };
        grant.acked.late = 20;
        peer.says(&ToAgent::Welcome(grant)).await;
        first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
        assert_eq!(peer.hears_head().await.seq, 21, "from where the aggregator has it, not from where it acked");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_meanwhile_moves_what_waits_with_it() {
    for step in [-1000 * 1000, 40 * 365 * 86_400_000_i64] {
        Stage::play(&["up"], "5s", |mut stage| async move {
            let measured = outage(&mut stage, 5).await;
            step_the_clock(step);
            let mut peer = stage.welcome().await;
            first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
            let got: Vec<i64> = take_all(&mut peer).await.iter().map(|head| head.measured_ms - step).collect();
            assert_eq!(got, measured);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_counted_and_the_rest_goes_on() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        outage(&mut stage, 3).await;
        let mut peer = stage.accept().await;
        peer.hears().await;
        peer.says(&welcome_with(1, 0)).await;
        first_live(&mut stage, &mut peer, &[1.0]).await;
        for seq in 1..=3 {
            let (frames, got) = peer.hears_push().await;
            assert_eq!((names(&frames), got), (vec!["push"], seq));
            peer.acks_late(seq).await;
        }
        assert_eq!(stage.own("fleetgauge_spool_lost_samples_total{reason=\"refused\"}"), 6.0);
        stage.measure(&[1.0]);
        let live = peer.hears_head().await;
        assert_eq!(live.lost, [("refused".to_owned(), 6)].into());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_push_that_is_refused_each_time_does_not_keep_away_the_others() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        outage(&mut stage, 2).await;
        for _ in 0..3 {
            let mut peer = stage.welcome().await;
            first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
            assert_eq!(peer.hears_head().await.seq, 1);
            peer.refuses(RefuseCode::Duplicate, 0).await;
        }
        let mut peer = stage.welcome().await;
        first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
        assert_eq!(peer.hears_head().await.seq, 2);
        assert_eq!(stage.own("fleetgauge_spool_lost_samples_total{reason=\"refused\"}"), 2.0);
        peer.refuses(RefuseCode::Overloaded, 0).await;
        let mut peer = stage.welcome().await;
        first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
        assert_eq!(peer.hears_head().await.seq, 2, "that refusal meant no push");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_live_set_that_changes_takes_its_room_back() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        outage(&mut stage, 2).await;
        let mut peer = stage.accept().await;
        peer.hears().await;
        peer.says(&welcome_with(3, 0)).await;
        first_live(&mut stage, &mut peer, &[1.0]).await;
        let (frames, _) = peer.hears_push().await;
        assert_eq!(names(&frames), ["declare", "push", "values"], "two series, for late pushes only");
        stage.measure(&[1.0, 2.0, 3.0]);
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["retire", "retire", "declare", "push", "values"], 4));
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["push"], 2), "now there is room for the live set alone");
        assert!(!frames.iter().any(|frame| matches!(frame, ToAggregator::Declare(_))));
    })
    .await;
}

/// The test's end of a line that takes 8 KB a second from the agent.
fn slowed(peer: Peer) -> Peer {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let ((mut said, mut answers), (mut hear, mut tell)) = (tokio::io::split(peer.stream), tokio::io::split(theirs));
    tokio::spawn(async move { tokio::io::copy(&mut hear, &mut answers).await });
    tokio::spawn(async move {
        let mut some = [0; 800];
        while let Ok(bytes @ 1..) = said.read(&mut some).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if tell.write_all(&some[..bytes]).await.is_err() {
                return;
            }
        }
    });
    Peer { stream: ours, ..peer }
}

#[tokio::test(start_paused = true)]
async fn on_a_slow_line_what_is_measured_now_still_comes_live() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        for _ in 0..4 {
            silence(&mut stage, INTERVAL).await;
            // Their names alone take the line some seconds, once for these and once for those of now.
            stage.measure(&[1.0; 1400]);
        }
        silence(&mut stage, INTERVAL).await;
        let mut peer = slowed(stage.welcome().await);
        // The measurement that a welcome asks for takes a moment.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (mut live, mut late) = (vec![], vec![]);
        let (start, mut heard, mut head) = (Instant::now(), Instant::now(), None);
        for n in 1..=12 {
            stage.measure(&[2.0; 1399]);
            while let Ok(frame) = timeout_at(start + INTERVAL * n, peer.hears()).await {
                if let ToAggregator::Push(begun) = frame {
                    head = Some(begun);
                    continue;
                }
                let Some(head) = head.take_if(|_| matches!(frame, ToAggregator::End(_))) else { continue };
                peer.says(&ToAgent::Ack(Ack { stream: head.stream, seq: head.seq })).await;
                if head.stream == Stream::Late {
                    assert!(!live.is_empty(), "the first live push goes before any late one");
                    late.push(head.seq);
                    continue;
                }
                assert!(heard.elapsed() < silence_after(INTERVAL), "{:?} without a live push", heard.elapsed());
                heard = Instant::now();
                live.push(head.seq);
            }
        }
        assert_eq!((live, late), ((5..=16).collect(), (1..=4).collect::<Vec<u64>>()));
        assert_eq!(stage.own("fleetgauge_push_reconnects_total"), 0.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_restored_from_a_copy_goes_on_as_another_session() {
    for acked in [Acked { live: 44, late: 0 }, Acked { live: 0, late: 44 }] {
        Stage::play(&["up"], "5s", |mut stage| async move {
            outage(&mut stage, 2).await;
            let mut peer = stage.accept().await;
            let ToAggregator::Hello(first) = peer.hears().await else { panic!("a hello comes first") };
            let ToAgent::Welcome(welcome) = welcome_with(1000, 0) else { panic!("a welcome") };
            peer.says(&ToAgent::Welcome(Welcome { acked, ..welcome })).await;
            peer.waits_until_left().await;
            let mut peer = stage.accept().await;
            let ToAggregator::Hello(second) = peer.hears().await else { panic!("a hello comes first") };
            assert_eq!((first.session.as_str(), second.session.len()), ("5f2c", 32));
            assert_eq!(protocol::declare::check_hello(&second).unwrap().as_str(), "huginn");
            peer.says(&welcome_with(1000, 0)).await;
            first_live(&mut stage, &mut peer, &[1.0, 2.0]).await;
            let late: Vec<u64> = take_all(&mut peer).await.iter().map(|head| head.seq).collect();
            assert_eq!(late, [1, 2], "what waits goes with it");
            drop(peer);
            let mut peer = stage.accept().await;
            let ToAggregator::Hello(third) = peer.hears().await else { panic!("a hello comes first") };
            assert_eq!(third.session, second.session);
        })
        .await;
    }
}
