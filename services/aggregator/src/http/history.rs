//! `/api/v1/history` and `/api/v1/keys`: the history as JSON, sent while it is read.
//!
//! What is asked for is in `query`, how it is written in `text`. Here is how it is sent: a piece is
//! read on a thread that may block, a few at a time over all readers, and the next one when the
//! client has taken it. So a slow client keeps no thread, and no page waits for a long answer.

mod query;
mod text;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use warp::http::{StatusCode, header as name};
use warp::reply::Response as Reply;
use warp::{Filter, Rejection, Reply as _};

use self::text::{KeysText, SeriesText};
use super::crowd::Busy;
use super::{Context, Slots, sentence};
use crate::history::{History, ReadError};
use crate::telemetry::Telemetry;

/// Answers that are sent at the same time.
const READERS_MAX: usize = 8;
/// Pieces that are read at the same time: half of the threads that write pages.
const READS_MAX: usize = 2;
/// How long an answer may take, from the request to the last byte.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// Who reads the history.
#[derive(Debug)]
pub(super) struct Readers {
    slots: Slots,
    reads: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { slots: Slots::new(READERS_MAX), reads: Arc::new(Semaphore::new(READS_MAX)) }
    }
}

/// An answer that is made piece by piece.
trait Pieces: Send + Sync + 'static {
    /// Writes the next piece, or nothing if that would take too long; false: that was the last one.
    /// May wait for the disk.
    /// `out` is empty.
    fn next_piece(&mut self, out: &mut Vec<u8>) -> Result<bool, ReadError>;
}

/// Why an answer is not sent whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Aborted {
    /// The reader, or the disk, took too long for all of it.
    #[error("it took longer than {ANSWER_WITHIN:?}")]
    TooSlow,
    /// The history could not be read on.
    #[error("{0}")]
    Failed(String),
}

/// Both routes.
pub(super) fn routes(
    context: impl Filter<Extract = (Arc<Context>,), Error = Infallible> + Clone + Send + Sync,
    busy: impl Filter<Extract = (Busy,), Error = Infallible> + Clone + Send + Sync,
) -> impl Filter<Extract = (Reply,), Error = Rejection> + Clone + Send + Sync {
    let query = || warp::get().and(warp::query::<Vec<(String, String)>>()).and(context.clone()).and(busy.clone());
    let history = warp::path!("api" / "v1" / "history").and(query()).then(history);
    let keys = warp::path!("api" / "v1" / "keys").and(query()).then(keys);
    history.or(keys).unify()
}

/// `GET /api/v1/history`.
async fn history(query: Vec<(String, String)>, context: Arc<Context>, busy: Busy) -> Reply {
    let reply = match query::series(query) {
        Ok(asked) => answer(&context, busy, |history| SeriesText::new(history, asked)).await,
        Err(text) => sentence(StatusCode::BAD_REQUEST, &text),
    };
    context.answered("/api/v1/history", reply)
}

/// `GET /api/v1/keys`.
async fn keys(query: Vec<(String, String)>, context: Arc<Context>, busy: Busy) -> Reply {
    let reply = match query::keys(query) {
        Ok(prefix) => answer(&context, busy, |history| KeysText::new(history, prefix)).await,
        Err(text) => sentence(StatusCode::BAD_REQUEST, &text),
    };
    context.answered("/api/v1/keys", reply)
}

async fn answer<P: Pieces>(context: &Context, busy: Busy, pieces: impl FnOnce(Arc<History>) -> P) -> Reply {
    let Some(history) = context.shared.history.clone() else {
        let text = "nothing is kept here: FLEETGAUGE_DATA_DIR of the aggregator is not set";
        return sentence(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let telemetry = &context.shared.telemetry;
    let readers = &context.readers;
    let Some(slot) = readers.slots.take().await else {
        telemetry.history.read_aborted("busy");
        let text = format!("{} answers are being sent already", readers.slots.max);
        let mut reply = sentence(StatusCode::SERVICE_UNAVAILABLE, &text);
        reply.headers_mut().insert(name::RETRY_AFTER, name::HeaderValue::from_static("1"));
        return reply;
    };
    let mut reading = Reading {
        pieces: Some(pieces(history)),
        reads: Arc::clone(&readers.reads),
        until: Instant::now() + ANSWER_WITHIN,
        counted: Counted { telemetry: Arc::clone(telemetry), aborted: Some("client") },
        _held: (slot, busy),
    };
    // What cannot be read at all is said in a sentence; later there is only the cut.
    match reading.next().await {
        Err(aborted) => sentence(StatusCode::SERVICE_UNAVAILABLE, &aborted.to_string()),
        Ok(first) => {
            let body = warp::reply::stream(reading.after(first));
            warp::reply::with_header(body, name::CONTENT_TYPE, "application/json").into_response()
        }
    }
}

/// An answer that is being sent.
struct Reading<P> {
    /// `None`: all are made.
    pieces: Option<P>,
    reads: Arc<Semaphore>,
    until: Instant,
    counted: Counted,
    _held: (OwnedSemaphorePermit, Busy),
}

impl<P: Pieces> Reading<P> {
    /// The next piece; empty at the end.
    async fn next(&mut self) -> Result<Bytes, Aborted> {
        while let Some(pieces) = self.pieces.take() {
            let piece = timeout_at(self.until, read(pieces, Arc::clone(&self.reads))).await;
            let (pieces, piece) = piece.unwrap_or(Err(Aborted::TooSlow)).inspect_err(|aborted| {
                self.counted.aborted = Some(if *aborted == Aborted::TooSlow { "slow" } else { "failed" });
            })?;
            self.pieces = pieces;
            if !piece.is_empty() {
                return Ok(piece);
            }
        }
        self.counted.aborted = None;
        Ok(Bytes::new())
    }

    /// This piece, and all that follow it.
    fn after(self, first: Bytes) -> impl Stream<Item = Result<Bytes, Aborted>> + Send + Sync + 'static {
        stream::unfold(Some((self, Some(first))), |state| async move {
            let (mut reading, first) = state?;
            let piece = match first {
                Some(first) => Ok(first),
                None => reading.next().await,
            };
            match piece {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => Some((Ok(piece), Some((reading, None)))),
                Err(aborted) => Some((Err(aborted), None)),
            }
        })
    }
}

/// Makes one piece; gives what makes the next one, if there is one.
async fn read<P: Pieces>(mut pieces: P, reads: Arc<Semaphore>) -> Result<(Option<P>, Bytes), Aborted> {
    let turn = reads.acquire_owned().await.map_err(|_| Aborted::TooSlow)?;
    let piece = tokio::task::spawn_blocking(move || {
        // Kept until the thread is free again, whether or not somebody still waits for the piece.
        let _turn = turn;
        let mut out = Vec::new();
        let goes_on = pieces.next_piece(&mut out)?;
        Ok::<_, ReadError>((goes_on.then_some(pieces), Bytes::from(out)))
    });
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "an answer from the history was cut off");
        Aborted::Failed(error.to_string())
    };
    match piece.await {
        Ok(piece) => piece.map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Counts an answer that is not sent whole.
struct Counted {
    telemetry: Arc<Telemetry>,
    /// Why it would be counted if it ended now.
    aborted: Option<&'static str>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(reason) = self.aborted {
            self.telemetry.history.read_aborted(reason);
        }
    }
}

#[cfg(test)]
mod tests;
