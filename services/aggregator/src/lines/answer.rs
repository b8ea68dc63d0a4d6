//! The answer to a `get`: read from the history in pieces, by threads that may wait for the disk,
//! and sent as fast as the client takes it.

use std::sync::Arc;

use protocol::lines::{END, Point, ROWS, write_error, write_row};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::wire::{OUT_BYTES_MAX, Wire};
use super::{Ended, Lines, STALL_MAX};
use crate::history::{self, History, Key, ReadError, Rows, What};
use crate::telemetry::LineError;

/// Answers one `get`.
pub(super) async fn answer<IO>(wire: &mut Wire<'_, IO>, lines: &Lines, what: What) -> Result<(), Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some(history) = lines.history().filter(|_| !wire.is_deaf()) else { return Ok(()) };
    let mut slot = None;
    let mut piece = loop {
        let (history, what) = (Arc::clone(history), what.clone());
        let piece = match read(lines, move || Reading::new(&history, what)).await {
            Ok(piece) => piece,
            Err(text) => return fail(wire, lines, LineError::Unreadable, &text).await,
        };
        if piece.is_last || slot.is_some() {
            break piece;
        }
        slot = lines.long_answers.try_take(wire.peer());
        if slot.is_some() {
            break piece;
        }
        // What waits for its turn holds nothing, and does not hold up the replies before it.
        drop(piece);
        wire.flush().await?;
        match timeout(STALL_MAX, lines.long_answers.take(wire.peer())).await {
            Ok(Some(turn)) => slot = Some(turn),
            _ => {
                return fail(wire, lines, LineError::Busy, "too many long answers are under way, ask again later")
                    .await;
            }
        }
    };
    if !piece.is_last {
        wire.begin_long();
    }
    loop {
        wire.queue(&piece.text).await?;
        if piece.is_last || wire.is_deaf() {
            // Its end is sent before its turn is over.
            return if slot.is_some() { wire.end_long().await } else { Ok(()) };
        }
        piece = match read(lines, move || piece.reading).await {
            Ok(piece) => piece,
            Err(error) => {
                // An empty line now would make it look whole.
                lines.telemetry().error(LineError::Unreadable);
                if lines.shared.may_warn() {
                    tracing::warn!(%error, "the rest of an answer cannot be read, its connection is closed");
                }
                return Err(Ended::Unfinished);
            }
        };
    }
}

async fn fail<IO>(wire: &mut Wire<'_, IO>, lines: &Lines, error: LineError, text: &str) -> Result<(), Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    lines.telemetry().error(error);
    let mut reply = Vec::new();
    write_error(&mut reply, text);
    wire.queue(&reply).await
}

/// A part of an answer, some 64 KiB of it at most.
#[derive(Debug)]
struct Piece {
    reading: Reading,
    text: Vec<u8>,
    is_last: bool,
}

/// Reads and writes the next piece.
async fn read(lines: &Lines, reading: impl FnOnce() -> Reading + Send + 'static) -> Result<Piece, String> {
    // An error would mean that it was closed, which nobody does.
    let _permit = Arc::clone(&lines.readers).acquire_owned().await;
    let read = tokio::task::spawn_blocking(move || {
        let (mut reading, mut text) = (reading(), Vec::new());
        let is_last = reading.write(&mut text).map_err(|error| error.to_string())?;
        Ok(Piece { reading, text, is_last })
    });
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// How far an answer was read, and how far of that it was written.
#[derive(Debug)]
struct Reading {
    rows: Rows,
    is_begun: bool,
    /// Whose points these are.
    key: Option<Arc<Key>>,
    points: Vec<history::Point>,
    written: usize,
}

impl Reading {
    fn new(history: &Arc<History>, what: What) -> Self {
        let rows = history.rows(what, i64::MIN..=i64::MAX);
        Self { rows, is_begun: false, key: None, points: Vec::new(), written: 0 }
    }

    /// Appends rows up to the size of a piece; true: the answer is whole now.
    fn write(&mut self, text: &mut Vec<u8>) -> Result<bool, ReadError> {
        if !std::mem::replace(&mut self.is_begun, true) {
            text.extend_from_slice(ROWS);
        }
        loop {
            let points = self.points.get(self.written..).unwrap_or_default();
            if let Some(key) = &self.key {
                for point in points {
                    if text.len() >= OUT_BYTES_MAX {
                        return Ok(false);
                    }
                    write_row(text, &key.text, Point { ts: point.ts, value: point.value });
                    self.written += 1;
                }
            }
            self.written = 0;
            self.key = self.rows.next_piece(&mut self.points)?;
            if self.key.is_none() {
                text.extend_from_slice(END);
                return Ok(true);
            }
        }
    }
}
