//! The files of the history's database, which are looked through before it sees them.
#![no_main]

use aggregator::history::fuzzing::check_inventory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let file = ["version", "0.jnl", "keyspaces/0/current", "keyspaces/0/v0"][usize::from(*which % 4)];
    fuzz::in_folder(|folder| check_inventory(folder, file, bytes));
});
