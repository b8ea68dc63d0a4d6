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

/// Puts so many seconds of a key, many at a time; gives how many were stored when one was refused.
async fn put_seconds(history: &History, count: i64) -> Result<(), (i64, PutError)> {
    for ts in (0..count).step_by(20_000) {
        let points: Vec<_> = (ts..ts + 20_000).map(|ts| ("k", ts, 1.0)).collect();
        put(history, &points).await.map_err(|error| (ts, error))?;
    }
    Ok(())
}

fn is_up(history: &History) -> bool {
    history.shared.telemetry.history.is_up.get() == 1
}

#[tokio::test]
async fn points_wait_for_a_database_that_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { patience: Duration::from_secs(1), sync: false, ..rules() });
    put(&history, &[("k", 0, 1.0)]).await.unwrap();
    let hot = newest(&history);
    let stands = hot.stand_still();
    let of_task = Arc::clone(&history);
    let task = tokio::spawn(async move { put_seconds(&of_task, MANY).await });
    while is_up(&history) {
        assert!(!task.is_finished(), "memory has no bound");
        tokio::task::yield_now().await;
    }
    drop(stands);
    task.await.unwrap().unwrap();
    assert!(is_up(&history));
    assert!(Arc::ptr_eq(&hot, &newest(&history)), "it was given up");
    assert_eq!(read(&history, of("k")).len(), usize::try_from(MANY).unwrap());
}

#[tokio::test]
async fn a_database_that_stands_still_for_long_is_given_up_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), Rules { patience: Duration::from_millis(10), sync: false, ..rules() });
    put(&history, &[("k", 0, 1.0)]).await.unwrap();
    let hot = Arc::downgrade(&newest(&history));
    let held = newest(&history);
    let stands = held.stand_still();
    let (stored, error) = put_seconds(&history, MANY).await.unwrap_err();
    assert!(matches!(error, PutError::Unavailable(_)), "{error}");
    let until = Instant::now() + Duration::from_secs(20);
    while put(&history, &[("k", stored, 2.0)]).await.is_err() {
        assert!(Instant::now() < until, "it is never given up");
    }
    assert!(!std::ptr::eq(hot.as_ptr(), Arc::as_ptr(&newest(&history))), "it was not given up");
    assert_eq!(read(&history, of("k")).len(), usize::try_from(stored).unwrap() + 1);
    drop(stands);
    drop(held);
    // Once it is sealed it is closed, and the next one could be given up.
    while hot.strong_count() > 0 {
        assert!(Instant::now() < until, "it is never closed");
        tend(&history, moment());
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&history, of("k")).len(), usize::try_from(stored).unwrap() + 1);
}
