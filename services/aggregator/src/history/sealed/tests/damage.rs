//! Damage is noticed wherever it is, costs what is damaged, and never makes anything up.

use std::fs;

use super::*;
use crate::history::sealed::block;
use crate::history::sealed::format::HEADER_BYTES;

/// Some series, of which each part of the format has a few.
fn small_model() -> Model {
    let mut model = Model::new();
    series(&mut model, 2, "steady", (0..30).map(|n| (n * 10, 42.5)));
    series(&mut model, 5, "late", (0..25).map(|n| (n * n, n as f64 / 10.0)));
    series(&mut model, 6, "ends", [(i64::MIN, f64::NAN), (0, -0.0), (i64::MAX, f64::INFINITY)]);
    series(&mut model, 700, "only one", [(77, 7.7)]);
    model
}

/// What can be read of a damaged file: it must be what was written. Returns what is lost.
#[track_caller]
fn check_invents_nothing(segment: &Segment, model: &Model, what: &str) -> Lost {
    let mut lost = Lost::default();
    for head in segment.series() {
        match head {
            Ok(head) => assert_eq!(Some(&head), model.get(&head.id).map(|(head, _)| head), "{what}"),
            Err(page) => lost.add(&page),
        }
    }
    for (id, (_, written)) in model {
        let (read, of_it) = read_all(segment, *id, i64::MIN, i64::MAX, 10);
        assert!(read.windows(2).all(|two| two[0].ts < two[1].ts), "{what}: out of order");
        for (ts, bits) in bits(&read) {
            assert_eq!(written.get(&ts), Some(&bits), "{what}: series {id} at {ts}");
        }
        let missing = (written.len() - read.len()) as u64;
        assert!(missing == of_it.points || of_it.pages > 0, "{what}: {missing} points missing of {id}, {of_it:?}");
        lost.add(&of_it);
    }
    lost
}

#[test]
fn a_file_cut_anywhere_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (path, summary) = write(dir.path(), &small_model(), Some(SMALL));
    let whole = fs::read(&path).unwrap();
    assert!(summary.blocks > 10 && whole.len() < 4_000, "{summary:?}");
    for at in 0..whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let error = Segment::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "cut at {at}: {error}");
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(matches!(Segment::open(&path), Err(OpenError::Damaged(_))), "and one that has more is not either");
}

#[test]
fn a_flipped_bit_is_noticed_anywhere() {
    let model = small_model();
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = write(dir.path(), &model, Some(SMALL));
    let whole = fs::read(&path).unwrap();
    let mut opened = 0;
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            fs::write(&path, &flipped).unwrap();
            let what = format!("bit {bit} of byte {at}");
            match Segment::open(&path) {
                Ok(segment) => {
                    opened += 1;
                    let lost = check_invents_nothing(&segment, &model, &what);
                    assert!(!lost.is_empty(), "{what} is not noticed");
                }
                Err(error) => assert!(matches!(error, OpenError::Damaged(_)), "{what}: {error}"),
            }
        }
    }
    assert!(opened > whole.len(), "only {opened} of {} files could be opened", whole.len() * 2);
}

#[test]
fn a_damaged_block_costs_its_points_only() {
    let mut model = Model::new();
    series(&mut model, 1, "long", (0..100_000).map(|n| (n * 10, (n % 1_000) as f64)));
    series(&mut model, 2, "next", (0..10).map(|n| (n, 1.0)));
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = write(dir.path(), &model, None);
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 3] ^= 4;
    fs::write(&path, bytes).unwrap();
    let segment = Segment::open(&path).unwrap();
    let (read, lost) = read_all(&segment, 1, i64::MIN, i64::MAX, 1_000);
    let last = block::BLOCK_POINTS as i64 * 10 - 10;
    let expected = Lost { blocks: 1, points: block::BLOCK_POINTS as u64, pages: 0, span: Some((0, last)) };
    assert_eq!(lost, expected);
    assert_eq!(bits(&read), bits(&points(&model[&1].1)[block::BLOCK_POINTS..]));
    assert_eq!(read_all(&segment, 1, last + 1, i64::MAX, 1_000).1, Lost::default(), "it is not in this range");
    assert_eq!(read_all(&segment, 2, 0, 9, 1_000), (points(&model[&2].1), Lost::default()));
}

#[test]
fn a_damaged_page_costs_its_series_only() {
    let model: Model = {
        let mut model = Model::new();
        for id in 0..1_000 {
            series(&mut model, id, &format!("key {id}"), [(5, id as f64), (9, 1.0)]);
        }
        model
    };
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = write(dir.path(), &model, None);
    let place = Segment::open(&path).unwrap().places()[1];
    let mut bytes = fs::read(&path).unwrap();
    bytes[place.offset as usize + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let segment = Segment::open(&path).unwrap();
    let in_it = |id: u64| (place.first_id..=place.last_id).contains(&id);
    let (heads, lost): (Vec<_>, Vec<_>) = segment.series().partition(Result::is_ok);
    assert_eq!(
        heads.into_iter().map(|head| head.unwrap().id).collect::<Vec<_>>(),
        (0..1_000).filter(|id| !in_it(*id)).collect::<Vec<_>>()
    );
    let page = Lost { pages: 1, span: Some((5, 9)), ..Lost::default() };
    assert_eq!(lost, [Err(page)]);
    for id in 0..1_000 {
        let (read, lost) = read_all(&segment, id, 0, 100, 10);
        assert_eq!((read.len(), lost), if in_it(id) { (0, page) } else { (2, Lost::default()) });
    }
    assert_eq!(segment.newer_than(8, |id| assert!(!in_it(id))), page);
    assert_eq!(segment.newer_than(9, |_| panic!("there is nothing newer")), Lost::default());
}

#[test]
fn a_newer_version_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = write(dir.path(), &small_model(), None);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    // Whatever follows: a newer version may have nothing else in common.
    for length in [16, 17, bytes.len()] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = Segment::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 2, known: 1 }), "{error}");
    }
    bytes[8..12].copy_from_slice(&0_u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Segment::open(&path), Err(OpenError::Damaged(_))), "there never was a version 0");
}

#[test]
fn what_is_no_sealed_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    assert!(matches!(Segment::open(&path), Err(OpenError::Io(_))));
    for contents in [&b""[..], b"FGSEALED", &[0; 10_000]] {
        fs::write(&path, contents).unwrap();
        assert!(matches!(Segment::open(&path), Err(OpenError::Damaged(_))));
    }
}

/// Checksums keep accidents out, not malice: with a checksum that fits, a block may hold anything.
fn any_block() -> impl Strategy<Value = (block::Columns, usize, u8)> {
    let columns = proptest::collection::btree_map(any::<i32>(), -500..500_i32, 1..600).prop_map(|points| {
        let mut columns = block::Columns::default();
        for (ts, value) in points {
            columns.push(&Point { ts: i64::from(ts), value: f64::from(value) / 10.0 });
        }
        columns
    });
    (columns, any::<usize>(), 1..=255_u8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_that_are_no_column_do_no_harm((columns, at, flip) in any_block(), count in 1..700_u32) {
        let (mut entry, mut bytes) = block::encode(&columns, 16).unwrap();
        prop_assert_eq!(block::decode(&entry, &bytes).unwrap().seconds, columns.seconds);
        // Most of what is decided is decided in the first bytes.
        let at = if flip % 2 == 0 { at % bytes.len() } else { at % bytes.len().min(40) };
        bytes[at] ^= flip;
        entry.crc = crc32fast::hash(&bytes);
        for count in [entry.count, count, BLOCK_POINTS_MAX as u32, u32::MAX, 0] {
            entry.count = count;
            if let Some(read) = block::decode(&entry, &bytes) {
                prop_assert_eq!(read.len(), count as usize);
                prop_assert_eq!(read.values.len(), count as usize);
                prop_assert!(read.seconds.windows(2).all(|two| two[0] < two[1]));
            }
        }
    }

    #[test]
    fn any_bytes_between_the_ends_do_no_harm(
        at in any::<proptest::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let model = small_model();
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = write(dir.path(), &model, Some(SMALL));
        let mut bytes = fs::read(&path).unwrap();
        let start = at.index(bytes.len() - with.len());
        bytes[start..start + with.len()].copy_from_slice(&with);
        fs::write(&path, bytes).unwrap();
        if let Ok(segment) = Segment::open(&path) {
            check_invents_nothing(&segment, &model, "bytes in place of others");
        }
    }
}
