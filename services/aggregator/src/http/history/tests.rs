//! Answers from a real history, and from one that fails.

use std::ops::RangeInclusive;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::query::{Asked, Which};
use super::*;
use crate::history::tests::{open, rules};
use crate::history::{Point, Rules};
use crate::http::crowd::Activity;

type Row = (&'static str, i64, f64);

fn key(key: &str) -> Which {
    Which::Key(key.to_owned())
}

fn prefix(prefix: &str) -> Which {
    Which::Prefix(prefix.to_owned())
}

async fn put(history: &History, rows: &[Row]) {
    let mut batch = history.batch().await;
    rows.iter().for_each(|(key, ts, value)| batch.put(key, *value, *ts).unwrap());
    history.commit(batch).await.unwrap();
}

fn text(mut pieces: impl Pieces) -> String {
    let (mut all, mut goes_on) = (String::new(), true);
    while goes_on {
        let mut piece = Vec::new();
        goes_on = pieces.next_piece(&mut piece).unwrap();
        assert!(piece.len() < 300 * 1024, "a piece of {} bytes", piece.len());
        all += std::str::from_utf8(&piece).unwrap();
    }
    all
}

fn series(history: &Arc<History>, which: Which, range: RangeInclusive<i64>) -> String {
    text(SeriesText::new(Arc::clone(history), Asked { which, range }))
}

#[tokio::test]
async fn an_answer_is_json_whatever_was_put() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    let odd = "q\"\\\u{1}ä.cpu";
    let values = [10.0, -0.0, 10.6, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2];
    let rows: Vec<Row> = (0..).zip(values).map(|(ts, value)| (odd, ts, value)).collect();
    put(&history, &rows).await;
    put(&history, &[("z", i64::MIN, 1.0), ("z", i64::MAX, 2.0), ("a", -1, 3.0)]).await;
    history
        .record([("h.cpu", Point { ts: 7, value: 12.5 })], &crate::history::Queued::default(), false)
        .unwrap()
        .await
        .unwrap()
        .unwrap();

    let all = i64::MIN..=i64::MAX;
    assert_eq!(
        series(&history, key("h.cpu"), all.clone()),
        "{\"series\":[{\"key\":\"h.cpu\",\"points\":[[7,12.5]]}]}\n"
    );
    assert_eq!(series(&history, key("nothing"), all.clone()), "{\"series\":[]}\n");
    assert_eq!(series(&history, key("h.cpu"), 8..=9), "{\"series\":[]}\n");
    let found: Value = serde_json::from_str(&series(&history, key(odd), all.clone())).unwrap();
    assert_eq!(found["series"][0]["key"], odd);
    for (point, (ts, value)) in found["series"][0]["points"].as_array().unwrap().iter().zip((0_i64..).zip(values)) {
        assert_eq!(point[0], ts);
        match point[1].as_f64() {
            Some(number) => assert_eq!(number.to_bits(), value.to_bits()),
            None => assert_eq!(point[1], ["NaN", "+Inf", "-Inf"][usize::try_from(ts).unwrap() - 5]),
        }
    }
    let found: Value = serde_json::from_str(&series(&history, prefix(""), -5..=7)).unwrap();
    let keys: Vec<&Value> = found["series"].as_array().unwrap().iter().map(|series| &series["key"]).collect();
    assert_eq!(keys, ["a", "h.cpu", odd], "by name, and z has nothing in the range");
    let ends = json!({"series": [{"key": "z", "points": [[i64::MIN, 1], [i64::MAX, 2]]}]});
    assert_eq!(serde_json::from_str::<Value>(&series(&history, key("z"), all)).unwrap(), ends);

    let keys = |prefix: &str| text(KeysText::new(Arc::clone(&history), prefix.to_owned()));
    assert_eq!(keys("h"), "{\"keys\":[{\"key\":\"h.cpu\",\"source\":\"vital\"}]}\n");
    assert_eq!(keys("x"), "{\"keys\":[]}\n");
    assert_eq!(serde_json::from_str::<Value>(&keys("")).unwrap()["keys"].as_array().unwrap().len(), 4);
    put(&history, &[("h.cpu", 9, 1.0)]).await;
    assert_eq!(keys("h"), "{\"keys\":[{\"key\":\"h.cpu\",\"source\":\"put\"}]}\n", "what was put hides it");
}

#[tokio::test]
async fn long_answers_come_in_small_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { keys_max: 10_000, ..rules() });
    for start in (0..60_000_i32).step_by(5000) {
        let mut batch = history.batch().await;
        for n in start..start + 5000 {
            batch.put("long", f64::from(n) / 7.0, n.into()).unwrap();
            batch.put(&format!("short{}", n / 20), 0.5, n.into()).unwrap();
        }
        history.commit(batch).await.unwrap();
    }
    let all = series(&history, prefix(""), 0..=i64::MAX);
    assert!(all.len() > 1 << 20, "{} bytes", all.len());
    let found: Value = serde_json::from_str(&all).unwrap();
    let series = found["series"].as_array().unwrap();
    let points: usize = series.iter().map(|series| series["points"].as_array().unwrap().len()).sum();
    assert_eq!((series.len(), points), (3001, 120_000));
    let keys: Value = serde_json::from_str(&text(KeysText::new(history, String::new()))).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3001);
}

/// Pieces that come as the test says.
#[derive(Debug)]
struct Given(std::vec::IntoIter<Result<&'static str, &'static str>>);

impl Pieces for Given {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        match self.0.next() {
            Some(Ok(text)) => out.extend_from_slice(text.as_bytes()),
            Some(Err(error)) => return Err(ReadError::of(error)),
            None => return Ok(false),
        }
        Ok(true)
    }
}

struct World {
    telemetry: Arc<Telemetry>,
    readers: Readers,
}

impl World {
    fn new() -> Self {
        Self { telemetry: Arc::new(Telemetry::new(1).unwrap()), readers: Readers::new() }
    }

    fn reading<const N: usize>(&self, given: [Result<&'static str, &'static str>; N]) -> Reading<Given> {
        Reading {
            pieces: Some(Given(Vec::from(given).into_iter())),
            reads: Arc::clone(&self.readers.reads),
            until: Instant::now() + ANSWER_WITHIN,
            pace: Pace::default(),
            counted: Counted { telemetry: Arc::clone(&self.telemetry), aborted: Some("client") },
        }
    }

    fn aborted(&self) -> [u64; 3] {
        ["slow", "client", "failed"].map(|reason| self.telemetry.history.reads_aborted(reason))
    }
}

#[tokio::test]
async fn an_answer_is_whole_or_is_seen_to_be_cut() {
    let world = World::new();
    let whole = world.reading([Ok("a"), Ok(""), Ok("b")]);
    let sent: Vec<_> = whole.after(Bytes::from("0"), ()).collect().await;
    assert_eq!(sent, ["0", "a", "b"].map(|text| Ok(Bytes::from(text))));
    assert_eq!(world.aborted(), [0; 3]);
    let cut = world.reading([Ok("a"), Err("the disk is on fire"), Ok("b")]);
    let sent: Vec<_> = cut.after(Bytes::from("0"), ()).collect().await;
    let Some(Err(Aborted::Failed(why))) = sent.last() else { panic!("{sent:?}") };
    assert!(sent.len() == 3 && why.contains("on fire"), "{sent:?}");
    assert_eq!(world.aborted(), [0, 0, 1]);
}

#[tokio::test]
async fn a_client_that_takes_nothing_keeps_no_thread() {
    let world = World::new();
    let mut waiting = Vec::new();
    for _ in 0..READERS_MAX {
        let slot = world.readers.slots.take().await.unwrap();
        let mut stream = Box::pin(world.reading([Ok("a"), Ok("b")]).after(Bytes::from("0"), slot));
        assert!(stream.next().await.unwrap().is_ok() && stream.next().await.unwrap().is_ok());
        waiting.push(stream);
    }
    assert_eq!(world.readers.reads.available_permits(), READS_MAX);
    assert_eq!(world.readers.slots.free.available_permits(), 0, "but its place among the readers");
    drop(waiting);
    assert_eq!(world.aborted(), [0, u64::try_from(READERS_MAX).unwrap(), 0]);
    assert_eq!(world.readers.slots.free.available_permits(), READERS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_is_given_up() {
    let world = World::new();
    let mut stream = Box::pin(world.reading([Ok("a"); 100]).after(Bytes::from("0"), ()));
    for _ in 0..4 {
        stream.next().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_secs(9)).await;
    }
    assert_eq!(stream.next().await, Some(Err(Aborted::SlowReader)));
    assert_eq!(stream.next().await, None);
    assert_eq!(world.aborted(), [1, 0, 0]);
}

/// What all requests share, with this history.
fn context(history: &Arc<History>) -> Arc<Context> {
    let rules = crate::fleet::Rules {
        job: "node".into(),
        tombstone: Duration::from_secs(3600),
        agents_max: 10,
        series_max: 1000,
        series_per_agent_max: 100,
    };
    let telemetry = Arc::new(Telemetry::new(10).unwrap());
    let shared = crate::link::Shared {
        access: Arc::new(crate::access::Access::open(telemetry.auth.clone())),
        fleet: Arc::new(crate::fleet::Fleet::new(rules)),
        name: "muninn".into(),
        buffers: crate::fleet::room::Room::new(1 << 20),
        text: crate::fleet::room::Room::new(1 << 20),
        warnings: crate::quota::Quota::new(0, Duration::from_secs(1)),
        limits: Default::default(),
        exact: false,
        forward: None,
        late_max: Duration::from_secs(30 * 24 * 3600),
        telemetry,
        vitals: None,
        history: Some(Arc::clone(history)),
    };
    Arc::new(Context::new(Arc::new(shared), 2))
}

#[tokio::test]
async fn slow_readers_of_long_answers_keep_nobody_out_who_asks_for_little() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    let mut batch = history.batch().await;
    (0..9000).for_each(|n| batch.put("long", f64::from(n) / 7.0, n.into()).unwrap());
    batch.put("short", 1.0, 1).unwrap();
    history.commit(batch).await.unwrap();
    let context = context(&history);
    let ask = async |name: &str, value: &str| {
        let query = vec![(name.to_owned(), value.to_owned())];
        super::history(query, Arc::clone(&context), Activity::new(std::net::Ipv4Addr::LOCALHOST.into()).is_busy()).await
    };
    tokio::time::pause();
    let mut unread = Vec::new();
    for _ in 0..READERS_MAX {
        unread.push(ask("prefix", "").await);
    }
    for _ in 0..KEY_READERS_MAX {
        unread.push(ask("key", "long").await);
    }
    assert!(unread.iter().all(|reply| reply.status() == StatusCode::OK));
    for (name, value) in [("prefix", ""), ("prefix", "l"), ("key", "long")] {
        let refused = ask(name, value).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{name}={value}");
        assert!(refused.headers().contains_key("retry-after"));
    }
    for (name, value) in [("key", "short"), ("prefix", "s"), ("key", "nothing")] {
        assert_eq!(ask(name, value).await.status(), StatusCode::OK, "{name}={value}");
    }
    assert_eq!(context.shared.telemetry.history.reads_aborted("busy"), 3);
    drop(unread);
    assert_eq!(ask("prefix", "").await.status(), StatusCode::OK);
    assert_eq!(context.readers.starting.free.available_permits(), STARTING_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_its_time() {
    let world = World::new();
    let _disk_hangs = Arc::clone(&world.readers.reads).acquire_many_owned(2).await.unwrap();
    let mut reading = world.reading([Ok("a")]);
    let began = Instant::now();
    assert_eq!(reading.next().await, Err(Aborted::TooSlow));
    assert_eq!(began.elapsed(), ANSWER_WITHIN);
    drop(reading);
    assert_eq!(world.aborted(), [1, 0, 0]);
}
