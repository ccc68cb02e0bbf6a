//! Revocation lists, at the handshake and for clients that are connected already.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use tidegate_protocol::CloseReason;

use super::*;
use crate::listener::{Port, Terms};

const REVOKED: u64 = 7;
const GOOD: u64 = 8;

/// An authority that may sign revocation lists.
fn revoking_authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn device(authority: &Authority, serial: u64) -> Pair {
    let mut params = CertificateParams::new(vec![format!("device-{serial}")]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, authority).unwrap().pem();
    Pair { cert, key: key.serialize_pem() }
}

fn revocation_list(authority: &Authority, serials: &[u64]) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        // Long ago: a list that nobody could renew must not lock a fleet out.
        next_update: date_time_ymd(2024, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority).unwrap().pem().unwrap()
}

fn site_of(clients: &Authority) -> Site {
    let mut site = Site::new();
    site.ask_clients(ClientAuth::Required, clients);
    site
}

/// RFC 5280 section 5: a certificate on its authority's list is refused, any other of the authority passes.
#[test]
fn revoked_certificate_is_refused() {
    let clients = revoking_authority("clients");
    let mut site = site_of(&clients);
    site.options.crl = vec![site.folder.write("clients.crl", &revocation_list(&clients, &[REVOKED]))];
    let config = material(&site.options).unwrap().config().clone();
    for version in [&TLS12, &TLS13] {
        let revoked =
            shake(&config, site.client(version, Some(&device(&clients, REVOKED))), "gateway.example");
        let expected = rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked);
        assert_eq!(revoked.err(), Some(expected));
        assert!(
            shake(&config, site.client(version, Some(&device(&clients, GOOD))), "gateway.example").is_ok()
        );
    }
}

/// A list of another authority says nothing about this one's certificates, so they do not pass.
#[test]
fn authority_without_a_list_vouches_for_nobody() {
    let (clients, other) = (revoking_authority("clients"), revoking_authority("other"));
    let mut site = site_of(&clients);
    site.options.crl = vec![site.folder.write("other.crl", &revocation_list(&other, &[]))];
    let config = material(&site.options).unwrap().config().clone();
    assert!(shake(&config, site.client(&TLS13, Some(&device(&clients, GOOD))), "gateway.example").is_err());
}

/// Each file that cannot be used is named.
#[test]
fn unusable_list_is_named() {
    let clients = revoking_authority("clients");
    let mut site = site_of(&clients);
    let crl = site.folder.write("clients.crl", "no list");
    site.options.crl = vec![crl.clone()];
    assert!(site.error().contains("clients.crl holds no revocation list"), "{}", site.error());
    site.folder.write("clients.crl", &revocation_list(&clients, &[]));
    site.options.client_auth = ClientAuth::None;
    site.options.client_ca = None;
    assert!(site.error().contains("clients.crl, but client_auth does not ask"), "{}", site.error());
}

/// The session of a client that resumed by ticket knows its certificate as well, so it can be looked at again.
#[test]
fn connected_clients_are_looked_at_again() {
    let clients = revoking_authority("clients");
    let mut site = site_of(&clients);
    let before = material(&site.options).unwrap();
    let client = Arc::new(site.client(&TLS13, Some(&device(&clients, REVOKED))));
    let (first, _) = shake_again(before.config(), &client, "gateway.example").unwrap();
    let (resumed, _) = shake_again(before.config(), &client, "gateway.example").unwrap();
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    let terms = |tls: &TlsMaterial| Terms { verifier: tls.verifier(), ..Terms::default() };
    let port = Port::new(Arc::from("devices"), terms(&before));
    let objection = |server: &ServerConnection, seen: u64| {
        let (mut seen, chain) = (seen, || server.peer_certificates().map(<[_]>::to_vec));
        port.entrance(&mut seen, chain).err().map(|close| close.reason)
    };

    site.options.crl = vec![site.folder.write("clients.crl", &revocation_list(&clients, &[GOOD]))];
    port.change_terms(terms(&material(&site.options).unwrap()));
    assert_eq!([objection(&first, 0), objection(&resumed, 0)], [None, None]);

    site.folder.write("clients.crl", &revocation_list(&clients, &[REVOKED]));
    let after = material(&site.options).unwrap();
    port.change_terms(terms(&after));
    let gone = Some(CloseReason::NotAuthorized);
    assert_eq!([objection(&first, 1), objection(&resumed, 1)], [gone, gone]);

    // Nor does a ticket of before help it in.
    assert!(shake_again(after.config(), &client, "gateway.example").is_err());
}

/// What is the same is kept, with the tickets that clients have; what a file says anew is seen although no path changed.
#[test]
fn a_change_of_a_file_is_a_change() {
    let clients = revoking_authority("clients");
    let mut site = site_of(&clients);
    site.options.crl = vec![site.folder.write("clients.crl", &revocation_list(&clients, &[]))];
    let first = material(&site.options).unwrap();
    assert!(first.is_same(&material(&site.options).unwrap()));
    site.folder.write("clients.crl", &revocation_list(&clients, &[REVOKED]));
    assert!(!first.is_same(&material(&site.options).unwrap()));
}
