//! The uplink against an aggregator that the test plays itself, over an in-memory stream and with
//! a clock that jumps: timeouts cost no time.

use std::cell::OnceCell;
use std::future::Future;

use protocol::frame::*;
use protocol::limits::{LINE_BYTES_MAX, late_after};
use protocol::{LineDecoder, ToAgent, ToAggregator, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::collect::batch::Batch;
use crate::settings::Target;

thread_local! {
    static START: OnceCell<Instant> = const { OnceCell::new() };
}

/// Both clocks follow the runtime's, which is paused.
fn now() -> Moment {
    let start = START.with(|start| *start.get_or_init(Instant::now));
    let since = u64::try_from(start.elapsed().as_millis()).unwrap();
    Moment { wall_ms: 1_790_000_000_000 + i64::try_from(since).unwrap(), mono_ms: 1_000_000 + since }
}

/// Gives the other end of each connection to the test; targets called `down` cannot be reached.
struct InMemory(mpsc::Sender<(usize, DuplexStream)>);

impl Connect for InMemory {
    type Stream = DuplexStream;

    async fn connect(&mut self, place: usize, target: &Target) -> Result<DuplexStream, Ended> {
        if target.host == "down" {
            return Err(Ended::new(Failure::Connect, "connection refused"));
        }
        let (ours, theirs) = tokio::io::duplex(4096);
        self.0.send((place, theirs)).await.map_err(|_| Ended::new(Failure::Connect, "the test is over"))?;
        Ok(ours)
    }
}

/// An agent's uplink, and what is around it.
struct Stage {
    mailbox: Arc<Mailbox>,
    telemetry: Arc<Telemetry>,
    connections: mpsc::Receiver<(usize, DuplexStream)>,
    batch: Batch,
    seq: u64,
}

impl Stage {
    /// A stage and its uplink, with aggregators of these names.
    fn new(hosts: &[&str], interval: &str) -> (Self, Uplink<InMemory>) {
        let list: Vec<String> = hosts.iter().map(|host| format!("{host}:9401")).collect();
        let pairs = [
            ("FLEETGAUGE_AGENT", "huginn"),
            ("FLEETGAUGE_AGGREGATOR", &list.join(",")),
            ("FLEETGAUGE_INTERVAL", interval),
            ("FLEETGAUGE_LABELS", "zone=a"),
        ];
        let settings = Settings::resolve(&lifecycle::Settings::from_pairs(pairs).unwrap()).unwrap();
        let (mailbox, telemetry) = (Arc::new(Mailbox::default()), Arc::new(Telemetry::new()));
        let (sender, connections) = mpsc::channel(1);
        let identity = Identity { session: "5f2c".into(), incarnation: 7 };
        let (own_mailbox, own_telemetry) = (Arc::clone(&mailbox), Arc::clone(&telemetry));
        let uplink = Uplink::new(InMemory(sender), settings.into(), identity, own_mailbox, own_telemetry, now, 1);
        (Self { mailbox, telemetry, connections, batch: Batch::new(), seq: 0 }, uplink)
    }

    /// Plays a scene while the uplink runs.
    async fn play<F: Future<Output = ()>>(hosts: &[&str], interval: &str, scene: impl FnOnce(Self) -> F) {
        let (stage, mut uplink) = Self::new(hosts, interval);
        tokio::select! {
            () = uplink.run() => {}
            () = scene(stage) => {}
            () = tokio::time::sleep(Duration::from_secs(100_000)) => panic!("nothing happens any more"),
        }
    }

    /// Puts a measurement of these values in the mailbox.
    fn measure(&mut self, values: &[f64]) -> u64 {
        self.seq += 1;
        self.batch.begin();
        for (n, value) in values.iter().enumerate() {
            self.batch.gauge("temperature", "How warm.", &[("n", &n.to_string())], *value);
        }
        self.batch.finish(true);
        let mut measurement = self.mailbox.spare();
        measurement.begin(self.seq, now());
        measurement.add("rooms", self.seq, self.batch.layout(), self.batch.values());
        if self.mailbox.put(measurement) {
            self.telemetry.dropped(Dropped::NotSent);
        }
        self.seq
    }

    async fn accept(&mut self) -> Peer {
        let (place, stream) = self.connections.recv().await.expect("an uplink");
        Peer { place, stream, decoder: LineDecoder::new(LINE_BYTES_MAX) }
    }

    /// Takes the next connection and welcomes it.
    async fn welcome(&mut self) -> Peer {
        let mut peer = self.accept().await;
        assert!(matches!(peer.hears().await, ToAggregator::Hello(_)));
        peer.says(&welcome()).await;
        peer
    }

    /// A sample of the agent's own metrics.
    fn own(&self, series: &str) -> f64 {
        let mut batch = Batch::new();
        batch.begin();
        self.telemetry.report(&mut batch);
        batch.finish(true);
        let page = crate::collect::testing::render(&batch, false);
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

fn welcome() -> ToAgent {
    welcome_with(100_000, 0)
}

fn welcome_with(series: u64, acked: u64) -> ToAgent {
    ToAgent::Welcome(Welcome {
        version: 1,
        features: vec![],
        aggregator: "muninn".into(),
        now_ms: 0,
        acked: Acked { live: acked, late: 0 },
        limits: Limits { line_bytes: 65536, sets: 10, series, live_unacked: 2 },
        late_rate: 10.0,
    })
}

/// The test's end of a connection.
struct Peer {
    place: usize,
    stream: DuplexStream,
    decoder: LineDecoder,
}

impl Peer {
    /// The next frame of the agent; `None` when it closed.
    async fn next(&mut self) -> Option<ToAggregator> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("an agent only says frames") {
                return Some(frame);
            }
            let read = timeout(Duration::from_secs(3600), self.stream.read_buf(self.decoder.buffer())).await;
            if !read.expect("the agent says something").is_ok_and(|bytes| bytes > 0) {
                return None;
            }
        }
    }

    async fn hears(&mut self) -> ToAggregator {
        self.next().await.expect("the agent is still there")
    }

    /// All frames up to the end of a push, and its number.
    async fn hears_push(&mut self) -> (Vec<ToAggregator>, u64) {
        let mut frames = Vec::new();
        loop {
            match self.hears().await {
                ToAggregator::End(end) => return (frames, end.seq),
                frame => frames.push(frame),
            }
        }
    }

    async fn says(&mut self, frame: &ToAgent) {
        let mut line = Vec::new();
        encode(frame, &mut line);
        self.stream.write_all(&line).await.expect("the agent still listens");
    }

    async fn acks(&mut self, seq: u64) {
        self.says(&ToAgent::Ack(Ack { stream: Stream::Live, seq })).await;
    }

    async fn refuses(mut self, code: RefuseCode, retry_after_ms: u64) {
        self.says(&ToAgent::Refuse(Refuse { code, reason: "because".into(), retry_after_ms })).await;
    }

    /// Waits until the agent closes.
    async fn waits_until_left(mut self) {
        while self.next().await.is_some() {}
    }
}

fn names(frames: &[ToAggregator]) -> Vec<&'static str> {
    let name = |frame: &ToAggregator| match frame {
        ToAggregator::Declare(_) => "declare",
        ToAggregator::Retire(_) => "retire",
        ToAggregator::Push(_) => "push",
        ToAggregator::Values(_) => "values",
        ToAggregator::Failed(_) => "failed",
        _ => "other",
    };
    frames.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn declares_once_then_sends_values_and_takes_acks() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.accept().await;
        let ToAggregator::Hello(hello) = peer.hears().await else { panic!("a hello comes first") };
        assert_eq!((hello.agent.as_str(), hello.session.as_str(), hello.incarnation), ("huginn", "5f2c", 7));
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
async fn two_pushes_wait_for_acks_and_only_the_newest_waits_behind_them() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        for _ in 0..2 {
            stage.measure(&[1.0]);
            peer.hears_push().await;
        }
        stage.measure(&[3.0]);
        stage.measure(&[4.0]);
        assert!(timeout(Duration::from_secs(1), peer.next()).await.is_err(), "the link is full");
        peer.acks(2).await;
        assert_eq!(peer.hears_push().await.1, 4);
        assert_eq!(stage.own("fleetgauge_push_dropped_total{reason=\"not_sent\"}"), 1.0);
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
        let (frames, seq) = peer.hears_push().await;
        assert_eq!((names(&frames), seq), (vec!["declare", "push", "values"], 2), "what was not acked comes again");
        peer.acks(2).await;
        stage.measure(&[3.0]);
        peer.hears_push().await;
        assert_eq!(stage.own("fleetgauge_push_reconnects_total"), 1.0);
        assert_eq!(stage.own("fleetgauge_push_failures_total{reason=\"closed\"}"), 1.0);
        assert_eq!(stage.own("fleetgauge_push_total{result=\"dropped\"}"), 0.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_safe_or_stale_is_not_sent_again() {
    Stage::play(&["up"], "5s", |mut stage| async move {
        let mut peer = stage.welcome().await;
        stage.measure(&[1.0]);
        peer.hears_push().await;
        drop(peer);
        let mut peer = stage.accept().await;
        peer.hears().await;
        peer.says(&welcome_with(1000, 1)).await;
        stage.measure(&[2.0]);
        assert_eq!(peer.hears_push().await.1, 2);
        drop(peer);
        let mut peer = stage.accept().await;
        tokio::time::sleep(late_after(Duration::from_secs(5)) + Duration::from_millis(1)).await;
        drop(peer);
        peer = stage.welcome().await;
        stage.measure(&[3.0]);
        assert_eq!(peer.hears_push().await.1, 3);
        assert_eq!(stage.own("fleetgauge_push_total{result=\"acked\"}"), 1.0);
        let (stale, not_acked) = (
            stage.own("fleetgauge_push_dropped_total{reason=\"stale\"}"),
            stage.own("fleetgauge_push_dropped_total{reason=\"not_acked\"}"),
        );
        assert_eq!(stale + not_acked, 1.0, "the second was too old, or replaced by the third");
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
async fn a_challenge_is_answered_by_leaving() {
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
        stage.measure(&[1.0, 2.0]);
        assert_eq!(names(&peer.hears_push().await.0), ["declare", "push", "values"]);
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
    assert_eq!(stage.own("fleetgauge_push_dropped_total{reason=\"stopped\"}"), 1.0);
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
