//! A connection of the link to a whole aggregator: what an agent says, whatever that is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| drop(fuzz::ask(fuzz::aggregator().link, bytes)));
