//! Certificates and private keys from PEM files (RFC 7468).

use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// All certificates of a file, in its order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

/// A certificate chain with its private key, which are checked to be a pair.
pub(super) fn certified_key(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(certificates(cert)?, private_key(key)?, provider).map_err(|source| {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        match source {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch { cert, key },
            source => TlsError::Unusable { cert, key, source: Box::new(source) },
        }
    })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| {
        let path = path.to_owned();
        match source {
            pem::Error::NoItemsFound if is_encrypted(&text) => TlsError::KeyEncrypted { path },
            pem::Error::NoItemsFound => TlsError::NoKey { path },
            // The old form (RFC 1421) has header lines in the section, which are no base64.
            _ if is_encrypted(&text) => TlsError::KeyEncrypted { path },
            source => TlsError::Pem { path, source },
        }
    })
}

/// `BEGIN ENCRYPTED PRIVATE KEY` (RFC 7468 section 11), or `Proc-Type: 4,ENCRYPTED` in OpenSSL's old form.
fn is_encrypted(text: &[u8]) -> bool {
    text.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED")
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
