//! Replies. Each ends with an empty line; a client reads until the first one.

use super::Point;
use super::number::{VALUE_BYTES_MAX, write_value};

/// Done: the answer to a `put`, and to a `get` that found nothing.
pub const OK: &[u8] = b"ok\n\n";
/// What stands before the rows of an answer to a `get`; [`END`] stands after them.
pub const ROWS: &[u8] = b"ok\n";
/// The empty line at the end of rows.
pub const END: &[u8] = b"\n";
/// The answer to a line that is no command.
pub const WRONG_COMMAND: &[u8] = b"error\nwrong command\n\n";

/// The most bytes that a row takes beside its key: two spaces, a value, a time, a newline.
pub const ROW_BYTES_MAX: usize = 3 + VALUE_BYTES_MAX + 20;

/// Appends an error with this text. It becomes one line: a line break in it would end the reply
/// before its time.
pub fn write_error(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"error\n");
    out.extend(text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
    out.extend_from_slice(b"\n\n");
}

/// Appends one row: key, value, time.
pub fn write_row(out: &mut Vec<u8>, key: &str, point: Point) {
    out.reserve(key.len() + ROW_BYTES_MAX);
    out.extend_from_slice(key.as_bytes());
    out.push(b' ');
    write_value(out, point.value);
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(point.ts).as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row() {
        let mut out = Vec::new();
        write_row(&mut out, "test_key", Point { ts: 1_503_319_740, value: 12.0 });
        assert_eq!(out, b"test_key 12.0 1503319740\n");
    }

    #[test]
    fn the_longest_row() {
        let mut out = Vec::new();
        write_row(&mut out, "", Point { ts: i64::MIN, value: -f64::MIN_POSITIVE });
        assert_eq!(out, b" -2.2250738585072014e-308 -9223372036854775808\n");
        assert_eq!(out.len(), ROW_BYTES_MAX);
    }

    #[test]
    fn an_error_is_one_line_of_text_and_an_empty_one() {
        let mut out = Vec::new();
        write_error(&mut out, "no room:\n\nthe disk is full\r\n");
        assert_eq!(out, b"error\nno room:  the disk is full  \n\n");
    }
}
