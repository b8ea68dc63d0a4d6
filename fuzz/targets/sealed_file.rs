//! Sealed files of the history: whole ones, and their parts with checksums that fit.
#![no_main]

use aggregator::history::fuzzing::{read_sealed, read_sealed_parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read_sealed_parts(bytes);
    fuzz::in_folder(|folder| {
        let path = folder.join("sealed");
        std::fs::write(&path, bytes)?;
        read_sealed(&path);
        Ok(())
    });
});
