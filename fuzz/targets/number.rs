//! A value of put: what is written reads back as the same number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::lines::{Command, parse, write_value};

fuzz_target!(|bytes: &[u8]| {
    let line = [b"put k ", bytes, b" 1"].concat();
    let Ok(Some(Command::Put { value, .. })) = parse(&line) else { return };
    let mut text = Vec::new();
    write_value(&mut text, value);
    let again = [b"put k ", text.as_slice(), b" 1"].concat();
    match parse(&again) {
        Ok(Some(Command::Put { value: read, .. })) => {
            assert!(read == value || read.is_nan() && value.is_nan(), "{value} was written {text:?} and read {read}");
        }
        other => panic!("{value} was written {text:?} and read {other:?}"),
    }
});
