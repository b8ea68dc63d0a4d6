//! The line protocol: numbers stored and read back with one line of text, as bytes.
//!
//! The second part of `docs/protocol.md` is the normative text. A request is a line, and each line
//! that is not empty gets one reply, which ends with an empty line. [`splitter`] cuts what was
//! received into lines, [`command`] reads one, [`reply`] writes the answer, and [`number`] a value.
//!
//! Nothing here knows where points are kept, and nothing here waits.

pub mod command;
pub mod number;
pub mod reply;
pub mod splitter;

pub use command::{Command, WrongCommand, is_key, parse, shown_token};
pub use number::write_value;
pub use reply::{END, OK, ROWS, WRONG_COMMAND, write_error, write_row};
pub use splitter::{Line, LineSplitter, Lost};

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Unix time in seconds; any, also before 1970 and far in the future.
    pub ts: i64,
    /// The value; NaN and both infinities are values too.
    pub value: f64,
}
