//! A connection of put and get to a whole aggregator.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| drop(fuzz::ask(fuzz::aggregator().line, bytes)));
