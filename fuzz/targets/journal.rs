//! Journals of the history's database, which are mended before it sees them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::in_folder(|folder| aggregator::history::fuzzing::mend_journal(folder, bytes)));
