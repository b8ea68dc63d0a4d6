//! Uploads: many points on their way at once.
//!
//! A server that syncs to disk before each `ok` answers one put at a time a few hundred times a
//! second, but thousands that came together at the cost of one. Reading and writing go on together, so
//! that a server which waits for its answers to be read and an uploader which waits for its points
//! to be taken never wait for each other.

use std::collections::VecDeque;
use std::time::Duration;

use security::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::command::encode_put;
use crate::connection::{PIECE_BYTES, Waiting, open};
use crate::error::ClientError;
use crate::reply::{Decoder, Event, Violation};
use crate::server::Server;

/// How much may be on its way unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Most points without an answer; at least 1, which is one command at a time.
    pub lines: usize,
    /// Most bytes without an answer; one point is always allowed.
    pub bytes: usize,
}

impl Default for Window {
    /// 10,000 points or 4 MiB: enough for a server to sync them together.
    fn default() -> Self {
        Self { lines: 10_000, bytes: 4 << 20 }
    }
}

/// The server answered one point with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which point: 0 is the first that was put into the pipeline.
    pub number: u64,
    /// What the server said.
    pub text: String,
}

/// Most refusals that are kept until they are taken; beyond that they are only counted.
const REFUSALS_MAX: usize = 10_000;

/// An upload to a server that answers each line by itself and in order.
///
/// **Only for such servers**; FleetGauge is one. Others take what comes in one segment for one
/// command. With a [`Window`] of one line there is never more than one on its way, and every server will
/// do.
///
/// Points are numbered from 0 as they are put; answers come in the same order. After any error but
/// [`ClientError::Key`] the pipeline is over: [`answered`](Self::answered) tells how far it came, and
/// whoever goes on puts the rest into a new one. Every call can be dropped while it waits; the next
/// goes on from there.
///
/// # Examples
/// ```
/// # mod line_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/line_server.rs")); }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), client::ClientError> {
/// # let address = line_server::start().to_string();
/// use std::time::Duration;
/// use client::{Pipeline, Window};
///
/// let mut upload = Pipeline::connect(&address, Duration::from_secs(5), Window::default()).await?;
/// for second in 0..5000 {
///     upload.put("huginn.cpu", 10.6, 1642667947 + second).await?;
/// }
/// upload.finish().await?;
/// assert_eq!(upload.answered(), 5000);
/// assert!(upload.take_refusals().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipeline {
    /// None once it is over.
    stream: Option<(ReadHalf<Stream>, WriteHalf<Stream>)>,
    timeout: Duration,
    window: Window,
    decoder: Decoder,
    piece: Box<[u8]>,
    /// Commands; what stands before `written` is with the system already.
    out: Vec<u8>,
    written: usize,
    /// The length of each command without an answer, and of all of them.
    unanswered: VecDeque<usize>,
    unanswered_bytes: usize,
    answered: u64,
    refused: u64,
    refusals: Vec<Refusal>,
}

impl Pipeline {
    /// Connects to a `host:port`, or to a [`Server`]. The timeout is for connecting, and later for each wait in which
    /// nothing moves.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(server: impl Into<Server>, timeout: Duration, window: Window) -> Result<Self, ClientError> {
        let stream = open(&server.into(), Waiting::begin(timeout)).await?;
        Ok(Self {
            stream: Some(tokio::io::split(stream)),
            timeout,
            window: Window { lines: window.lines.max(1), ..window },
            decoder: Decoder::new(),
            piece: vec![0; PIECE_BYTES].into(),
            out: Vec::new(),
            written: 0,
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            answered: 0,
            refused: 0,
            refusals: Vec::new(),
        })
    }

    /// Puts a point in line, and waits while the window is full. It may stay here until more come or
    /// one of the other calls sends it.
    ///
    /// # Errors
    /// [`ClientError::Key`] when it cannot be sent: then it has no number, and all else goes on. Any
    /// other ends the pipeline, and the point has no number either.
    pub async fn put(&mut self, key: &str, value: f64, timestamp: i64) -> Result<(), ClientError> {
        if self.unanswered.len() >= self.window.lines || self.unanswered_bytes >= self.window.bytes {
            // Half of it at once: a window that is refilled line by line is written line by line.
            let (lines, bytes) = (self.window.lines / 2, self.window.bytes / 2);
            self.drive(|now| now.unanswered.len() <= lines && now.unanswered_bytes <= bytes).await?;
        }
        if self.unwritten() >= PIECE_BYTES {
            self.drive(|now| now.unwritten() == 0).await?;
        }
        if self.stream.is_none() {
            return Err(ClientError::Lost(None));
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let before = self.out.len();
        encode_put(key, value, timestamp, &mut self.out)?;
        let length = self.out.len() - before;
        self.unanswered.push_back(length);
        self.unanswered_bytes += length;
        Ok(())
    }

    /// Sends what is still here, without waiting for answers.
    ///
    /// # Errors
    /// Any but [`ClientError::Error`], [`ClientError::Key`] and [`ClientError::TooMuch`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.drive(|now| now.unwritten() == 0).await
    }

    /// Sends what is still here and waits until one more point is answered; for as long as nothing
    /// is unanswered it does not wait.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn answer(&mut self) -> Result<(), ClientError> {
        let before = self.answered;
        self.drive(|now| now.answered > before || now.unanswered.is_empty()).await
    }

    /// Sends what is still here and waits for all answers.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        self.drive(|now| now.unanswered.is_empty()).await
    }

    /// How many points were answered, with `ok` or an error.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// How many points wait for their answer, or to be sent.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// How many points were answered with an error.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Are there refusals to be taken?
    #[must_use]
    pub fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// The refusals since this was last asked. Of more than 10,000 the first ones; all are counted
    /// in [`refused`](Self::refused).
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.refusals)
    }

    fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes and reads until something is so. Afterwards the pipeline is over if that failed.
    async fn drive(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), ClientError> {
        let mut waiting = Waiting::begin(self.timeout);
        while !is_done(self) {
            if let Err(error) = self.step(waiting).await {
                self.stream = None;
                return Err(error);
            }
            waiting.renew();
        }
        Ok(())
    }

    /// Waits until bytes went either way.
    async fn step(&mut self, waiting: Waiting) -> Result<(), ClientError> {
        let (reader, writer) = self.stream.as_mut().ok_or(ClientError::Lost(None))?;
        let rest = self.out.get(self.written..).unwrap_or_default();
        tokio::select! {
            read = reader.read(&mut self.piece) => {
                let length = read.map_err(|error| ClientError::Lost(Some(error)))?;
                if length == 0 {
                    return Err(ClientError::Lost(None));
                }
                self.decoder.feed(self.piece.get(..length).unwrap_or_default());
                self.take_answers()
            }
            written = writer.write(rest), if !rest.is_empty() => {
                self.written += written.map_err(|error| ClientError::Lost(Some(error)))?;
                Ok(())
            }
            () = tokio::time::sleep_until(waiting.deadline()) => Err(waiting.too_long()),
        }
    }

    fn take_answers(&mut self) -> Result<(), ClientError> {
        let unwritten = self.out.len() - self.written;
        while let Some(event) = self.decoder.next_event()? {
            if matches!(event, Event::Row(_)) {
                return Err(Violation::RowsForPut.into());
            }
            // Nothing can be answered that is not on its way as a whole.
            let length = self.unanswered.front().copied().unwrap_or(0);
            if length == 0 || self.unanswered_bytes - length < unwritten {
                return Err(Violation::Unasked.into());
            }
            if let Event::Error(text) = event {
                self.refused += 1;
                if self.refusals.len() < REFUSALS_MAX {
                    self.refusals.push(Refusal { number: self.answered, text: text.to_owned() });
                }
            }
            self.unanswered.pop_front();
            self.unanswered_bytes -= length;
            self.answered += 1;
        }
        Ok(())
    }
}
