//! Replies as bytes: what a server says, in pieces cut anywhere, becomes rows, ends and errors.
//!
//! Pure: nothing here waits, opens a socket or keeps more than one row. A reply begins with a line
//! `ok`, after which come rows, or `error`, after which comes any text; an empty line ends it. More
//! empty lines behind it are skipped, since some servers send one too many.

/// The longest row. A line that puts is 64 KiB at most, and a server may spell its value and
/// timestamp longer than they came.
pub const ROW_BYTES_MAX: usize = 128 * 1024;

/// The longest text behind `error`, of all its lines together.
pub const ERROR_BYTES_MAX: usize = 4 * 1024;

/// One number with its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Unix seconds.
    pub timestamp: i64,
    /// May be NaN or infinite.
    pub value: f64,
}

/// One row of an answer, as the server sent it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// What the point was put under.
    pub key: &'a str,
    /// The point.
    pub point: Point,
    /// The whole row, without its newline and white space at its ends.
    pub text: &'a str,
}

/// What was read next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// One point of a reply that began with `ok`.
    Row(Row<'a>),
    /// The end of a reply that began with `ok`.
    End,
    /// A whole reply that began with `error`, with the text between that and the empty line.
    Error(&'a str),
}

/// How a server broke the protocol. The stream cannot be read any further after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The first line of a reply is neither `ok` nor `error`.
    #[error("its reply begins with {0:?}, neither \"ok\" nor \"error\"")]
    Status(String),
    /// A row is not a key, a number and whole seconds.
    #[error("its row {0:?} is not a key, a number and a timestamp in whole seconds")]
    Row(String),
    /// A row has no end within [`ROW_BYTES_MAX`].
    #[error("a line of its reply is longer than {ROW_BYTES_MAX} bytes")]
    LineTooLong,
    /// An error's text has no end within [`ERROR_BYTES_MAX`].
    #[error("the text of its error is longer than {ERROR_BYTES_MAX} bytes")]
    ErrorTooLong,
    /// Rows where there can be none: in the reply to a `put`.
    #[error("it answered a put with rows")]
    RowsForPut,
    /// Something came behind the end of a reply, though nothing had been asked.
    #[error("it went on after the end of its reply")]
    Unasked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Status,
    Rows,
    ErrorText,
}

/// Reads replies, one after the other, from bytes that come in any pieces.
///
/// Keeps what was fed and not read yet: call [`Decoder::next_event`] until it gives `None` before
/// feeding more, then that is never more than one piece and a row.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Up to here the buffer was read.
    read: usize,
    /// Up to here it was searched for a newline.
    searched: usize,
    state: State,
    text: String,
    broken: Option<Violation>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the beginning of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: Vec::new(), read: 0, searched: 0, state: State::Status, text: String::new(), broken: None }
    }

    /// Takes what came from the server.
    pub fn feed(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Is there nothing left but what may stand between two replies?
    #[must_use]
    pub fn is_between_replies(&self) -> bool {
        let rest = self.buffer.get(self.read..).unwrap_or_default();
        self.state == State::Status && self.broken.is_none() && rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// The next thing that is whole; `None`: more bytes are needed.
    ///
    /// # Errors
    /// When the server broke the protocol; from then on always the same.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, Violation> {
        if let Some(violation) = &self.broken {
            return Err(violation.clone());
        }
        // Decided with ranges first: what is given away borrows from the buffer.
        match self.step() {
            Ok(None) => Ok(None),
            Ok(Some(Step::End)) => Ok(Some(Event::End)),
            Ok(Some(Step::Error)) => Ok(Some(Event::Error(&self.text))),
            Ok(Some(Step::Row { line })) => {
                let line = self.buffer.get(line).unwrap_or_default();
                match parse_row(line) {
                    Some(row) => Ok(Some(Event::Row(row))),
                    None => {
                        let violation = Violation::Row(excerpt(line));
                        self.broken = Some(violation.clone());
                        Err(violation)
                    }
                }
            }
            Err(violation) => {
                self.broken = Some(violation.clone());
                Err(violation)
            }
        }
    }

    fn step(&mut self) -> Result<Option<Step>, Violation> {
        while let Some(range) = self.next_line()? {
            let line = self.buffer.get(range.clone()).unwrap_or_default();
            let is_empty = line.is_empty();
            match self.state {
                State::Status if is_empty => {}
                State::Status => match line.trim_ascii_end() {
                    b"ok" => self.state = State::Rows,
                    b"error" => {
                        self.text.clear();
                        self.state = State::ErrorText;
                    }
                    _ => return Err(Violation::Status(excerpt(line))),
                },
                State::Rows | State::ErrorText if is_empty => {
                    let is_error = self.state == State::ErrorText;
                    self.state = State::Status;
                    return Ok(Some(if is_error { Step::Error } else { Step::End }));
                }
                State::Rows => return Ok(Some(Step::Row { line: range })),
                State::ErrorText => {
                    let gap = usize::from(!self.text.is_empty());
                    if self.text.len() + gap + line.len() > ERROR_BYTES_MAX {
                        return Err(Violation::ErrorTooLong);
                    }
                    if gap == 1 {
                        self.text.push('\n');
                    }
                    self.text.push_str(&String::from_utf8_lossy(line));
                }
            }
        }
        Ok(None)
    }

    /// Where the next line stands, without its newline; a carriage return before that belongs to it.
    fn next_line(&mut self) -> Result<Option<std::ops::Range<usize>>, Violation> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(length) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            self.check_length(self.searched - self.read)?;
            return Ok(None);
        };
        let newline = self.searched + length;
        let line = self.read..newline;
        self.read = newline + 1;
        self.searched = self.read;
        self.check_length(line.len())?;
        let ends_with_return = self.buffer.get(line.clone()).is_some_and(|line| line.ends_with(b"\r"));
        Ok(Some(line.start..line.end - usize::from(ends_with_return)))
    }

    /// The same for a line that is whole and for one that is not, so that no cut makes a difference.
    fn check_length(&self, bytes: usize) -> Result<(), Violation> {
        match self.state {
            State::ErrorText if bytes > ERROR_BYTES_MAX => Err(Violation::ErrorTooLong),
            _ if bytes > ROW_BYTES_MAX => Err(Violation::LineTooLong),
            _ => Ok(()),
        }
    }
}

enum Step {
    Row { line: std::ops::Range<usize> },
    End,
    Error,
}

fn parse_row(line: &[u8]) -> Option<Row<'_>> {
    let text = std::str::from_utf8(line).ok()?.trim_ascii();
    let mut words = text.split_ascii_whitespace();
    let (key, value, timestamp) = (words.next()?, words.next()?, words.next()?);
    let point = Point { timestamp: timestamp.parse().ok()?, value: value.parse().ok()? };
    words.next().is_none().then_some(Row { key, point, text })
}

/// The beginning of a line, for an error message.
fn excerpt(line: &[u8]) -> String {
    const BYTES_MAX: usize = 80;
    let start = line.get(..BYTES_MAX).unwrap_or(line);
    let mut text = String::from_utf8_lossy(start).into_owned();
    if line.len() > BYTES_MAX {
        text.push('…');
    }
    text
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
