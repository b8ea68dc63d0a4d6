//! How much a reader holds while it reads.

use super::*;
use crate::history::tests::{of, open, read, rules};
use crate::history::{Rules, Space};
use crate::link::moment;

const PARTITIONS: i64 = 8;
const POINTS: i64 = 9000;

/// Puts these seconds, a partition for each range, and seals all but the last.
async fn sealed(dir: &std::path::Path, ranges: impl Iterator<Item = RangeInclusive<i64>>) -> Arc<History> {
    let history = open(dir, Rules { partition_points_max: 1, sync: false, ..rules() });
    for (round, range) in (0..).zip(ranges) {
        let mut batch = history.batch().await;
        range.for_each(|ts| batch.put("k", f64::from(round), ts).unwrap());
        history.commit(batch).await.unwrap();
    }
    history.keeper.lock().unwrap().tend(moment());
    history
}

/// Reads all, and gives the most points that were held at a time.
fn most_held(history: &Arc<History>) -> usize {
    let mut rows = history.rows(of("k"), i64::MIN..=i64::MAX);
    let (mut most, mut piece) = (0, Vec::new());
    while rows.next_piece(&mut piece).unwrap().is_some() {
        let held = rows.reading.as_ref().unwrap().sources.iter().map(|source| source.ready.capacity()).sum();
        most = most.max(held);
    }
    most
}

const BOUND: usize = READY_POINTS + AHEAD_POINTS * PARTITIONS as usize;

#[tokio::test]
async fn partitions_that_follow_each_other_are_not_all_held() {
    let dir = tempfile::tempdir().unwrap();
    let history = sealed(dir.path(), (0..PARTITIONS).map(|n| n * POINTS..=(n + 1) * POINTS - 1)).await;
    let all = read(&history, of("k"));
    let seconds: Vec<i64> = all.iter().map(|(_, ts, _)| *ts).collect();
    assert!(seconds.iter().copied().eq(0..PARTITIONS * POINTS), "{} points", seconds.len());
    assert!(all.iter().all(|(_, ts, value)| *value as i64 == ts / POINTS));
    let most = most_held(&history);
    assert!(most <= BOUND, "{most} points are held");
}

#[tokio::test]
async fn partitions_that_override_each_other_are_read_right() {
    let dir = tempfile::tempdir().unwrap();
    // Each has less than the one before, so all of them show somewhere; the ends of time too.
    let ranges = (0..PARTITIONS).map(|n| n..=POINTS - 1 - n).chain([i64::MIN..=i64::MIN, i64::MAX..=i64::MAX]);
    let history = sealed(dir.path(), ranges).await;
    let all = read(&history, of("k"));
    assert_eq!(all.len() as i64, POINTS + 2);
    assert_eq!((all[0].1, all[all.len() - 1].1), (i64::MIN, i64::MAX));
    for (at, (_, ts, value)) in (0..).zip(&all[1..all.len() - 1]) {
        assert_eq!((*ts, *value as i64), (at, at.min(POINTS - 1 - at).min(PARTITIONS - 1)));
    }
    let most = most_held(&history);
    assert!(most <= BOUND + 2 * AHEAD_POINTS, "{most} points are held");
    assert_eq!(history.keys("k")[0].space, Space::Put);
}
