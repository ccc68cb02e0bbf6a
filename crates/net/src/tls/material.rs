//! What a listener's TLS needs at run time, and whether it is other than before.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;

use super::TlsOptions;

/// The TLS of one listener: what handshakes are made with, and what certificates of connected clients are checked by again.
pub struct TlsMaterial {
    config: Arc<ServerConfig>,
    http_config: Option<Arc<ServerConfig>>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    options: TlsOptions,
    fingerprint: u64,
}

impl TlsMaterial {
    pub(super) fn new(
        config: Arc<ServerConfig>,
        http_config: Option<Arc<ServerConfig>>,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
        options: TlsOptions,
        fingerprint: u64,
    ) -> TlsMaterial {
        TlsMaterial { config, http_config, verifier, options, fingerprint }
    }

    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What handshakes are made with whose clients offer to speak HTTP, where that is something else.
    pub(crate) fn http_config(&self) -> Option<&Arc<ServerConfig>> {
        self.http_config.as_ref()
    }

    /// What client certificates are checked by; nothing where clients are not asked for one.
    pub(crate) fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.verifier.clone()
    }

    /// Whether options and files are the same. Then the older one is kept, whose tickets the clients have.
    pub(crate) fn is_same(&self, other: &TlsMaterial) -> bool {
        self.options == other.options && self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsMaterial").field("options", &self.options).finish_non_exhaustive()
    }
}
