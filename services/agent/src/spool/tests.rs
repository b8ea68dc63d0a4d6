//! A spool against a naive model, and against disks that cut, flip, fill up and break.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::disk::{Opened, open, perform};
use super::store::Limits;
use super::*;
use crate::collect::batch::Batch;

/// Files in memory, of a disk that can break.
#[derive(Debug, Clone, Default)]
struct Fake {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    is_broken: Arc<AtomicBool>,
}

impl Fake {
    fn check(&self) -> io::Result<()> {
        if self.is_broken.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn bytes(&self) -> usize {
        self.files.lock().unwrap().iter().filter(|(name, _)| name.ends_with(".seg")).map(|(_, bytes)| bytes.len()).sum()
    }
}

impl Files for Fake {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.lock().unwrap().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.files.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        // A disk that fills up takes a part.
        let part = if self.check().is_ok() { bytes.len() } else { bytes.len() / 2 };
        file.extend_from_slice(&bytes[..part]);
        self.check()
    }
    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let bytes = files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

const LIMITS: Limits = Limits { memory: 1 << 20, disk: Some(1 << 20) };
const EPOCH: Moment = Moment { wall_ms: 0, mono_ms: 0 };

fn reopen(files: &dyn Files, limits: Limits) -> Opened {
    open(files, limits, Newcomer { id: "5f2c".into(), host: 1, boot: 7 }).unwrap()
}

/// One round of the keeper.
fn round(files: &dyn Files, store: &mut Store) {
    for job in store.jobs() {
        let result = perform(files, &job);
        store.done(job, result);
    }
}

/// The push above a number, read from the disk if it is there.
fn next(files: &dyn Files, store: &mut Store, after: u64) -> Option<Stored> {
    loop {
        match store.next(after) {
            Next::Push(push) => return Some(push),
            Next::Nothing => return None,
            Next::Loading => {
                let job = store.wanted().expect("something is to be read");
                let result = perform(files, &job);
                store.done(job, result);
            }
        }
    }
}

fn all(files: &dyn Files, store: &mut Store) -> Vec<Stored> {
    let (mut pushes, mut after) = (vec![], 0);
    while let Some(push) = next(files, store, after) {
        after = push.seq;
        pushes.push(push);
    }
    pushes
}

/// Makes measurements: one set of these many series, and a slow one that is measured every tenth time.
struct Host {
    fast: Batch,
    slow: Batch,
    count: u64,
}

impl Host {
    fn new() -> Self {
        Self { fast: Batch::new(), slow: Batch::new(), count: 0 }
    }

    fn measure(&mut self, series: usize) -> Measurement {
        self.count += 1;
        let fill = |batch: &mut Batch, name: &str, count: u64| {
            batch.begin();
            for n in 0..series {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                batch.gauge(name, "Some help.", &[("n", &n.to_string())], count as f64 + 0.25);
            }
            batch.finish(true);
        };
        fill(&mut self.fast, "fast", self.count);
        fill(&mut self.slow, "slow", self.count / 10);
        let mut measurement = Measurement::default();
        let at = i64::try_from(self.count).unwrap() * 5000;
        measurement.begin(self.count, Moment { wall_ms: 1_790_000_000_000 + at, mono_ms: at.cast_unsigned() });
        measurement.add("fast", self.count, self.fast.layout(), self.fast.values());
        measurement.add("slow", self.count / 10, self.slow.layout(), self.slow.values());
        measurement
    }
}

/// The count that a push was made of, checked in all that it says.
#[track_caller]
fn count_of(push: &Stored) -> u64 {
    let count = u64::try_from((push.taken.wall_ms - 1_790_000_000_000) / 5000).unwrap();
    assert_eq!(push.taken.mono_ms, count * 5000);
    for reading in &push.readings {
        let said = if &*reading.set == "fast" { count } else { count / 10 };
        let values = reading.outcome.as_ref().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let expected = said as f64 + 0.25;
        assert!(values.iter().all(|value| *value == expected) && values.len() == reading.layout.total());
        assert_eq!(reading.layout.families()[0].name, *reading.set);
    }
    count
}

#[test]
fn each_segment_says_everything_once_and_then_what_is_new() {
    let mut store = Store::new(Limits { memory: 1 << 20, disk: None }, 7, Progress::default());
    let mut host = Host::new();
    (0..2000).for_each(|_| assert!(store.put(&host.measure(10)).is_some()));
    let pushes = all(&Fake::default(), &mut store);
    assert_eq!(pushes.len(), 2000);
    let mut segment = 0;
    for push in &pushes {
        let count = count_of(push);
        let is_first = std::mem::replace(&mut segment, push.segment) != push.segment;
        assert_eq!(push.readings.len(), if is_first || count.is_multiple_of(10) { 2 } else { 1 }, "push {count}");
    }
    assert!(segment > 3, "only {segment} segments");
}

#[test]
fn a_spool_on_a_real_disk_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder(dir.path().to_owned());
    let mut host = Host::new();
    let mut last = 0;
    for process in 1..=10_u64 {
        let Opened { mut store, identity, base, unwritten } = reopen(&folder, LIMITS);
        assert!(unwritten.is_none());
        assert_eq!((identity.id.as_str(), identity.incarnation, base), ("5f2c", process, process << 32));
        let waiting: Vec<u64> = all(&folder, &mut store).iter().map(count_of).collect();
        let expected: Vec<u64> = (host.count.saturating_sub(7)..=host.count).filter(|count| *count > 0).collect();
        assert_eq!(waiting, expected, "process {process}");
        for _ in 0..20 {
            let seq = store.put(&host.measure(5)).unwrap();
            assert!(seq > last && seq > base);
            last = seq;
        }
        round(&folder, &mut store);
        // All but the last eight are acknowledged.
        store.acked(last - 8);
        round(&folder, &mut store);
    }
}

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

#[test]
fn a_copied_spool_gets_an_id_of_its_own_and_keeps_what_waits() {
    let files = Fake::default();
    let Opened { mut store, .. } = reopen(&files, LIMITS);
    store.put(&Host::new().measure(1)).unwrap();
    round(&files, &mut store);
    let other = open(&files, LIMITS, Newcomer { id: "0a0b".into(), host: 2, boot: 8 }).unwrap();
    assert_eq!((other.identity.id.as_str(), other.identity.incarnation), ("0a0b", 2));
    let mut store = other.store;
    assert_eq!(all(&files, &mut store).len(), 1);
}

#[test]
fn a_spool_that_goes_on_as_another_session_keeps_what_waits_and_tells_its_own_losses() {
    let files = Fake::default();
    let mut host = Host::new();
    let Opened { mut store, .. } = reopen(&files, LIMITS);
    store.put(&host.measure(1)).unwrap();
    store.lose(Lost::Full, 5);
    round(&files, &mut store);
    let mut store = reopen(&files, LIMITS).store;
    store.lose(Lost::Full, 2);
    store.renew("0a0b");
    assert_eq!(store.status(EPOCH).lost, [2, 0, 0, 0, 0], "the five were told before");
    files.is_broken.store(true, Ordering::SeqCst);
    round(&files, &mut store);
    assert!(store.is_work(), "it is still to be written");
    files.is_broken.store(false, Ordering::SeqCst);
    round(&files, &mut store);
    let Opened { mut store, identity, .. } = reopen(&files, LIMITS);
    assert_eq!((identity.id.as_str(), identity.incarnation), ("0a0b", 3));
    assert_eq!((store.status(EPOCH).lost[0], all(&files, &mut store).len()), (2, 1));
}

#[test]
fn another_boot_is_told_by_its_own_last_clocks() {
    let files = Fake::default();
    let Opened { mut store, .. } = reopen(&files, LIMITS);
    let mut host = Host::new();
    let mut early = host.measure(1);
    early.taken = Some(Moment { wall_ms: 1000, mono_ms: 2000 });
    store.put(&early).unwrap();
    let mut set = host.measure(1);
    set.taken = Some(Moment { wall_ms: 1_790_000_000_000, mono_ms: 12_000 });
    store.put(&set).unwrap();
    round(&files, &mut store);
    let mut next_boot = open(&files, LIMITS, Newcomer { id: "5f2c".into(), host: 1, boot: 8 }).unwrap().store;
    let now = Moment { wall_ms: 1_790_000_100_000, mono_ms: 50 };
    let pushes = all(&files, &mut next_boot);
    let times: Vec<i64> = pushes.iter().map(|push| next_boot.measured_ms(push.boot, push.taken, now)).collect();
    assert_eq!(times, [1_789_999_990_000, 1_790_000_000_000], "it woke up in 1970");
}

#[test]
fn another_boot_whose_clock_was_wrong_is_told_by_the_aggregator_s() {
    // It was wrong by that much, then and now; the aggregator's was right.
    for (then, here) in [(-3_600_000, 0), (0, 86_400_000), (7_000, 7_000), (-500, 0)] {
        let files = Fake::default();
        let Opened { mut store, .. } = reopen(&files, LIMITS);
        let mut early = Host::new().measure(1);
        early.taken = Some(Moment { wall_ms: 1_790_000_000_000 + then, mono_ms: 12_000 });
        store.put(&early).unwrap();
        store.heard(1_789_999_995_000, Moment { wall_ms: 1_789_999_995_000 + then, mono_ms: 7_000 });
        round(&files, &mut store);
        let mut next_boot = open(&files, LIMITS, Newcomer { id: "5f2c".into(), host: 1, boot: 8 }).unwrap().store;
        let push = next(&files, &mut next_boot, 0).unwrap();
        let now = Moment { wall_ms: 1_790_000_100_000 + here, mono_ms: 50 };
        assert_eq!(next_boot.measured_ms(push.boot, push.taken, now), 1_790_000_000_000 + then, "nobody told it");
        next_boot.heard(1_790_000_100_000, now);
        let later = Moment { wall_ms: now.wall_ms + 1000, mono_ms: 1050 };
        let corrected = next_boot.measured_ms(push.boot, push.taken, later) - here;
        // Half a second is what the line may make of it.
        let expected = 1_790_000_000_000 + if then == -500 { then } else { 0 };
        assert_eq!(corrected, expected, "{then}, {here}");
    }
}

#[derive(Debug, Clone)]
enum Act {
    Put(usize),
    Ack(u64),
    Safe(u64),
    GiveUp(u64),
    Round,
    Break(bool),
    Reopen,
    Read,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (1..40usize).prop_map(Act::Put),
        2 => (0..30u64).prop_map(Act::Ack),
        1 => (0..30u64).prop_map(Act::Safe),
        1 => (0..30u64).prop_map(Act::GiveUp),
        4 => Just(Act::Round),
        1 => any::<bool>().prop_map(Act::Break),
        1 => Just(Act::Reopen),
        2 => Just(Act::Read),
    ];
    proptest::collection::vec(act, 0..300)
}

proptest! {
    // A case is hundreds of operations.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens: what was put in and not done with is there, in its order, unless it is
    /// counted as lost; and after a crash what the disk had is.
    #[test]
    fn a_spool_is_what_the_model_says(acts in acts()) {
        let (files, limits) = (Fake::default(), Limits { memory: 8 << 20, disk: Some(8 << 20) });
        let mut host = Host::new();
        let (mut store, mut was_broken) = (reopen(&files, limits).store, false);
        // By number: what each push was made of, whether the disk has it, whether it is done with.
        let mut model: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        for act in acts {
            let nth = |n: u64| model.keys().nth(usize::try_from(n).unwrap()).copied();
            match act {
                Act::Put(series) => {
                    let seq = store.put(&host.measure(series)).unwrap();
                    model.insert(seq, (host.count, false));
                }
                Act::Ack(n) => if let Some(seq) = nth(n) {
                    store.acked(seq);
                    model.retain(|known, _| *known > seq);
                },
                Act::Safe(n) => if let Some(seq) = nth(n) {
                    store.safe(seq);
                    model.remove(&seq);
                },
                Act::GiveUp(n) => if let Some(seq) = nth(n) {
                    let before = store.status(EPOCH).lost[3];
                    store.give_up(seq, Lost::Refused);
                    prop_assert!(store.status(EPOCH).lost[3] > before);
                    model.remove(&seq);
                },
                Act::Round => {
                    round(&files, &mut store);
                    if !files.is_broken.load(Ordering::SeqCst) {
                        model.values_mut().for_each(|(_, is_on_disk)| *is_on_disk = true);
                    }
                }
                Act::Break(is_broken) => {
                    was_broken |= is_broken;
                    files.is_broken.store(is_broken, Ordering::SeqCst);
                }
                Act::Reopen => {
                    files.is_broken.store(false, Ordering::SeqCst);
                    store = reopen(&files, limits).store;
                    model.retain(|_, (_, is_on_disk)| *is_on_disk);
                    // What was done with and not yet written down comes again.
                    let again: Vec<Stored> = all(&files, &mut store);
                    for seq in model.keys() {
                        prop_assert!(again.iter().any(|push| push.seq == *seq));
                    }
                    model = again.iter().map(|push| (push.seq, (count_of(push), true))).collect();
                }
                Act::Read => {}
            }
            let status = store.status(EPOCH);
            prop_assert_eq!(status.records, model.len());
            // A process that ended while its disk was full leaves half a record.
            prop_assert!(status.damages == 0 || was_broken);
            prop_assert_eq!(status.lost[0] + status.lost[1] + status.lost[2], 0);
        }
        files.is_broken.store(false, Ordering::SeqCst);
        round(&files, &mut store);
        let got: Vec<(u64, u64)> = all(&files, &mut store).iter().map(|push| (push.seq, count_of(push))).collect();
        prop_assert_eq!(got, model.iter().map(|(seq, (count, _))| (*seq, *count)).collect::<Vec<_>>());
        let last = store.last();
        store.acked(last);
        round(&files, &mut store);
        prop_assert_eq!(files.bytes(), 0, "nothing is left of what is done with");
    }

    /// However much is put in, no more is kept than may be, and the oldest goes.
    #[test]
    fn the_limits_hold(series in proptest::collection::vec(1..60usize, 1..400), disk in 0..3usize) {
        let disk = [None, Some(256 << 10), Some(512 << 10)][disk];
        let limits = Limits { memory: 256 << 10, disk };
        let files = Fake::default();
        let mut store = match disk {
            Some(_) => reopen(&files, limits).store,
            None => Store::new(limits, 7, Progress::default()),
        };
        let mut host = Host::new();
        for series in series {
            store.put(&host.measure(series));
            round(&files, &mut store);
            let status = store.status(EPOCH);
            prop_assert!(status.bytes <= status.limit && files.bytes() <= status.limit, "{:?}", status);
        }
        let counts: Vec<u64> = all(&files, &mut store).iter().map(count_of).collect();
        let expected: Vec<u64> = (host.count + 1 - counts.len() as u64..=host.count).collect();
        prop_assert_eq!(counts, expected, "the newest are there without a gap");
    }
}
