//! The client's side: whom to believe, and the handshake.

use std::path::PathBuf;

/// How a client speaks TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// CAs that are believed; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name that the server's certificate must have; `None`: the host that is connected to.
    pub server_name: Option<String>,
    /// Certificate and private key to show when asked.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[cfg(feature = "tls")]
pub use with_tls::{Connector, blocking_unverified};
#[cfg(not(feature = "tls"))]
pub use without_tls::Connector;

#[cfg(feature = "tls")]
mod with_tls {
    use std::io::{Read, Write};
    use std::net::IpAddr;
    use std::sync::Arc;

    use rustls::client::Resumption;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use tokio::net::TcpStream;
    use tokio::time::timeout;
    use tokio_rustls::TlsConnector;

    use super::ClientTls;
    use crate::stream::Stream;
    use crate::tls::pem::{Named, provider};
    use crate::tls::{HANDSHAKE_WITHIN, TlsError, Unusable};

    /// Makes connections into TLS connections.
    #[derive(Debug, Clone)]
    pub struct Connector {
        config: Arc<ClientConfig>,
        server_name: Option<String>,
    }

    impl ClientTls {
        /// Reads the files, as they are now. It may wait for a disk.
        ///
        /// # Errors
        /// When they cannot be used.
        pub fn load(&self) -> Result<Connector, Unusable> {
            let roots = match &self.ca {
                Some(path) => {
                    let ca = Named("FLEETGAUGE_TLS_CA_FILE", path);
                    ca.roots(&ca.read()?)?
                }
                None => system_roots().map_err(of_tls)?,
            };
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(of_tls)?
                .with_root_certificates(roots);
            let mut config = match &self.identity {
                None => builder.with_no_client_auth(),
                Some((cert, key)) => {
                    let cert = Named("FLEETGAUGE_TLS_CLIENT_CERT_FILE", cert);
                    let key = Named("FLEETGAUGE_TLS_CLIENT_KEY_FILE", key);
                    let (chain, key_der) = (cert.certificates(&cert.read()?)?, key.private_key(&key.read()?)?);
                    builder.with_client_auth_cert(chain, key_der).map_err(|error| cert.unfit(key, &error))?
                }
            };
            config.resumption = Resumption::disabled();
            if let Some(name) = &self.server_name {
                let why = |error: TlsError| Unusable { setting: "FLEETGAUGE_TLS_SERVER_NAME", why: error.to_string() };
                server_name(name).map_err(why)?;
            }
            Ok(Connector { config: Arc::new(config), server_name: self.server_name.clone() })
        }
    }

    impl Connector {
        /// Does the handshake with a host of that name, which has [`HANDSHAKE_WITHIN`].
        ///
        /// # Errors
        /// Why there is no connection.
        pub async fn connect(&self, tcp: TcpStream, host: &str) -> Result<Stream, TlsError> {
            let name = server_name(self.server_name.as_deref().unwrap_or(host))?;
            let handshake = TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp);
            let tls = timeout(HANDSHAKE_WITHIN, handshake).await.map_err(|_| TlsError::Timeout)??;
            Ok(Stream::Tls(Box::new(tls.into())))
        }
    }

    fn of_tls(why: impl ToString) -> Unusable {
        Unusable { setting: "FLEETGAUGE_TLS", why: why.to_string() }
    }

    fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
        let wrong = |_| TlsError::Other(format!("{name:?} is no name that a certificate can have"));
        ServerName::try_from(name.to_owned()).map_err(wrong)
    }

    fn system_roots() -> Result<RootCertStore, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _left_out) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err("this system has no CA certificates; FLEETGAUGE_TLS_CA_FILE names some".to_owned());
        }
        Ok(roots)
    }

    /// A connection with anybody, whatever certificate is shown. It is for asking the own process over
    /// loopback whether it is alive, where nothing is sent that anybody may not know; never for more.
    ///
    /// # Errors
    /// When the library does not know itself. The handshake happens with the first byte.
    pub fn blocking_unverified(tcp: std::net::TcpStream, to: IpAddr) -> Result<impl Read + Write, String> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anybody::Anybody(provider())))
            .with_no_client_auth();
        let connection =
            ClientConnection::new(Arc::new(config), ServerName::from(to)).map_err(|error| error.to_string())?;
        Ok(StreamOwned::new(connection, tcp))
    }

    mod anybody {
        use std::sync::Arc;

        use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
        use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
        use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
        use rustls::{DigitallySignedStruct, Error, SignatureScheme};

        /// Whoever holds the key of the certificate that is shown.
        #[derive(Debug)]
        pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

        impl ServerCertVerifier for Anybody {
            fn verify_server_cert(
                &self,
                _certificate: &CertificateDer<'_>,
                _chain: &[CertificateDer<'_>],
                _name: &ServerName<'_>,
                _ocsp: &[u8],
                _now: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                Ok(ServerCertVerified::assertion())
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.0.signature_verification_algorithms.supported_schemes()
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use tokio::net::TcpStream;

    use super::ClientTls;
    use crate::stream::Stream;
    use crate::tls::{TlsError, Unusable, WITHOUT};

    /// There is none in this program.
    #[derive(Debug, Clone)]
    pub enum Connector {}

    impl ClientTls {
        /// Says that there is no TLS.
        ///
        /// # Errors
        /// Always.
        pub fn load(&self) -> Result<Connector, Unusable> {
            Err(Unusable { setting: "FLEETGAUGE_TLS", why: WITHOUT.to_owned() })
        }
    }

    impl Connector {
        /// Never called.
        ///
        /// # Errors
        /// Never.
        #[expect(clippy::unused_async, reason = "as it is with TLS")]
        pub async fn connect(&self, _tcp: TcpStream, _host: &str) -> Result<Stream, TlsError> {
            match *self {}
        }
    }
}
