//! A client that asks one thing after the other, as every server of the protocol can answer.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::clock;
use crate::command::{encode_get, encode_put};
use crate::connection::{Connection, Waiting};
use crate::error::ClientError;
use crate::reply::{Event, Point, Row, Violation};
use crate::server::Server;

/// What [`Client::get`] keeps of one answer unless told otherwise: 512 MiB, about 16 million points.
pub const COLLECT_BYTES_MAX: usize = 512 << 20;

/// What a point of an answer counts for: its 16 bytes, twice since vectors grow by doubling.
const POINT_BYTES: usize = 2 * size_of::<Point>();
/// What a key counts for beside its text: its place in the map, the text's and the vector's heads.
const KEY_BYTES: usize = 128;

/// Puts and gets, over one connection, one command at a time.
///
/// A connection that was lost, or that a server's fault made useless, is made anew by the next
/// call. A call that is dropped before it is done drops its connection too.
#[derive(Debug)]
pub struct Client {
    server: Server,
    timeout: Duration,
    collect_bytes_max: usize,
    /// None: the next call connects. Never here while a command waits for its reply.
    connection: Option<Connection>,
}

impl Client {
    /// Connects to a `host:port`, or to a [`Server`]. Every call may take as long as `timeout`, with
    /// connecting.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; with a token any that an answer may have.
    ///
    /// # Examples
    /// ```
    /// # mod line_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/line_server.rs")); }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), client::ClientError> {
    /// # let address = line_server::start().to_string();
    /// use std::time::Duration;
    ///
    /// let mut client = client::Client::connect(&address, Duration::from_secs(5)).await?;
    /// client.put("huginn.cpu", 10.6, Some(1642667947)).await?;
    /// client.put("huginn.cpu", 12.0, None).await?;
    ///
    /// let points = client.get("huginn.cpu").await?;
    /// assert_eq!(points["huginn.cpu"][0].value, 10.6);
    /// assert!(client.get("nobody.put.this").await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(server: impl Into<Server>, timeout: Duration) -> Result<Self, ClientError> {
        let server = server.into();
        let connection = Connection::open(&server, Waiting::begin(timeout)).await?;
        Ok(Self { server, timeout, collect_bytes_max: COLLECT_BYTES_MAX, connection: Some(connection) })
    }

    /// Changes how much memory one [`get`](Self::get) may take, in bytes.
    pub fn set_collect_bytes_max(&mut self, bytes: usize) {
        self.collect_bytes_max = bytes;
    }

    /// Stores a number under a key at a Unix second; `None`: now. A number put under the same key at
    /// the same second is replaced.
    ///
    /// # Errors
    /// Any but [`ClientError::TooMuch`].
    pub async fn put(&mut self, key: &str, value: f64, timestamp: Option<i64>) -> Result<(), ClientError> {
        let mut command = Vec::new();
        encode_put(key, value, timestamp.unwrap_or_else(clock::unix_seconds), &mut command)?;
        match self.exchange(&command, Patience::Whole, |_| ControlFlow::Break(())).await? {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Violation::RowsForPut.into()),
        }
    }

    /// Everything stored under a key, or with `*` under all keys: key → points by time. Empty when
    /// there is nothing. Points of one second, which a server should not have, stay in its order.
    ///
    /// # Errors
    /// Any; [`ClientError::TooMuch`] when the answer is too large to be collected.
    pub async fn get(&mut self, key: &str) -> Result<BTreeMap<String, Vec<Point>>, ClientError> {
        let mut found: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        let mut room = self.collect_bytes_max;
        let mut command = Vec::new();
        encode_get(key, &mut command)?;
        let collect = |row: Row<'_>| {
            let is_new = !found.contains_key(row.key);
            let bytes = POINT_BYTES + if is_new { KEY_BYTES + row.key.len() } else { 0 };
            let Some(rest) = room.checked_sub(bytes) else { return ControlFlow::Break(()) };
            room = rest;
            match found.get_mut(row.key) {
                Some(points) => points.push(row.point),
                None => drop(found.insert(row.key.to_owned(), vec![row.point])),
            }
            ControlFlow::Continue(())
        };
        if self.exchange(&command, Patience::Whole, collect).await?.is_break() {
            return Err(ClientError::TooMuch(self.collect_bytes_max));
        }
        for points in found.values_mut() {
            points.sort_by_key(|point| point.timestamp);
        }
        Ok(found)
    }

    /// As [`get`](Self::get), row by row as the server sends them, which needs no memory for the
    /// answer. FleetGauge sends each key's rows together and by time; other servers may not.
    ///
    /// The timeout is not for the whole answer here: within each span of that length at least one row
    /// has to come. `each` may end the answer with [`ControlFlow::Break`], at the cost of the
    /// connection; what it breaks with is given back.
    ///
    /// # Errors
    /// Any but [`ClientError::TooMuch`]; `each` may have been given rows before.
    ///
    /// # Examples
    /// ```
    /// # mod line_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/line_server.rs")); }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), client::ClientError> {
    /// # let address = line_server::start().to_string();
    /// # let mut client = client::Client::connect(&address, std::time::Duration::from_secs(5)).await?;
    /// # client.put("huginn.cpu", 10.0, Some(1)).await?;
    /// # client.put("muninn.cpu", 20.0, Some(1)).await?;
    /// use std::ops::ControlFlow;
    ///
    /// let mut highest = f64::MIN;
    /// let all = client.get_each("*", |row| {
    ///     highest = highest.max(row.point.value);
    ///     ControlFlow::<()>::Continue(())
    /// });
    /// assert!(all.await?.is_continue());
    /// assert_eq!(highest, 20.0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_each<B>(
        &mut self,
        key: &str,
        each: impl FnMut(Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, ClientError> {
        let mut command = Vec::new();
        encode_get(key, &mut command)?;
        self.exchange(&command, Patience::EachRow, each).await
    }

    /// Sends a command and reads its reply. The connection is put back only if both ends agree
    /// where on it they are.
    async fn exchange<B>(
        &mut self,
        command: &[u8],
        patience: Patience,
        mut each: impl FnMut(Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, ClientError> {
        let mut waiting = Waiting::begin(self.timeout);
        let mut connection = self.ready(waiting).await?;
        connection.send(command, waiting).await?;
        loop {
            connection.receive(waiting).await?;
            let mut rows_came = false;
            while let Some(event) = connection.decoder.next_event()? {
                match event {
                    Event::Row(row) => {
                        rows_came = true;
                        if let ControlFlow::Break(with) = each(row) {
                            return Ok(ControlFlow::Break(with));
                        }
                    }
                    Event::End => {
                        if !connection.decoder.is_between_replies() {
                            return Err(Violation::Unasked.into());
                        }
                        self.connection = Some(connection);
                        return Ok(ControlFlow::Continue(()));
                    }
                    Event::Error(text) => {
                        let error = ClientError::Error(text.to_owned());
                        // With more behind it the error is still what the caller has to know.
                        self.connection = connection.decoder.is_between_replies().then_some(connection);
                        return Err(error);
                    }
                }
            }
            if rows_came && patience == Patience::EachRow {
                waiting.renew();
            }
        }
    }

    /// The connection if it is good, else a new one.
    async fn ready(&mut self, waiting: Waiting) -> Result<Connection, ClientError> {
        if let Some(mut connection) = self.connection.take()
            && connection.is_quiet().await
        {
            return Ok(connection);
        }
        Connection::open(&self.server, waiting).await
    }
}

/// What the timeout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Whole,
    EachRow,
}
