//! Puts numbers into FleetGauge, or any server of the same text protocol, and gets them back.
//!
//! ```
//! # mod line_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/line_server.rs")); }
//! # fn main() -> Result<(), client::ClientError> {
//! # let address = line_server::start().to_string();
//! use std::time::Duration;
//! use client::blocking::Client;
//!
//! let mut client = Client::connect(&address, Duration::from_secs(5))?; // "127.0.0.1:8888"
//! client.put("huginn.cpu", 10.6, None)?; // now
//! let found = client.get("huginn.cpu")?;
//! assert_eq!(found["huginn.cpu"][0].value, 10.6);
//! # Ok(())
//! # }
//! ```
//!
//! # Which one to take
//!
//! - [`Client`] is for async code on tokio, [`blocking::Client`] for everything else. Both ask one
//!   thing at a time, in one write, and read its whole reply before the next: every server of the
//!   protocol can answer that.
//! - [`Pipeline`] is for uploads: it sends many points before the first is acknowledged. Only servers
//!   that answer each line by itself, as FleetGauge does, can be spoken to so.
//!
//! # The protocol
//!
//! `put <key> <value> <unix seconds>` is answered with `ok` and an empty line; `get <key>`, or `get *`
//! for all keys, with `ok`, rows `<key> <value> <unix seconds>` and an empty line; what is wrong with
//! `error`, a text and an empty line. A key is any text without white space; the newest value put
//! under one key at one second counts. The server says `ok` to a put when the point is as safe as
//! it promises: with FleetGauge, on disk.
//!
//! # When something goes wrong
//!
//! Each kind of failure is its own [`ClientError`]. None of them makes a client useless: when a
//! connection is lost, or nobody can tell any more which reply belongs to what, it is dropped, and the
//! next call connects anew. Calls are never repeated behind the caller's back; repeating a put does
//! no harm.
//!
//! Everything has a limit: each call its timeout, a key [`KEY_BYTES_MAX`], a row
//! [`reply::ROW_BYTES_MAX`], an error's text [`reply::ERROR_BYTES_MAX`], and what [`Client::get`]
//! collects [`COLLECT_BYTES_MAX`], which can be changed; [`Client::get_each`] collects nothing.
//!
//! # Tokens and TLS
//!
//! Every `connect` takes a `host:port` or a [`Server`], which can have a token to show and speak TLS. The
//! feature `tls`, on by default, is needed for the second.
//!
//! This crate uses tokio and, of FleetGauge, only `security`. It reads no environment, writes no log and
//! starts no threads, but for the look-up of a server's name.

pub mod blocking;
mod client;
mod clock;
mod command;
mod connection;
mod error;
mod pipeline;
pub mod reply;
mod server;

pub use client::{COLLECT_BYTES_MAX, Client};
pub use command::{KEY_BYTES_MAX, KeyError, check_put_key, encode_get, encode_put};
pub use error::ClientError;
pub use pipeline::{Pipeline, Refusal, Window};
pub use reply::{Point, Row};
pub use server::{BadSecret, ClientTls, Connector, Secret, Server, TlsError, Unusable};
