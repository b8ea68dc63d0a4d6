//! PEM files as certificates and keys. Every error begins with the setting that names the file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, Error, RootCertStore};

use super::Unusable;
use crate::store::read;

/// Most certificates of one file; that of the system's CAs has some 150.
const CERTIFICATES_MAX: usize = 10_000;

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A file, and the setting that names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a>(pub(super) &'static str, pub(super) &'a Path);

impl Named<'_> {
    /// What is in it.
    pub(super) fn read(self) -> Result<Vec<u8>, Unusable> {
        read(self.1).map_err(|why| Unusable { setting: self.0, why })
    }

    /// Its certificates, at least one.
    pub(super) fn certificates(self, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).take(CERTIFICATES_MAX).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            _ => Err(self.unusable("it has no certificate in PEM (-----BEGIN CERTIFICATE-----)")),
        }
    }

    /// When the first of its certificates ends to be valid, in Unix seconds; `None` where none says so
    /// that can be read.
    pub(super) fn expires(self, bytes: &[u8]) -> Option<i64> {
        let not_after = |der: &CertificateDer<'_>| {
            let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
            Some(certificate.validity().not_after.timestamp())
        };
        self.certificates(bytes).ok()?.iter().filter_map(not_after).min()
    }

    /// Its first private key. Nothing of it is in the error.
    pub(super) fn private_key(self, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Unusable> {
        let key = PrivateKeyDer::from_pem_slice(bytes);
        key.map_err(|_| self.unusable("it has no private key in PEM without a password"))
    }

    /// Its certificates as CAs.
    pub(super) fn roots(self, bytes: &[u8]) -> Result<RootCertStore, Unusable> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(bytes)? {
            let added = roots.add(certificate);
            added.map_err(|error| self.unusable(format_args!("a certificate in it is not good: {error}")))?;
        }
        Ok(roots)
    }

    /// Why this certificate cannot be shown with that key.
    pub(super) fn unfit(self, key: Self, error: &Error) -> Unusable {
        match error {
            Error::InconsistentKeys(_) => {
                self.unusable(format_args!("it and {} do not fit together: {error}", key.1.display()))
            }
            Error::InvalidCertificate(bad) => self.unusable(format_args!("its certificate {}", fault(bad))),
            // A key of a kind that is not known.
            other => key.unusable(other),
        }
    }

    pub(super) fn unusable(self, why: impl fmt::Display) -> Unusable {
        Unusable { setting: self.0, why: format!("{}: {why}", self.1.display()) }
    }
}

/// What is wrong with a certificate, and what to do where that is known.
pub(super) fn fault(bad: &CertificateError) -> String {
    let text = bad.to_string();
    // The library has its own word for it and no value.
    if text.contains("UnsupportedCertVersion") {
        return "is X.509 version 1; sign it with -extfile (docs/operations.md, \"Tokens and TLS\")".to_owned();
    }
    format!("is not good: {text}")
}
