//! TLS of both sides. Certificates and keys are PEM files, as openssl and cert-manager write them.
//!
//! A program that is built without the feature `tls` knows the settings, and says that it cannot do
//! what they ask for.

mod client;
#[cfg(feature = "tls")]
mod pem;
mod server;

#[cfg(feature = "tls")]
use std::io;
use std::time::Duration;

#[cfg(feature = "tls")]
pub use client::blocking_unverified;
pub use client::{ClientTls, Connector};
pub use server::{Accepted, Clients, Refused, ServerFiles, ServerTls};

/// Both hellos, certificates and keys must be exchanged by then.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// The first byte of every TLS connection (a handshake record), and of nothing else that is spoken here.
pub const FIRST_BYTE: u8 = 0x16;

#[cfg(not(feature = "tls"))]
const WITHOUT: &str = "this program was built without TLS (its feature `tls`)";

/// A file of a client's settings that cannot be used, or a setting that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct Unusable {
    /// The setting.
    pub setting: &'static str,
    /// A sentence.
    pub why: String,
}

/// Why there is no TLS connection, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// No handshake in time.
    #[error("no TLS handshake within {HANDSHAKE_WITHIN:?}")]
    Timeout,
    /// Something else is spoken there.
    #[error("the other end does not speak TLS on this port")]
    NotTls,
    /// The other end closed the connection in the middle.
    #[error("the connection was closed during the TLS handshake")]
    Closed,
    /// The certificate's time is over, or so it looks from here.
    #[error("the other end's certificate has expired (or the clock of this host is wrong)")]
    Expired,
    /// The certificate's time has not come.
    #[error("the other end's certificate is not valid yet (or the clock of this host is wrong)")]
    NotYetValid,
    /// Nobody who is trusted has signed it.
    #[error("the other end's certificate is not from a CA that is trusted here; FLEETGAUGE_TLS_CA_FILE names the CA")]
    UnknownCa,
    /// It is somebody else's.
    #[error("the other end's certificate is for another name; FLEETGAUGE_TLS_SERVER_NAME names the one to expect")]
    WrongName,
    /// The other end wants a client certificate, or a better one.
    #[error(
        "the other end does not take this client's certificate, or wants one ({0}); FLEETGAUGE_TLS_CLIENT_CERT_FILE names it"
    )]
    ClientCertificate(String),
    /// A file, a name or something else.
    #[error("{0}")]
    Other(String),
}

/// The same error with a sentence that says what to do, where there is one.
#[cfg(feature = "tls")]
pub(crate) fn explained(error: io::Error) -> io::Error {
    let of_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    if of_tls { io::Error::new(error.kind(), TlsError::from(error)) } else { error }
}

#[cfg(feature = "tls")]
impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        use rustls::{CertificateError as Bad, Error};
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::InvalidCertificate(bad)) => match bad {
                Bad::Expired | Bad::ExpiredContext { .. } => Self::Expired,
                Bad::NotValidYet | Bad::NotValidYetContext { .. } => Self::NotYetValid,
                // Two CAs of one name: the signature is by the other.
                Bad::UnknownIssuer | Bad::BadSignature => Self::UnknownCa,
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::WrongName,
                other => Self::Other(format!("the other end's certificate {}", pem::fault(other))),
            },
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            Some(Error::AlertReceived(alert)) if is_about_certificates(*alert) => {
                Self::ClientCertificate(format!("{alert:?}"))
            }
            Some(other) => Self::Other(format!("TLS failed: {other}")),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Other(format!("TLS failed: {error}")),
        }
    }
}

#[cfg(feature = "tls")]
fn is_about_certificates(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as A;
    matches!(
        alert,
        A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::NoCertificate
            // Signed by another CA of the same name.
            | A::DecryptError
    )
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
