//! A certificate authority of a server's own, with a certificate for the server and one for its client.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use std::path::{Path, PathBuf};

use super::write;

/// Whom the client's certificate names.
pub(super) const CERTIFIED_USER: &str = "edge-1";

/// Files, PEM.
#[derive(Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The client's certificate, whose common name is `edge-1`.
    pub client: PathBuf,
    /// The key of it.
    pub client_key: PathBuf,
    pub(super) server: PathBuf,
    pub(super) server_key: PathBuf,
}

impl Certificates {
    /// Where they are in the folder of a server.
    pub(super) fn within(folder: &Path) -> Certificates {
        Certificates {
            authority: folder.join("authority.pem"),
            client: folder.join("client.pem"),
            client_key: folder.join("client.key"),
            server: folder.join("server.pem"),
            server_key: folder.join("server.key"),
        }
    }

    /// Makes them where the folder has none: they are the same after a restart.
    pub(super) fn made(folder: &Path) -> Certificates {
        let certificates = Certificates::within(folder);
        if certificates.authority.exists() {
            return certificates;
        }
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority can sign itself");
        let sign = |file: &str, name: &str| {
            let key = key();
            let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host's name is valid");
            params.distinguished_name.push(DnType::CommonName, name);
            let signed = params.signed_by(&key, &authority).expect("an authority can sign");
            write(folder, &format!("{file}.pem"), &signed.pem());
            write(folder, &format!("{file}.key"), &key.serialize_pem());
        };
        sign("server", "localhost");
        sign("client", CERTIFIED_USER);
        write(folder, "authority.pem", &authority.pem());
        certificates
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be generated")
}
