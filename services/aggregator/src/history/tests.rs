//! The history through its interface.

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
    history.record([("h.cpu", Point { ts: 1, value: 12.5 })]).unwrap().await.unwrap().unwrap();
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
    std::fs::write(dir.path().join("version"), "2\n").unwrap();
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
