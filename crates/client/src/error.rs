//! What can go wrong, by what a caller can do about it.

use std::io;
use std::time::Duration;

use crate::command::KeyError;
use crate::reply::Violation;

/// Why a call did not do what it was asked.
///
/// After [`Error`](Self::Error) and [`Key`](Self::Key) the connection is as good as before. After
/// the others it is gone, and the next call makes a new one. Whether a `put` was stored is not known
/// after [`Protocol`](Self::Protocol), [`Timeout`](Self::Timeout) and [`Lost`](Self::Lost); to put the
/// same point again does no harm.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error. Control characters in its text are left as they came.
    #[error("the server answered with an error: {}", said(.0))]
    Error(String),
    /// The server does not take the token; its text says why.
    #[error("the server does not take the token: {}", said(.0))]
    Token(String),
    /// The server said what the protocol does not have: it is broken, or something else listens
    /// there.
    #[error("the server does not speak the put/get protocol: {0}")]
    Protocol(#[from] Violation),
    /// The server took the connection but did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended before the reply was whole. Without a source the server closed it.
    #[error("the connection was lost before the answer was whole{}", reason(.0.as_ref()))]
    Lost(#[source] Option<io::Error>),
    /// There is no connection: nobody listens at the address, it has no such name, or nobody
    /// answered in time.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The key cannot be sent; nothing was.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The answer takes more memory than [`Client::get`](crate::Client::get) may use, in bytes.
    #[error("the answer takes more than {0} bytes of memory; read it row by row with get_each")]
    TooMuch(usize),
}

/// An error's text on one line, without what would move a terminal's cursor.
fn said(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "it does not say which".to_owned();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn reason(source: Option<&io::Error>) -> String {
    source.map_or_else(|| " (the server closed it)".to_owned(), |source| format!(" ({source})"))
}
