//! Commands as bytes, and which keys can be sent at all. Pure: nothing here opens a socket or reads a
//! clock.

use std::io::Write;

/// The longest key that can be sent. A server takes lines of 64 KiB; `put`, the longest value (24
/// characters), the longest timestamp (20), the spaces and the newline take 51 bytes of it.
pub const KEY_BYTES_MAX: usize = 64 * 1024 - 64;

/// Why a key is not sent to any server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has no characters.
    #[error("the key is empty")]
    Empty,
    /// The protocol separates words by white space, so no key can have any.
    #[error("the key has white space in it")]
    WhiteSpace,
    /// Among them the newline, which would end the command in the middle.
    #[error("the key has control characters in it")]
    Control,
    /// More than [`KEY_BYTES_MAX`].
    #[error("the key is longer than {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// `get *` means every key, so a key called `*` could never be read back.
    #[error("a key cannot be called \"*\", which stands for all keys")]
    Star,
}

fn check_key(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    // Not only ASCII: many servers split at what Unicode calls white space.
    match key.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(c) if c.is_whitespace() => Err(KeyError::WhiteSpace),
        Some(_) => Err(KeyError::Control),
        None => Ok(()),
    }
}

/// Can a point be put under this key?
///
/// # Errors
/// When it cannot, with the reason.
pub fn check_put_key(key: &str) -> Result<(), KeyError> {
    check_key(key)?;
    if key == "*" { Err(KeyError::Star) } else { Ok(()) }
}

/// Writes `put <key> <value> <timestamp>` with its newline. Writes nothing when the key is refused.
///
/// # Errors
/// As [`check_put_key`].
pub fn encode_put(key: &str, value: f64, timestamp: i64, out: &mut Vec<u8>) -> Result<(), KeyError> {
    check_put_key(key)?;
    out.extend_from_slice(b"put ");
    out.extend_from_slice(key.as_bytes());
    out.push(b' ');
    encode_value(value, out);
    let _infallible = writeln!(out, " {timestamp}");
    Ok(())
}

/// Writes `get <key>` with its newline; `*` is every key. Writes nothing when the key is refused.
///
/// # Errors
/// When no server can have such a key.
pub fn encode_get(key: &str, out: &mut Vec<u8>) -> Result<(), KeyError> {
    check_key(key)?;
    out.extend_from_slice(b"get ");
    out.extend_from_slice(key.as_bytes());
    out.push(b'\n');
    Ok(())
}

/// The shortest text that reads back as the same number; whole ones as `301`, not `301.0`.
fn encode_value(value: f64, out: &mut Vec<u8>) {
    let _infallible = if value.is_nan() {
        out.write_all(b"nan")
    } else if value.fract() == 0.0 && value.abs() < 1e16 {
        write!(out, "{value}")
    } else {
        // This form has an exponent where digits alone would fill hundreds of places.
        write!(out, "{value:?}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_put(key: &str, value: f64, timestamp: i64, expected: &str) {
        let mut out = Vec::new();
        encode_put(key, value, timestamp, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn commands_are_these_bytes() {
        check_put("test", 0.5, 1, "put test 0.5 1\n");
        check_put("load", 301.0, 3, "put load 301 3\n");
        check_put("k", -0.0, 0, "put k -0 0\n");
        check_put("k", 1e15, -5, "put k 1000000000000000 -5\n");
        check_put("k", 1e16, i64::MIN, "put k 1e16 -9223372036854775808\n");
        check_put("k", -2.5e-300, i64::MAX, "put k -2.5e-300 9223372036854775807\n");
        check_put("k", f64::NAN, 1, "put k nan 1\n");
        check_put("k", f64::INFINITY, 1, "put k inf 1\n");
        check_put("k", f64::NEG_INFINITY, 1, "put k -inf 1\n");
        check_put("ключ\"", 1.0, 1, "put ключ\" 1 1\n");
        let mut out = Vec::new();
        encode_get("*", &mut out).unwrap();
        encode_get("test", &mut out).unwrap();
        assert_eq!(out, b"get *\nget test\n");
    }

    #[track_caller]
    fn check_refused(key: &str, expected: KeyError) {
        let mut out = Vec::new();
        assert_eq!(encode_put(key, 1.0, 1, &mut out), Err(expected));
        if expected != KeyError::Star {
            assert_eq!(encode_get(key, &mut out), Err(expected));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn keys_that_would_break_the_command_are_refused() {
        check_refused("", KeyError::Empty);
        check_refused("a b", KeyError::WhiteSpace);
        check_refused("a\n", KeyError::WhiteSpace);
        check_refused("a\u{a0}b", KeyError::WhiteSpace);
        check_refused("a\0b", KeyError::Control);
        check_refused("a\u{7f}b", KeyError::Control);
        check_refused("*", KeyError::Star);
        check_refused(&"k".repeat(KEY_BYTES_MAX + 1), KeyError::TooLong);
    }

    proptest::proptest! {
        #[test]
        fn values_come_back_bit_for_bit(bits: u64) {
            let value = f64::from_bits(bits);
            let mut out = Vec::new();
            encode_value(value, &mut out);
            let text = String::from_utf8(out).unwrap();
            let back: f64 = text.parse().unwrap();
            proptest::prop_assert!(text.len() <= 24);
            proptest::prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }

        #[test]
        fn the_longest_put_fits_in_a_line_of_64_kib(bits: u64, timestamp: i64) {
            let mut out = Vec::new();
            encode_put(&"k".repeat(KEY_BYTES_MAX), f64::from_bits(bits), timestamp, &mut out).unwrap();
            proptest::prop_assert!(out.len() <= 64 * 1024);
        }
    }
}
