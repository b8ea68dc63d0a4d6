//! What the system refuses for a while costs nothing that was acknowledged, and passes.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

static WALL_MS: AtomicI64 = AtomicI64::new(1_700_000_000_000);

/// A clock that a test sets.
fn stopped() -> Moment {
    Moment { wall_ms: WALL_MS.load(Ordering::Relaxed), ..moment() }
}

#[tokio::test]
async fn where_no_partition_can_be_begun_the_last_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules { partition_points_max: 2, ..rules() };
    let open = || {
        let telemetry = Arc::new(Telemetry::new(1).unwrap());
        History::open(dir.path(), rules.clone(), telemetry, stopped).unwrap()
    };
    let history = open();
    // Something is where the second one would be.
    std::fs::write(dir.path().join("00000002-1700000000000.raw"), "in the way").unwrap();
    put(&history, &[("k", 1, 1.0), ("k", 2, 2.0)]).await.unwrap();
    for ts in 3..6 {
        put(&history, &[("k", ts, 3.0)]).await.unwrap();
    }
    let expected = [row("k", 1, 1.0), row("k", 2, 2.0), row("k", 3, 3.0), row("k", 4, 3.0), row("k", 5, 3.0)];
    assert_eq!(read(&history, of("k")), expected);
    history.close();
    drop(history);
    let history = open();
    assert_eq!(read(&history, of("k")), expected);
    put(&history, &[("k", 6, 4.0)]).await.unwrap();
    history.close();
    drop(history);
    assert_eq!(read(&open(), of("k")), [&expected[..], &[row("k", 6, 4.0)]].concat());
}

#[tokio::test]
async fn a_partition_that_cannot_be_opened_yet_is_not_taken_for_empty() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    put(&history, &[("k", 1, 1.0)]).await.unwrap();
    history.close();
    drop(history);
    // As long as somebody else holds its lock the database cannot be opened.
    let raw = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let raw = raw.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "raw")).unwrap();
    let lock = std::fs::File::options().write(true).open(raw.join("lock")).unwrap();
    lock.lock().unwrap();
    let history = open(dir.path(), rules());
    assert!(history.rows(of("k"), i64::MIN..=i64::MAX).next_piece(&mut Vec::new()).is_err());
    assert!(matches!(put(&history, &[("k", 2, 2.0)]).await, Err(PutError::Unavailable(_))), "is it a new key?");
    lock.unlock().unwrap();
    put_until_taken(&history, &[("k", 3, 3.0)]).await;
    let expected = [row("k", 1, 1.0), row("k", 3, 3.0)];
    assert_eq!(read(&history, of("k")), expected);
    history.close();
    drop(history);
    assert_eq!(read(&open(dir.path(), rules()), of("k")), expected);
}

/// The keeper tries again, which is its business here.
async fn put_until_taken(history: &History, points: &[(&str, i64, f64)]) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        tend(history, moment());
        match put(history, points).await {
            Ok(()) => return,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

#[tokio::test]
async fn keys_that_were_refused_take_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { keys_max: 2, reserve_bytes: u64::MAX, ..rules() });
    for key in ["a", "b", "c", "d"] {
        assert!(matches!(put(&history, &[(key, 1, 1.0)]).await, Err(PutError::Full { .. })), "{key}");
    }
    assert_eq!(history.shared.keys.count(), [0, 0]);
}

#[tokio::test]
async fn a_partition_that_was_removed_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    put(&history, &[("k", 1, 1.0)]).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    let until = Instant::now() + Duration::from_secs(20);
    while history.shared.telemetry.history.damage_total() == 0 {
        assert!(Instant::now() < until, "nobody noticed");
        let _refused_or_lost = put(&history, &[("k", 2, 1.0)]).await;
    }
    put_until_taken(&history, &[("k", 3, 1.0)]).await;
    history.close();
    drop(history);
    assert_eq!(read(&open(dir.path(), rules()), of("k")).last(), Some(&row("k", 3, 1.0)));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_noticed_though_nothing_comes() {
    static MINUTES: AtomicI64 = AtomicI64::new(0);
    /// A clock that stands in the first minute, and once it goes on does so at each look.
    fn hurried() -> Moment {
        let next = |minutes| (minutes > 0).then_some(minutes + 1);
        let minutes = MINUTES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        Moment { instant: moment().instant + Duration::from_secs(60) * u32::try_from(minutes).unwrap(), ..moment() }
    }
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    let history = History::open(dir.path(), rules(), telemetry, hurried).unwrap();
    put(&history, &[("k", 1, 1.0)]).await.unwrap();
    let first = history.shared.partitions.now().last().unwrap().found.clone();
    // No table can be made any more.
    for keyspace in std::fs::read_dir(first.path.join("keyspaces")).unwrap() {
        let tables = keyspace.unwrap().path().join("tables");
        std::fs::remove_dir_all(&tables).unwrap();
        std::fs::write(&tables, "in the way").unwrap();
    }
    MINUTES.store(1, Ordering::Relaxed);
    let until = Instant::now() + Duration::from_secs(20);
    while history.shared.partitions.now().last().unwrap().number() == first.number {
        assert!(Instant::now() < until, "nobody noticed");
        tend(&history, moment());
        tokio::task::yield_now().await;
    }
    put_until_taken(&history, &[("k", 2, 2.0)]).await;
    assert_eq!(read(&history, of("k")), [row("k", 1, 1.0), row("k", 2, 2.0)], "it can be read still");
}
