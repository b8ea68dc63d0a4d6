//! Lines of put and get, from bytes that come in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::lines::{Command, Line, LineSplitter, parse};

fn lines(pieces: &[&[u8]]) -> Vec<String> {
    let (mut splitter, mut told) = (LineSplitter::new(), Vec::new());
    for piece in pieces {
        splitter.push(piece);
        while let Some(line) = splitter.next_line() {
            told.push(match line {
                Line::Whole(line) => match parse(line) {
                    Ok(Some(Command::Put { key, value, ts })) => format!("put {key} {} {ts}", value.to_bits()),
                    other => format!("{other:?}"),
                },
                Line::Lost(lost) => format!("{lost:?}"),
            });
        }
    }
    told
}

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    assert_eq!(lines(&[bytes]), lines(&[first, second]));
});
