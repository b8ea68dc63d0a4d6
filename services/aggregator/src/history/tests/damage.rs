//! Damage to any file, while the history is closed: what it may cost, and what not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use super::super::journal;
use super::super::partitions::{self, Store};
use super::*;

/// Places in a file at which it is cut, and at which bytes are changed. More of them find more.
const PLACES: usize = 3;
/// How many cases are tried. An optimized build, `cargo test --release`, tries all of them.
const CASES: usize = if cfg!(debug_assertions) { 40 } else { usize::MAX };
/// No reopening may take longer.
const WITHIN: Duration = Duration::from_secs(60);

fn many() -> Rules {
    Rules { partition_points_max: 60, ..rules() }
}

/// What is written to a store: by key and second, the values, oldest first, with their partitions.
type Written = BTreeMap<(String, i64), Vec<(u64, u64)>>;

/// A store that is closed: two sealed partitions, one raw in tables and journal, one in the journal
/// alone, and the one that was written to.
struct Sample {
    dir: tempfile::TempDir,
    written: Written,
}

impl Sample {
    async fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let history = open(dir.path(), many());
        let mut written = Written::new();
        let keeper = Arc::clone(&history.keeper);
        let mut untended = None;
        for partition in 1..=5_u64 {
            for batch in 0..6 {
                let mut points = Vec::new();
                for n in 0..10 {
                    let key = if n < 2 { format!("only-{partition}") } else { format!("key-{}", n % 4) };
                    let ts = if n == 9 { 1 } else { i64::try_from(partition * 1000 + batch * 10 + n).unwrap() };
                    let value = (partition * 100 + batch) as f64 + n as f64 / 16.0;
                    points.push((key, ts, value));
                }
                for (key, ts, value) in &points {
                    written.entry((key.clone(), *ts)).or_default().push((value.to_bits(), partition));
                }
                let points: Vec<_> = points.iter().map(|(key, ts, value)| (key.as_str(), *ts, *value)).collect();
                put(&history, &points).await.unwrap();
                let newest = history.shared.partitions.get(partition).unwrap();
                if (partition, batch) == (3, 2)
                    && let Store::Raw(hot) = &newest.store
                {
                    hot.flush();
                }
            }
            if partition == 2 {
                put(&history, &[("key-0", 3000, 0.5)]).await.unwrap();
                written.entry(("key-0".to_owned(), 3000)).or_default().push((0.5_f64.to_bits(), 3));
                tend(&history, moment());
                untended = Some(keeper.lock().unwrap());
            }
        }
        assert_eq!(kinds(&history), [Kind::Sealed, Kind::Sealed, Kind::Raw, Kind::Raw, Kind::Raw]);
        drop(history.shared.nudges.lock().unwrap().take());
        drop(untended);
        history.close();
        Self { dir, written }
    }

    /// Its files, by their paths in it.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files.iter().map(|path| path.strip_prefix(self.dir.path()).unwrap().to_owned()).collect()
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in self.files() {
            let to = copy.path().join(&file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            // Without the zeros at the end of journals, which take no room on the disk.
            let (bytes, length) = used(&self.dir.path().join(&file));
            fs::write(&to, bytes).unwrap();
            fs::File::options().write(true).open(&to).unwrap().set_len(length).unwrap();
        }
        copy
    }
}

/// What a file holds up to the zeros at its end, and its length.
fn used(path: &Path) -> (Vec<u8>, u64) {
    use std::io::Read as _;
    let length = fs::metadata(path).unwrap().len();
    let mut bytes = Vec::new();
    fs::File::open(path).unwrap().take(1 << 20).read_to_end(&mut bytes).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    (bytes, length)
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Delete,
    Zeros,
    Cut(usize),
    Flip(usize, u8),
}

impl Harm {
    fn all(bytes: usize, random: &mut fastrand::Rng) -> Vec<Self> {
        let mut all = vec![Self::Delete];
        if bytes > 0 {
            all.push(Self::Zeros);
            all.extend((0..PLACES).map(|_| Self::Cut(random.usize(..bytes))));
            all.extend((0..PLACES).map(|_| Self::Flip(random.usize(..bytes), random.u8(1..))));
        }
        all
    }

    fn do_to(self, path: &Path) {
        let (mut bytes, length) = used(path);
        match self {
            Self::Delete => return fs::remove_file(path).unwrap(),
            Self::Zeros => bytes.fill(0),
            Self::Cut(at) => return fs::File::options().write(true).open(path).unwrap().set_len(at as u64).unwrap(),
            Self::Flip(at, by) => bytes[at] ^= by,
        }
        fs::write(path, &bytes).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    }
}

/// Every point that is read, with its value.
fn points(history: &Arc<History>) -> BTreeMap<(String, i64), u64> {
    read(history, What::Puts).into_iter().map(|(key, ts, value)| ((key, ts), value.to_bits())).collect()
}

async fn check(sample: &Sample, file: &Path, harm: Harm) {
    let copy = sample.copy();
    let dir = copy.path();
    let path = dir.join(file);
    harm.do_to(&path);
    let top = file.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
    let harmed = partitions::find(dir).unwrap().into_iter().find(|found| found.path.ends_with(&top));
    // A number of a partition that does not exist, where what is harmed is of none.
    let number = top.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0_u64);
    // A journal that ends with a whole batch and a file that is not there look as they should.
    let is_unnoticed = harmed.is_none()
        || (path.extension().is_some_and(|kind| kind == "jnl") && path.exists() && journal::looks_whole(&path));

    let history = open(dir, many());
    let found = points(&history);
    for (point, value) in &found {
        let values = &sample.written.get(point).unwrap_or_else(|| panic!("{point:?} was invented"));
        assert!(values.iter().any(|(written, _)| written == value), "the value of {point:?} was invented");
    }
    let mut lost = 0;
    for (point, values) in &sample.written {
        let (value, partition) = values.last().unwrap();
        if found.get(point) != Some(value) {
            assert_eq!(*partition, number, "{point:?} is lost, which is of another partition");
            lost += 1;
        }
    }
    let damage = history.shared.telemetry.history.damage_total();
    assert!(lost == 0 || damage > 0 || is_unnoticed, "{lost} points are lost and nothing is said");
    if history.shared.partitions.get(number).is_none() && harmed.is_some() {
        let aside = fs::read_dir(dir.join("damaged")).unwrap();
        let mut aside = aside.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        assert!(aside.any(|name| name.starts_with(&top)), "it is gone, not set aside");
    }
    put(&history, &[("key-0", 9999, 1.5), ("new", 1, 2.5)]).await.unwrap();
    let expected: BTreeSet<_> = points(&history).into_iter().collect();
    history.close();
    drop(history);

    let history = open(dir, many());
    let again: BTreeSet<_> = points(&history).into_iter().collect();
    assert_eq!(again, expected, "another start changes nothing");
    assert!(again.contains(&(("new".to_owned(), 1), 2.5_f64.to_bits())));
    history.close();
}

#[tokio::test]
async fn damage_to_any_file_costs_its_partition_at_most() {
    let sample = Sample::make().await;
    let mut random = fastrand::Rng::with_seed(4);
    let mut cases = Vec::new();
    for file in sample.files() {
        let bytes = used(&sample.dir.path().join(&file)).0.len();
        cases.extend(Harm::all(bytes, &mut random).into_iter().map(|harm| (file.clone(), harm)));
    }
    random.shuffle(&mut cases);
    cases.truncate(CASES);
    run(sample, cases);
}

/// Runs all cases on some threads; none may hang.
fn run(sample: Sample, cases: Vec<(PathBuf, Harm)>) {
    let (sample, cases) = (Arc::new(sample), Arc::new(cases));
    let next = Arc::new(AtomicUsize::new(0));
    let (done, outcomes) = sync_channel(16);
    for _ in 0..4 {
        let (sample, cases, next, done) = (Arc::clone(&sample), Arc::clone(&cases), Arc::clone(&next), done.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            while let Some((file, harm)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let case = std::panic::AssertUnwindSafe(|| runtime.block_on(check(&sample, file, *harm)));
                let outcome = std::panic::catch_unwind(case);
                let why = outcome
                    .err()
                    .map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned()));
                if done.send((file.clone(), *harm, why)).is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let mut failed = Vec::new();
    for _ in 0..cases.len() {
        let (file, harm, why) = outcomes.recv_timeout(WITHIN).expect("a case does not end");
        if let Some(why) = why {
            failed.push(format!("{} {harm:?}: {why}", file.display()));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[tokio::test]
async fn a_table_that_is_damaged_while_it_is_used_is_passed_over_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), rules());
    let mut batch = history.batch().await;
    (0..2000).for_each(|ts| batch.put(&format!("k{}", ts % 4), ts as f64, ts).unwrap());
    history.commit(batch).await.unwrap();
    if let Store::Raw(hot) = &history.shared.partitions.get(1).unwrap().store {
        hot.flush();
    }
    history.close();
    drop(history);
    let history = open(dir.path(), Rules { partition_span: Duration::ZERO, ..rules() });
    let raw = history.shared.partitions.get(1).unwrap().found.path.clone();
    for table in fs::read_dir(raw.join("keyspaces/1/tables")).unwrap() {
        let path = table.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let (from, to) = (bytes.len() / 4, bytes.len() / 2);
        bytes[from..to].iter_mut().step_by(50).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();
    }
    let found = read(&history, What::Puts);
    assert!(found.len() < 2000 && found.iter().all(|(_, ts, value)| *value == *ts as f64), "{}", found.len());
    assert!(!found.is_empty() && history.shared.telemetry.history.damage_total() > 0);
    put(&history, &[("k0", 5000, 1.5)]).await.unwrap();
    tend(&history, moment());
    assert_eq!(kinds(&history), [Kind::Sealed, Kind::Raw]);
    assert_eq!(read(&history, What::Puts).len(), found.len() + 1, "what could be read stays");
    let aside: Vec<_> = fs::read_dir(dir.path().join("damaged")).unwrap().collect();
    assert_eq!(aside.len(), 1);
    assert!(!raw.exists());
}
