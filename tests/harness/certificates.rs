//! A certificate authority for one test and the certificates it signs, written as PEM files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

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
    serial: u64,
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
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign");
        Identity {
            certificate_file: scratch.write(&format!("{first}.pem"), certificate.pem()),
            key_file: scratch.write(&format!("{first}.key"), key.serialize_pem()),
            serial,
        }
    }

    /// A list, PEM, that revokes these certificates and no others.
    pub(crate) fn revoke(&self, identities: &[&Identity]) -> String {
        let revoked = |identity: &&Identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2034, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: identities.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("an authority can sign");
        list.pem().expect("a list can be written")
    }
}
