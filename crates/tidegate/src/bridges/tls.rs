//! How bridges know an upstream behind an encrypted address, and prove themselves to it.

use super::kinds::wrong;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use tidegate_config::{Bridge, BridgeError, BridgeTls};

/// Whether any address of a bridge asks for encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Yes,
    No,
}

/// What the encrypted addresses of a bridge need; nothing where there are none. `scheme` is how they begin.
pub(super) fn client_config(
    bridge: &Bridge,
    wanted: Wanted,
    scheme: &str,
) -> Result<Option<Arc<ClientConfig>>, BridgeError> {
    match (wanted, &bridge.tls) {
        (Wanted::No, None) => Ok(None),
        (Wanted::No, Some(_)) => {
            let message =
                format!("no address in `url` asks for encryption: those that do begin with `{scheme}`");
            Err(wrong("tls", message))
        }
        (Wanted::Yes, tls) => made(tls.as_ref()).map(Some),
    }
}

fn made(tls: Option<&BridgeTls>) -> Result<Arc<ClientConfig>, BridgeError> {
    let roots = match tls.and_then(|tls| tls.ca.as_deref()) {
        Some(file) => authorities_of(file)?,
        None => authorities_of_system()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("tls", error))?
        .with_root_certificates(roots);
    let config = match tls.map(|tls| (&tls.cert, &tls.key)) {
        Some((Some(cert), Some(key))) => {
            let chain = certificates("tls.cert", cert)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| failed("tls.key", key, &error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| failed("tls.cert", cert, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn authorities_of(file: &Path) -> Result<RootCertStore, BridgeError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", file)? {
        roots.add(certificate).map_err(|error| failed("tls.ca", file, &error))?;
    }
    match roots.is_empty() {
        true => Err(failed("tls.ca", file, &"no certificate is in it")),
        false => Ok(roots),
    }
}

/// Those that the operator of the machine trusts: where the system keeps them, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` say.
fn authorities_of_system() -> Result<RootCertStore, BridgeError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Among a hundred of them one that nobody can read is no reason to trust none.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
    let message = format!("this system has no certificate authorities{why}: `tls.ca` names a file with them");
    Err(wrong("tls", message))
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, BridgeError> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| failed(key, file, &error))?;
    found.collect::<Result<_, _>>().map_err(|error| failed(key, file, &error))
}

fn failed(key: &str, file: &Path, error: &dyn Display) -> BridgeError {
    wrong(key, format!("{}: {error}", file.display()))
}
