//! The choice of the certificate by the host name that a client asks for (SNI, RFC 6066 section 3).
//!
//! A name that no certificate is kept for gets the default one: many devices connect by address and send no name, or
//! one of a network that the gateway does not know.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::DnsName;

use super::files::Files;
use super::{TlsError, TlsOptions};

/// The certificates of one listener.
#[derive(Debug)]
pub(super) struct CertificateByName {
    default: Arc<CertifiedKey>,
    /// By full name, in lower case.
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands behind `*.`, in lower case.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl CertificateByName {
    pub(super) fn load(
        options: &TlsOptions,
        files: &mut Files,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let default = Arc::new(files.certified_key(&options.cert, &options.key, provider)?);
        let mut resolver = Self { default, exact: HashMap::new(), wildcard: HashMap::new() };
        for entry in &options.sni {
            let (hosts, name) = match entry.host.strip_prefix("*.") {
                Some(parent) => (&mut resolver.wildcard, parent),
                None => (&mut resolver.exact, entry.host.as_str()),
            };
            let name = DnsName::try_from(name)
                .map_err(|_| TlsError::SniHost { host: entry.host.clone() })?
                .to_lowercase_owned();
            let key = Arc::new(files.certified_key(&entry.cert, &entry.key, provider)?);
            if hosts.insert(name.as_ref().to_owned(), key).is_some() {
                return Err(TlsError::SniHostTwice { host: entry.host.to_ascii_lowercase() });
            }
        }
        Ok(resolver)
    }

    fn choose(&self, host: Option<&str>) -> &Arc<CertifiedKey> {
        host.and_then(|host| self.find(&host.to_ascii_lowercase())).unwrap_or(&self.default)
    }

    /// A wildcard stands for one label (RFC 6125 section 6.4.3).
    fn find(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        self.exact.get(host).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

impl ResolvesServerCert for CertificateByName {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(client_hello.server_name())))
    }
}
