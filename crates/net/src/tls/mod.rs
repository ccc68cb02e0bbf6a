//! TLS for a listener: from the files that the operator names to a ready `rustls` configuration.
//!
//! Everything is read and checked here, once, before a listener opens: a certificate that does not match its key is an
//! error with the names of both files, not a failed handshake. TLS 1.2 and 1.3, with the cryptography of aws-lc-rs,
//! which is given explicitly so that no other provider of the process can take its place.
//!
//! The server never speaks first in any protocol here, so half-RTT data stays off, and 0-RTT data too, because it can
//! be replayed.

mod error;
mod files;
mod identity;
mod material;
mod resolver;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

pub use error::TlsError;
pub use identity::CertificateName;
pub use material::TlsMaterial;

use files::Files;
use resolver::CertificateByName;

/// What a listener presents, and what it asks of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file: the server's certificate, then the intermediate ones. Shown to clients that name no host of `sni`.
    pub cert: PathBuf,
    /// A PEM file: the private key of `cert`, not encrypted (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// Certificates for clients that name a host (RFC 6066 section 3).
    pub sni: Vec<SniCertificate>,
    /// A PEM file: the certificate authorities of clients. Needed when `client_auth` asks for certificates.
    pub client_ca: Option<PathBuf>,
    /// PEM files: certificate revocation lists (RFC 5280 section 5). With any of them a client's certificate passes only where a list of its
    /// authority does not name it.
    pub crl: Vec<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// What the connections carry once they are encrypted.
    pub application: Application,
}

/// A certificate for one host, or with `*.` in front for all hosts one label below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniCertificate {
    /// A DNS name; case does not matter. A full name wins over a wildcard.
    pub host: String,
    /// A PEM file, as [`TlsOptions::cert`].
    pub cert: PathBuf,
    /// A PEM file, as [`TlsOptions::key`].
    pub key: PathBuf,
}

/// Whether clients are asked for a certificate (RFC 8446 section 4.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    None,
    /// One is asked for; a client without passes, a client with a wrong one does not.
    Optional,
    /// A client without a certificate of `client_ca` is refused.
    Required,
}

/// What stands above TLS, which decides the ALPN names on offer (RFC 7301).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Application {
    /// A protocol's own bytes: no ALPN, so whatever a client offers is ignored.
    #[default]
    Stream,
    /// WebSocket: `http/1.1`, because a browser may offer `h2` as well, which is not spoken here.
    WebSocket,
    /// Either: `http/1.1` for a client that offers it. Whatever another one offers is ignored, because a protocol's own name
    /// (RFC 7301 section 6) beside a list without it would end the handshake.
    Either,
}

/// The name of HTTP/1.1 among the names of applications (RFC 7301 section 6).
pub(crate) const HTTP: &[u8] = b"http/1.1";

/// Reads all files and makes what a listener needs.
///
/// # Errors
///
/// The first thing that is wrong, with the file that it is wrong in.
pub fn material(options: &TlsOptions) -> Result<Arc<TlsMaterial>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut files = Files::default();
    let resolver = CertificateByName::load(options, &mut files, &provider)?;
    let verifier = client_verifier(options, &mut files, &provider)?;
    let config = server_config(options, resolver, verifier.clone(), provider)?;
    let http_config = (options.application == Application::Either).then(|| {
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![HTTP.to_vec()];
        Arc::new(config)
    });
    let verifier = verifier.filter(|verifier| verifier.offer_client_auth());
    Ok(Arc::new(TlsMaterial::new(config, http_config, verifier, options.clone(), files.fingerprint())))
}

fn server_config(
    options: &TlsOptions,
    resolver: CertificateByName,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unsupported)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Unsupported)?;
    // Tickets carry the state of a session, so nothing is kept here; a device resumes one session, not several.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.alpn_protocols = match options.application {
        Application::Stream | Application::Either => Vec::new(),
        Application::WebSocket => vec![HTTP.to_vec()],
    };
    Ok(Arc::new(config))
}

fn client_verifier(
    options: &TlsOptions,
    read: &mut Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let path = match (options.client_auth, &options.client_ca) {
        // Whoever names a revocation list believes that it counts.
        (ClientAuth::None, None) => {
            return options
                .crl
                .first()
                .map_or(Ok(None), |path| Err(TlsError::CrlUnused { path: path.clone() }));
        }
        // Whoever names an authority believes that clients are checked.
        (ClientAuth::None, Some(path)) => return Err(TlsError::ClientCaUnused { path: path.clone() }),
        (_, None) => return Err(TlsError::ClientCaMissing),
        (_, Some(path)) => path,
    };
    let mut roots = RootCertStore::empty();
    for certificate in read.certificates(path)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::ClientCaRejected { path: path.clone(), source: Box::new(source) })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(read.revocation_lists(&options.crl)?);
    let builder = match options.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        _ => builder,
    };
    let verifier: Result<Arc<dyn ClientCertVerifier>, _> = builder.build().map(|verifier| verifier as _);
    verifier.map(Some).map_err(|source| TlsError::ClientVerifier { path: path.clone(), source })
}

#[cfg(test)]
mod tests;
