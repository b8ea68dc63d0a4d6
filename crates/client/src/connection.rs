//! One TCP connection to a server: bytes and waits. What they mean is decided by its callers.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use security::{Secret, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::reply::{Decoder, Event, Violation};
use crate::server::Server;

/// How much is read at once.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// The end of a wait; one without an end in this century is one of thirty years.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + timeout.min(LONG)
}

/// Connects to the first address of the server's `host:port` that answers, as the server wants it.
pub(crate) async fn open(server: &Server, waiting: Waiting) -> Result<Stream, ClientError> {
    let Server { address, token, tls } = server;
    let opened = async {
        let tcp = TcpStream::connect(address).await?;
        // Each command is one write, which should leave at once.
        tcp.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok(Stream::Plain(tcp)) };
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        tls.connect(tcp, host).await.map_err(io::Error::other)
    };
    let in_time = timeout_at(waiting.deadline(), opened).await;
    let mut stream = in_time
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time")))
        .map_err(|source| ClientError::Connect { address: address.clone(), source })?;
    if let Some(token) = token {
        show(&mut stream, token, waiting).await?;
    }
    Ok(stream)
}

/// Shows the token, and reads what the server says to it.
async fn show(stream: &mut Stream, token: &Secret, waiting: Waiting) -> Result<(), ClientError> {
    let line = Zeroizing::new(format!("auth {}\n", token.expose()));
    waiting.on(stream.write_all(line.as_bytes())).await?;
    let mut decoder = Decoder::new();
    let mut piece = [0; 1024];
    loop {
        let length = waiting.on(stream.read(&mut piece)).await?;
        if length == 0 {
            return Err(ClientError::Lost(None));
        }
        decoder.feed(piece.get(..length).unwrap_or_default());
        match decoder.next_event()? {
            None => continue,
            // The server has no tokens, or knows of none, and lets everybody in.
            Some(Event::End | Event::Error("wrong command")) => {}
            Some(Event::Row(_)) => return Err(Violation::RowsForPut.into()),
            Some(Event::Error(text)) => return Err(ClientError::Token(text.to_owned())),
        }
        // Nothing else was asked.
        return if decoder.is_between_replies() { Ok(()) } else { Err(Violation::Unasked.into()) };
    }
}

/// A connection on which one command is answered after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    pub(crate) decoder: Decoder,
    piece: Box<[u8]>,
}

impl Connection {
    pub(crate) async fn open(server: &Server, waiting: Waiting) -> Result<Self, ClientError> {
        let stream = open(server, waiting).await?;
        Ok(Self { stream, decoder: Decoder::new(), piece: vec![0; PIECE_BYTES].into() })
    }

    /// Is the connection still there, and did the server say nothing since its last reply?
    ///
    /// Found out without waiting, so that a connection that the server closed while nobody looked
    /// costs the next command nothing.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        // A runtime that slept between two calls learns here what came meanwhile.
        tokio::task::yield_now().await;
        // The one newline too many that some servers send may come late, and the end behind it.
        for _ in 0..4 {
            match self.read_now().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(length)) => {
                    let said = self.piece.get(..length).unwrap_or_default();
                    if said.is_empty() || said.iter().any(|byte| *byte != b'\n') {
                        return false;
                    }
                }
            }
        }
        false
    }

    /// Reads what is there. `None`: nothing is.
    async fn read_now(&mut self) -> Option<io::Result<usize>> {
        poll_fn(|context| {
            let mut read = ReadBuf::new(&mut self.piece);
            Poll::Ready(match Pin::new(&mut self.stream).poll_read(context, &mut read) {
                Poll::Pending => None,
                Poll::Ready(done) => Some(done.map(|()| read.filled().len())),
            })
        })
        .await
    }

    /// Sends a command in one write.
    pub(crate) async fn send(&mut self, command: &[u8], waiting: Waiting) -> Result<(), ClientError> {
        waiting.on(self.stream.write_all(command)).await
    }

    /// Waits for more of a reply and gives it to the decoder.
    pub(crate) async fn receive(&mut self, waiting: Waiting) -> Result<(), ClientError> {
        let length = waiting.on(self.stream.read(&mut self.piece)).await?;
        if length == 0 {
            return Err(ClientError::Lost(None));
        }
        self.decoder.feed(self.piece.get(..length).unwrap_or_default());
        Ok(())
    }
}

/// How long is waited, and until when that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    timeout: Duration,
    deadline: Instant,
}

impl Waiting {
    pub(crate) fn begin(timeout: Duration) -> Self {
        Self { timeout, deadline: deadline_after(timeout) }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The whole time again, from now on.
    pub(crate) fn renew(&mut self) {
        *self = Self::begin(self.timeout);
    }

    pub(crate) fn too_long(&self) -> ClientError {
        ClientError::Timeout(self.timeout)
    }

    async fn on<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, ClientError> {
        match timeout_at(self.deadline, work).await {
            Ok(done) => done.map_err(|error| ClientError::Lost(Some(error))),
            Err(_) => Err(self.too_long()),
        }
    }
}
