//! Disks that cut, flip, fill up and break, and files that are none of a spool.

use super::*;

#[test]
fn whatever_is_cut_off_or_changed_the_spool_opens_and_says_nothing_wrong() {
    let files = Fake::default();
    let mut host = Host::new();
    let Opened { mut store, .. } = reopen(&files, LIMITS);
    (0..6).for_each(|_| assert!(store.put(&host.measure(1)).is_some()));
    round(&files, &mut store);
    let whole = files.files.lock().unwrap().clone();
    for name in whole.keys() {
        let bytes = &whole[name];
        let cuts = (0..bytes.len()).map(|at| bytes[..at].to_vec());
        let flips = (0..bytes.len()).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x41;
            bytes
        });
        for (n, damaged) in cuts.chain(flips).enumerate() {
            let files = Fake::default();
            files.files.lock().unwrap().clone_from(&whole);
            files.files.lock().unwrap().insert(name.clone(), damaged);
            let mut former = None;
            for _ in 0..if n % 10 == 0 { 10 } else { 2 } {
                let Opened { mut store, base, .. } = reopen(&files, LIMITS);
                let pushes = all(&files, &mut store);
                let counts: Vec<u64> = pushes.iter().map(count_of).collect();
                assert!(counts.is_sorted() && pushes.iter().all(|push| push.seq <= base), "{name} {n}: {counts:?}");
                if !name.ends_with(".seg") {
                    assert_eq!(counts.len(), 6, "{name} {n}");
                } else if n >= bytes.len() {
                    assert!(counts.len() >= 5, "one change costs one push at most: {n}: {counts:?}");
                }
                assert_eq!(*former.get_or_insert(counts.clone()), counts, "{name} {n}");
                round(&files, &mut store);
            }
        }
    }
}

/// A push without values, sealed like any other.
fn absurd(seq: u64, samples: u64, mono_ms: u64) -> Vec<u8> {
    let (mut push, mut out) = (vec![b'P'], vec![]);
    bytes::put_number(seq, &mut push);
    bytes::put_number(samples, &mut push);
    push.extend_from_slice(&7_u64.to_le_bytes());
    bytes::put_number(mono_ms, &mut push);
    bytes::put_signed(i64::MIN, &mut push);
    bytes::put_number(0, &mut push);
    record::append(&push, &mut out);
    out
}

#[test]
fn absurd_numbers_end_nothing_and_are_counted() {
    const MOST: u64 = u64::MAX;
    let cases: [(&str, Vec<u8>, u64); 6] = [
        ("ffffffffffffffff.seg", absurd(5, 0, 0), 1),
        ("0000000000000001.seg", absurd(MOST, 0, 0), 1),
        ("0000000000000001.seg", [absurd(1, MOST, 0), absurd(3, MOST, 0), absurd(5, MOST, 0)].concat(), 1),
        ("0000000000000001.seg", absurd(1, 0, MOST), 1),
        ("0000000000000001.seg", [absurd(1, 0, 0), absurd(5, MOST, 0)].concat(), 1),
        ("0000000000000001.seg", [absurd(1, 0, 0), absurd(1 << 63, 0, 0)].concat(), 0),
    ];
    for (n, (name, bytes, damages)) in cases.into_iter().enumerate() {
        let files = Fake::default();
        files.files.lock().unwrap().insert(name.to_owned(), bytes);
        let mut host = Host::new();
        let Opened { mut store, base, .. } = reopen(&files, LIMITS);
        let status = store.status(EPOCH);
        assert_eq!((status.damages, status.lost), (damages, [0; 5]), "case {n}");
        store.lose(Lost::Full, MOST);
        store.lose(Lost::Full, MOST);
        let seq = store.put(&host.measure(1)).unwrap();
        assert!(seq > base);
        round(&files, &mut store);
        let pushes = all(&files, &mut store);
        assert_eq!(count_of(pushes.last().unwrap()), 1, "case {n}");
        let _no_overflow = (store.status(EPOCH), store.status(Moment { wall_ms: i64::MAX, mono_ms: MOST }));
    }
}

#[test]
fn what_is_no_spool_at_all_is_set_aside_and_bounded() {
    let files = Fake::default();
    for n in 0..10_u64 {
        files.files.lock().unwrap().insert(format!("{n:016x}.seg"), vec![7; 100]);
        files.files.lock().unwrap().insert(format!("{n}.tmp"), vec![]);
    }
    files.files.lock().unwrap().insert("letter.txt".into(), b"not ours".to_vec());
    let Opened { store, .. } = reopen(&files, LIMITS);
    assert_eq!(store.status(EPOCH).damages, 10);
    let names = files.list().unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".bad")).count(), 4);
    assert!(names.contains(&"letter.txt".to_owned()) && !names.iter().any(|name| name.ends_with("tmp")), "{names:?}");
}

#[test]
fn a_disk_that_fills_up_costs_nothing_as_long_as_memory_lasts() {
    let files = Fake::default();
    let mut host = Host::new();
    let Opened { mut store, .. } = reopen(&files, LIMITS);
    for n in 0..300 {
        files.is_broken.store((100..200).contains(&n), Ordering::SeqCst);
        store.put(&host.measure(5)).unwrap();
        if n % 7 == 0 {
            round(&files, &mut store);
            assert_eq!(store.status(EPOCH).is_disk_failing, (100..200).contains(&n));
        }
    }
    round(&files, &mut store);
    assert!(!store.is_work());
    let Opened { mut store, .. } = reopen(&files, LIMITS);
    assert_eq!(all(&files, &mut store).iter().map(count_of).collect::<Vec<_>>(), (1..=300).collect::<Vec<_>>());
    let status = store.status(EPOCH);
    assert_eq!((status.damages, status.lost), (0, [0; 5]));
}

#[test]
fn a_disk_that_stays_broken_costs_the_oldest_and_a_full_one_at_the_start_an_identity() {
    let files = Fake::default();
    let mut host = Host::new();
    let first = reopen(&files, LIMITS).identity;
    files.is_broken.store(true, Ordering::SeqCst);
    let newcomer = Newcomer { id: "0a0b".into(), host: 1, boot: 7 };
    let small = Limits { memory: 256 << 10, disk: Some(1 << 20) };
    let Opened { mut store, identity, unwritten, .. } = open(&files, small, newcomer).unwrap();
    assert!(unwritten.is_some() && identity.id == "0a0b" && first.id == "5f2c");
    let samples: u64 = (0..2000)
        .map(|_| {
            let measurement = host.measure(50);
            store.put(&measurement).unwrap();
            round(&files, &mut store);
            50 + if host.count.is_multiple_of(10) { 50 } else { 0 }
        })
        .sum();
    let status = store.status(EPOCH);
    assert!(status.bytes <= 256 << 10 && status.is_disk_failing);
    let left: u64 = all(&files, &mut store)
        .iter()
        .flat_map(|push| &push.readings)
        .map(|reading| reading.layout.total() as u64)
        .sum();
    // The first push of each segment says all sets.
    let lost = status.lost[2];
    assert!(left + lost >= samples && left + lost < samples + samples / 20, "{left} + {lost} of {samples}");
}
