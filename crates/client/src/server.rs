//! Which server is spoken to, and how.

pub use security::{BadSecret, ClientTls, Connector, Secret, TlsError, Unusable};

/// A server: where it is, the token to show it, and whether it speaks TLS.
///
/// From a `host:port` alone it is one without both. `Debug` does not print the token.
///
/// # Examples
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use client::{ClientTls, Secret, Server};
///
/// let token = Secret::first_line(&std::fs::read("/run/secrets/fleetgauge")?)?;
/// let tls = ClientTls { ca: Some("/etc/fleetgauge/ca.pem".into()), ..ClientTls::default() };
/// let server = Server::new("aggregator:8888").with_token(token).with_tls(tls.load()?);
/// let client = client::blocking::Client::connect(server, std::time::Duration::from_secs(5))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Server {
    pub(crate) address: String,
    pub(crate) token: Option<Secret>,
    pub(crate) tls: Option<Connector>,
}

impl Server {
    /// The server at this `host:port`, which wants no token and speaks no TLS.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), token: None, tls: None }
    }

    /// Shows it this token first on every connection.
    #[must_use]
    pub fn with_token(self, token: Secret) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Speaks TLS to it.
    #[must_use]
    pub fn with_tls(self, tls: Connector) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Its `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl From<&str> for Server {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

impl From<&String> for Server {
    fn from(address: &String) -> Self {
        Self::new(address)
    }
}

impl From<String> for Server {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}
