//! Bytes to lines. The same lines come out however the bytes were split.

use crate::limits::LINE_BYTES_MAX;

/// Room for the beginning of a line that is kept although most of it is empty.
const KEEP_BYTES: usize = 1024;

/// A line that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// As received, without its `\n`.
    Whole(&'a [u8]),
    /// It was not kept.
    Lost(Lost),
}

/// Why a line was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// With its `\n` it has more than [`LINE_BYTES_MAX`] bytes.
    TooLong,
    /// [`LineSplitter::give_up`] was called while it was received.
    NoRoom,
}

/// Cuts a stream of bytes into lines: [`push`](Self::push) what was received, then take
/// [`next_line`](Self::next_line) until there is none.
///
/// It holds what was pushed since then and at most one line that is not whole; when nothing waits
/// it holds no memory at all. Of a line that is lost nothing is held.
#[derive(Debug, Default)]
pub struct LineSplitter {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to here the next line is known to have no end.
    searched: usize,
    /// The next line is dropped up to its end.
    lost: Option<Lost>,
}

impl LineSplitter {
    /// One that has received nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = match self.lost {
            // The end of the lost line, if it is here, is found by `next_line`.
            Some(_) if self.buffer.is_empty() => match memchr::memchr(b'\n', bytes) {
                Some(end) => bytes.get(end..).unwrap_or_default(),
                None => return,
            },
            _ => bytes,
        };
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line; `None` when more bytes are needed.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', unsearched) else {
            self.keep_rest();
            return None;
        };
        let (start, end) = (self.start, self.searched + at);
        self.start = end + 1;
        self.searched = self.start;
        if let Some(lost) = self.lost.take() {
            return Some(Line::Lost(lost));
        }
        if end - start >= LINE_BYTES_MAX {
            return Some(Line::Lost(Lost::TooLong));
        }
        Some(Line::Whole(self.buffer.get(start..end).unwrap_or_default()))
    }

    /// The bytes that are held: lines that were not taken yet, and the beginning of one.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The beginning of the next line, as far as it was received and is held.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Drops the line that is being received, because there is no room for it; [`Lost::NoRoom`]
    /// stands in its place. Call it only when `next_line` gave `None`.
    pub fn give_up(&mut self) {
        if self.held() > 0 {
            self.lose(Lost::NoRoom);
        }
    }

    fn lose(&mut self, why: Lost) {
        *self = Self { lost: Some(why), ..Self::default() };
    }

    /// Nothing but the beginning of a line is left: keeps that, and no more memory than it needs.
    fn keep_rest(&mut self) {
        let rest = self.held();
        if let Some(lost) = self.lost {
            self.lose(lost);
        } else if rest >= LINE_BYTES_MAX {
            self.lose(Lost::TooLong);
        } else if rest == 0 {
            *self = Self::default();
        } else {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.searched = rest;
            if self.buffer.capacity() > KEEP_BYTES && rest <= self.buffer.capacity() / 4 {
                self.buffer.shrink_to(rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out, with long lines shortened to their length.
    fn taken(splitter: &mut LineSplitter) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = splitter.next_line() {
            lines.push(match line {
                Line::Whole(line) if line.len() > 100 => line.len().to_string(),
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::Lost(lost) => format!("{lost:?}"),
            });
        }
        lines
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str]) {
        let mut splitter = LineSplitter::new();
        splitter.push(bytes);
        assert_eq!(taken(&mut splitter), expected);
    }

    #[test]
    fn lines() {
        check(b"", &[]);
        check(b"a", &[]);
        check(b"a\n", &["a"]);
        check(b"\n\nput a 1 1\r\nge", &["", "", "put a 1 1\r"]);
    }

    #[test]
    fn the_longest_line_and_one_byte_more() {
        let longest = [vec![b'x'; LINE_BYTES_MAX - 1], b"\na\n".to_vec()].concat();
        check(&longest, &["65535", "a"]);
        let longer = [b"x", longest.as_slice()].concat();
        check(&longer, &["TooLong", "a"]);
    }

    #[test]
    fn a_line_without_an_end_is_not_held() {
        let mut splitter = LineSplitter::new();
        for _ in 0..100 {
            splitter.push(&[b'x'; 10_000]);
            assert!(taken(&mut splitter).is_empty());
            assert!(splitter.held() < LINE_BYTES_MAX && splitter.buffer.capacity() <= 2 * LINE_BYTES_MAX);
        }
        assert_eq!((splitter.held(), splitter.buffer.capacity()), (0, 0));
        splitter.push(b"yz\nb");
        splitter.push(b"c\n");
        assert_eq!(taken(&mut splitter), ["TooLong", "bc"]);
    }

    #[test]
    fn a_line_that_was_given_up_is_lost_alone() {
        let mut splitter = LineSplitter::new();
        splitter.push(b"a\nput x");
        assert_eq!(taken(&mut splitter), ["a"]);
        splitter.give_up();
        assert_eq!(splitter.held(), 0);
        splitter.push(b" 1 1");
        assert!(taken(&mut splitter).is_empty());
        splitter.push(b"\nb\n");
        assert_eq!(taken(&mut splitter), ["NoRoom", "b"]);
        // Between two lines nothing is lost.
        splitter.give_up();
        splitter.push(b"c\n");
        assert_eq!(taken(&mut splitter), ["c"]);
    }

    #[test]
    fn when_nothing_waits_no_memory_is_held_and_little_for_the_beginning_of_a_line() {
        let mut splitter = LineSplitter::new();
        splitter.push("put a 1 1\n".repeat(6_000).as_bytes());
        assert_eq!(taken(&mut splitter).len(), 6_000);
        assert_eq!(splitter.buffer.capacity(), 0);
        splitter.push(&["put a 1 1\n".repeat(6_000).as_bytes(), b"put"].concat());
        assert_eq!(taken(&mut splitter).len(), 6_000);
        assert!(splitter.buffer.capacity() < 100 && splitter.held() == 3);
    }

    /// A few short lines, or a part of a long one.
    fn part() -> impl Strategy<Value = String> {
        const LONG: [usize; 3] = [30_000, LINE_BYTES_MAX - 1, LINE_BYTES_MAX];
        prop_oneof![
            2 => "[a-c\n]{0,8}",
            1 => proptest::sample::select(&LONG).prop_map(|bytes| "x".repeat(bytes)),
        ]
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            parts in proptest::collection::vec(part(), 0..12),
            cuts in proptest::collection::vec(1_usize..40_000, 1..20),
        ) {
            let bytes = parts.concat().into_bytes();
            let mut whole = LineSplitter::new();
            whole.push(&bytes);
            let expected = taken(&mut whole);
            let mut splitter = LineSplitter::new();
            let (mut rest, mut got) = (bytes.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                splitter.push(piece);
                // Sometimes more comes before anybody looks.
                if cut % 3 > 0 {
                    got.extend(taken(&mut splitter));
                }
                rest = after;
            }
            got.extend(taken(&mut splitter));
            prop_assert_eq!(&got, &expected);
            let naive: Vec<&str> = std::str::from_utf8(&bytes).unwrap().split('\n').collect();
            prop_assert_eq!(got.len(), naive.len() - 1);
            for (line, text) in got.iter().zip(naive) {
                let whole = text.len() < LINE_BYTES_MAX;
                let is_right = if text.len() <= 100 { line == text } else { (line == "TooLong") != whole };
                prop_assert!(is_right, "{} bytes gave {}", text.len(), line);
            }
        }
    }
}
