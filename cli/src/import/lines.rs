//! Lines of `key value timestamp`, from bytes to points. Reading is bounded: a line that is too long
//! is a wrong line, not memory.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use crate::span;

/// The longest line; a key and two numbers fit in the 64 KiB that servers take.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// One line that says something.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Where the next line begins, in bytes from the beginning of the file.
    pub(crate) end: u64,
    /// The point, or what is wrong with the line.
    pub(crate) point: Result<Point, String>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) key: String,
    pub(crate) value: f64,
    pub(crate) timestamp: i64,
}

/// Where in a file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Bytes from the beginning.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) lines: u64,
}

/// The latest Unix second that a point may have. Asked anew for each: a stream may go on for days.
pub(crate) type Latest = fn() -> i64;

/// Reads lines from a place on.
pub(crate) struct Lines<R> {
    reader: R,
    latest: Latest,
    place: Place,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, place: Place, latest: Latest) -> Self {
        Self { reader, latest, place, line: Vec::new() }
    }

    /// Where the next line begins.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    /// The next line: `None` at the end, `Some(None)` for one that says nothing.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Option<Line>>> {
        self.line.clear();
        let mut length = 0_u64;
        let mut is_whole = false;
        while !is_whole {
            let piece = match self.reader.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if piece.is_empty() {
                break;
            }
            let newline = piece.iter().position(|byte| *byte == b'\n');
            is_whole = newline.is_some();
            let taken = newline.map_or(piece.len(), |newline| newline + 1);
            // One byte more than a line may have shows that it is too long.
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend(piece.iter().take(newline.unwrap_or(taken)).take(room));
            length += taken as u64;
            self.reader.consume(taken);
        }
        if length == 0 {
            return Ok(None);
        }
        self.place = Place { offset: self.place.offset + length, lines: self.place.lines + 1 };
        let point = if self.line.len() > LINE_BYTES_MAX {
            Some(Err(format!("the line is longer than {LINE_BYTES_MAX} bytes")))
        } else {
            parse(&self.line, self.latest)
        };
        Ok(Some(point.map(|point| Line { number: self.place.lines, end: self.place.offset, point })))
    }
}

/// What a line says; `None`: nothing, it is empty or a comment.
fn parse(line: &[u8], latest: Latest) -> Option<Result<Point, String>> {
    if line.starts_with(b"#") || line.trim_ascii().is_empty() {
        return None;
    }
    Some(parse_point(line, latest))
}

fn parse_point(line: &[u8], latest: Latest) -> Result<Point, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
    let mut words = text.split_ascii_whitespace();
    let (Some(key), Some(value), Some(timestamp), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(format!("{:?} is not a key, a value and a timestamp", excerpt(text.trim())));
    };
    client::check_put_key(key).map_err(|error| error.to_string())?;
    let value = value.parse().map_err(|_| format!("the value {:?} is not a number", excerpt(value)))?;
    let Some(timestamp) = span::absolute(timestamp) else {
        let timestamp = excerpt(timestamp);
        return Err(format!(
            "the timestamp {timestamp:?} is neither Unix seconds nor a time such as 2026-01-31T10:00:00Z"
        ));
    };
    span::check_not_ahead(timestamp, latest())?;
    Ok(Point { key: key.to_owned(), value, timestamp })
}

fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// What is read, with buffers of some size, as words.
    fn read(text: &[u8], buffer: usize) -> Vec<String> {
        let mut lines =
            Lines::new(BufReader::with_capacity(buffer, text), Place { offset: 100, lines: 10 }, || 1_000_000);
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            let Some(line) = line else { continue };
            let what = match line.point {
                Ok(point) => format!("{} {:?} {}", point.key, point.value, point.timestamp),
                Err(why) => why,
            };
            said.push(format!("{}@{}: {what}", line.number, line.end));
        }
        assert_eq!(lines.place().offset, 100 + text.len() as u64);
        said
    }

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, expected: &[&str]) {
        for buffer in [1, 7, 100_000] {
            assert_eq!(read(text.as_ref(), buffer), expected);
        }
    }

    #[test]
    fn lines() {
        check("", &[]);
        check("k 1 5\n", &["11@106: k 1.0 5"]);
        check("k 1 5", &["11@105: k 1.0 5"]);
        check("k 1 1970-01-01T00:00:05Z\n", &["11@125: k 1.0 5"]);
        check("# a comment\n\n \t \nk 1 5\r\n\tm  -inf -7 \n", &["14@124: k 1.0 5", "15@137: m -inf -7"]);
        check("#k 1 5\n #k 1 5\n", &["12@115: #k 1.0 5"]);
    }

    #[test]
    fn wrong_lines() {
        check("k 1\n", &["11@104: \"k 1\" is not a key, a value and a timestamp"]);
        check("k 1 5 6\n", &["11@108: \"k 1 5 6\" is not a key, a value and a timestamp"]);
        check("k one 5\n", &["11@108: the value \"one\" is not a number"]);
        check(
            "k 1 5.5\nk 1 6\n",
            &[
                "11@108: the timestamp \"5.5\" is neither Unix seconds nor a time such as 2026-01-31T10:00:00Z",
                "12@114: k 1.0 6",
            ],
        );
        check(
            "k 1 1000001\nk 1 1000000\n",
            &[
                "11@112: the timestamp 1000001 is more than a day ahead; --allow-future stores it all the same",
                "12@124: k 1.0 1000000",
            ],
        );
        check("* 1 5\n", &["11@106: a key cannot be called \"*\", which stands for all keys"]);
        check(b"\xff 1 5\n", &["11@106: the line is not UTF-8"]);
    }

    #[test]
    fn long_lines_are_wrong_and_the_next_is_right() {
        let long = "k".repeat(3 * LINE_BYTES_MAX);
        check(format!("{long}\nk 1 5\n"), &["11@196709: the line is longer than 65536 bytes", "12@196715: k 1.0 5"]);
        let words = "k ".repeat(100);
        let expected = format!("11@301: \"{}…\" is not a key, a value and a timestamp", "k ".repeat(30));
        check(format!("{words}\n"), &[&expected]);
    }
}
