//! The history through its interface.

mod behind;
mod clock;
mod damage;
mod failures;
mod model;
mod open;

use super::partitions::Kind;
use super::*;
use crate::link::moment;

pub(crate) fn rules() -> Rules {
    Rules {
        sync: true,
        retention: Duration::from_secs(3600),
        keys_max: 1000,
        put_expiry: Duration::from_secs(300),
        put_series_max: 100,
        reserve_bytes: 0,
        partition_span: Duration::from_secs(3600),
        partition_points_max: 1_000_000,
        patience: Duration::from_secs(60),
    }
}

pub(crate) fn open(dir: &Path, rules: Rules) -> Arc<History> {
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    History::open(dir, rules, telemetry, moment).unwrap()
}

async fn put(history: &History, points: &[(&str, i64, f64)]) -> Result<(), PutError> {
    let mut batch = history.batch().await;
    for (key, ts, value) in points {
        batch.put(key, *value, *ts)?;
    }
    history.commit(batch).await
}

pub(crate) fn read(history: &Arc<History>, what: What) -> Vec<(String, i64, f64)> {
    let mut rows = history.rows(what, i64::MIN..=i64::MAX);
    let (mut all, mut piece) = (Vec::new(), Vec::new());
    while let Some(key) = rows.next_piece(&mut piece).unwrap() {
        all.extend(piece.iter().map(|point| (key.text.to_string(), point.ts, point.value)));
    }
    all
}

pub(crate) fn of(key: &str) -> What {
    What::Key(key.to_owned())
}

fn row(key: &str, ts: i64, value: f64) -> (String, i64, f64) {
    (key.to_owned(), ts, value)
}

#[tokio::test]
async fn the_last_write_of_a_second_wins_and_rows_are_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    assert_eq!(read(&history, What::Puts), []);
    put(&history, &[("z", 9, 1.0), ("z", 10, 2.0), ("a", i64::MAX, 3.0), ("z", 9, 4.0)]).await.unwrap();
    put(&history, &[("a", i64::MIN, 5.0), ("a", -1, 6.0), ("a", 0, 7.0)]).await.unwrap();
    let a = [row("a", i64::MIN, 5.0), row("a", -1, 6.0), row("a", 0, 7.0), row("a", i64::MAX, 3.0)];
    let z = [row("z", 9, 4.0), row("z", 10, 2.0)];
    assert_eq!(read(&history, of("a")), a);
    assert_eq!(read(&history, of("nothing")), []);
    assert_eq!(read(&history, What::Puts), [&z[..], &a].concat(), "in the order of their first write");
    assert_eq!(read(&history, What::Prefix(String::new())), [&a[..], &z].concat(), "by name");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let history = open(dir.path(), rules());
        put(&history, &[("k", round, 1.0), ("last", 5, f64::from(i32::try_from(round).unwrap()))]).await.unwrap();
        history.close();
    }
    let history = open(dir.path(), rules());
    assert_eq!(read(&history, of("k")).len(), 10);
    assert_eq!(read(&history, of("last")), [row("last", 5, 9.0)]);
    assert_eq!(history.keys("").iter().map(|key| &*key.text).collect::<Vec<_>>(), ["k", "last"]);
}

#[tokio::test]
async fn newer_partitions_override_older_ones() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules { partition_points_max: 3, ..rules() };
    let history = open(dir.path(), rules.clone());
    for round in 0..5_i32 {
        let value = f64::from(round);
        put(&history, &[("k", 1, value), ("k", i64::from(10 + round), value), ("other", 1, value)]).await.unwrap();
    }
    assert!(history.shared.partitions.now().len() > 3, "there are several");
    let expected: Vec<_> =
        std::iter::once(row("k", 1, 4.0)).chain((0..5).map(|n| row("k", 10 + i64::from(n), f64::from(n)))).collect();
    assert_eq!(read(&history, of("k")), expected);
    history.close();
    drop(history);
    assert_eq!(read(&open(dir.path(), rules), of("k")), expected);
}

#[tokio::test]
async fn long_answers_come_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { partition_points_max: 7000, ..rules() });
    for start in (0..20_000).step_by(5000) {
        let mut batch = history.batch().await;
        (start..start + 5000).for_each(|ts| batch.put("k", 0.5, ts).unwrap());
        history.commit(batch).await.unwrap();
    }
    let timestamps: Vec<i64> = read(&history, of("k")).into_iter().map(|(_, ts, _)| ts).collect();
    assert_eq!(timestamps, (0..20_000).collect::<Vec<_>>());
    let mut rows = history.rows(of("k"), 4990..=5009);
    let mut piece = Vec::new();
    rows.next_piece(&mut piece).unwrap();
    assert_eq!(piece.iter().map(|point| point.ts).collect::<Vec<_>>(), (4990..=5009).collect::<Vec<_>>());
    assert!(rows.next_piece(&mut piece).unwrap().is_none());
}

#[tokio::test]
async fn vital_signs_answer_by_name_and_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    history
        .record([("h.cpu", Point { ts: 1, value: 12.5 })], &Queued::default(), false)
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read(&history, of("h.cpu")), [row("h.cpu", 1, 12.5)]);
    assert_eq!(read(&history, What::Puts), []);
    put(&history, &[("h.cpu", 2, 1.0)]).await.unwrap();
    assert_eq!(read(&history, of("h.cpu")), [row("h.cpu", 2, 1.0)], "what was put hides it");
    assert_eq!(read(&history, What::Puts), [row("h.cpu", 2, 1.0)]);
}

#[tokio::test]
async fn writers_share_syncs_and_each_alone_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    let syncs = || history.shared.telemetry.history.syncs.get();
    for ts in 0..20 {
        put(&history, &[("k", ts, 1.0)]).await.unwrap();
    }
    assert_eq!(syncs(), 20);
    let writers = (0..200).map(|ts| {
        let history = Arc::clone(&history);
        tokio::spawn(async move { put(&history, &[("many", ts, 1.0)]).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    assert!(syncs() < 220, "{} syncs for 220 points", syncs());
    assert_eq!(read(&history, of("many")).len(), 200);
}

#[tokio::test]
async fn a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), rules()).close();
    let version = format!("2 {:08x}\n", crc32fast::hash(b"2"));
    std::fs::write(dir.path().join("version"), version).unwrap();
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    let error = History::open(dir.path(), rules(), telemetry, moment).unwrap_err();
    assert!(matches!(error, OpenError::Newer(2, 1)), "{error}");
}

#[tokio::test]
async fn no_room_on_the_disk_is_an_error_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { reserve_bytes: u64::MAX, ..rules() });
    assert!(matches!(put(&history, &[("k", 1, 1.0)]).await, Err(PutError::Full { .. })));
    assert_eq!(read(&history, of("k")), []);
}

#[tokio::test]
async fn what_comes_after_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    put(&history, &[("k", 1, 1.0)]).await.unwrap();
    history.close();
    assert_eq!(put(&history, &[("k", 2, 1.0)]).await, Err(PutError::Closed));
    assert_eq!(read(&history, of("k")), [row("k", 1, 1.0)], "what is there can be read");
}

/// Does what the keeper would do at this moment.
fn tend(history: &History, now: Moment) {
    history.keeper.lock().unwrap().tend(now);
}

fn later(by: Duration) -> Moment {
    let now = moment();
    Moment { instant: now.instant + by, wall_ms: now.wall_ms + i64::try_from(by.as_millis()).unwrap() }
}

/// The kinds of all partitions, oldest first.
fn kinds(history: &History) -> Vec<Kind> {
    history.shared.partitions.now().iter().map(|partition| partition.found.kind).collect()
}

#[tokio::test]
async fn what_is_over_is_sealed_and_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules { partition_points_max: 3, ..rules() };
    let history = open(dir.path(), rules.clone());
    for round in 0..3 {
        let value = f64::from(round);
        put(&history, &[("k", 1, value), ("k", i64::from(10 + round), value), ("only", 5, value)]).await.unwrap();
    }
    put(&history, &[("k", 2, 7.0)]).await.unwrap();
    let (before, k) = (read(&history, What::Puts), read(&history, of("k")));
    tend(&history, moment());
    assert_eq!(kinds(&history), [Kind::Sealed, Kind::Sealed, Kind::Sealed, Kind::Raw]);
    assert_eq!(read(&history, What::Puts), before);
    let raw = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "raw"));
    let raw: Vec<_> = raw.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(raw.len(), 1, "the raw forms of the sealed ones are gone");
    put(&history, &[("k", 1, 99.0)]).await.unwrap();
    assert_eq!(read(&history, of("k"))[0], row("k", 1, 99.0), "a late write overrides what is sealed");
    history.close();
    drop(history);
    let history = open(dir.path(), rules);
    assert_eq!(read(&history, of("k"))[1..], k[1..]);
    assert_eq!(read(&history, of("k"))[0], row("k", 1, 99.0));
}

#[tokio::test]
async fn a_point_is_kept_as_long_as_the_later_of_its_writing_and_its_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { partition_points_max: 3, put_expiry: Duration::ZERO, ..rules() });
    let now = moment().wall_ms / 1000;
    let ahead = now + 10 * 3600;
    put(
        &history,
        &[("old", 1, 1.0), ("now", now, 2.0), ("ahead", ahead, 3.0), ("mixed", 5, 1.0), ("mixed", ahead, 4.0)],
    )
    .await
    .unwrap();
    put(&history, &[("other", 1, 1.0), ("other", 2, 1.0), ("other", 3, 1.0)]).await.unwrap();
    put(&history, &[("newest", 1, 1.0)]).await.unwrap();
    tend(&history, moment());
    tend(&history, later(Duration::from_secs(3000)));
    assert_eq!(read(&history, What::Puts).len(), 9, "all were written a short while ago");
    tend(&history, later(Duration::from_secs(3700)));
    // The writer forgets the keys before it stores what comes after; those that somebody reads it does not.
    put(&history, &[("newest", 2, 1.0)]).await.unwrap();
    let newest = [1, 2].map(|ts| row("newest", ts, 1.0));
    let left = [&[row("ahead", ahead, 3.0), row("mixed", ahead, 4.0)][..], &newest].concat();
    assert_eq!(read(&history, What::Puts), left);
    assert_eq!(history.keys("").iter().map(|key| &*key.text).collect::<Vec<_>>(), ["ahead", "mixed", "newest"]);
    tend(&history, later(Duration::from_secs(12 * 3600)));
    put(&history, &[("newest", 3, 1.0)]).await.unwrap();
    assert!(history.keys("ahead").is_empty());
}

#[tokio::test]
async fn a_partition_ends_with_its_time_though_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { partition_span: Duration::ZERO, ..rules() });
    put(&history, &[("k", 1, 1.0)]).await.unwrap();
    tend(&history, moment());
    let until = Instant::now() + Duration::from_secs(20);
    while kinds(&history).len() < 2 {
        assert!(Instant::now() < until, "no partition was begun");
        tokio::task::yield_now().await;
    }
    tend(&history, moment());
    assert_eq!(kinds(&history), [Kind::Sealed, Kind::Raw]);
    tend(&history, later(Duration::from_secs(7200)));
    assert_eq!(read(&history, What::Puts), []);
}

#[tokio::test(start_paused = true)]
async fn what_may_wait_for_its_turn_does_but_not_for_ever() {
    let (messages, mut queue) = mpsc::channel(1);
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    let request = || {
        let (done, answer) = oneshot::channel();
        (Request { writes: Vec::new(), done, of: Queued::default(), permit: None }, answer)
    };
    let (first, _answer) = request();
    assert!(try_put(&messages, first).is_ok() && try_put(&messages, request().0).is_err());
    let put = |request| put_when_room(messages.clone(), request, Arc::clone(&telemetry));
    let (late, mut waits) = request();
    assert!(timeout(ANSWER_WITHIN / 2, put(late)).await.is_err(), "there is no room");
    assert!(waits.try_recv().is_err());
    // Nobody asks any more.
    let (gone, answer) = request();
    drop(answer);
    timeout(ANSWER_WITHIN / 2, put(gone)).await.unwrap();
    let (late, waits) = request();
    put(late).await;
    assert_eq!(waits.await.unwrap(), Err(PutError::Busy));
    let (late, _waits) = request();
    let (_taken, ()) = tokio::join!(queue.recv(), put(late));
    assert!(matches!(queue.recv().await, Some(Message::Put(_))));
}

#[test]
fn one_connection_has_a_share_of_what_waits() {
    let of = Queued::default();
    let is_full_for_one_more = || {
        let _one_more = of.clone();
        of.is_full()
    };
    let mut waiting = vec![of.clone(); OF_CONNECTION_MAX];
    assert!(is_full_for_one_more() && !Queued::default().is_full());
    waiting.pop();
    assert!(!is_full_for_one_more());
}
