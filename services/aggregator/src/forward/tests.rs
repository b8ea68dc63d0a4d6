//! The task against a receiver that answers as it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;

use super::batch::tests::{declared, push};
use super::proto::WriteRequest;
use super::*;
use crate::fleet::agent::tests::agent;
use crate::fleet::room::Room;
use crate::fleet::{Fleet, agent::Agent};
use crate::pending::Pending;
use crate::quota::Quota;
use crate::stop::{self, Stopper};

/// A request as it came: its head, and what was in it.
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) request: WriteRequest,
}

impl Heard {
    /// Timestamps and values of all its samples.
    fn samples(&self) -> Vec<(i64, f64)> {
        let all = self.request.timeseries.iter().flat_map(|series| &series.samples);
        let mut all: Vec<_> = all.map(|sample| (sample.timestamp, sample.value)).collect();
        all.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
        all
    }
}

/// A receiver. `judge` gives the status and further headers for what comes.
async fn receiver(judge: impl Fn(&Heard) -> (u16, &'static str) + Send + Sync + 'static) -> (Uri, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap()).parse().unwrap();
    let (heard, hears) = mpsc::channel(1000);
    let judge = Arc::new(judge);
    tokio::spawn(async move {
        loop {
            let (mut io, _) = listener.accept().await.unwrap();
            let (heard, judge) = (heard.clone(), Arc::clone(&judge));
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                        if io.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                        continue;
                    };
                    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    let length: usize = length.parse().unwrap();
                    while bytes.len() < end + 4 + length {
                        assert!(io.read_buf(&mut bytes).await.unwrap() > 0);
                    }
                    let body: Vec<u8> = bytes.drain(..end + 4 + length).skip(end + 4).collect();
                    let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
                    let one = Heard { head, request: WriteRequest::decode(body.as_slice()).unwrap() };
                    let (status, headers) = judge(&one);
                    heard.send(one).await.unwrap();
                    let answer = format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
                    io.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (url, hears)
}

/// A wall clock that goes as the clock of the test does, which may be paused.
fn wall_ms() -> i64 {
    thread_local! {
        static START: (tokio::time::Instant, i64) = (tokio::time::Instant::now(), lifecycle::clock::unix_ms());
    }
    START.with(|(start, wall_ms)| wall_ms + i64::try_from(start.elapsed().as_millis()).unwrap())
}

struct World {
    forward: Arc<Forwarder>,
    shared: Arc<Shared>,
    agent: Arc<Agent>,
    _stopper: Stopper,
}

impl World {
    fn start(url: Uri, change: impl FnOnce(&mut Rules)) -> Self {
        let telemetry = Arc::new(Telemetry::new(1).unwrap());
        let window = Duration::from_secs(1800);
        let mut rules = Rules { url, token_file: None, which: Which::Late, window, buffer: 1 << 20 };
        change(&mut rules);
        let (forward, mut outbox) = Forwarder::new(rules, Arc::clone(&telemetry)).unwrap();
        outbox.clock = wall_ms;
        let forward = Arc::new(forward);
        let rules = crate::fleet::Rules {
            job: "node".into(),
            tombstone: Duration::ZERO,
            agents_max: 10,
            series_max: 1000,
            series_per_agent_max: 100,
        };
        let shared = Arc::new(Shared {
            fleet: Arc::new(Fleet::new(rules)),
            name: "muninn".into(),
            buffers: Room::new(1000),
            text: Room::new(1000),
            warnings: Quota::new(0, Duration::from_secs(1)),
            exact: false,
            forward: Some(Arc::clone(&forward)),
            late_max: Duration::from_secs(3600),
            limits: Default::default(),
            access: Arc::new(crate::access::Access::open(telemetry.auth.clone())),
            history: None,
            vitals: None,
            telemetry,
        });
        let (stopper, stop) = stop::pair();
        tokio::spawn(outbox.run(Arc::clone(&shared), stop));
        Self { forward, shared, agent: agent("a"), _stopper: stopper }
    }

    /// A late push of one series for each value, measured so long ago; gives what it waits for.
    fn late(&self, age_ms: i64, values: Vec<f64>) -> tokio::sync::oneshot::Receiver<()> {
        self.of("a", true, age_ms, values)
    }

    /// The same of this agent, of the late stream or live and late.
    fn of(&self, name: &str, may_wait: bool, age_ms: i64, values: Vec<f64>) -> tokio::sync::oneshot::Receiver<()> {
        let name = protocol::AgentName::parse(name).unwrap();
        let telemetry = Arc::clone(&self.shared.telemetry);
        let pending = Pending::new(Arc::clone(&self.agent), telemetry, values.len() as u64);
        let settled = pending.settled();
        let (at_ms, set) = (wall_ms() - age_ms, declared(values.len()));
        let pending = Some(pending);
        self.forward.submit(Moments { agent: name, pending, may_wait, ..push(at_ms, &set, values) });
        settled
    }

    /// Forwarded, refused, too old, without room, given up, and still pending.
    fn counts(&self) -> [u64; 6] {
        let facts = self.agent.facts();
        let dropped = [Dropped::Refused, Dropped::TooOld, Dropped::NoRoom, Dropped::LinkLost]
            .map(|reason| facts.dropped.get(reason));
        let pending = self.shared.telemetry.forward.pending.get().unsigned_abs();
        let [refused, too_old, no_room, lost] = dropped;
        [facts.filled, refused, too_old, no_room, lost, pending]
    }
}

#[tokio::test]
async fn a_late_push_is_written_and_then_safe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let (url, mut hears) = receiver(|_| (204, "")).await;
    let world = World::start(url, |rules| rules.token_file = Some(file.clone()));
    world.late(60_000, vec![1.0, 2.0]).await.unwrap();
    let heard = hears.recv().await.unwrap();
    for line in [
        "post /api/v1/write http/1.1",
        "content-type: application/x-protobuf",
        "content-encoding: snappy",
        "x-prometheus-remote-write-version: 0.1.0",
        "authorization: bearer s3cret",
        concat!("user-agent: fleetgauge/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(heard.head.lines().any(|found| found == line), "{line} in {}", heard.head);
    }
    let series = &heard.request.timeseries[0];
    let labels: Vec<_> = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
    assert_eq!(labels, [("__name__", "x"), ("instance", "a"), ("job", "node"), ("n", "0")]);
    let age_ms = moment().wall_ms - series.samples[0].timestamp;
    assert!((60_000..70_000).contains(&age_ms), "{age_ms}");
    assert_eq!(world.counts(), [2, 0, 0, 0, 0, 0]);
    assert_eq!(world.forward.used(), 0, "its room is free again");
}

#[tokio::test]
async fn what_is_refused_is_split_until_only_that_is_dropped() {
    let (url, mut hears) = receiver(|heard| {
        let is_bad = heard.samples().iter().any(|(_, value)| *value < 0.0);
        (if is_bad { 400 } else { 204 }, "")
    })
    .await;
    let world = World::start(url, |_| {});
    let waits: Vec<_> = (0..8_i64)
        .map(|at| world.late(60_000 - at * 1_000, vec![1.0, if at == 5 { -1.0 } else { 2.0 }, 3.0]))
        .collect();
    for settled in waits {
        settled.await.unwrap();
    }
    assert_eq!(world.counts(), [23, 1, 0, 0, 0, 0]);
    let mut written = Vec::new();
    while let Ok(heard) = hears.try_recv() {
        let samples = heard.samples();
        if samples.iter().all(|(_, value)| *value > 0.0) {
            written.extend(samples);
        }
    }
    assert_eq!(written.len(), 23, "each once");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_while_the_receiver_is_in_trouble() {
    let answers: VecDeque<(u16, &str)> =
        [(503, ""), (429, "retry-after: 7\r\n"), (500, ""), (401, ""), (302, ""), (204, "")].into();
    let answers = Mutex::new(answers);
    let (url, _hears) = receiver(move |_| answers.lock().unwrap().pop_front().unwrap()).await;
    let world = World::start(url, |_| {});
    let began = tokio::time::Instant::now();
    world.late(1_000, vec![1.0]).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(7), "it was asked to wait for 7 s");
    assert_eq!(world.counts(), [1, 0, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_grows_too_old_or_is_given_up_is_counted_once() {
    let (url, mut hears) = receiver(|_| (503, "")).await;
    let world = World::start(url, |rules| rules.window = Duration::from_millis(300));
    drop(world.late(0, vec![1.0, 2.0, 3.0]));
    let settled = world.late(0, vec![1.0, 2.0]);
    hears.recv().await.unwrap();
    settled.await.unwrap();
    assert_eq!(world.counts(), [0, 0, 2, 0, 3, 0]);
}

/// Takes this many pushes of one series, of one agent an eighth.
fn room_for(pushes: usize) -> usize {
    pushes * (ledger::PUSH_BYTES + ledger::SET_BYTES + size_of::<f64>() + declared(1).bytes())
}

#[tokio::test(start_paused = true)]
async fn late_pushes_wait_for_room_and_live_samples_do_not() {
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&is_up);
    let up = move || seen.load(std::sync::atomic::Ordering::Acquire);
    let (url, _hears) = receiver(move |_| (if up() { 204 } else { 503 }, "")).await;
    let world = World::start(url, |rules| rules.buffer = room_for(8));
    // One agent has all of its share, and ten together would have more than all of the room.
    let mut waits: Vec<_> = (0..16).map(|_| world.late(60_000, vec![1.0])).collect();
    waits.extend((0..10).map(|at| world.of(&format!("b{at}"), true, 60_000, vec![1.0])));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(waits.iter_mut().all(|settled| settled.try_recv().is_err()), "none is safe");
    assert_eq!((world.counts(), world.forward.used()), ([0, 0, 0, 0, 0, 26], room_for(8)));
    world.of("a", false, 60_000, vec![1.0]).await.unwrap();
    world.of("c", false, 60_000, vec![1.0]).await.unwrap();
    assert_eq!(world.counts(), [0, 0, 0, 2, 0, 26]);
    // Whose connection is gone waits no more.
    drop(waits.pop());
    is_up.store(true, std::sync::atomic::Ordering::Release);
    for settled in waits {
        settled.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((world.counts(), world.forward.used()), ([25, 0, 0, 2, 1, 0], 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_too_long_is_too_old() {
    let (url, _hears) = receiver(|_| (503, "")).await;
    let world = World::start(url, |rules| {
        (rules.buffer, rules.window) = (room_for(8), Duration::from_millis(300));
    });
    let waits: Vec<_> = (0..3).map(|_| world.late(0, vec![1.0])).collect();
    while world.counts()[5] > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::thread::sleep(Duration::from_millis(5));
    }
    for settled in waits {
        settled.await.unwrap();
    }
    assert_eq!(world.counts(), [0, 0, 3, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_floods_costs_only_himself() {
    let (url, _hears) = receiver(|_| (503, "")).await;
    let world = World::start(url, |rules| rules.buffer = room_for(80));
    let _flood: Vec<_> = (0..1000).map(|_| world.of("flood", false, 60_000, vec![1.0; 10])).collect();
    let mut honest = world.of("honest", false, 60_000, vec![1.0]);
    assert!(honest.try_recv().is_err(), "it waits to be written");
    assert!(world.forward.used() <= room_for(11));
}

#[tokio::test]
async fn all_says_where_series_end() {
    let (url, mut hears) = receiver(|_| (204, "")).await;
    let world = World::start(url, |rules| rules.which = Which::All);
    let set = declared(2);
    let now_ms = moment().wall_ms;
    world.forward.submit(push(now_ms - 1, &set, vec![1.0, 2.0]));
    let mut seen = Vec::new();
    // Nobody called so is on the page: with the next look all of it ends.
    while seen.len() < 4 {
        let heard = hears.recv().await.unwrap();
        assert!(heard.request.timeseries.iter().all(|series| series.labels.len() == 4));
        seen.extend(heard.request.timeseries.into_iter().flat_map(|series| series.samples));
    }
    let (ends, samples): (Vec<_>, Vec<_>) = seen.into_iter().partition(|sample| protocol::is_absent(sample.value));
    assert_eq!((ends.len(), samples.len()), (2, 2));
    assert!(ends.iter().all(|sample| sample.timestamp >= now_ms));
}

#[tokio::test(start_paused = true)]
async fn ends_take_room_and_grow_too_old() {
    let (url, _hears) = receiver(|_| (503, "")).await;
    let world = World::start(url, |rules| (rules.which, rules.window) = (Which::All, Duration::from_millis(500)));
    world.forward.submit(push(moment().wall_ms, &declared(2), vec![1.0, 2.0]));
    let of_push = world.forward.used();
    // Nobody called so is on the page: with the next look all of it ends.
    while world.forward.used() <= of_push {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let too_old = || world.shared.telemetry.forward.outcome("too_old");
    while too_old() < 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((too_old(), world.forward.used()), (4, 0));
}
