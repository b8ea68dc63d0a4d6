//! Bytes in and out of one connection, with every wait and every buffer bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::RefuseCode;
use protocol::{DecodeError, LineDecoder, ToAgent, ToAggregator, encode, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::ended::Ended;
use super::{Shared, admit};
use crate::fleet::room::Share;
use crate::limits::Limit;
use crate::limits::bucket::{Bucket, OVER_MAX};
use crate::limits::meter::Meter;
use crate::stop::Stop;

/// What one read may bring. A small connection reads into little, so that ten thousand idle ones
/// cost little; a line that goes on makes room for the longest.
const READ_BYTES: usize = 2 * 1024;
/// A peer that takes none of our bytes for so long is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How long the system is waited for to say that a connection is closed. It says so together with
/// what is known of all others, before this time can be over, however busy this process is.
const END_SEEN_WITHIN: Duration = Duration::from_millis(1);
/// How soon a connection that waits for room looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the last words may take; the process may be stopping.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(200);

/// How much is read of what a stranger says that waits for its end.
const DAWDLE_BYTES_MAX: usize = 64 * 1024;

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire<'a, IO> {
    io: IO,
    shared: &'a Shared,
    decoder: LineDecoder,
    /// The longest line now.
    line_max: usize,
    room: Share,
    /// When the line that has begun must be whole.
    line_until: Option<Instant>,
    out: Vec<u8>,
    /// What it may send in the long run.
    bucket: Bucket,
    /// The counters of its agent, once that is known.
    meter: Option<Arc<Meter>>,
}

impl<'a, IO> Wire<'a, IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    pub(super) fn new(io: IO, shared: &'a Shared) -> Self {
        let decoder = LineDecoder::new(limits::HELLO_BYTES_MAX);
        let (line_max, room) = (limits::HELLO_BYTES_MAX, shared.buffers.share());
        let bucket = shared.limits.bucket(Instant::now().into_std());
        Self { io, shared, decoder, line_max, room, line_until: None, out: Vec::new(), bucket, meter: None }
    }

    /// From now on lines may be as long as this aggregator grants, and what comes is this agent's.
    pub(super) fn welcomed(&mut self, meter: Arc<Meter>) {
        self.line_max = self.shared.limits.line_bytes();
        self.decoder.set_max(self.line_max);
        self.meter = Some(meter);
    }

    /// The sender went over one of its limits.
    fn exceeded(&self, limit: Limit) {
        self.shared.telemetry.limits.exceeded(limit);
        if let Some(meter) = &self.meter {
            meter.exceeded(limit);
        }
    }

    /// Holds back a sender of too much: nothing is read, so TCP stops it.
    async fn keep_pace(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let wait = self.bucket.wait(now.into_std());
        if wait.is_zero() {
            return Ok(());
        }
        if self.bucket.is_hopeless(now.into_std()) {
            let most = self.shared.limits.caps.bytes_per_second;
            let reason = format!(
                "more than {most} bytes a second for {OVER_MAX:?}; FLEETGAUGE_MAX_BYTES_PER_SECOND of the aggregator allows no more"
            );
            return Err(Ended::refused(RefuseCode::Limit, reason).retry_after(OVER_MAX));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Does what was received and is no whole line begin so?
    pub(super) fn begins_with(&mut self, byte: u8) -> bool {
        self.decoder.pending() > 0 && self.decoder.buffer().first() == Some(&byte)
    }

    /// Waits for more bytes. Cancelling it loses none.
    pub(super) async fn fill(&mut self) -> Result<(), Ended> {
        self.keep_pace().await?;
        let pending = self.decoder.pending();
        // A line that goes on is read with more and more room, up to what the longest may take;
        // beyond what every connection may have, that is taken from the common room.
        let left = self.line_max.saturating_sub(pending);
        let wanted = if pending == 0 { READ_BYTES } else { pending.max(READ_BYTES).min(left).max(1) };
        while !self.room.resize((pending + wanted).saturating_sub(limits::HELLO_BYTES_MAX)) {
            // TCP holds the sender back meanwhile.
            if self.line_until.is_some_and(|until| Instant::now() >= until) {
                let reason = "no room for a long line: the buffers of all connections are full".to_owned();
                return Err(Ended::refused(RefuseCode::Overloaded, reason).retry_after(Duration::from_secs(1)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.decoder.buffer().reserve(wanted);
        let read = self.io.read_buf(self.decoder.buffer());
        let read = match self.line_until {
            Some(until) => timeout_at(until, read).await.map_err(|_| {
                Ended::refused(RefuseCode::TooSlow, format!("a line was not whole after {:?}", limits::LINE_WITHIN))
            })?,
            None => read.await,
        };
        match read {
            Ok(0) => Err(Ended::Closed),
            Ok(bytes) => {
                self.shared.telemetry.link_received(bytes);
                if let Some(meter) = &self.meter {
                    meter.received(bytes);
                }
                if self.bucket.take(bytes, Instant::now().into_std()) {
                    self.exceeded(Limit::BytesPerSecond);
                }
                Ok(())
            }
            Err(error) => Err(Ended::Failed(error.kind())),
        }
    }

    /// Looks whether the peer has closed already. It may have: where this process did not run for a
    /// while, an agent gave up, and the system kept its connection with its `hello`. Whoever has said
    /// more than that is heard first.
    pub(super) async fn look_for_end(&mut self) -> Result<(), Ended> {
        if self.decoder.pending() > 0 {
            return Ok(());
        }
        timeout(END_SEEN_WITHIN, self.fill()).await.unwrap_or(Ok(()))
    }

    /// The next whole frame.
    pub(super) fn next_frame(&mut self) -> Result<Option<ToAggregator>, Ended> {
        let before = self.decoder.pending();
        match self.decoder.next_frame() {
            Ok(Some(frame)) => {
                self.line_until = None;
                let length = before - self.decoder.pending();
                self.shared.limits.note_most(0, 0, length);
                if length > self.shared.limits.caps.line_bytes {
                    self.exceeded(Limit::LineBytes);
                }
                self.shared.telemetry.link_frame(&frame);
                Ok(Some(frame))
            }
            Ok(None) => {
                if self.decoder.pending() == 0 {
                    self.line_until = None;
                    let _gives_back = self.room.resize(0);
                } else if self.line_until.is_none() {
                    self.line_until = Some(Instant::now() + limits::LINE_WITHIN);
                }
                Ok(None)
            }
            Err(error) => {
                let code = match &error {
                    DecodeError::LineTooLong { .. } => {
                        self.exceeded(Limit::LineBytes);
                        RefuseCode::LineTooLong
                    }
                    DecodeError::BadFrame { .. } => RefuseCode::BadFrame,
                };
                Err(Ended::refused(code, error.to_string()))
            }
        }
    }

    /// Puts a frame in line; a connection has a few hundred bytes of them at most before each
    /// [`Wire::flush`], since it answers only what one read brought.
    pub(super) fn queue(&mut self, frame: &ToAgent) {
        encode(frame, &mut self.out);
    }

    /// Sends a frame, after what is in line.
    pub(super) async fn say(&mut self, frame: &ToAgent) -> Result<(), Ended> {
        self.queue(frame);
        self.flush().await
    }

    /// Sends what is in line.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = timeout(WRITE_WITHIN, self.io.write_all(&self.out)).await;
        self.out.clear();
        if self.out.capacity() > READ_BYTES {
            self.out = Vec::new();
        }
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::Failed(error.kind())),
            Err(_) => Err(Ended::Unread),
        }
    }

    /// Says a last word to a stranger, and lets it wait for its end.
    pub(super) async fn say_and_dawdle(&mut self, frame: &ToAgent, stop: Stop) {
        if self.say(frame).await.is_err() {
            return;
        }
        let shared = self.shared;
        let gone = async {
            let (mut rest, mut heard) = ([0; READ_BYTES], 0);
            while heard < DAWDLE_BYTES_MAX {
                match self.io.read(&mut rest).await {
                    Ok(0) | Err(_) => return,
                    Ok(bytes) => heard += bytes,
                }
            }
            std::future::pending::<()>().await;
        };
        admit::dawdle(shared, stop, gone).await;
    }

    /// Closes, after what is in line. What the peer still sends is read for a moment: closing with
    /// unread bytes would reset the connection, and the peer might never see the last word.
    pub(super) async fn close(&mut self) {
        let until = Instant::now() + LAST_WORDS_WITHIN;
        let close = async {
            self.io.write_all(&self.out).await?;
            self.io.shutdown().await?;
            let mut rest = [0; READ_BYTES];
            while self.io.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        let _peer_may_be_gone = timeout_at(until, close).await;
    }
}
