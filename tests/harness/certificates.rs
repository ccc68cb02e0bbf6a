//! A certificate authority for one test and the certificates it signs, written as PEM files.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::Scratch;

/// An authority that exists for one test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's own certificate, for clients and for `client_ca`.
    pub(crate) certificate_file: PathBuf,
}

/// A signed certificate and its key.
pub(crate) struct Identity {
    /// The certificate, PEM.
    pub(crate) certificate_file: PathBuf,
    /// The private key, PKCS#8 PEM.
    pub(crate) key_file: PathBuf,
}

impl Authority {
    /// A new authority; `name` tells several of them apart in one folder.
    pub(crate) fn new(scratch: &Scratch, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        let certificate_file = scratch.write(&format!("{name}.pem"), certificate.pem());
        Authority { issuer: Issuer::new(params, key), certificate_file }
    }

    /// A certificate for these host names or addresses; the first is its common name and names its files.
    pub(crate) fn sign(&self, scratch: &Scratch, names: &[&str]) -> Identity {
        let first = *names.first().expect("a certificate needs a name");
        let alternatives: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params =
            CertificateParams::new(alternatives).expect("host names and addresses are valid names");
        params.distinguished_name.push(DnType::CommonName, first);
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign");
        Identity {
            certificate_file: scratch.write(&format!("{first}.pem"), certificate.pem()),
            key_file: scratch.write(&format!("{first}.key"), key.serialize_pem()),
        }
    }
}
