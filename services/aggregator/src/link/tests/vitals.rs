//! Vital signs on their way to a real history, and the acks that wait for them.

use std::path::Path;

use super::*;
use crate::fleet::dropped::Dropped;
use crate::history::tests::{of, read, rules};
use crate::history::{History, Rules, What};

fn with(dir: &Path, history: Rules, now: fn() -> Moment) -> Inside {
    let open = |telemetry| Some(History::open(dir, history, telemetry, now).unwrap());
    Inside::with_history(|_| {}, 1 << 20, open)
}

impl Inside {
    /// An agent with one vital sign and one other series.
    async fn host(&self, name: &str) -> Talk {
        let mut talk = self.agent(name, "s", 1).await;
        talk.say(declare(2, "v", &["host_cpu_used_ratio", "other"])).await;
        talk
    }

    fn history(&self) -> &Arc<History> {
        self.shared.history.as_ref().unwrap()
    }

    /// What the history has under this key, without times.
    fn values(&self, key: &str) -> Vec<f64> {
        read(self.history(), of(key)).into_iter().map(|(_, _, value)| value).collect()
    }

    fn unsynced(&self) -> u64 {
        self.shared.telemetry.history.unsynced_acks.get()
    }
}

impl Talk {
    async fn push_vitals(&mut self, seq: u64, cpu: f64) {
        self.say(head("live", seq, 0)).await;
        self.say(values(2, 0, &[cpu, 1.0])).await;
        self.say(json!({"end": {"seq": seq}})).await;
    }

    async fn hear_acks(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            assert_eq!(self.hear().await, json!({"ack": {"stream": "live", "seq": seq}}));
        }
    }
}

/// A clock that stops the writer of the history for ever, and nobody else.
fn stuck() -> Moment {
    while std::thread::current().name() == Some("history") {
        std::thread::park();
    }
    moment()
}

#[tokio::test]
async fn an_ack_says_that_the_vital_signs_are_synced() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), moment);
    let mut talk = inside.host("huginn").await;
    for seq in 1..=10 {
        let before = moment().wall_ms.div_euclid(1000);
        talk.push_vitals(seq, 0.106).await;
        talk.hear_acks([seq]).await;
        // Each alone has a sync of its own, and it came before the ack. (A disk may take longer than
        // an ack waits.)
        let syncs = inside.shared.telemetry.history.syncs.get();
        assert!(syncs + inside.unsynced() >= seq, "{syncs} syncs for {seq} acks");
        if inside.unsynced() > 0 {
            continue;
        }
        let rows = read(inside.history(), of("huginn.cpu"));
        let (key, second, value) = rows.last().unwrap();
        assert_eq!((key.as_str(), *value), ("huginn.cpu", 10.6));
        // The agent's own clock says 1970.
        assert!((before - 1..=moment().wall_ms.div_euclid(1000)).contains(second), "{second} is not about {before}");
    }
    assert_eq!(inside.page("huginn"), ["host_cpu_used_ratio 0.106", "other 1"]);
    inside.history().close();
    assert!((1..=10).contains(&inside.values("huginn.cpu").len()));
    assert_eq!(read(inside.history(), What::Puts), []);
    assert_eq!(inside.history().keys("").len(), 1, "nothing but vital signs is recorded");
}

#[tokio::test]
async fn a_push_is_recorded_at_the_second_of_its_measurement() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), moment);
    let mut talk = inside.connect();
    let mut hello = hello("h", "s", 1);
    hello["hello"]["interval_ms"] = json!(600_000);
    talk.say(hello).await;
    talk.hear().await;
    talk.say(declare(2, "v", &["host_cpu_used_ratio", "other"])).await;
    talk.say(head("live", 1, 600_000)).await;
    talk.say(values(2, 0, &[0.5, 1.0])).await;
    talk.say(json!({"end": {"seq": 1}})).await;
    talk.hear_acks([1]).await;
    inside.history().close();
    let (_, second, _) = read(inside.history(), of("h.cpu"))[0].clone();
    let age = moment().wall_ms.div_euclid(1000) - second;
    assert!((600..=610).contains(&age), "measured {age} s ago");
}

#[tokio::test]
async fn pushes_without_vital_signs_wait_for_nothing_and_late_ones_are_recorded_in_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), moment);
    let mut talk = inside.host("a").await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.say(head("late", 1, 60_000)).await;
    talk.say(values(2, 0, &[0.5, 1.0])).await;
    talk.say(json!({"end": {"seq": 1}})).await;
    assert_eq!(inside.shared.telemetry.history.syncs.get(), 0);
    assert_eq!(talk.hear().await["ack"]["stream"], "late");
    let rows = read(inside.history(), of("a.cpu"));
    assert_eq!((rows.len(), rows[0].2), (1, 50.0), "what is acknowledged is there");
    let age = moment().wall_ms.div_euclid(1000) - rows[0].1;
    assert!((60..=70).contains(&age), "measured {age} s ago");
    let facts = inside.view("a").unwrap().facts;
    assert_eq!((facts.filled, facts.dropped.get(Dropped::Late)), (1, 1), "its other series had nowhere to go");
}

#[tokio::test(start_paused = true)]
async fn a_late_ack_waits_for_the_history_as_long_as_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), stuck);
    let mut talk = inside.host("a").await;
    for seq in 1..=17 {
        talk.say(head("late", seq, 60_000)).await;
        talk.say(values(2, 0, &[0.5, 1.0])).await;
        talk.say(json!({"end": {"seq": seq}})).await;
    }
    // It may have 16 on their way.
    let reason = talk.expect_refusal("limit").await;
    assert!(reason.contains("16"), "{reason}");
    let lost = inside.shared.telemetry.forward.pending.get();
    assert_eq!(lost, 0, "what was not decided is counted as lost with the link");
}

#[tokio::test]
async fn a_full_disk_takes_nobody_off_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), Rules { reserve_bytes: u64::MAX, ..rules() }, moment);
    let mut talk = inside.host("a").await;
    for seq in 1..=3 {
        talk.push_vitals(seq, 0.5).await;
        talk.hear_acks([seq]).await;
    }
    assert_eq!(inside.page("a"), ["host_cpu_used_ratio 0.5", "other 1"]);
    assert_eq!((inside.unsynced(), inside.values("a.cpu").len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn nor_does_a_history_without_room_for_a_key_or_one_that_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), Rules { keys_max: 0, ..rules() }, moment);
    let mut talk = inside.host("a").await;
    talk.push_vitals(1, 0.5).await;
    talk.hear_acks([1]).await;
    inside.history().close();
    talk.push_vitals(2, 0.5).await;
    talk.hear_acks([2]).await;
    assert_eq!((inside.page("a").len(), inside.unsynced()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_welcome_covers_nothing_that_is_not_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), stuck);
    let mut talk = inside.host("a").await;
    talk.push_vitals(1, 0.5).await;
    talk.say(json!({"ping": {"id": 9}})).await;
    assert_eq!(talk.hear().await, json!({"pong": {"id": 9}}), "it is shown, and not acknowledged yet");
    drop(talk);
    assert_eq!(inside.welcomed_with().await, json!({"live": 0, "late": 0}), "it comes again");
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_stuck_holds_acks_up_for_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), stuck);
    let mut talk = inside.host("a").await;
    let began = Instant::now();
    talk.push_vitals(1, 0.5).await;
    // It is late, but its ack would stand for the first one's too.
    talk.push_at(2, 60_000, &[1.0, 2.0]).await;
    talk.say(json!({"ping": {"id": 9}})).await;
    assert_eq!(talk.hear().await, json!({"pong": {"id": 9}}), "frames are taken meanwhile");
    assert_eq!(inside.page("a"), ["host_cpu_used_ratio 0.5", "other 1"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    talk.hear_acks([1, 2]).await;
    assert_eq!((began.elapsed(), inside.unsynced()), (Duration::from_secs(1), 1));
    // One that waits for no ack gets fewer of them.
    for seq in 3..=50 {
        talk.push_vitals(seq, 0.7).await;
    }
    talk.hear_acks([3, 50]).await;
    assert_eq!((began.elapsed(), inside.unsynced()), (Duration::from_secs(2), 3));
    assert_eq!(inside.page("a"), ["host_cpu_used_ratio 0.7", "other 1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_the_history_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let inside = with(dir.path(), rules(), stuck);
    let (mut leaving, mut staying) = (inside.host("a").await, inside.host("b").await);
    let began = Instant::now();
    for talk in [&mut leaving, &mut staying] {
        talk.push_vitals(1, 0.5).await;
    }
    leaving.say(json!({"bye": {}})).await;
    assert_eq!(leaving.hear().await, Value::Null);
    assert!(inside.page("a").is_empty());
    assert_eq!(inside.page("b").len(), 2);
    inside.stopper.stop();
    assert!(staying.hear().await["goaway"].is_object());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn vital_signs_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = with(dir.path(), rules(), moment);
    Arc::get_mut(&mut inside.shared).unwrap().vitals = None;
    let mut talk = inside.host("a").await;
    talk.push_vitals(1, 0.5).await;
    talk.hear_acks([1]).await;
    assert!(inside.history().keys("").is_empty());
}
