//! A page as a stream of bytes: pieces are written (and compressed) on threads that may block, a
//! few at a time and in order, only as fast as the reader takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use super::Page;
use super::buffers::{Buffer, Buffers};
use super::encode::{Encoder, Format, Piece, Times, pieces};
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
    /// Are times of measurement shown?
    pub times: Times,
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

/// A part of the page, in order: what stands before, a piece, or what stands behind.
#[derive(Debug, Clone, Copy)]
enum Part {
    Piece(Piece),
    End,
}

/// A part that is ready to be sent.
struct Written {
    buffer: Buffer,
    /// Checksum and length of its text, for gzip.
    sum: crc32fast::Hasher,
    text_bytes: u64,
}

/// The stream of a page's bytes. `held` is dropped with it: the slot of this scrape.
pub fn stream<H: Send + Sync + 'static>(
    page: Page,
    scrape: Scrape,
    buffers: &Buffers,
    held: H,
) -> impl Stream<Item = Result<Bytes, Aborted>> + Send + Sync + 'static {
    let (is_gzip, until) = (scrape.gzip, scrape.began + scrape.within);
    let encoder = Encoder::new(&page, scrape.format, scrape.times);
    let parts: Vec<Part> = pieces(&page).into_iter().map(Part::Piece).chain([Part::End]).collect();
    let job = Arc::new(Job { page, encoder, buffers: buffers.clone(), is_gzip });
    let written = stream::iter(parts)
        .map(move |part| {
            let job = Arc::clone(&job);
            tokio::task::spawn_blocking(move || job.write(part))
        })
        .buffered(SIDE_BY_SIDE);
    let state = State {
        written: Box::pin(written),
        counted: Counted { scrape, bytes: 0, is_whole: false, is_too_slow: false },
        sum: crc32fast::Hasher::new(),
        text_bytes: 0,
        is_gzip,
        until,
        _held: held,
    };
    let head = Bytes::from_static(if is_gzip { &gzip::HEAD } else { b"" });
    stream::iter((!head.is_empty()).then_some(Ok(head))).chain(stream::unfold(Some(state), |state| async move {
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
    }))
}

/// What the threads that write need.
struct Job {
    page: Page,
    encoder: Encoder,
    buffers: Buffers,
    is_gzip: bool,
}

impl Job {
    /// Writes a part, and compresses it if that is asked for.
    fn write(&self, part: Part) -> Written {
        let mut text = self.buffers.take();
        match part {
            Part::Piece(piece) => self.encoder.write(&self.page, piece, &mut text.bytes),
            Part::End => self.encoder.finish(&mut text.bytes),
        }
        let text_bytes = text.bytes.len() as u64;
        if !self.is_gzip {
            return Written { buffer: text, sum: crc32fast::Hasher::new(), text_bytes };
        }
        let mut compressed = self.buffers.take();
        let sum = gzip::compress(&text.bytes, GZIP_LEVEL, &mut compressed.bytes);
        Written { buffer: compressed, sum, text_bytes }
    }
}

struct State<S, H> {
    written: std::pin::Pin<Box<S>>,
    counted: Counted,
    /// Checksum and length of the text so far.
    sum: crc32fast::Hasher,
    text_bytes: u64,
    is_gzip: bool,
    until: Instant,
    _held: H,
}

impl<S, H> State<S, H>
where
    S: Stream<Item = Result<Written, tokio::task::JoinError>>,
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
            Some(Ok(written)) => {
                self.sum.combine(&written.sum);
                self.text_bytes += written.text_bytes;
                self.counted.bytes += written.buffer.bytes.len() as u64;
                Ok(Some(Bytes::from_owner(written.buffer)))
            }
        }
    }

    fn tail(&mut self) -> Bytes {
        if !self.is_gzip {
            return Bytes::new();
        }
        let tail = gzip::tail(std::mem::take(&mut self.sum), self.text_bytes);
        self.counted.bytes += (gzip::HEAD.len() + tail.len()) as u64;
        tail.into()
    }
}
