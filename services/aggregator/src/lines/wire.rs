//! Bytes in and out of one connection, with every wait and every buffer bounded. A connection that
//! waits for its client holds no buffer at all.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use protocol::limits::LINE_BYTES_MAX;
use protocol::lines::LineSplitter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Ended, Lines, STALL_MAX, STRIDE_BYTES};
use crate::fleet::room::Share;

/// What every connection may hold without asking: 10 MB for ten thousand.
const OWN_BYTES: usize = 1024;
/// What one may hold, by steps. Lines that arrive together are taken in together up to the last
/// one, which also has room for what comes after the longest line that is not whole.
const STEPS: [usize; 3] = [OWN_BYTES, 16 * 1024, LINE_BYTES_MAX + OWN_BYTES];
/// What is read at once, on the stack.
const CHUNK_BYTES: usize = 16 * 1024;
/// Replies that are sent together, and the longest that is never split.
pub(super) const OUT_BYTES_MAX: usize = 64 * 1024;
/// A connection on which nothing comes for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How long a client may take to hear that the connection ends.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire<'a, IO> {
    io: IO,
    peer: IpAddr,
    lines: &'a Lines,
    splitter: LineSplitter,
    /// Its parts of the room of all lines, and of that of all clients.
    shares: [Share; 2],
    /// How reading ended, when bytes came just before.
    ended: Option<Ended>,
    /// The client does not hear any more. What it still sends is stored.
    deaf: Option<Ended>,
    out: Vec<u8>,
    /// When who has shown no token must have read its replies.
    answer_until: Option<Instant>,
    /// A long answer is being sent.
    stride: Option<Stride>,
}

/// How far the client has come with a part of a long answer.
#[derive(Debug, Default)]
struct Stride {
    taken: usize,
    /// Time in which nothing but the client was waited for.
    waited: Duration,
}

impl<'a, IO> Wire<'a, IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    pub(super) fn new(io: IO, peer: IpAddr, lines: &'a Lines) -> Self {
        let shares = [lines.room.share(), lines.shared.buffers.share()];
        let splitter = LineSplitter::new();
        let (ended, deaf, out) = (None, None, Vec::new());
        Self { io, peer, lines, splitter, shares, ended, deaf, out, answer_until: None, stride: None }
    }

    /// What is sent from now on must be read by then.
    pub(super) fn answer_until(&mut self, until: Option<Instant>) {
        self.answer_until = until;
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// What has been received.
    pub(super) fn lines(&mut self) -> &mut LineSplitter {
        &mut self.splitter
    }

    /// Is there nobody to answer?
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.is_some()
    }

    /// Waits for bytes, and takes all that are there, up to a batch. Call it when all whole lines
    /// were taken. Cancelling it loses nothing.
    pub(super) async fn fill(&mut self) -> Result<(), Ended> {
        if let Some(ended) = self.ended.take() {
            return Err(self.deaf.unwrap_or(ended));
        }
        let filled = timeout(IDLE_MAX, poll_fn(|context| self.poll_fill(context))).await;
        match filled {
            Ok(Ok(bytes)) => {
                self.lines.telemetry().received.inc_by(bytes as u64);
                Ok(())
            }
            // A client that does not hear broke the connection when it stopped hearing.
            Ok(Err(ended)) => Err(self.deaf.unwrap_or(ended)),
            Err(_) => Err(Ended::Idle),
        }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Ended>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
        let mut bytes = 0;
        loop {
            let free = self.free();
            if free == 0 && bytes > 0 {
                return Poll::Ready(Ok(bytes));
            }
            let most = if free == 0 { OWN_BYTES } else { free.min(CHUNK_BYTES) };
            let mut read = ReadBuf::uninit(chunk.get_mut(..most).unwrap_or_default());
            let ended = match Pin::new(&mut self.io).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    // A line that goes on and finds no room is lost. (To wait for room could take
                    // as long as others let their lines lie about.)
                    if free == 0 && !read.filled().contains(&b'\n') {
                        self.splitter.give_up();
                        let _shrinks = self.hold(0);
                    }
                    bytes += read.filled().len();
                    self.splitter.push(read.filled());
                    continue;
                }
                Poll::Pending if bytes > 0 => return Poll::Ready(Ok(bytes)),
                Poll::Pending => {
                    // A line that waits for its end takes no more than it has.
                    let _shrinks = self.hold(self.splitter.held());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => Ended::Closed,
                Poll::Ready(Err(error)) => Ended::Failed(error.kind()),
            };
            if bytes == 0 {
                return Poll::Ready(Err(ended));
            }
            self.ended = Some(ended);
            return Poll::Ready(Ok(bytes));
        }
    }

    /// How many bytes may be read now.
    fn free(&mut self) -> usize {
        let held = self.splitter.held();
        let Some(step) = STEPS.into_iter().find(|step| *step > held) else { return 0 };
        if self.hold(step) { step - held } else { 0 }
    }

    /// Takes room for so many bytes; false: there is none.
    fn hold(&mut self, bytes: usize) -> bool {
        let units = bytes.saturating_sub(OWN_BYTES);
        let [own, common] = &mut self.shares;
        let before = own.held();
        if units == before {
            return true;
        }
        if !own.resize(units) {
            return false;
        }
        let fits = common.resize(units);
        if !fits {
            let _shrinks = own.resize(before);
        }
        fits
    }

    /// Puts a reply, or a piece of a long one, in line. Up to 64 KiB of it are sent in one write.
    pub(super) async fn queue(&mut self, reply: &[u8]) -> Result<(), Ended> {
        if self.out.len() + reply.len() > OUT_BYTES_MAX {
            self.flush().await?;
        }
        if reply.len() >= OUT_BYTES_MAX {
            return self.send(reply).await;
        }
        if !self.is_deaf() {
            self.out.extend_from_slice(reply);
        }
        Ok(())
    }

    /// Sends what is in line.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        self.send(&out).await
    }

    /// What is sent from now on is a long answer: it must not only go on, but go on at a pace.
    pub(super) fn begin_long(&mut self) {
        self.stride = Some(Stride::default());
    }

    /// It is whole. Sends what is in line.
    pub(super) async fn end_long(&mut self) -> Result<(), Ended> {
        let flushed = self.flush().await;
        self.stride = None;
        flushed
    }

    /// Sends. That the client does not hear is no error: what it sent before is still to be read.
    async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        while !bytes.is_empty() && !self.is_deaf() {
            let (began, waited) = (Instant::now(), self.stride.as_ref().map_or(Duration::ZERO, |stride| stride.waited));
            let stalled = began + STALL_MAX.saturating_sub(waited);
            let until = self.answer_until.map_or(stalled, |until| until.min(stalled));
            match timeout_at(until, self.io.write(bytes)).await {
                Ok(Ok(0)) => self.deaf = Some(Ended::Failed(io::ErrorKind::WriteZero)),
                Ok(Ok(sent)) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    if let Some(stride) = &mut self.stride {
                        stride.advance(sent, began.elapsed());
                    }
                }
                Ok(Err(error)) => self.deaf = Some(Ended::Failed(error.kind())),
                Err(_) if until < stalled => return Err(Ended::Unauthorized),
                Err(_) => return Err(Ended::Unread),
            }
        }
        Ok(())
    }

    /// Closes. What the client still sends is read for a moment: closing with unread bytes would
    /// reset the connection, and the client might never see its last replies.
    pub(super) async fn close(&mut self) {
        let close = async {
            self.io.shutdown().await?;
            let mut rest = [0; OWN_BYTES];
            while self.io.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        let _peer_may_be_gone = timeout(CLOSE_WITHIN, close).await;
    }
}

impl Stride {
    fn advance(&mut self, taken: usize, waited: Duration) {
        self.taken += taken;
        self.waited += waited;
        if self.taken >= STRIDE_BYTES {
            *self = Self::default();
        }
    }
}
