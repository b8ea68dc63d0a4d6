//! Replies of a server that the client reads, from bytes that come in any pieces.
#![no_main]

use client::reply::Decoder;
use libfuzzer_sys::fuzz_target;

fn events(pieces: &[&[u8]]) -> Vec<String> {
    let (mut decoder, mut told) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => told.push(format!("{event:?}")),
                Ok(None) => break,
                Err(violation) => {
                    told.push(format!("{violation:?}"));
                    return told;
                }
            }
        }
    }
    told
}

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    assert_eq!(events(&[bytes]), events(&[first, second]));
});
