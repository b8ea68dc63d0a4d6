//! A stage for tests of the uplink: an in-memory stream, a clock that jumps, and an aggregator
//! that the test plays itself.

use std::cell::Cell;
use std::future::Future;

use protocol::frame::*;
use protocol::limits::LINE_BYTES_MAX;
use protocol::{LineDecoder, ToAgent, ToAggregator, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::collect::batch::Batch;
use crate::settings::Target;
use crate::spool::Spool;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    /// How far the wall clock was set since then.
    static STEP: Cell<i64> = const { Cell::new(0) };
}

/// Sets the wall clock.
pub(super) fn step_the_clock(by_ms: i64) {
    STEP.set(STEP.get() + by_ms);
}

/// Both clocks follow the runtime's, which is paused.
pub(super) fn now() -> Moment {
    let start = START.get().expect("a stage starts the clock");
    let since = u64::try_from(start.elapsed().as_millis()).unwrap();
    Moment { wall_ms: 1_790_000_000_000 + i64::try_from(since).unwrap() + STEP.get(), mono_ms: 1_000_000 + since }
}

/// Gives the other end of each connection to the test; targets called `down` cannot be reached.
pub(super) struct InMemory(mpsc::Sender<(usize, DuplexStream)>);

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
pub(super) struct Stage {
    pub(super) mailbox: Arc<Mailbox>,
    telemetry: Arc<Telemetry>,
    connections: mpsc::Receiver<(usize, DuplexStream)>,
    batch: Batch,
    pub(super) seq: u64,
    /// The highest number that the test has heard.
    pub(super) sent: u64,
}

impl Stage {
    /// A stage and its uplink, with aggregators of these names.
    pub(super) fn new(hosts: &[&str], interval: &str) -> (Self, Uplink<InMemory>) {
        Self::new_with(hosts, interval, &[])
    }

    fn new_with(hosts: &[&str], interval: &str, more: &[(&str, &str)]) -> (Self, Uplink<InMemory>) {
        START.set(Some(Instant::now()));
        STEP.set(0);
        let list: Vec<String> = hosts.iter().map(|host| format!("{host}:9401")).collect();
        let pairs = [
            ("FLEETGAUGE_AGENT", "huginn"),
            ("FLEETGAUGE_AGGREGATOR", &list.join(",")),
            ("FLEETGAUGE_INTERVAL", interval),
            ("FLEETGAUGE_LABELS", "zone=a"),
        ];
        let pairs = pairs.iter().chain(more).copied();
        let settings = Settings::resolve(&lifecycle::Settings::from_pairs(pairs).unwrap()).unwrap();
        let spool = Arc::new(Spool::in_memory(16 << 20, "5f2c", 1));
        let (mailbox, telemetry) = (Arc::new(Mailbox::new(spool)), Arc::new(Telemetry::new()));
        let (sender, connections) = mpsc::channel(1);
        let (own_mailbox, own_telemetry) = (Arc::clone(&mailbox), Arc::clone(&telemetry));
        let uplink = Uplink::new(InMemory(sender), settings.into(), own_mailbox, own_telemetry, now, 1);
        (Self { mailbox, telemetry, connections, batch: Batch::new(), seq: 0, sent: 0 }, uplink)
    }

    /// Plays a scene while the uplink runs.
    pub(super) async fn play<F: Future<Output = ()>>(hosts: &[&str], interval: &str, scene: impl FnOnce(Self) -> F) {
        Self::play_with(hosts, interval, &[], scene).await;
    }

    /// The same, with more settings.
    pub(super) async fn play_with<F: Future<Output = ()>>(
        hosts: &[&str],
        interval: &str,
        more: &[(&str, &str)],
        scene: impl FnOnce(Self) -> F,
    ) {
        let (stage, mut uplink) = Self::new_with(hosts, interval, more);
        tokio::select! {
            () = uplink.run() => {}
            () = scene(stage) => {}
            () = tokio::time::sleep(Duration::from_secs(100_000)) => panic!("nothing happens any more"),
        }
    }

    /// Puts a measurement of these values in the mailbox.
    pub(super) fn measure(&mut self, values: &[f64]) -> u64 {
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
            self.telemetry.spooled(Spooled::NotSent);
        }
        self.seq
    }

    pub(super) async fn accept(&mut self) -> Peer {
        let (place, stream) = self.connections.recv().await.expect("an uplink");
        Peer { place, stream, decoder: LineDecoder::new(LINE_BYTES_MAX) }
    }

    /// Takes the next connection and welcomes it.
    pub(super) async fn welcome(&mut self) -> Peer {
        let mut peer = self.accept().await;
        assert!(matches!(peer.hears().await, ToAggregator::Hello(_)));
        peer.says(&welcome()).await;
        peer
    }

    /// A sample of the agent's own metrics.
    pub(super) fn own(&self, series: &str) -> f64 {
        let mut batch = Batch::new();
        batch.begin();
        self.telemetry.report(&mut batch);
        self.mailbox.spool().status(now()).report(&mut batch);
        batch.finish(true);
        let page = crate::collect::testing::render(&batch, false);
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

pub(super) fn welcome() -> ToAgent {
    welcome_with(100_000, 0)
}

pub(super) fn welcome_with(series: u64, acked: u64) -> ToAgent {
    ToAgent::Welcome(Welcome {
        version: 1,
        features: vec![],
        aggregator: "muninn".into(),
        now_ms: 0,
        acked: Acked { live: acked, late: 0 },
        limits: Limits { line_bytes: 65536, sets: 10, series, live_unacked: 2, late_unacked: 16 },
        late_rate: 10.0,
    })
}

/// The test's end of a connection.
pub(super) struct Peer {
    pub(super) place: usize,
    pub(super) stream: DuplexStream,
    pub(super) decoder: LineDecoder,
}

impl Peer {
    /// The next frame of the agent; `None` when it closed.
    pub(super) async fn next(&mut self) -> Option<ToAggregator> {
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

    pub(super) async fn hears(&mut self) -> ToAggregator {
        self.next().await.expect("the agent is still there")
    }

    /// The head of the next push, whatever comes before and after it.
    pub(super) async fn hears_head(&mut self) -> Push {
        let (frames, _) = self.hears_push().await;
        let head = frames.into_iter().find_map(|frame| match frame {
            ToAggregator::Push(head) => Some(head),
            _ => None,
        });
        head.expect("a push has a head")
    }

    pub(super) async fn acks_late(&mut self, seq: u64) {
        self.says(&ToAgent::Ack(Ack { stream: Stream::Late, seq })).await;
    }

    /// All frames up to the end of a push, and its number.
    pub(super) async fn hears_push(&mut self) -> (Vec<ToAggregator>, u64) {
        let mut frames = Vec::new();
        loop {
            match self.hears().await {
                ToAggregator::End(end) => return (frames, end.seq),
                frame => frames.push(frame),
            }
        }
    }

    pub(super) async fn says(&mut self, frame: &ToAgent) {
        let mut line = Vec::new();
        encode(frame, &mut line);
        self.stream.write_all(&line).await.expect("the agent still listens");
    }

    /// Says something, whether or not anybody hears it.
    pub(super) async fn may_say(&mut self, frame: &ToAgent) -> bool {
        let mut line = Vec::new();
        encode(frame, &mut line);
        self.stream.write_all(&line).await.is_ok()
    }

    pub(super) async fn acks(&mut self, seq: u64) {
        self.says(&ToAgent::Ack(Ack { stream: Stream::Live, seq })).await;
    }

    pub(super) async fn refuses(mut self, code: RefuseCode, retry_after_ms: u64) {
        self.says(&ToAgent::Refuse(Refuse { code, reason: "because".into(), retry_after_ms })).await;
    }

    /// Waits until the agent closes.
    pub(super) async fn waits_until_left(mut self) {
        while self.next().await.is_some() {}
    }
}

pub(super) fn names(frames: &[ToAggregator]) -> Vec<&'static str> {
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
