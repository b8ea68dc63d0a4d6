//! Frames to lines and back. The decoder gives the same frames however the stream was split.

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Room that an idle decoder keeps; what a long line needed beyond it is given back.
const KEEP_BYTES: usize = 4 * 1024;

/// Why the bytes are no frames. After it the stream cannot be trusted any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No newline within the limit.
    #[error("a line is longer than {max} bytes")]
    LineTooLong {
        /// The limit, newline included.
        max: usize,
    },
    /// A line that is no frame.
    #[error("not a frame of this protocol: {what}, at column {column} of {start:?}")]
    BadFrame {
        /// What the JSON reader says.
        what: String,
        /// Where, counted in bytes from 1.
        column: usize,
        /// The first characters of the line.
        start: String,
    },
}

/// Cuts a stream of bytes into lines and reads each as a frame.
#[derive(Debug)]
pub struct LineDecoder {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no newline.
    searched: usize,
    max: usize,
    /// The most room that the buffer had since it was new. (`BytesMut` counts only what is left.)
    peak: usize,
}

impl LineDecoder {
    /// A decoder of lines of at most `max` bytes, newline included.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, max, peak: 0 }
    }

    /// Changes the longest line, for what follows.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Where received bytes go: append to it, then take frames until there is none.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that wait for the rest of their line.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole line as a frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the line is too long or no such frame. Do not call it again then.
    pub fn next_frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        self.peak = self.peak.max(self.buffer.capacity());
        let window = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', window) else {
            self.searched = self.buffer.len();
            if self.searched >= self.max {
                return Err(DecodeError::LineTooLong { max: self.max });
            }
            self.release();
            return Ok(None);
        };
        let end = self.searched + at;
        self.searched = 0;
        if end >= self.max {
            return Err(DecodeError::LineTooLong { max: self.max });
        }
        let line = self.buffer.get(..end).unwrap_or_default();
        let frame = serde_json::from_slice(line).map_err(|error| bad_frame(&error, line))?;
        self.buffer.advance(end + 1);
        Ok(Some(frame))
    }

    /// Gives back the room of a long line once nothing, or little, is left in it.
    fn release(&mut self) {
        if self.peak > KEEP_BYTES && self.buffer.len() <= self.peak / 4 {
            self.buffer = if self.buffer.is_empty() { BytesMut::new() } else { BytesMut::from(self.buffer.as_ref()) };
            self.peak = self.buffer.capacity();
        }
    }
}

fn bad_frame(error: &serde_json::Error, line: &[u8]) -> DecodeError {
    let text = error.to_string();
    // The reader quotes the line in part; a line break in it must not begin a line of somebody's log.
    let what = text.split(" at line ").next().unwrap_or_default().chars().take(200);
    let what = what.flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    let start = String::from_utf8_lossy(line.get(..line.len().min(80)).unwrap_or_default()).into_owned();
    DecodeError::BadFrame { what, column: error.column(), start }
}

/// Appends a frame and its newline.
///
/// # Panics
/// Never: these frames hold nothing that JSON cannot say, and a `Vec` takes all that is written.
pub fn encode<T: Serialize>(frame: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, frame).expect("frames are plain data and a Vec does not fail");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::*;
    use crate::limits::LINE_BYTES_MAX;
    use crate::{Labels, ToAggregator};

    fn frames() -> Vec<ToAggregator> {
        vec![
            ToAggregator::Hello(Hello {
                versions: (1, 1),
                features: vec![],
                agent: "huginn".into(),
                labels: Labels::of(&[("zone", "a\n\"b\\")]),
                info: Labels::default(),
                interval_ms: 5000,
                now_ms: 1_790_000_000_000,
                mono_ms: 7,
                session: "5f".into(),
                incarnation: 1,
                ephemeral: false,
                shown_elsewhere_ms: 0,
            }),
            ToAggregator::Push(Push {
                stream: Stream::Live,
                seq: 1,
                measured_ms: 1,
                now_ms: 2,
                mono_ms: 3,
                backlog_ms: 0,
                lost: Default::default(),
            }),
            ToAggregator::Values(Values { set: 1, offset: 0, values: crate::values::Vector(vec![0.5, f64::INFINITY]) }),
            ToAggregator::Failed(Failed { set: 2, reason: "ünreadable".into() }),
            ToAggregator::End(End { seq: 1 }),
            ToAggregator::Bye(Bye {}),
        ]
    }

    fn decode_in_pieces(bytes: &[u8], cuts: &[usize]) -> Vec<ToAggregator> {
        let mut decoder = LineDecoder::new(LINE_BYTES_MAX);
        let mut got = Vec::new();
        let mut at = 0;
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        for end in ends {
            decoder.buffer().extend_from_slice(&bytes[at..end]);
            at = end;
            while let Some(frame) = decoder.next_frame().unwrap() {
                got.push(frame);
            }
        }
        assert_eq!(decoder.pending(), 0);
        got
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(cuts in proptest::collection::vec(any::<usize>(), 0..40)) {
            let mut bytes = Vec::new();
            frames().iter().for_each(|frame| encode(frame, &mut bytes));
            prop_assert_eq!(decode_in_pieces(&bytes, &cuts), frames());
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = LineDecoder::new(100);
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(ToAggregator::Bye(_))) = decoder.next_frame() {}
        }
    }

    #[track_caller]
    fn check_error(bytes: &[u8], max: usize, expected: &str) {
        let mut decoder = LineDecoder::new(max);
        decoder.buffer().extend_from_slice(bytes);
        let error = decoder.next_frame::<ToAggregator>().expect_err("no frame");
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn errors_name_what_was_wrong() {
        check_error(b"GET / HTTP/1.1\r\n", 100, "expected value, at column 1 of \"GET / HTTP/1.1\\r\"");
        check_error(b"{\"hullo\":{}}\n", 100, "unknown variant `hullo`");
        check_error(b"{\"push\":{\"stream\":\"live\"}}\n", 100, "missing field `seq`");
        check_error(b"{\"end\":{\"seq\":-1}}\n", 100, "invalid value: integer `-1`");
        check_error(b"\xff\xfe\n", 100, "not a frame");
        check_error(b"{\"a\\nFAKE \\u001b[31m\":{}}\n", 100, "unknown variant `a\\nFAKE \\u{1b}[31m`");
        check_error(b"\n", 100, "EOF while parsing");
        check_error(&[b'x'; 100], 100, "longer than 100 bytes");
        check_error(&[[b' '; 100].as_slice(), b"\n"].concat(), 100, "longer than 100 bytes");
        check_error(&[[b'['; 5000].as_slice(), b"\n"].concat(), 60_000, "not a frame");
    }

    #[test]
    fn the_longest_line_is_the_limit_and_not_one_byte_more() {
        let mut decoder = LineDecoder::new(12);
        decoder.buffer().extend_from_slice(b"{\"bye\":{}} \n");
        assert!(matches!(decoder.next_frame(), Ok(Some(ToAggregator::Bye(_)))));
        decoder.buffer().extend_from_slice(b"{\"bye\":{}}  \n");
        assert_eq!(decoder.next_frame::<ToAggregator>(), Err(DecodeError::LineTooLong { max: 12 }));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let mut decoder = LineDecoder::new(100);
        decoder.buffer().extend_from_slice(b"{\"ping\":{\"id\":4,\"mood\":[1,{}]}}\n");
        assert_eq!(decoder.next_frame(), Ok(Some(ToAggregator::Ping(Ping { id: 4 }))));
    }

    #[test]
    fn a_long_line_leaves_no_room_behind() {
        let mut decoder = LineDecoder::new(LINE_BYTES_MAX);
        let mut line = b"{\"bye\":{}}".to_vec();
        line.resize(60_000, b' ');
        line.push(b'\n');
        decoder.buffer().extend_from_slice(&line);
        assert!(matches!(decoder.next_frame(), Ok(Some(ToAggregator::Bye(_)))));
        assert_eq!(decoder.next_frame::<ToAggregator>(), Ok(None));
        assert!(decoder.buffer().capacity() <= KEEP_BYTES);
        // Nor does it when the next line has begun already.
        line.extend_from_slice(b"{\"b");
        decoder.buffer().extend_from_slice(&line);
        assert!(matches!(decoder.next_frame(), Ok(Some(ToAggregator::Bye(_)))));
        assert_eq!(decoder.next_frame::<ToAggregator>(), Ok(None));
        assert!(decoder.buffer().capacity() <= KEEP_BYTES);
        decoder.buffer().extend_from_slice(b"ye\":{}}\n");
        assert!(matches!(decoder.next_frame(), Ok(Some(ToAggregator::Bye(_)))));
    }
}
