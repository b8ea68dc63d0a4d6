//! A spool: against a naive model in `model`, on disks that cut, flip, fill up and break in `damage`.

mod damage;
mod model;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

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
