//! The server's side: certificates that are read again when they change, and the handshake.

use std::path::PathBuf;

use tokio::net::TcpStream;

use crate::store::Look;
use crate::stream::Stream;

/// Where a server's certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, and those up to its CA.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// CAs of client certificates; with it clients have to show one.
    pub client_ca: Option<PathBuf>,
}

/// What is asked of clients where there are CAs of client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Who has no certificate gets no connection.
    MustShow,
    /// Who has none gets a connection, and [`Accepted::has_certificate`] says so.
    MayShow,
}

/// A handshake that went well.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Did the client show a good certificate?
    pub has_certificate: bool,
}

/// A handshake that did not.
#[derive(Debug)]
pub enum Refused {
    /// The client speaks something else. It can be told so.
    Plain(TcpStream),
    /// It was too slow.
    Timeout,
    /// It went away.
    Closed,
    /// Its certificate is missing or bad, or it does not like ours.
    Certificate(String),
    /// Something else.
    Failed(String),
}

impl Refused {
    /// All values of [`Refused::as_str`].
    pub const REASONS: [&'static str; 5] = ["plain", "timeout", "closed", "certificate", "failed"];

    /// As a label of a metric.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Certificate(_) => "certificate",
            Self::Failed(_) => "failed",
        }
    }

    /// What there is to say beyond that.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Plain(_) | Self::Timeout | Self::Closed => "",
            Self::Certificate(why) | Self::Failed(why) => why,
        }
    }
}

#[cfg(feature = "tls")]
pub use with_tls::ServerTls;
#[cfg(not(feature = "tls"))]
pub use without_tls::ServerTls;

#[cfg(feature = "tls")]
mod with_tls {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError, RwLock};

    use rustls::ServerConfig;
    use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
    use tokio::time::{Instant, timeout_at};
    use tokio_rustls::TlsAcceptor;
    use zeroize::Zeroizing;

    use super::{Accepted, Clients, Look, Refused, ServerFiles, Stream, TcpStream};
    use crate::tls::pem::{Named, fault, provider};
    use crate::tls::{FIRST_BYTE, HANDSHAKE_WITHIN, Unusable};

    /// A server's certificate and what it asks of clients.
    #[derive(Debug)]
    pub struct ServerTls {
        files: ServerFiles,
        current: RwLock<Configs>,
        last: Mutex<Bytes>,
    }

    /// One for each kind of [`Clients`].
    #[derive(Debug, Clone)]
    struct Configs {
        must_show: Arc<ServerConfig>,
        may_show: Arc<ServerConfig>,
    }

    /// The files as they came.
    #[derive(PartialEq)]
    struct Bytes {
        cert: Vec<u8>,
        key: Zeroizing<Vec<u8>>,
        client_ca: Option<Vec<u8>>,
    }

    impl std::fmt::Debug for Bytes {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Bytes(…)")
        }
    }

    impl ServerTls {
        /// Reads the files for the first time.
        ///
        /// # Errors
        /// A sentence, when they cannot be used.
        pub fn open(files: ServerFiles) -> Result<Self, String> {
            let bytes = Bytes::read(&files).map_err(|bad| bad.to_string())?;
            let configs = configs(&files, &bytes).map_err(|bad| bad.to_string())?;
            Ok(Self { files, current: RwLock::new(configs), last: Mutex::new(bytes) })
        }

        /// Reads the files again, and takes them if they changed and fit together. It may wait for a
        /// disk. Connections that are open go on.
        pub fn look(&self) -> Look {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = match Bytes::read(&self.files) {
                Ok(bytes) if bytes == *last => return Look::Same,
                Ok(bytes) => bytes,
                Err(bad) => return Look::Failed(bad.to_string()),
            };
            match configs(&self.files, &bytes) {
                Ok(configs) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = configs;
                    *last = bytes;
                    Look::Changed
                }
                Err(bad) => Look::Failed(bad.to_string()),
            }
        }

        /// Are client certificates asked for?
        #[must_use]
        pub fn wants_certificates(&self) -> bool {
            self.files.client_ca.is_some()
        }

        /// When the first certificate of each file that holds now ends to be valid, in Unix seconds: its own,
        /// and those of the CAs of clients. After that nobody connects any more.
        #[must_use]
        pub fn expires(&self) -> [Option<i64>; 2] {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let of_ca = self.files.named_client_ca().zip(last.client_ca.as_deref());
            [self.files.named_cert().expires(&last.cert), of_ca.and_then(|(file, bytes)| file.expires(bytes))]
        }

        /// Does the handshake, which has [`HANDSHAKE_WITHIN`].
        ///
        /// # Errors
        /// Why there is no connection.
        pub async fn accept(&self, tcp: TcpStream, clients: Clients) -> Result<Accepted, Refused> {
            let until = Instant::now() + HANDSHAKE_WITHIN;
            let mut first = [0];
            match timeout_at(until, tcp.peek(&mut first)).await {
                Err(_) => return Err(Refused::Timeout),
                Ok(Ok(0) | Err(_)) => return Err(Refused::Closed),
                Ok(Ok(_)) if first != [FIRST_BYTE] => return Err(Refused::Plain(tcp)),
                Ok(Ok(_)) => {}
            }
            let config = {
                let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(if clients == Clients::MustShow { &current.must_show } else { &current.may_show })
            };
            match timeout_at(until, TlsAcceptor::from(config).accept(tcp)).await {
                Err(_) => Err(Refused::Timeout),
                Ok(Err(error)) => Err(refused(&error)),
                Ok(Ok(tls)) => {
                    let has_certificate = tls.get_ref().1.peer_certificates().is_some_and(|all| !all.is_empty());
                    Ok(Accepted { stream: Stream::Tls(Box::new(tls.into())), has_certificate })
                }
            }
        }
    }

    fn refused(error: &io::Error) -> Refused {
        use rustls::Error;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::NoCertificatesPresented) => Refused::Certificate("no client certificate".to_owned()),
            Some(Error::InvalidCertificate(bad)) => {
                Refused::Certificate(format!("the client certificate {}", fault(bad)))
            }
            Some(Error::AlertReceived(alert)) => Refused::Certificate(format!("the client says {alert:?}")),
            Some(other) => Refused::Failed(other.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Refused::Closed,
            None => Refused::Failed(error.to_string()),
        }
    }

    impl ServerFiles {
        fn named_cert(&self) -> Named<'_> {
            Named("FLEETGAUGE_TLS_CERT_FILE", &self.cert)
        }

        fn named_key(&self) -> Named<'_> {
            Named("FLEETGAUGE_TLS_KEY_FILE", &self.key)
        }

        fn named_client_ca(&self) -> Option<Named<'_>> {
            self.client_ca.as_deref().map(|path| Named("FLEETGAUGE_TLS_CLIENT_CA_FILE", path))
        }
    }

    impl Bytes {
        fn read(files: &ServerFiles) -> Result<Self, Unusable> {
            let client_ca = files.named_client_ca().map(Named::read).transpose()?;
            Ok(Self { cert: files.named_cert().read()?, key: files.named_key().read()?.into(), client_ca })
        }
    }

    fn configs(files: &ServerFiles, bytes: &Bytes) -> Result<Configs, Unusable> {
        let Some((file, ca)) = files.named_client_ca().zip(bytes.client_ca.as_deref()) else {
            let config = Arc::new(config(files, bytes, None)?);
            return Ok(Configs { must_show: Arc::clone(&config), may_show: config });
        };
        let must_show = Arc::new(config(files, bytes, Some((file, ca, Clients::MustShow)))?);
        let may_show = Arc::new(config(files, bytes, Some((file, ca, Clients::MayShow)))?);
        Ok(Configs { must_show, may_show })
    }

    fn config(
        files: &ServerFiles,
        bytes: &Bytes,
        clients: Option<(Named<'_>, &[u8], Clients)>,
    ) -> Result<ServerConfig, Unusable> {
        let (cert, key) = (files.named_cert(), files.named_key());
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| cert.unusable(error))?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((file, ca, clients)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(file.roots(ca)?), provider());
                let verifier = if clients == Clients::MayShow { verifier.allow_unauthenticated() } else { verifier };
                let verifier = verifier.build().map_err(|error| file.unusable(error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (chain, key_der) = (cert.certificates(&bytes.cert)?, key.private_key(&bytes.key)?);
        let mut config = builder.with_single_cert(chain, key_der).map_err(|error| cert.unfit(key, &error))?;
        // A connection lasts for days here. Nothing is kept so that a next one could begin faster, and
        // none goes on with what a certificate that was taken away since had opened.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use super::{Accepted, Clients, Look, Refused, ServerFiles, TcpStream};
    use crate::tls::WITHOUT;

    /// There is none in this program.
    #[derive(Debug)]
    pub enum ServerTls {}

    impl ServerTls {
        /// Says that there is no TLS.
        ///
        /// # Errors
        /// Always.
        pub fn open(_files: ServerFiles) -> Result<Self, String> {
            Err(WITHOUT.to_owned())
        }

        /// Never called.
        pub fn look(&self) -> Look {
            match *self {}
        }

        /// Never called.
        #[must_use]
        pub fn wants_certificates(&self) -> bool {
            match *self {}
        }

        /// Never called.
        #[must_use]
        pub fn expires(&self) -> [Option<i64>; 2] {
            match *self {}
        }

        /// Never called.
        ///
        /// # Errors
        /// Never.
        #[expect(clippy::unused_async, reason = "as it is with TLS")]
        pub async fn accept(&self, _tcp: TcpStream, _clients: Clients) -> Result<Accepted, Refused> {
            match *self {}
        }
    }
}
