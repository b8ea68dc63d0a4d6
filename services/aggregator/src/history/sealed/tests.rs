//! What goes in comes out, whatever it is; and what must not go in is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::writer::Sizes;
use super::*;
use crate::history::Point;

mod damage;
mod size;

/// Small parts: a few points make many blocks and pages.
const SMALL: Sizes = Sizes { block_points: 4, block_points_max: 6, page_bytes: 250, record_entries: 3 };
const CLOSED_AT_MS: i64 = 1_700_000_000_123;

/// What a file should hold: for each id its name and its points.
type Model = BTreeMap<u64, (SeriesHead, BTreeMap<i64, u64>)>;

fn series(model: &mut Model, id: u64, key: &str, points: impl IntoIterator<Item = (i64, f64)>) {
    let space = if id.is_multiple_of(2) { Space::Put } else { Space::Vital };
    let head = SeriesHead { id, space, key: key.into() };
    model.insert(id, (head, points.into_iter().map(|(ts, value)| (ts, value.to_bits())).collect()));
}

fn points(of: &BTreeMap<i64, u64>) -> Vec<Point> {
    of.iter().map(|(ts, bits)| Point { ts: *ts, value: f64::from_bits(*bits) }).collect()
}

fn bits(points: &[Point]) -> Vec<(i64, u64)> {
    points.iter().map(|point| (point.ts, point.value.to_bits())).collect()
}

/// Writes the model; `None`: in parts of the usual size.
fn write(dir: &Path, model: &Model, sizes: Option<Sizes>) -> (PathBuf, Summary) {
    let path = dir.join("day.sealed");
    let writer = match sizes {
        Some(sizes) => Writer::with_sizes(&path, sizes),
        None => Writer::create(&path),
    };
    let mut writer = writer.unwrap();
    for (head, of) in model.values() {
        writer.begin(head).unwrap();
        // In calls of different lengths: some are of no points, and most end within a block.
        let mut all = points(of).into_iter();
        for length in (0..).map(|n| n * 7 % 11) {
            writer.points(&all.by_ref().take(length).collect::<Vec<_>>()).unwrap();
            if all.len() == 0 {
                break;
            }
        }
    }
    (path, writer.finish(CLOSED_AT_MS).unwrap())
}

/// All of a range, in steps of a limit.
fn read_all(segment: &Segment, id: u64, from: i64, to: i64, limit: usize) -> (Vec<Point>, Lost) {
    let (mut all, mut lost, mut from) = (Vec::new(), Lost::default(), Some(from));
    while let Some(start) = from {
        let before = all.len();
        let read = segment.read(id, start..=to, limit, &mut all);
        assert!(all.len() - before <= limit + BLOCK_POINTS_MAX, "{} points for a limit of {limit}", all.len() - before);
        assert!(read.next_from.is_none_or(|next| next > start), "it goes on at {:?} after {start}", read.next_from);
        lost.add(&read.lost);
        from = read.next_from;
    }
    (all, lost)
}

#[track_caller]
fn check_holds(segment: &Segment, model: &Model) {
    let heads: Vec<_> = segment.series().map(Result::unwrap).collect();
    let with_points = || model.values().filter(|(_, points)| !points.is_empty());
    assert_eq!(heads, with_points().map(|(head, _)| head.clone()).collect::<Vec<_>>());
    for (id, (_, of)) in model {
        let (read, lost) = read_all(segment, *id, i64::MIN, i64::MAX, 1_000);
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(bits(&read), of.iter().map(|(ts, bits)| (*ts, *bits)).collect::<Vec<_>>(), "series {id}");
    }
    let summary = segment.summary();
    assert_eq!(summary.series, with_points().count() as u64);
    assert_eq!(summary.points, with_points().map(|(_, points)| points.len() as u64).sum::<u64>());
    let seconds = || with_points().flat_map(|(_, points)| points.keys().copied());
    assert_eq!(summary.min_ts, seconds().min().unwrap_or(i64::MAX));
    assert_eq!(summary.max_ts, seconds().max().unwrap_or(i64::MIN));
    assert_eq!(summary.closed_at_ms, CLOSED_AT_MS);
}

#[track_caller]
fn check_round_trip(model: &Model) {
    for sizes in [None, Some(SMALL)] {
        let dir = tempfile::tempdir().unwrap();
        let (path, summary) = write(dir.path(), model, sizes);
        let segment = Segment::open(&path).unwrap();
        assert_eq!(segment.summary(), summary);
        assert_eq!(summary.file_bytes, std::fs::metadata(&path).unwrap().len());
        check_holds(&segment, model);
    }
}

#[test]
fn an_empty_file_is_a_file() {
    check_round_trip(&Model::new());
}

#[test]
fn a_series_without_points_is_not_there() {
    let mut model = Model::new();
    series(&mut model, 3, "none", []);
    series(&mut model, 4, "one", [(5, 1.0)]);
    series(&mut model, 9, "none again", []);
    check_round_trip(&model);
}

#[test]
fn the_ends_of_time_are_seconds_like_others() {
    let mut model = Model::new();
    series(&mut model, 0, "both", [(i64::MIN, 1.0), (i64::MAX, 2.0)]);
    series(&mut model, 1, "first", [(i64::MIN, 1.0)]);
    series(&mut model, 2, "last", [(i64::MAX, 1.0)]);
    let around = [i64::MIN, i64::MIN + 1, -1, 0, 1, 1_700_000_000, i64::MAX - 1, i64::MAX];
    series(&mut model, u64::MAX, "all", around.map(|ts| (ts, 0.5)));
    check_round_trip(&model);
}

#[test]
fn any_value_comes_back_bit_by_bit() {
    let values = [
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        0.1,
        1e300,
    ];
    let mut model = Model::new();
    series(&mut model, 1, "each", (0..).zip(values));
    for (id, value) in (2..).zip(values) {
        series(&mut model, id, "only", (0..300).map(|ts| (ts * ts, value)));
        series(&mut model, id + 100, "among others", (0..300).map(|ts| (ts, if ts == 77 { value } else { 1.5 })));
    }
    check_round_trip(&model);
}

#[test]
fn keys_may_be_long_and_strange() {
    let mut model = Model::new();
    series(&mut model, 1, "", [(1, 1.0)]);
    for id in 2..30 {
        series(&mut model, id, &"ключ\n\0\"".repeat(1_000), (0..10).map(|ts| (ts, 1.0)));
    }
    series(&mut model, 90, &"k".repeat(KEY_BYTES_MAX), [(1, 1.0)]);
    check_round_trip(&model);
}

#[test]
fn a_million_points_of_one_series_are_read_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("day.sealed");
    let mut writer = Writer::create(&path).unwrap();
    let head = SeriesHead { id: 7, space: Space::Put, key: "long".into() };
    writer.begin(&head).unwrap();
    let point = |n: i64| Point { ts: n * 10 + n % 3, value: (n % 1_000) as f64 };
    for thousand in 0..1_000 {
        writer.points(&(0..1_000).map(|n| point(thousand * 1_000 + n)).collect::<Vec<_>>()).unwrap();
    }
    let summary = writer.finish(0).unwrap();
    assert_eq!((summary.series, summary.points), (1, 1_000_000));

    let segment = Segment::open(&path).unwrap();
    assert_eq!(segment.series().map(Result::unwrap).collect::<Vec<_>>(), [head]);
    let (mut next, mut from, mut piece) = (0, Some(i64::MIN), Vec::new());
    while let Some(start) = from {
        piece.clear();
        let read = segment.read(7, start..=i64::MAX, 5_000, &mut piece);
        assert!(piece.len() <= 5_000 + BLOCK_POINTS_MAX && read.lost.is_empty());
        for (got, n) in piece.iter().zip(next..) {
            assert_eq!(*got, point(n));
        }
        next += piece.len() as i64;
        from = read.next_from;
    }
    assert_eq!(next, 1_000_000);
    piece.clear();
    assert!(segment.read(7, point(500_000).ts..=point(500_009).ts, 100, &mut piece).next_from.is_none());
    assert_eq!(piece, (500_000..500_010).map(point).collect::<Vec<_>>());
    let mut named = Vec::new();
    assert!(segment.newer_than(0, |id| named.push(id)).is_empty());
    assert_eq!(named, [7], "named once, though it is in several pages");
}

#[test]
fn what_is_out_of_order_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("day.sealed");
    let mut writer = Writer::create(&path).unwrap();
    let head = |id| SeriesHead { id, space: Space::Vital, key: "key".into() };
    let at = |seconds: &[i64]| seconds.iter().map(|ts| Point { ts: *ts, value: 1.0 }).collect::<Vec<_>>();
    let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    refused(writer.points(&at(&[1])));
    writer.begin(&head(5)).unwrap();
    writer.points(&at(&[1, 2])).unwrap();
    refused(writer.points(&at(&[2])));
    refused(writer.points(&at(&[3, 4, 4])));
    refused(writer.begin(&head(5)));
    refused(writer.begin(&head(4)));
    refused(writer.begin(&SeriesHead { key: "k".repeat(KEY_BYTES_MAX + 1).into(), ..head(6) }));
    writer.points(&at(&[3])).unwrap();
    writer.finish(0).unwrap();
    let segment = Segment::open(&path).unwrap();
    assert_eq!(read_all(&segment, 5, 0, 9, 9).0, at(&[1, 2, 3]));
    assert_eq!(segment.summary().series, 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_stays_one() {
    let mut writer = Writer::create(Path::new("/dev/full")).unwrap();
    let mut noise = (1_u64..).map(|n| f64::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut failed = None;
    for id in 0..100 {
        let some: Vec<_> = (0..20_000).zip(noise.by_ref()).map(|(ts, value)| Point { ts, value }).collect();
        let head = SeriesHead { id, space: Space::Put, key: "noise".into() };
        if let Err(error) = writer.begin(&head).and_then(|()| writer.points(&some)) {
            failed = Some(error);
            break;
        }
    }
    assert_eq!(failed.unwrap().kind(), io::ErrorKind::StorageFull);
    assert!(writer.finish(0).is_err(), "a file with a hole must not be finished");
}

/// Series with random steps: regular, with jitter, and anything at all.
fn any_points() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value =
        prop_oneof![(-1_000..1_000_i32).prop_map(|n| f64::from(n) / 10.0), any::<u64>().prop_map(f64::from_bits)];
    let regular = (any::<i32>(), 1..100_i64, 0..60_i64)
        .prop_map(|(start, step, count)| (0..count).map(|n| i64::from(start) + n * step).collect::<Vec<_>>());
    let near = proptest::collection::btree_set(-100..100_i64, 0..60).prop_map(|set| set.into_iter().collect());
    let any = proptest::collection::btree_set(any::<i64>(), 0..30).prop_map(|set| set.into_iter().collect());
    (prop_oneof![regular, near, any], proptest::collection::vec(value, 60))
        .prop_map(|(seconds, values)| seconds.into_iter().zip(values).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn it_is_a_map_of_maps(
        all in proptest::collection::btree_map(0..20_u64, any_points(), 0..12),
        queries in proptest::collection::vec((0..20_u64, any::<i64>(), any::<i64>(), -120..120_i64, 0..40_usize), 20),
        small in any::<bool>(),
    ) {
        let mut model = Model::new();
        for (id, points) in all {
            series(&mut model, id, &format!("key {id}"), points);
        }
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = write(dir.path(), &model, small.then_some(SMALL));
        let segment = Segment::open(&path).unwrap();
        check_holds(&segment, &model);
        for (id, a, b, near, limit) in queries {
            // Ranges over everything, and such as most points are in.
            for (from, to) in [(a.min(b), a.max(b)), (near, near.saturating_add(b % 50)), (a, i64::MAX)] {
                let expected: Vec<_> = match model.get(&id) {
                    Some((_, points)) if from <= to => points.range(from..=to).map(|(ts, bits)| (*ts, *bits)).collect(),
                    _ => Vec::new(),
                };
                let (read, lost) = read_all(&segment, id, from, to, limit);
                prop_assert!(lost.is_empty());
                prop_assert_eq!(bits(&read), expected);
            }
            let mut newer = Vec::new();
            prop_assert!(segment.newer_than(near, |id| newer.push(id)).is_empty());
            let expected = model.iter().filter(|(_, (_, points))| points.keys().any(|ts| *ts > near));
            prop_assert_eq!(newer, expected.map(|(id, _)| *id).collect::<Vec<_>>());
        }
    }
}
