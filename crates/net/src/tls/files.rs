//! Certificates, private keys and revocation lists from PEM files (RFC 7468).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::TlsError;

/// Reads files, and remembers what was in them as far as it takes to see that it has changed.
#[derive(Default)]
pub(super) struct Files(DefaultHasher);

impl Files {
    /// The same number for the same contents. Only ever compared within one process, and with what the same operator has put there.
    pub(super) fn fingerprint(&self) -> u64 {
        self.0.finish()
    }

    /// All certificates of a file, in its order; at least one.
    pub(super) fn certificates(&mut self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read(path)?;
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
        &mut self,
        cert: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(self.certificates(cert)?, self.private_key(key)?, provider).map_err(|source| {
            let (cert, key) = (cert.to_owned(), key.to_owned());
            match source {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch { cert, key },
                source => TlsError::Unusable { cert, key, source: Box::new(source) },
            }
        })
    }

    /// All revocation lists of these files, at least one in each.
    pub(super) fn revocation_lists(
        &mut self,
        paths: &[PathBuf],
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let mut all = Vec::new();
        for path in paths {
            let text = self.read(path)?;
            let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&text)
                .collect::<Result<_, _>>()
                .map_err(|source| TlsError::Pem { path: path.clone(), source })?;
            if lists.is_empty() {
                return Err(TlsError::NoCrl { path: path.clone() });
            }
            all.extend(lists);
        }
        Ok(all)
    }

    fn private_key(&mut self, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read(path)?;
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

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, TlsError> {
        let text = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
        text.hash(&mut self.0);
        Ok(text)
    }
}

/// `BEGIN ENCRYPTED PRIVATE KEY` (RFC 7468 section 11), or `Proc-Type: 4,ENCRYPTED` in OpenSSL's old form.
fn is_encrypted(text: &[u8]) -> bool {
    text.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED")
}
