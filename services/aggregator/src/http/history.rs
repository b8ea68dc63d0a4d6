//! `/api/v1/history` and `/api/v1/keys`: the history as JSON, sent while it is read.
//!
//! What is asked for is in `query`, how it is written in `text`. Here is how it is sent: a piece is
//! read on a thread that may block, a few at a time over all readers, and the next one when the
//! client has taken it. So a slow client keeps no thread, and no page waits for a long answer.

mod pace;
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

use self::pace::Pace;
use self::query::Which;
use self::text::{KeysText, SeriesText};
use super::crowd::Busy;
use super::{Context, Slots, sentence};
use crate::history::{History, ReadError};
use crate::telemetry::Telemetry;

/// Long answers about one key that are sent at the same time.
const KEY_READERS_MAX: usize = 16;
/// The same, about all keys that begin so: they hold a list of keys.
const READERS_MAX: usize = 8;
/// Answers whose first piece is awaited at the same time. It may bring a list of all keys.
const STARTING_MAX: usize = 16;
/// Pieces that are read at the same time: half of the threads that write pages.
const READS_MAX: usize = 2;
/// How long an answer may take, from the request to the last byte.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// Who reads the history.
#[derive(Debug)]
pub(super) struct Readers {
    starting: Slots,
    /// For long answers.
    key_slots: Slots,
    slots: Slots,
    reads: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new() -> Self {
        let [starting, key_slots, slots] = [STARTING_MAX, KEY_READERS_MAX, READERS_MAX].map(Slots::new);
        Self { starting, key_slots, slots, reads: Arc::new(Semaphore::new(READS_MAX)) }
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
    /// The reader takes it too slowly.
    #[error("the reader took less than 1 MiB in 30 s")]
    SlowReader,
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
        Ok(asked) => {
            let Readers { key_slots, slots, .. } = &context.readers;
            let slots = if matches!(asked.which, Which::Key(_)) { key_slots } else { slots };
            answer(&context, busy, slots, |history| SeriesText::new(history, asked.clone())).await
        }
        Err(text) => sentence(StatusCode::BAD_REQUEST, &text),
    };
    context.answered("/api/v1/history", reply)
}

/// `GET /api/v1/keys`.
async fn keys(query: Vec<(String, String)>, context: Arc<Context>, busy: Busy) -> Reply {
    let reply = match query::keys(query) {
        Ok(prefix) => {
            let slots = &context.readers.slots;
            answer(&context, busy, slots, |history| KeysText::new(history, prefix.clone())).await
        }
        Err(text) => sentence(StatusCode::BAD_REQUEST, &text),
    };
    context.answered("/api/v1/keys", reply)
}

/// Sends what these pieces make. An answer of one piece takes no slot: nobody who reads a long one
/// slowly keeps those out.
async fn answer<P: Pieces>(context: &Context, busy: Busy, slots: &Slots, pieces: impl Fn(Arc<History>) -> P) -> Reply {
    let Some(history) = &context.shared.history else {
        let text = "nothing is kept here: FLEETGAUGE_DATA_DIR of the aggregator is not set";
        return sentence(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    match begin(context, slots, || pieces(Arc::clone(history))).await {
        Ok((first, reading, slot)) => {
            let body = warp::reply::stream(reading.after(first, (slot, busy)));
            warp::reply::with_header(body, name::CONTENT_TYPE, "application/json").into_response()
        }
        Err(Refused::Busy(max)) => {
            context.shared.telemetry.history.read_aborted("busy");
            let text = format!("{max} answers are being made already");
            let mut reply = sentence(StatusCode::SERVICE_UNAVAILABLE, &text);
            reply.headers_mut().insert(name::RETRY_AFTER, name::HeaderValue::from_static("1"));
            reply
        }
        // What cannot be read at all is said in a sentence; later there is only the cut.
        Err(Refused::Aborted(aborted)) => sentence(StatusCode::SERVICE_UNAVAILABLE, &aborted.to_string()),
    }
}

/// Why nothing of an answer is sent.
enum Refused {
    /// So many others are.
    Busy(usize),
    Aborted(Aborted),
}

/// The first piece, what makes the others, and the slot that a long answer has.
async fn begin<P: Pieces>(
    context: &Context,
    slots: &Slots,
    pieces: impl Fn() -> P,
) -> Result<(Bytes, Reading<P>, Option<OwnedSemaphorePermit>), Refused> {
    let readers = &context.readers;
    let until = Instant::now() + ANSWER_WITHIN;
    let start = || Reading {
        pieces: Some(pieces()),
        reads: Arc::clone(&readers.reads),
        until,
        pace: Pace::default(),
        counted: Counted { telemetry: Arc::clone(&context.shared.telemetry), aborted: Some("client") },
    };
    let starting = readers.starting.take().await.ok_or(Refused::Busy(readers.starting.max))?;
    let mut reading = start();
    let mut first = reading.piece().await.map_err(Refused::Aborted)?;
    drop(starting);
    if reading.pieces.is_none() {
        return Ok((first, reading, None));
    }
    let slot = match Arc::clone(&slots.free).try_acquire_owned() {
        Ok(slot) => slot,
        Err(_) => {
            // What waits for its turn holds nothing, and begins anew.
            reading.counted.aborted = None;
            drop((reading, first));
            let slot = slots.take().await.ok_or(Refused::Busy(slots.max))?;
            (reading, first) = (start(), Bytes::new());
            slot
        }
    };
    if first.is_empty() {
        first = reading.next().await.map_err(Refused::Aborted)?;
    }
    Ok((first, reading, Some(slot)))
}

/// An answer that is being sent.
struct Reading<P> {
    /// `None`: all are made.
    pieces: Option<P>,
    reads: Arc<Semaphore>,
    until: Instant,
    pace: Pace,
    counted: Counted,
}

impl<P: Pieces> Reading<P> {
    /// The next piece, which is empty if nothing was found in the time for it.
    async fn piece(&mut self) -> Result<Bytes, Aborted> {
        let Some(pieces) = self.pieces.take() else { return Ok(Bytes::new()) };
        let piece = timeout_at(self.until, read(pieces, Arc::clone(&self.reads))).await;
        let (pieces, piece) = piece.unwrap_or(Err(Aborted::TooSlow)).inspect_err(|aborted| {
            self.counted.aborted = Some(if *aborted == Aborted::TooSlow { "slow" } else { "failed" });
        })?;
        self.pieces = pieces;
        Ok(piece)
    }

    /// The next piece that is not empty; empty at the end.
    async fn next(&mut self) -> Result<Bytes, Aborted> {
        while self.pieces.is_some() {
            let piece = self.piece().await?;
            if !piece.is_empty() {
                return Ok(piece);
            }
        }
        self.counted.aborted = None;
        Ok(Bytes::new())
    }

    /// The piece after one that was given at this time.
    async fn next_after(&mut self, given: Given) -> Result<Bytes, Aborted> {
        if !self.pace.keeps_up(given.bytes, given.at.elapsed()) {
            self.counted.aborted = Some("slow");
            return Err(Aborted::SlowReader);
        }
        self.next().await
    }

    /// This piece, and all that follow it. `held` is kept until all are sent.
    fn after<H>(self, first: Bytes, held: H) -> impl Stream<Item = Result<Bytes, Aborted>> + Send + Sync + 'static
    where
        H: Send + Sync + 'static,
    {
        stream::unfold(Some((self, Next::First(first), held)), |state| async move {
            let (mut reading, next, held) = state?;
            let piece = match next {
                Next::First(first) => Ok(first),
                Next::After(given) => reading.next_after(given).await,
            };
            match piece {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => {
                    let given = Given { bytes: piece.len(), at: Instant::now() };
                    Some((Ok(piece), Some((reading, Next::After(given), held))))
                }
                Err(aborted) => Some((Err(aborted), None)),
            }
        })
    }
}

/// What comes next.
enum Next {
    First(Bytes),
    After(Given),
}

/// A piece that was handed on.
struct Given {
    bytes: usize,
    at: Instant,
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
