//! A page as a stream of bytes: pieces are written (and compressed) on threads that may block, a
//! few at a time and in order, only as fast as the reader takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use super::Page;
use super::encode::{Encoder, Format, pieces};
use super::gzip;
use crate::telemetry::Telemetry;

/// Pieces that are written side by side. Two hide the writing of one behind the sending of the
/// other; more would take processors from the agents' connections.
const SIDE_BY_SIDE: usize = 2;
/// gzip's level. The next one makes a page 45 % smaller and takes a quarter longer, but a scrape
/// crosses a fast network far more often than a slow one.
const GZIP_LEVEL: u32 = 1;

/// Why a page is not sent whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Aborted {
    /// The reader took too long for all of it.
    #[error("the reader was too slow")]
    TooSlow,
    /// A piece could not be written (a mistake of the program, named in the log).
    #[error("a part of the page could not be written")]
    Failed,
}

/// Everything about one scrape that is not the page.
#[derive(Debug)]
pub struct Scrape {
    /// The format.
    pub format: Format,
    /// Compress it?
    pub gzip: bool,
    /// When it began.
    pub began: Instant,
    /// How long it may take.
    pub within: Duration,
    /// Where its duration and size are counted.
    pub telemetry: Arc<Telemetry>,
}

/// Counts a scrape when it ends, however it ends.
struct Counted {
    scrape: Scrape,
    bytes: u64,
    is_whole: bool,
    is_too_slow: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let telemetry = &self.scrape.telemetry;
        if self.is_whole {
            telemetry.scraped(self.scrape.began.elapsed().as_secs_f64(), self.bytes);
        } else {
            telemetry.scrape_aborted(if self.is_too_slow { "slow" } else { "client" });
        }
    }
}

/// One piece, ready to be sent.
struct Written {
    bytes: Vec<u8>,
    sum: crc32fast::Hasher,
}

/// The stream of a page's bytes. `held` is dropped with it: the slot of this scrape.
pub fn stream<H: Send + Sync + 'static>(
    page: Page,
    scrape: Scrape,
    held: H,
) -> impl Stream<Item = Result<Bytes, Aborted>> + Send + Sync + 'static {
    let (format, is_gzip, until) = (scrape.format, scrape.gzip, scrape.began + scrape.within);
    let encoder = Arc::new((Encoder::new(&page, format), page));
    let last = Arc::clone(&encoder);
    let parts = pieces(&encoder.1).into_iter().map(Some).chain([None]);
    let written = stream::iter(parts)
        .map(move |piece| {
            let encoder = Arc::clone(&encoder);
            tokio::task::spawn_blocking(move || {
                let (encoder, page) = &*encoder;
                let mut text = Vec::new();
                match piece {
                    Some(piece) => encoder.write(page, piece, &mut text),
                    None => encoder.finish(&mut text),
                }
                finish_piece(text, is_gzip)
            })
        })
        .buffered(SIDE_BY_SIDE);
    let counted = Counted { scrape, bytes: 0, is_whole: false, is_too_slow: false };
    let whole = crc32fast::Hasher::new();
    let head = if is_gzip { gzip::HEAD.to_vec() } else { Vec::new() };
    let state =
        State { written: Box::pin(written), counted, whole, text_bytes: 0, head, is_gzip, until, _held: (held, last) };
    stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(state))),
            Ok(None) => {
                let tail = state.tail();
                state.counted.is_whole = true;
                Some((Ok(tail), None))
            }
            Err(error) => {
                state.counted.is_too_slow = error == Aborted::TooSlow;
                Some((Err(error), None))
            }
        }
    })
}

fn finish_piece(text: Vec<u8>, is_gzip: bool) -> (Written, u64) {
    let length = text.len() as u64;
    if is_gzip {
        let compressed = gzip::compress(&text, GZIP_LEVEL);
        (Written { bytes: compressed.bytes, sum: compressed.sum }, length)
    } else {
        (Written { bytes: text, sum: crc32fast::Hasher::new() }, length)
    }
}

struct State<S, H> {
    written: std::pin::Pin<Box<S>>,
    counted: Counted,
    /// Checksum and length of the text so far.
    whole: crc32fast::Hasher,
    text_bytes: u64,
    /// What stands before the first piece.
    head: Vec<u8>,
    is_gzip: bool,
    until: Instant,
    _held: H,
}

impl<S, H> State<S, H>
where
    S: Stream<Item = Result<(Written, u64), tokio::task::JoinError>>,
{
    async fn next(&mut self) -> Result<Option<Bytes>, Aborted> {
        if tokio::time::Instant::now().into_std() > self.until {
            return Err(Aborted::TooSlow);
        }
        match self.written.next().await {
            None => Ok(None),
            Some(Err(error)) => {
                tracing::error!(%error, "a part of the page could not be written");
                Err(Aborted::Failed)
            }
            Some(Ok((written, length))) => {
                let mut bytes = std::mem::take(&mut self.head);
                if bytes.is_empty() {
                    bytes = written.bytes;
                } else {
                    bytes.extend_from_slice(&written.bytes);
                }
                self.whole.combine(&written.sum);
                self.text_bytes += length;
                self.counted.bytes += bytes.len() as u64;
                Ok(Some(bytes.into()))
            }
        }
    }

    fn tail(&mut self) -> Bytes {
        let sum = std::mem::take(&mut self.whole);
        let tail = if self.is_gzip { gzip::tail(sum, self.text_bytes) } else { Vec::new() };
        self.counted.bytes += tail.len() as u64;
        tail.into()
    }
}
