//! Clients of put/get: one connection that sends lines and counts the replies, and one that asks
//! and reads rows. Both look at every byte that comes and stop at the first that is not expected.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::points::Chunk;
use crate::{Error, Result};

/// The reply to a put that is stored.
pub const OK: &[u8] = b"ok\n\n";
/// The longest silence of the aggregator.
const WITHIN: Duration = Duration::from_secs(60);
/// Replies and rows that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// What is shown of an answer that was not expected.
const SHOWN_BYTES: usize = 200;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The rows of an answer, by what could be seen in passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// From the first byte of the question to the last of the answer.
    pub took: Duration,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let connected = timeout(WITHIN, TcpStream::connect(address)).await.unwrap_or_else(|late| Err(late.into()));
        let stream = connected.map_err(Error::io(format!("connecting to {address}")))?;
        stream.set_nodelay(true).map_err(Error::io("setting TCP_NODELAY"))?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends chunks of puts one after the other, with at most `window` lines unanswered, and reads
    /// all replies. Says how many puts were acknowledged.
    ///
    /// # Errors
    /// When the connection breaks, or an answer is not `ok`.
    pub async fn put_all(&mut self, window: u64, chunks: &mut impl Iterator<Item = Chunk>) -> Result<u64> {
        let (mut sent, mut replies) = (0, Replies::default());
        for chunk in chunks {
            // A chunk longer than the window goes alone.
            while sent > replies.whole() && sent + chunk.lines > replies.whole() + window {
                self.hear(&mut replies).await?;
            }
            self.write(&chunk.bytes).await?;
            sent += chunk.lines;
        }
        while replies.whole() < sent {
            self.hear(&mut replies).await?;
        }
        if replies.bytes == sent * OK.len() as u64 {
            return Ok(sent);
        }
        Err(Error::Lines(format!("{} bytes of replies to {sent} puts", replies.bytes)))
    }

    /// Asks for the rows of a key, or of `*`, and hands each piece of the answer to `sink`.
    ///
    /// # Errors
    /// When the connection breaks, or it is answered with an error.
    pub async fn get(&mut self, key: &str, sink: &mut (dyn FnMut(&[u8]) + Send)) -> Result<Rows> {
        let began = Instant::now();
        self.write(format!("get {key}\n").as_bytes()).await?;
        let mut answer = Answer::default();
        while !answer.is_whole {
            let length = self.read().await?;
            let piece = self.buffer.get(..length).unwrap_or_default();
            answer.take(piece)?;
            sink(piece);
        }
        Ok(Rows { count: answer.rows(), took: began.elapsed() })
    }

    async fn hear(&mut self, replies: &mut Replies) -> Result<()> {
        let length = self.read().await?;
        replies.take(self.buffer.get(..length).unwrap_or_default())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = timeout(WITHIN, self.stream.write_all(bytes)).await.unwrap_or_else(|late| Err(late.into()));
        written.map_err(Error::io("sending lines"))
    }

    async fn read(&mut self) -> Result<usize> {
        let read = timeout(WITHIN, self.stream.read(&mut self.buffer)).await.unwrap_or_else(|late| Err(late.into()));
        match read.map_err(Error::io("waiting for an answer to lines"))? {
            0 => Err(Error::Lines("the aggregator closed the connection".to_owned())),
            length => Ok(length),
        }
    }
}

/// What came in reply to puts. Nothing but `ok` may.
#[derive(Debug, Default)]
struct Replies {
    bytes: u64,
}

impl Replies {
    fn whole(&self) -> u64 {
        self.bytes / OK.len() as u64
    }

    fn take(&mut self, piece: &[u8]) -> Result<()> {
        let (begun, rest) = piece.split_at(self.missing().min(piece.len()));
        let end = OK.len() - self.missing();
        let is_begun_ok = OK.get(end..).is_some_and(|wanted| wanted.starts_with(begun));
        let (replies, last) = rest.as_chunks::<{ OK.len() }>();
        if is_begun_ok && replies.iter().all(|reply| reply == OK) && OK.starts_with(last) {
            self.bytes += piece.len() as u64;
            return Ok(());
        }
        Err(unexpected("a put was answered with", piece))
    }

    /// Bytes missing of a reply that was begun.
    fn missing(&self) -> usize {
        let begun = usize::try_from(self.bytes % OK.len() as u64).unwrap_or(0);
        if begun == 0 { 0 } else { OK.len() - begun }
    }
}

/// How far an answer with rows has come: `ok`, a line for each row, an empty line.
#[derive(Debug, Default)]
struct Answer {
    head: Vec<u8>,
    ends: u64,
    last: Option<u8>,
    is_whole: bool,
}

impl Answer {
    fn take(&mut self, piece: &[u8]) -> Result<()> {
        const HEAD: &[u8] = b"ok\n";
        if self.head.len() < HEAD.len() {
            let missing = HEAD.len() - self.head.len();
            self.head.extend(piece.iter().take(missing));
            if !HEAD.starts_with(&self.head) {
                return Err(unexpected("a get was answered with", piece));
            }
        }
        self.ends += memchr::memchr_iter(b'\n', piece).count() as u64;
        let before = match piece {
            [.., before, _] => Some(*before),
            _ => self.last,
        };
        self.last = piece.last().copied();
        // Rows are not empty, so nothing but the end has two ends of lines in a row.
        self.is_whole = (before, self.last) == (Some(b'\n'), Some(b'\n'));
        Ok(())
    }

    /// All lines but the first and the last.
    fn rows(&self) -> u64 {
        self.ends.saturating_sub(2)
    }
}

fn unexpected(what: &str, piece: &[u8]) -> Error {
    // What is wrong may be far behind many that are right.
    let at = piece.windows(2).position(|pair| pair == b"er").unwrap_or(0);
    let shown = piece.get(at..).unwrap_or_default();
    let shown = shown.get(..SHOWN_BYTES.min(shown.len())).unwrap_or_default();
    Error::Lines(format!("{what} {:?}", String::from_utf8_lossy(shown)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let all = OK.repeat(7);
        for cut in 1..all.len() {
            let mut replies = Replies::default();
            all.chunks(cut).for_each(|piece| replies.take(piece).unwrap());
            assert_eq!(replies.whole(), 7);
        }
    }

    #[test]
    fn every_byte_that_is_not_ok_is_an_error() {
        let good = OK.repeat(3);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = b'x';
            for cut in 1..=bad.len() {
                let mut replies = Replies::default();
                assert!(bad.chunks(cut).any(|piece| replies.take(piece).is_err()), "{at} {cut}");
            }
        }
        let error = Replies::default().take(b"ok\n\nerror\nthe disk is full\n\n").unwrap_err().to_string();
        assert!(error.contains("the disk is full"), "{error}");
    }

    #[test]
    fn rows_are_counted_however_they_are_cut() {
        for (text, rows) in [("ok\n\n", 0), ("ok\nk 1.0 2\n\n", 1), ("ok\nk 1.0 2\nk 2.0 3\nl 1.0 2\n\n", 3)] {
            for cut in 1..=text.len() {
                let mut answer = Answer::default();
                for piece in text.as_bytes().chunks(cut) {
                    assert!(!answer.is_whole, "{text:?} is whole too early");
                    answer.take(piece).unwrap();
                }
                assert!(answer.is_whole && answer.rows() == rows, "{text:?} in pieces of {cut}");
            }
        }
        assert!(Answer::default().take(b"error\nwrong command\n\n").is_err());
    }

    #[tokio::test]
    async fn no_more_than_a_window_is_unanswered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut heard, mut most, mut buffer) = (0, 0, [0; 64]);
            while heard < 10 * 4 {
                // All that comes without a reply.
                let mut unanswered = 0;
                while let Ok(read) = timeout(Duration::from_millis(50), stream.read(&mut buffer)).await {
                    unanswered += read.unwrap();
                }
                (heard, most) = (heard + unanswered, most.max(unanswered));
                stream.write_all(&OK.repeat(unanswered / 4)).await.unwrap();
            }
            most
        };
        let mut chunks = (0..5).map(|_| Chunk { bytes: Bytes::from_static(b"abc\nabc\n"), lines: 2 });
        let client = async { Client::connect(address).await.unwrap().put_all(4, &mut chunks).await.unwrap() };
        assert_eq!(tokio::join!(client, server), (10, 4 * 4));
    }
}
