//! Doors for the fuzzers in `fuzz/`, in builds with the feature `fuzzing` alone: what reads the files of
//! the history, given files of any contents.

use std::fs;
use std::io;
use std::path::Path;

use super::keys::Space;
use super::point::Point;
use super::sealed::{Segment, SeriesHead, Writer};
use super::{inventory, journal, sealed};

/// Points that are read at a time.
const AT_ONCE: usize = 1000;

/// Reads all of a sealed file, whatever is in it.
pub fn read_sealed(path: &Path) {
    let Ok(segment) = Segment::open(path) else { return };
    let _lost = segment.newer_than(0, |_| {});
    for head in segment.series().flatten() {
        let mut from = i64::MIN;
        loop {
            let mut points = Vec::new();
            let read = segment.read(head.id, from..=i64::MAX, AT_ONCE, &mut points);
            assert!(points.is_sorted_by(|a, b| a.ts < b.ts), "points of a block that was accepted are in order");
            let Some(next) = read.next_from else { break };
            assert!(next > from, "reading goes on");
            from = next;
        }
    }
}

/// Reads the parts of a sealed file as if their checksums were right.
pub fn read_sealed_parts(bytes: &[u8]) {
    sealed::fuzzing::read_parts(bytes);
}

/// Makes a sealed file with a few series, to begin with.
///
/// # Errors
/// When it cannot be written.
pub fn write_sealed(path: &Path) -> io::Result<()> {
    let mut writer = Writer::create(path)?;
    for id in 1..=3_u32 {
        writer.begin(&SeriesHead { id: id.into(), space: Space::Put, key: format!("key{id}").into() })?;
        let point = |n: u32| Point { ts: i64::from(n * id), value: f64::from(n % 7) };
        writer.points(&(1..=50).map(point).collect::<Vec<_>>())?;
    }
    writer.finish(1000).map(|_| ())
}

/// Mends a journal with these contents, twice: what was mended once is whole.
///
/// # Errors
/// When the folder cannot be used.
pub fn mend_journal(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(dir.join("0.jnl"), bytes)?;
    let first = journal::mend(dir)?;
    let second = journal::mend(dir)?;
    assert_eq!((second.torn_bytes, second.lost_bytes), (0, 0), "mended twice: {first:?}");
    assert_eq!(first.has_batches, second.has_batches, "mending loses no whole batch");
    Ok(())
}

/// Looks through the files of a database, one of which has these contents.
///
/// # Errors
/// When the folder cannot be used.
pub fn check_inventory(dir: &Path, file: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir.join("keyspaces/0"))?;
    fs::write(dir.join(file), bytes)?;
    if let Ok(mended) = journal::mend(dir) {
        let _damaged_or_not = inventory::check(dir, &mended);
    }
    Ok(())
}
