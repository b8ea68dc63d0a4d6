//! A partition whose database has more to write than it can: commits wait, and never for ever.
#![expect(clippy::await_holding_lock, reason = "it holds up the database's own thread, which nobody here waits for")]

use std::sync::mpsc;

use super::super::hot::{Hot, Write};
use super::super::keys::{Keys, Space};
use super::super::partitions::Store;
use super::super::point::Point;
use super::*;

/// More than are kept in memory, and than the database's own queue has places.
const MANY: i64 = 400_000;

#[test]
fn many_small_commits_do_not_stop_its_thread() {
    let (done, is_done) = mpsc::sync_channel(1);
    // What waits for ever cannot be joined.
    std::thread::spawn(move || {
        let dir = tempfile::tempdir().unwrap();
        let hot = Hot::open(&dir.path().join("1.raw")).unwrap().hot;
        let key = Keys::new(1).restore(Space::Put, "k", 1, 0);
        for ts in 0..MANY {
            hot.catch_up(Duration::from_secs(20)).unwrap();
            hot.commit(1, &[Write { key: Arc::clone(&key), point: Point { ts, value: 1.0 } }], 0, false).unwrap();
        }
        hot.flush();
        let mut points = Vec::new();
        assert!(hot.read(1, 0..=MANY, usize::MAX, &mut points).unwrap());
        done.send(points.len()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(120)), Ok(usize::try_from(MANY).unwrap()));
}

/// The database of the newest partition.
fn newest(history: &History) -> Arc<Hot> {
    let partition = history.shared.partitions.now().last().unwrap().clone();
    match &partition.store {
        Store::Raw(hot) => Arc::clone(hot),
        other => panic!("{other:?}"),
    }
}

/// Puts seconds of a key from this one on, many at a time, until that is refused; gives the first
/// that was not stored.
async fn put_until_refused(history: &History, from: i64) -> i64 {
    for ts in (from..).step_by(20_000) {
        let points: Vec<_> = (ts..ts + 20_000).map(|ts| ("k", ts, 1.0)).collect();
        match put(history, &points).await {
            Ok(()) => assert!(ts < 2_000_000, "memory has no bound"),
            Err(error) => {
                assert_eq!(error, PutError::Busy);
                return ts;
            }
        }
    }
    unreachable!("there is always a next second")
}

#[tokio::test]
async fn a_database_that_stands_still_refuses_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { patience: Duration::from_secs(1), sync: false, ..rules() });
    put(&history, &[("k", 0, 1.0)]).await.unwrap();
    let hot = newest(&history);
    let stored = {
        let _stands = hot.stand_still();
        put_until_refused(&history, 1).await
    };
    let until = Instant::now() + Duration::from_secs(20);
    while put(&history, &[("k", stored, 2.0)]).await.is_err() {
        assert!(Instant::now() < until, "it does not go on");
    }
    assert!(Arc::ptr_eq(&hot, &newest(&history)), "it was given up");
    assert_eq!(read(&history, of("k")).len(), usize::try_from(stored).unwrap() + 1);
}

#[tokio::test]
async fn a_database_that_stands_still_for_long_is_given_up_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { patience: Duration::from_millis(10), sync: false, ..rules() });
    put(&history, &[("k", 0, 1.0)]).await.unwrap();
    let hot = newest(&history);
    let _stands = hot.stand_still();
    let stored = put_until_refused(&history, 1).await;
    let until = Instant::now() + Duration::from_secs(20);
    while put(&history, &[("k", stored, 2.0)]).await.is_err() {
        assert!(Instant::now() < until, "it is never given up");
    }
    assert!(!Arc::ptr_eq(&hot, &newest(&history)), "it was not given up");
    assert_eq!(read(&history, of("k")).len(), usize::try_from(stored).unwrap() + 1);
}
