//! Frames of aggregators, from bytes that come in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::ToAgent;

fuzz_target!(|bytes: &[u8]| fuzz::same_again(&fuzz::frames::<ToAgent>(bytes)));
