//! One connection, spoken to over a pipe in memory, with time that only passes when everybody
//! waits.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;

use super::*;
use crate::fleet::{AgentView, Rules};
use crate::stop::{self, Stopper};

/// An aggregator's inside: what connections share.
struct Inside {
    shared: Arc<Shared>,
    stopper: Stopper,
    stop: Stop,
}

impl Inside {
    fn new() -> Self {
        Self::with(|_| {}, 1 << 20)
    }

    fn with(change: impl FnOnce(&mut Rules), buffer: usize) -> Self {
        let mut rules = Rules {
            job: "node".into(),
            tombstone: Duration::from_secs(3600),
            agents_max: 10,
            series_max: 1000,
            series_per_agent_max: 100,
        };
        change(&mut rules);
        let (stopper, stop) = stop::pair();
        let shared = Arc::new(Shared {
            fleet: Arc::new(Fleet::new(rules)),
            name: "muninn".into(),
            buffers: Room::new(buffer),
            telemetry: Arc::new(Telemetry::new(10).unwrap()),
        });
        Self { shared, stopper, stop }
    }

    /// A new connection.
    fn connect(&self) -> Talk {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let peer = "192.0.2.1:4000".parse().unwrap();
        let task = tokio::spawn(serve(far, peer, Arc::clone(&self.shared), self.stop.clone()));
        let (read, write) = split(near);
        Talk { read: BufReader::new(read), write, task }
    }

    /// A connection that was welcomed and has declared set 1: `a` and `b`.
    async fn agent(&self, name: &str, session: &str, incarnation: u64) -> Talk {
        let mut talk = self.connect();
        talk.say(hello(name, session, incarnation)).await;
        assert!(talk.hear().await["welcome"].is_object());
        talk.say(declare(1, "s", &["a", "b"])).await;
        talk
    }

    fn view(&self, name: &str) -> Option<AgentView> {
        self.shared.fleet.view_one(name, moment())
    }

    /// What the page shows of an agent, as `name value` lines without labels.
    fn page(&self, name: &str) -> Vec<String> {
        let sets = self.view(name).map(|view| view.shown).unwrap_or_default();
        let lines = sets.iter().flat_map(|set| {
            (0..set.declared.len()).map(|series| {
                let prefix = String::from_utf8_lossy(set.declared.prefix(series)).into_owned();
                format!("{} {}", prefix.split('{').next().unwrap(), set.values[series])
            })
        });
        lines.collect()
    }
}

/// The agent's end of a connection.
struct Talk {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    task: JoinHandle<()>,
}

impl Talk {
    async fn say(&mut self, frame: Value) {
        self.say_raw(format!("{frame}\n").as_bytes()).await;
    }

    async fn say_raw(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// The next frame; `Null` when the connection is closed.
    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.read.read_line(&mut line).await.unwrap();
        if line.is_empty() { Value::Null } else { serde_json::from_str(&line).unwrap() }
    }

    async fn push(&mut self, seq: u64, values: &[f64]) {
        self.push_at(seq, 0, values).await;
        assert_eq!(self.hear().await, json!({"ack": {"stream": "live", "seq": seq}}));
    }

    /// A push measured `age_ms` ago.
    async fn push_at(&mut self, seq: u64, age_ms: i64, values: &[f64]) {
        self.say(head("live", seq, age_ms)).await;
        self.say(json!({"values": {"set": 1, "values": values}})).await;
        self.say(json!({"end": {"seq": seq}})).await;
    }

    /// Expects to be refused with this code, and closed.
    #[track_caller]
    fn expect_refusal(mut self, code: &'static str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let heard = self.hear().await;
            assert_eq!(heard["refuse"]["code"], code, "{heard} at {caller}");
            assert_eq!(self.hear().await, Value::Null, "closed after it, at {caller}");
            drop(self.write);
            drop(self.read);
            self.task.await.unwrap();
            heard["refuse"]["reason"].as_str().unwrap().to_owned()
        }
    }
}

fn hello(name: &str, session: &str, incarnation: u64) -> Value {
    json!({"hello": {"versions": [1, 1], "agent": name, "interval_ms": 1000, "now_ms": 0, "mono_ms": 0,
        "session": session, "incarnation": incarnation}})
}

fn declare(set: u64, name: &str, families: &[&str]) -> Value {
    let families: Vec<Value> =
        families.iter().map(|family| json!({"name": family, "type": "gauge", "series": [{}]})).collect();
    json!({"declare": {"set": set, "name": name, "total": families.len(), "families": families}})
}

/// The head of a push that is sent now.
fn head(stream: &str, seq: u64, age_ms: i64) -> Value {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let now = Instant::now().into_std();
    let mono_ms = u64::try_from(now.duration_since(*START.get_or_init(|| now)).as_millis()).unwrap();
    json!({"push": {"stream": stream, "seq": seq, "measured_ms": -age_ms, "now_ms": 0, "mono_ms": mono_ms}})
}

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

fn values(set: u64, offset: u64, values: &[f64]) -> Value {
    json!({"values": {"set": set, "offset": offset, "values": values}})
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
    let silent = inside.connect();
    assert_eq!(silent.expect_refusal("too_slow").await, "no hello within 5s");
    assert_eq!(start.elapsed().as_secs(), 5);

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
async fn half_lines_share_one_room() {
    let inside = Inside::with(|_| {}, 64 * 1024);
    let mut hoarder = inside.agent("a", "s", 1).await;
    let mut other = inside.agent("b", "s", 1).await;
    hoarder.say_raw(&[b' '; 40_000]).await;
    other.push(1, &[1.0, 2.0]).await;
    let mut second = inside.agent("c", "s", 1).await;
    second.say_raw(&[b' '; 60_000]).await;
    second.expect_refusal("overloaded").await;
    other.push(2, &[1.0, 2.0]).await;
    assert!(inside.shared.buffers.used() > 30_000);
    drop(hoarder);
    other.push(3, &[1.0, 2.0]).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(inside.shared.buffers.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_and_then_the_series() {
    let inside = Inside::new();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    let start = Instant::now();
    let reason = talk.expect_refusal("silent").await;
    assert_eq!(reason, "no push for 3s");
    assert_eq!(start.elapsed().as_secs(), 3);
    // One interval of grace.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(inside.view("a").unwrap().is_up && !inside.page("a").is_empty());
    tokio::time::sleep(Duration::from_millis(700)).await;
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
    assert_eq!((facts.samples, facts.dropped_late), (5, 3));
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
    assert_eq!(inside.view("a").unwrap().facts.dropped_late, 2);
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
    assert_eq!(inside.view("b").unwrap().facts.dropped_conflict, 1);
    histogram.say(json!({"bye": {}})).await;
    histogram.hear().await;
    gauge.push(2, &[1.0, 2.0]).await;
    assert_eq!(inside.view("b").unwrap().series(), 2);
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
    let _one = inside.agent("one", "s", 1).await;
    let _two = inside.agent("two", "s", 1).await;
    assert!(!inside.shared.fleet.is_known("gone"));
    let mut three = inside.connect();
    three.say(hello("three", "s", 1)).await;
    three.expect_refusal("overloaded").await;
}

#[tokio::test(start_paused = true)]
async fn series_wait_while_another_aggregator_shows_them() {
    let inside = Inside::new();
    let mut talk = inside.connect();
    let mut frame = hello("a", "s", 1);
    frame["hello"]["shown_elsewhere_ms"] = json!(2_000);
    talk.say(frame).await;
    talk.hear().await;
    talk.say(declare(1, "s", &["a", "b"])).await;
    talk.push(1, &[1.0, 2.0]).await;
    assert!(inside.view("a").unwrap().is_up && inside.page("a").is_empty());
    tokio::time::sleep(Duration::from_millis(2_001)).await;
    assert_eq!(inside.page("a"), ["a 1", "b 2"]);
}

/// The example in docs/protocol.md, byte for byte.
#[tokio::test(start_paused = true)]
async fn the_worked_example_is_true() {
    let text = include_str!("../../../../docs/protocol.md");
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
