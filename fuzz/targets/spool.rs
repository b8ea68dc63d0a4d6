//! The files of an agent's spool: as they are, and with records and notes whose checksums are good.
#![no_main]

use agent::spool::fuzzing;
use libfuzzer_sys::fuzz_target;

const SEGMENT: &str = "0000000000000001.seg";

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let records: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let made = fuzzing::segment(&records);
    let whole = fuzzing::pushes();
    let note = fuzzing::note(&String::from_utf8_lossy(bytes));
    let files: &[(&str, &[u8])] = match which % 4 {
        0 => &[(SEGMENT, bytes)],
        1 => &[(SEGMENT, &made), ("0000000000000002.seg", &whole)],
        2 => &[("progress", note.as_bytes()), (SEGMENT, &whole)],
        _ => &[("identity", note.as_bytes()), (SEGMENT, &whole)],
    };
    fuzz::in_folder(|folder| fuzzing::open(folder, files));
});
