//! A request to a whole aggregator: what is fuzzed is the path with its query, after the slash.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // What is no line would be a request of another shape, which is hyper's to read.
    let path: Vec<u8> = bytes.iter().copied().filter(|byte| byte.is_ascii_graphic()).collect();
    let request = [b"GET /", path.as_slice(), b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat();
    let reply = fuzz::request(fuzz::aggregator().http, &request);
    assert!(reply.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&reply));
    assert!(!reply.starts_with(b"HTTP/1.1 500"), "{:?}", String::from_utf8_lossy(&reply));
});
