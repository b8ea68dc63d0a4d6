//! Frames of agents, from bytes that come in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::ToAggregator;

fuzz_target!(|bytes: &[u8]| {
    let frames = fuzz::frames::<ToAggregator>(bytes);
    for frame in &frames {
        if let ToAggregator::Declare(declare) = frame {
            let _fit_or_not = protocol::declare::check_declare(declare);
        }
    }
    fuzz::same_again(&frames);
});
