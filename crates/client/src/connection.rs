//! One TCP connection to a server: bytes and waits. What they mean is decided by its callers.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::error::ClientError;
use crate::reply::Decoder;

/// How much is read at once.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// The end of a wait; one without an end in this century is one of thirty years.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + timeout.min(LONG)
}

/// Connects to the first address of a `host:port` that answers.
pub(crate) async fn open(address: &str, deadline: Instant) -> Result<TcpStream, ClientError> {
    let opened = async {
        let stream = TcpStream::connect(address).await?;
        // Each command is one write, which should leave at once.
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let in_time = timeout_at(deadline, opened).await;
    in_time
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time")))
        .map_err(|source| ClientError::Connect { address: address.to_owned(), source })
}

/// A connection on which one command is answered after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) decoder: Decoder,
    piece: Box<[u8]>,
}

impl Connection {
    pub(crate) async fn open(address: &str, deadline: Instant) -> Result<Self, ClientError> {
        let stream = open(address, deadline).await?;
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
            match self.stream.try_read(&mut self.piece) {
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                Ok(length) => {
                    let said = self.piece.get(..length).unwrap_or_default();
                    if said.is_empty() || said.iter().any(|byte| *byte != b'\n') {
                        return false;
                    }
                }
            }
        }
        false
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
