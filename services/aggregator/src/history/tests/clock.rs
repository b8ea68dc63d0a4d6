//! Clocks that jump.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

const YEARS_MS: i64 = 10 * 365 * 24 * 3_600_000;

async fn put_one(history: &History, ts: i64, value: f64) {
    put(history, &[("k", ts, value), ("last", 1, value)]).await.unwrap();
}

/// How far its clock is ahead.
static JUMPING_BY: AtomicI64 = AtomicI64::new(0);

fn jumping() -> Moment {
    let now = moment();
    Moment { wall_ms: now.wall_ms + JUMPING_BY.load(Ordering::Relaxed), ..now }
}

#[tokio::test]
async fn a_clock_that_jumps_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = || History::open(dir.path(), rules(), Arc::new(Telemetry::new(1).unwrap()), jumping).unwrap();
    let mut history = open();
    let mut expected = Vec::new();
    for (ts, by) in (1..).zip([0, YEARS_MS, 0, -YEARS_MS, 0, YEARS_MS]) {
        JUMPING_BY.store(by, Ordering::Relaxed);
        put_one(&history, ts, ts as f64).await;
        tend(&history, jumping());
        expected.push(row("k", ts, ts as f64));
        assert_eq!(read(&history, of("k")), expected);
        assert_eq!(read(&history, of("last")), [row("last", 1, ts as f64)], "the last write wins");
    }
    assert_eq!(kinds(&history).len(), 6, "what is written at another time is another partition");
    JUMPING_BY.store(0, Ordering::Relaxed);
    history.close();
    drop(history);
    history = open();
    tend(&history, jumping());
    assert_eq!(read(&history, of("k")), expected);
}

/// How far the clock is ahead, for the next test.
static AHEAD_BY: AtomicI64 = AtomicI64::new(0);

fn ahead() -> Moment {
    let now = moment();
    Moment { wall_ms: now.wall_ms + AHEAD_BY.load(Ordering::Relaxed), ..now }
}

#[tokio::test]
async fn a_clock_that_stays_where_it_jumped_is_believed_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), rules(), Arc::new(Telemetry::new(1).unwrap()), ahead).unwrap();
    put_one(&history, 1, 1.0).await;
    tend(&history, ahead());
    AHEAD_BY.store(YEARS_MS, Ordering::Relaxed);
    put_one(&history, 2, 2.0).await;
    tend(&history, ahead());
    tend(&history, ahead());
    assert_eq!(read(&history, of("k")).len(), 2);
    let day = Duration::from_secs(25 * 3600);
    let now = ahead();
    tend(&history, Moment { instant: now.instant + day, wall_ms: now.wall_ms + 25 * 3_600_000 });
    assert_eq!(read(&history, of("k")), [row("k", 2, 2.0)]);
}

/// How much later it is, for the next test.
static LATER_BY_S: AtomicI64 = AtomicI64::new(0);

fn later() -> Moment {
    let now = moment();
    let by = Duration::from_secs(LATER_BY_S.load(Ordering::Relaxed).unsigned_abs());
    Moment { instant: now.instant + by, ..now }
}

/// Tables of all partitions.
fn tables(dir: &Path) -> usize {
    let inside = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let each = inside(dir).filter(|entry| entry.path().is_dir()).map(|entry| tables(&entry.path())).sum::<usize>();
    let here = dir.file_name().is_some_and(|name| name == "tables");
    each + if here { inside(dir).count() } else { 0 }
}

#[tokio::test]
async fn what_came_minutes_ago_is_in_memory_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), rules(), Arc::new(Telemetry::new(1).unwrap()), later).unwrap();
    put_one(&history, 1, 1.0).await;
    tend(&history, later());
    put_one(&history, 2, 2.0).await;
    let before = tables(dir.path());
    LATER_BY_S.store(130, Ordering::Relaxed);
    tend(&history, later());
    let written = async {
        // A thread of the database does it.
        while tables(dir.path()) <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.expect("they are written to tables");
    assert_eq!(read(&history, of("k")), [row("k", 1, 1.0), row("k", 2, 2.0)]);
}
