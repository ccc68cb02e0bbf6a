//! Certificates and keys as rustls sees them. Contents never get into a message, only what is wrong with a file.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};

use crate::file::{FileError, read_bytes};

/// Largest certificate or key file. A bundle of all public authorities is a quarter of this.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Largest file of revocation lists: half a million revoked certificates.
const CRL_BYTES_MAX: u64 = 64 << 20;

const DAY_SECONDS: u64 = 86_400;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateProblem {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("the file holds no PEM certificate (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    #[error("the file holds no PEM revocation list (`-----BEGIN X509 CRL-----`)")]
    NoRevocationList,
    #[error("a revocation list in the file is damaged or of a kind that is not supported")]
    UnsupportedRevocationList,
    #[error("the file holds no PEM private key (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    #[error("the file holds an encrypted private key; only plain keys can be read")]
    EncryptedKey,
    #[error("the file is damaged PEM")]
    DamagedPem,
    #[error("the first certificate in the file is damaged or of a kind that is not supported")]
    UnsupportedCertificate,
    #[error("certificate number {number} in the file is damaged or cannot be an authority")]
    NoAuthority { number: usize },
    #[error("the private key is damaged or of a kind that is not supported")]
    UnsupportedKey,
}

/// How a certificate and its key fit together.
#[derive(Debug)]
pub(super) enum Pair {
    Matching,
    Mismatch,
    UnsupportedCertificate,
    UnsupportedKey,
}

/// Where `now` stands against the validity period.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    Expired { days: u64 },
    NotYet { days: u64 },
}

/// All certificates of a PEM file, at least one. What is in them is not looked at yet.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateProblem> {
    let bytes = read_bytes(path, PEM_BYTES_MAX)?;
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        certificates.push(certificate.map_err(|_| CertificateProblem::DamagedPem)?);
    }
    if certificates.is_empty() {
        return Err(CertificateProblem::NoCertificate);
    }
    Ok(certificates)
}

/// All revocation lists of a PEM file, at least one. What is in them is not looked at yet.
pub(super) fn read_revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateProblem> {
    let bytes = read_bytes(path, CRL_BYTES_MAX)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let lists = lists.map_err(|_| CertificateProblem::DamagedPem)?;
    match lists.is_empty() {
        true => Err(CertificateProblem::NoRevocationList),
        false => Ok(lists),
    }
}

/// The first private key of a PEM file.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateProblem> {
    use rustls_pki_types::pem::Error as PemError;
    let bytes = read_bytes(path, PEM_BYTES_MAX)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        PemError::NoItemsFound => {
            let text = String::from_utf8_lossy(&bytes);
            let is_encrypted = text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----");
            if is_encrypted { CertificateProblem::EncryptedKey } else { CertificateProblem::NoKey }
        }
        _ => CertificateProblem::DamagedPem,
    })
}

/// Compares the public key of the first certificate with the private key.
pub(super) fn pair(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Pair {
    // Only the first is used by the gateway itself; the others are for its clients to judge.
    if certificates.first().is_none_or(|first| ParsedCertificate::try_from(first).is_err()) {
        return Pair::UnsupportedCertificate;
    }
    match CertifiedKey::from_der(certificates, key, provider) {
        Ok(_) => Pair::Matching,
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Pair::Mismatch,
        Err(_) => Pair::UnsupportedKey,
    }
}

/// The authorities as a set that rustls can verify with; the number of the certificate that cannot be one otherwise.
pub(super) fn authorities(
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, CertificateProblem> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        store.add(certificate.clone()).map_err(|_| CertificateProblem::NoAuthority { number: index + 1 })?;
    }
    Ok(store)
}

/// Asks the verifier instead of reading dates: it looks at the validity before it looks for an authority, and without any
/// authority that is all that it can find out.
pub(super) fn validity(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
    provider: &CryptoProvider,
) -> Validity {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return Validity::Valid };
    let verified = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(since_epoch),
        provider.signature_verification_algorithms.all,
    );
    let days_between =
        |earlier: UnixTime, later: UnixTime| later.as_secs().saturating_sub(earlier.as_secs()) / DAY_SECONDS;
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })) => {
            Validity::Expired { days: days_between(not_after, time) }
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before })) => {
            Validity::NotYet { days: days_between(time, not_before) }
        }
        _ => Validity::Valid,
    }
}
