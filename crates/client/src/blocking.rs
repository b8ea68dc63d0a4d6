//! The same client for programs without async code.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::error::ClientError;
use crate::reply::{Point, Row};
use crate::server::Server;

/// [`crate::Client`] with calls that wait.
///
/// It brings a runtime of its own, which runs in the calling thread while a call waits. It is not for
/// async code: there every call of it panics. [`crate::Client`] is.
///
/// # Examples
/// ```
/// # mod line_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/line_server.rs")); }
/// # fn main() -> Result<(), client::ClientError> {
/// # let address = line_server::start().to_string();
/// use std::time::Duration;
///
/// let mut client = client::blocking::Client::connect(&address, Duration::from_secs(5))?;
/// client.put("huginn.cpu", 10.6, Some(1642667947))?;
/// for (key, points) in client.get("*")? {
///     println!("{key} has {} points", points.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    inner: crate::Client,
    runtime: Waits,
}

impl Client {
    /// As [`crate::Client::connect`].
    ///
    /// # Errors
    /// As there, also when the system has no room for a runtime.
    ///
    /// # Panics
    /// In async code.
    pub fn connect(server: impl Into<Server>, timeout: Duration) -> Result<Self, ClientError> {
        let server = server.into();
        let runtime =
            Waits::new().map_err(|source| ClientError::Connect { address: server.address.clone(), source })?;
        let inner = runtime.on(crate::Client::connect(server, timeout))?;
        Ok(Self { inner, runtime })
    }

    /// As [`crate::Client::set_collect_bytes_max`].
    pub fn set_collect_bytes_max(&mut self, bytes: usize) {
        self.inner.set_collect_bytes_max(bytes);
    }

    /// As [`crate::Client::put`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// In async code.
    pub fn put(&mut self, key: &str, value: f64, timestamp: Option<i64>) -> Result<(), ClientError> {
        self.runtime.on(self.inner.put(key, value, timestamp))
    }

    /// As [`crate::Client::get`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// In async code.
    pub fn get(&mut self, key: &str) -> Result<BTreeMap<String, Vec<Point>>, ClientError> {
        self.runtime.on(self.inner.get(key))
    }

    /// As [`crate::Client::get_each`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// In async code.
    pub fn get_each<B>(
        &mut self,
        key: &str,
        each: impl FnMut(Row<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, ClientError> {
        self.runtime.on(self.inner.get_each(key, each))
    }
}

/// A runtime that is never waited for when it goes: a look-up of a name may hang in it for long.
#[derive(Debug)]
struct Waits(Option<Runtime>);

impl Waits {
    fn new() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    fn on<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("it is taken by drop only").block_on(work)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
