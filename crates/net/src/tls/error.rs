//! What can be wrong with the files and the options of a TLS listener. Each message names the file.

use std::io;
use std::path::PathBuf;

use rustls::server::VerifierBuilderError;
use rustls_pki_types::pem;

/// Why a TLS listener cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has a PEM section that is cut or not base64.
    #[error("{path} is not valid PEM: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: pem::Error,
    },
    /// No `CERTIFICATE` section.
    #[error("{path} holds no certificate (no \"BEGIN CERTIFICATE\" section)")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No section with a private key.
    #[error(
        "{path} holds no private key (no \"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\" section)"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is protected by a passphrase.
    #[error(
        "the private key in {path} is encrypted; give it without a passphrase, readable by the gateway only"
    )]
    KeyEncrypted {
        /// The file.
        path: PathBuf,
    },
    /// The key's algorithm is not supported, or the certificate is not X.509.
    #[error("{cert} with {key} cannot be used: {source}")]
    Unusable {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the TLS library said.
        source: Box<rustls::Error>,
    },
    /// Certificate and key are not a pair.
    #[error("the private key in {key} does not belong to the certificate in {cert}")]
    KeyMismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A host that is no DNS name. Addresses never stand in SNI (RFC 6066 section 3).
    #[error("the SNI host {host:?} is not a DNS name, nor one with \"*.\" in front")]
    SniHost {
        /// The host as configured.
        host: String,
    },
    /// Two certificates for one host.
    #[error("the SNI host {host:?} has two certificates")]
    SniHostTwice {
        /// The host, in lower case.
        host: String,
    },
    /// `client_auth` asks for certificates, but nothing says whose.
    #[error("client_auth asks for client certificates, but client_ca does not say who signs them")]
    ClientCaMissing,
    /// `client_ca` is given, but clients are not asked for certificates.
    #[error(
        "client_ca is {path}, but client_auth does not ask for client certificates: set it to \"required\" or \"optional\""
    )]
    ClientCaUnused {
        /// The file.
        path: PathBuf,
    },
    /// `crl` is given, but clients are not asked for certificates.
    #[error("crl names {path}, but client_auth does not ask for client certificates")]
    CrlUnused {
        /// The file.
        path: PathBuf,
    },
    /// No `X509 CRL` section.
    #[error("{path} holds no revocation list (no \"BEGIN X509 CRL\" section)")]
    NoCrl {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in `client_ca` cannot be a trust anchor.
    #[error("{path} holds a certificate that cannot be an authority: {source}")]
    ClientCaRejected {
        /// The file.
        path: PathBuf,
        /// What the TLS library said.
        source: Box<rustls::Error>,
    },
    /// The check of client certificates cannot be set up.
    #[error("client certificates cannot be checked by {path}: {source}")]
    ClientVerifier {
        /// The file.
        path: PathBuf,
        /// What the TLS library said.
        source: VerifierBuilderError,
    },
    /// The TLS library's provider lacks what is needed; no option causes this.
    #[error("TLS cannot be set up: {0}")]
    Unsupported(rustls::Error),
}
