//! A scraper that costs next to nothing: HTTP/1.1 on one kept connection, blocking, the body
//! handed on piece by piece and never copied, decoded or kept unless the caller does.
//!
//! It knows what the two servers that it talks to send: bodies with a length and chunked ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Error, Result};

/// Read at once: enough that a page of 100 MB takes a few hundred calls.
const BUFFER_BYTES: usize = 256 * 1024;
/// Longest line of a head or of a chunk's size.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Most lines of a head.
const HEAD_LINES_MAX: usize = 100;
/// Longest silence of the server.
const WITHIN: Duration = Duration::from_secs(60);

/// One kept connection.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    host: String,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
}

/// What came back, apart from the body itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Was the body sent with `Content-Encoding: gzip`?
    pub gzip: bool,
    /// How many bytes of body were sent.
    pub bytes: u64,
}

/// How the length of a body is known.
enum Length {
    Known(u64),
    Chunked,
}

impl Client<TcpStream> {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let connected = TcpStream::connect_timeout(&address, WITHIN).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(WITHIN))?;
            stream.set_write_timeout(Some(WITHIN))?;
            Ok(stream)
        });
        Ok(Self::over(connected.map_err(Error::io(format!("connecting to {address}")))?, &address.to_string()))
    }
}

impl<S: Read + Write> Client<S> {
    /// Speaks over any stream.
    pub fn over(stream: S, host: &str) -> Self {
        Self { stream, host: host.to_owned(), buffer: vec![0; BUFFER_BYTES], at: 0, filled: 0 }
    }

    /// Gets a path and hands each piece of the body to `sink` as it comes.
    ///
    /// # Errors
    /// When the connection breaks or what comes is no HTTP. Another status than 200 is no error.
    pub fn get(&mut self, path: &str, gzip: bool, sink: &mut dyn FnMut(&[u8])) -> Result<Answer> {
        let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/plain;version=0.0.4\r\n{encoding}\r\n", self.host);
        self.exchange(path, &[head.as_bytes()], sink)
    }

    /// Gets a path whose answer must be 200, and keeps the body.
    ///
    /// # Errors
    /// As [`Client::get`], and on any other status.
    pub fn get_page(&mut self, path: &str, gzip: bool) -> Result<Vec<u8>> {
        let mut page = Vec::new();
        let answer = self.get(path, gzip, &mut |piece| page.extend_from_slice(piece))?;
        if answer.status != 200 || answer.gzip != gzip {
            return Err(http(path, format!("status {}, gzip {}, wanted gzip {gzip}", answer.status, answer.gzip)));
        }
        Ok(page)
    }

    /// Sends a body by PUT.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn put(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        let head = format!("PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.host, body.len());
        self.exchange(path, &[head.as_bytes(), body], &mut |_| {})
    }

    fn exchange(&mut self, path: &str, request: &[&[u8]], sink: &mut dyn FnMut(&[u8])) -> Result<Answer> {
        for part in request {
            self.stream.write_all(part).map_err(Error::io(format!("asking for {path}")))?;
        }
        let (status, gzip, length) = self.head(path)?;
        let mut bytes = 0;
        match length {
            Length::Known(length) => bytes = self.pass(path, length, sink)?,
            Length::Chunked => loop {
                let line = self.line(path)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| http(path, format!("chunk of {size:?} bytes")))?;
                bytes += self.pass(path, size, sink)?;
                // After a chunk, and after the last one, which is empty, an empty line.
                let end = self.line(path)?;
                if !end.is_empty() {
                    return Err(http(path, format!("{end:?} after a chunk")));
                }
                if size == 0 {
                    break;
                }
            },
        }
        Ok(Answer { status, gzip, bytes })
    }

    fn head(&mut self, path: &str) -> Result<(u16, bool, Length)> {
        let first = self.line(path)?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| http(path, format!("{first:?} is no HTTP/1.1 answer")))?;
        let (mut gzip, mut length) = (false, None);
        for _ in 0..HEAD_LINES_MAX {
            let line = self.line(path)?;
            if line.is_empty() {
                let length = length.ok_or_else(|| http(path, "a body of unknown length".into()))?;
                return Ok((status, gzip, length));
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-encoding", value) => gzip = value == "gzip",
                ("transfer-encoding", "chunked") => length = Some(Length::Chunked),
                ("content-length", value) => length = value.parse().ok().map(Length::Known),
                _ => {}
            }
        }
        Err(http(path, "a head without end".into()))
    }

    /// Hands on the next `length` bytes.
    fn pass(&mut self, path: &str, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<u64> {
        let mut rest = length;
        while rest > 0 {
            self.fill(path)?;
            let here = self.buffer.get(self.at..self.filled).unwrap_or_default();
            let take = here.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            sink(here.get(..take).unwrap_or_default());
            self.at += take;
            rest -= take as u64;
        }
        Ok(length)
    }

    fn line(&mut self, path: &str) -> Result<String> {
        let mut line = Vec::new();
        loop {
            self.fill(path)?;
            let here = self.buffer.get(self.at..self.filled).unwrap_or_default();
            let end = memchr::memchr(b'\n', here);
            let take = end.map_or(here.len(), |end| end + 1);
            line.extend_from_slice(here.get(..take).unwrap_or_default());
            self.at += take;
            if line.len() > LINE_BYTES_MAX {
                return Err(http(path, "a line without end".into()));
            }
            if end.is_some() {
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
        }
    }

    /// Makes sure that at least one byte is there.
    fn fill(&mut self, path: &str) -> Result<()> {
        if self.at < self.filled {
            return Ok(());
        }
        self.at = 0;
        self.filled = self.stream.read(&mut self.buffer).map_err(Error::io(format!("reading {path}")))?;
        if self.filled == 0 { Err(http(path, "the server closed the connection".into())) } else { Ok(()) }
    }
}

fn http(path: &str, what: String) -> Error {
    Error::Http { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A server that has already answered, and gives a few bytes at a time.
    struct Canned<'a> {
        answer: &'a [u8],
        step: usize,
        asked: Vec<u8>,
    }

    impl Read for Canned<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let take = self.step.min(self.answer.len()).min(into.len());
            into[..take].copy_from_slice(&self.answer[..take]);
            self.answer = &self.answer[take..];
            Ok(take)
        }
    }

    impl Write for Canned<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn get(answer: &[u8], step: usize) -> Result<(Answer, Vec<u8>)> {
        let mut client = Client::over(Canned { answer, step, asked: vec![] }, "here:1");
        let mut body = Vec::new();
        let answer = client.get("/metrics", true, &mut |piece| body.extend_from_slice(piece))?;
        assert!(client.stream.asked.starts_with(b"GET /metrics HTTP/1.1\r\nHost: here:1\r\n"));
        assert!(client.stream.asked.ends_with(b"Accept-Encoding: gzip\r\n\r\n"));
        Ok((answer, body))
    }

    #[test]
    fn bodies_come_whole_however_they_are_cut() {
        let chunked = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
            5\r\nhello\r\nB;x=y\r\n, world\r\n!!\r\n0\r\n\r\n";
        let known = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone";
        for step in 1..80 {
            let (answer, body) = get(chunked, step).unwrap();
            assert_eq!(
                (answer, body.as_slice()),
                (Answer { status: 200, gzip: true, bytes: 16 }, &b"hello, world\r\n!!"[..])
            );
            let (answer, body) = get(known, step).unwrap();
            assert_eq!((answer, body.as_slice()), (Answer { status: 404, gzip: false, bytes: 4 }, &b"none"[..]));
        }
    }

    #[track_caller]
    fn check_error(answer: &[u8], expected: &str) {
        let error = get(answer, 7).expect_err("no answer").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        check_error(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "closed the connection");
        check_error(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed the connection");
        check_error(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk of \"xyz\" bytes");
        check_error(b"HTTP/1.1 200 OK\r\n\r\n", "unknown length");
        check_error(b"SSH-2.0\r\n", "no HTTP/1.1 answer");
        check_error(&[b'x'; 10_000], "a line without end");
    }
}
