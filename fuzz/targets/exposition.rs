//! Text files of metrics that an agent sends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _families_and_flaws = agent::collect::fuzzing::read_text_file(bytes);
});
