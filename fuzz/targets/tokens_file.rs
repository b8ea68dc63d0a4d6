//! The file of tokens, and who may do what by it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use security::tokens::Scope;

fuzz_target!(|bytes: &[u8]| {
    match security::file::read(bytes) {
        Ok(read) => {
            assert!(read.tokens.recognise(b"", 0).is_err(), "nothing is no token");
            assert!(read.tokens.recognise(b"a token that stands in no file", 0).is_err());
            let count = read.tokens.valid(i64::MIN);
            assert!(read.tokens.valid(i64::MAX) <= count, "tokens expire");
        }
        Err(why) => assert!(!why.contains('\n') && why.len() < 1000, "one sentence: {why}"),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((pattern, name)) = text.split_once('\n') else { return };
    if security::glob::is_pattern(pattern) {
        let _fits_or_not = security::glob::matches(pattern, name);
    }
    let _known_or_not = Scope::of(name);
});
