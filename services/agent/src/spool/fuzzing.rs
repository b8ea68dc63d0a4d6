//! Doors for the fuzzers in `fuzz/`, in builds with the feature `fuzzing` alone: a spool whose files
//! have any contents.

use std::io;
use std::path::Path;

use super::disk::{self, Newcomer};
use super::entry::Writer;
use super::files::{Files as _, Folder};
use super::store::{Limits, Next};
use super::{notes, record, store};
use crate::clock::Moment;
use crate::collect::batch::Batch;
use crate::measurement::Measurement;

const LIMITS: Limits = Limits { memory: 256 << 10, disk: Some(1 << 20) };

/// Opens the spool in a folder with these files, takes out all that waits, and opens it again: nothing
/// waits then.
///
/// # Errors
/// When the folder cannot be used.
pub fn open(folder: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    for (name, contents) in files {
        std::fs::write(folder.join(name), contents)?;
    }
    let newcomer = || Newcomer { id: "fuzz".to_owned(), host: 1, boot: 1 };
    let folder = Folder(folder.to_owned());
    let mut store = disk::open(&folder, LIMITS, newcomer())?.store;
    let mut last = 0;
    loop {
        match store.next(last) {
            Next::Nothing => break,
            Next::Loading => load(&folder, &mut store),
            Next::Push(push) => {
                assert!(push.seq > last, "push {} comes after {last}", push.seq);
                last = push.seq;
                store.acked(last);
            }
        }
    }
    while store.is_work() {
        for job in store.jobs() {
            let result = Ok(disk::perform(&folder, &job)?);
            store.done(job, result);
        }
    }
    let mut again = disk::open(&folder, LIMITS, newcomer())?.store;
    assert!(matches!(again.next(0), Next::Nothing), "what was acknowledged waits again");
    assert!(folder.list()?.len() < 10, "files are left: {:?}", folder.list()?);
    Ok(())
}

fn load(folder: &Folder, store: &mut store::Store) {
    let job = store.wanted().expect("what is being loaded is wanted");
    let result = disk::perform(folder, &job);
    store.done(job, result);
}

/// A segment of these records, all with good checksums.
#[must_use]
pub fn segment(records: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|one| record::append(one, &mut bytes));
    bytes
}

/// A note with this text, with a good checksum.
#[must_use]
pub fn note(text: &str) -> String {
    notes::sealed(text.to_owned())
}

/// A segment with a few pushes, to begin with.
#[must_use]
pub fn pushes() -> Vec<u8> {
    let (mut writer, mut batch, mut bytes) = (Writer::default(), Batch::new(), Vec::new());
    for seq in 1..=3_u32 {
        batch.begin();
        for cpu in ["0", "1"] {
            batch.gauge("x", "Some help.", &[("cpu", cpu)], f64::from(seq) + 0.25);
        }
        batch.finish(true);
        let mut measurement = Measurement::default();
        measurement.begin(seq.into(), Moment { wall_ms: 1_700_000_000_000, mono_ms: seq.into() });
        measurement.add("s", seq.into(), batch.layout(), batch.values());
        let _samples_and_bytes = writer.write(seq.into(), 1, &measurement, &mut bytes);
    }
    bytes
}
