//! Labels of remote write, which are made of the page's text.
#![no_main]

use aggregator::forward::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::read_labels(bytes);
    let text = String::from_utf8_lossy(bytes);
    let named = |pair: (usize, &str)| (format!("l{:03}", pair.0), pair.1.to_owned());
    let all: Vec<(String, String)> = text.split('\0').take(100).enumerate().map(named).collect();
    let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fuzzing::check_labels(&all);
});
