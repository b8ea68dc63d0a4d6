//! A stream whose writes fail when the peer takes nothing, or hardly anything, for too long. Without
//! it, a client that stops reading holds a page, and a slot, for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What the peer must take while it is waited for as long as it may stall: 50 kB/s. Otherwise one
/// that takes a little now and then would keep its slot as long as a page may take.
const PACE_BYTES: usize = 512 * 1024;

/// Wraps a stream; reads pass through.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    stall_max: Duration,
    pace_bytes: usize,
    /// Runs while a write waits.
    deadline: Pin<Box<Sleep>>,
    waits_since: Option<Instant>,
    /// What the peer has taken, and how long it was waited for, since it last had taken enough.
    taken: usize,
    waited: Duration,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, stall_max: Duration) -> Self {
        Self::with_pace(stream, stall_max, PACE_BYTES)
    }

    fn with_pace(stream: S, stall_max: Duration, pace_bytes: usize) -> Self {
        let deadline = Box::pin(tokio::time::sleep(stall_max));
        Self { stream, stall_max, pace_bytes, deadline, waits_since: None, taken: 0, waited: Duration::ZERO }
    }

    /// Passes a result on, unless it has been pending for too long.
    fn bound<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &written {
            self.waited += self.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            self.taken += done.as_ref().map_or(0, bytes);
            if self.taken >= self.pace_bytes {
                (self.taken, self.waited) = (0, Duration::ZERO);
            }
            return written;
        }
        if self.waits_since.is_none() {
            let now = Instant::now();
            self.waits_since = Some(now);
            self.deadline.as_mut().reset(now + self.stall_max.saturating_sub(self.waited));
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bound(context, written, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.bound(context, written, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bound(context, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bound(context, shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A reader that takes so many bytes after each wait of so many seconds, up to 1000 times; gives
    /// how long it was served.
    async fn served(bytes: usize, seconds: u64) -> Duration {
        let (mut reader, stream) = tokio::io::duplex(10);
        let mut patient = Patient::with_pace(stream, Duration::from_secs(10), 100);
        let began = Instant::now();
        let reading = tokio::spawn(async move {
            for _ in 0..1000 {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                reader.read_exact(&mut vec![0; bytes]).await?;
            }
            io::Result::Ok(reader)
        });
        let written = patient.write_all(&[1; 5000]).await;
        if let Err(error) = &written {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let took = began.elapsed();
        drop(patient);
        assert!(reading.await.unwrap().is_err() || written.is_ok());
        took
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_or_drips_is_given_up_and_a_slow_one_is_not() {
        assert_eq!(served(1, 2000).await, Duration::from_secs(10), "it takes nothing");
        assert_eq!(served(1, 3).await, Duration::from_secs(10), "it takes a little");
        assert_eq!(served(80, 9).await, Duration::from_secs(10), "nearly enough, with what the pipe holds");
        let slow = served(100, 9).await;
        assert!(slow > Duration::from_secs(400), "{slow:?}");
    }
}
