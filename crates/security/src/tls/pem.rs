//! PEM files as certificates and keys.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Most certificates of one file; that of the system's CAs has some 150.
const CERTIFICATES_MAX: usize = 10_000;

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).take(CERTIFICATES_MAX).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{}: it has no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display())),
    }
}

/// The first private key of a file. Nothing of it is in the error.
pub(super) fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|_| format!("{}: it has no private key in PEM without a password", path.display()))
}

/// The certificates of a file as CAs.
pub(super) fn roots(path: &Path, bytes: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, bytes)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: a certificate in it is not good: {error}", path.display()))?;
    }
    Ok(roots)
}
