//! Certificates, keys and authorities: what is missing, damaged, mismatched or expired is said before anything starts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use std::time::{Duration, SystemTime};

use common::{Folder, load_all, registry};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tidegate_config::{ClientAuth, Loaded, Report, Sources, load};

/// A self-signed certificate with its key, both PEM.
fn certificate(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn authority() -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

/// A folder with `server.pem`, `server.key` and `clients-ca.pem`.
fn folder() -> Folder {
    let folder = Folder::new();
    let (certificate, key) = certificate(&["gateway.example", "localhost"]);
    folder.write("server.pem", certificate);
    folder.write("server.key", key);
    folder.write("clients-ca.pem", authority());
    folder
}

fn load_tls(folder: &Folder, tls: &str) -> Result<Loaded, Report> {
    let text = format!(
        "[[listener]]\nname='a'\nbind='127.0.0.1:0'\nprotocols=['mqtt']\nallow_anonymous=true\n[listener.tls]\n{tls}\n"
    );
    load_all(Some(&folder.write("gate.toml", text)), &[], &[])
}

#[track_caller]
fn assert_error(folder: &Folder, tls: &str, pieces: &[&str]) {
    let report = load_tls(folder, tls).unwrap_err().to_string();
    assert!(report.contains("\n1 error"), "{report}");
    for piece in pieces {
        assert!(report.contains(piece), "`{piece}` is not in:\n{report}");
    }
}

/// The shipped TLS example loads beside the files that it names, and its client certificates count as authentication.
#[test]
fn shipped_example_loads() {
    let folder = folder();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/tls.toml");
    let file = folder.write("tls.toml", std::fs::read(example).unwrap());
    let loaded = load_all(Some(&file), &[], &[]).unwrap();
    let tls = loaded.config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, Some(ClientAuth::Required));
    assert_eq!(tls.cert, folder.path().join("server.pem"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

/// The shipped example of every setting loads as it is.
#[test]
fn shipped_default_loads() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/tidegate.toml");
    let with_file = load_all(Some(&example), &[], &[]).unwrap();
    assert!(with_file.warnings.is_empty());
    assert_eq!(
        with_file.config,
        load_all(None, &[], &[]).unwrap().config,
        "the example is what runs without a file"
    );
}

/// Each file that cannot be used is reported at its own line, and no byte of it is printed.
#[test]
fn reports_unusable_files() {
    let folder = folder();
    folder.write("empty.pem", "");
    folder.write("text.pem", "SECRETTEXT");
    folder.write("damaged.pem", "-----BEGIN CERTIFICATE-----\nSECRET!\n-----END CERTIFICATE-----\n");
    folder.write("garbage.pem", "-----BEGIN CERTIFICATE-----\nU0VDUkVU\n-----END CERTIFICATE-----\n");
    folder.write("garbage.key", "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n");
    folder.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nU0VDUkVU\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (cert, key, piece) in [
        ("missing.pem", "server.key", "missing.pem: no such file"),
        (".", "server.key", "a folder, not a file"),
        ("empty.pem", "server.key", "no PEM certificate"),
        ("text.pem", "server.key", "no PEM certificate"),
        ("damaged.pem", "server.key", "damaged PEM"),
        ("garbage.pem", "server.key", "first certificate in the file is damaged"),
        ("server.pem", "missing.key", "missing.key: no such file"),
        ("server.pem", "server.pem", "no PEM private key"),
        ("server.pem", "garbage.key", "damaged or of a kind"),
        ("server.pem", "encrypted.key", "encrypted private key"),
    ] {
        assert_error(&folder, &format!("cert='{cert}'\nkey='{key}'"), &["gate.toml:", piece]);
        let report = load_tls(&folder, &format!("cert='{cert}'\nkey='{key}'")).unwrap_err().to_string();
        assert!(!report.contains("SECRET") && !report.contains("U0VD"), "{report}");
    }
}

/// A key that belongs to another certificate.
#[test]
fn reports_a_key_that_does_not_match() {
    let folder = folder();
    folder.write("other.key", certificate(&["other.example"]).1);
    assert_error(
        &folder,
        "cert='server.pem'\nkey='other.key'",
        &["gate.toml:8:5", "does not belong to the certificate"],
    );
}

/// Clients without TLS show no certificate, and what they send can be read on a network.
#[test]
fn tells_what_optional_tls_gives_up() {
    let folder = folder();
    let with = |line: &str| format!("cert='server.pem'\nkey='server.key'\noptional=true\n{line}");
    assert_error(
        &folder,
        &with("client_auth='required'\nclient_ca='clients-ca.pem'"),
        &["gate.toml:9:1", "clients without TLS show no certificate", "client_auth = \"optional\""],
    );
    let on_loopback = load_tls(&folder, &with("client_auth='optional'\nclient_ca='clients-ca.pem'")).unwrap();
    assert!(on_loopback.warnings.is_empty(), "{:?}", on_loopback.warnings);
    let text = "[[listener]]\nname='a'\nbind='0.0.0.0:0'\nprotocols=['mqtt']\nallow_anonymous=true\n\
                tls={ cert='server.pem', key='server.key', optional=true }\n";
    let on_network = load_all(Some(&folder.write("gate.toml", text)), &[], &[]).unwrap();
    let [warning] = on_network.warnings.as_slice() else { panic!("{:?}", on_network.warnings) };
    assert!(warning.message.contains("can be read on its way"), "{}", warning.message);
}

/// `client_ca` and `client_auth` only make sense together.
#[test]
fn reports_half_of_client_authentication() {
    let folder = folder();
    let with = |line: &str| format!("cert='server.pem'\nkey='server.key'\n{line}");
    assert_error(
        &folder,
        &with("client_auth='required'"),
        &["gate.toml:9:1", "`client_auth` needs `client_ca`"],
    );
    assert_error(&folder, &with("client_ca='clients-ca.pem'"), &["has no effect without `client_auth`"]);
    assert_error(
        &folder,
        &with("client_ca='server.key'\nclient_auth='optional'"),
        &["`client_ca`", "no PEM certificate"],
    );
    assert_error(
        &folder,
        &with("client_ca='clients-ca.pem'\nclient_auth='requird'"),
        &["did you mean `required`?"],
    );
}

/// A revocation list that is no list, and one that nobody would look at.
#[test]
fn reports_unusable_revocation_lists() {
    let folder = folder();
    folder.write("empty.crl", "");
    folder.write("garbage.crl", "-----BEGIN X509 CRL-----\nU0VDUkVU\n-----END X509 CRL-----\n");
    let asking = "cert='server.pem'\nkey='server.key'\nclient_ca='clients-ca.pem'\nclient_auth='required'";
    for (crl, piece) in [
        ("'missing.crl'", "missing.crl: no such file"),
        ("'empty.crl'", "no PEM revocation list"),
        ("'garbage.crl'", "a revocation list in the file is damaged"),
        ("'server.pem'", "no PEM revocation list"),
    ] {
        assert_error(&folder, &format!("{asking}\ncrl=[{crl}]"), &["gate.toml:11:6", piece]);
    }
    let idle = "cert='server.pem'\nkey='server.key'\ncrl=['empty.crl']";
    assert_error(&folder, idle, &["gate.toml:9:1", "`crl` has no effect without `client_auth`"]);
    assert_error(&folder, &format!("{asking}\ncrl='empty.crl'"), &["a list of paths"]);
}

/// Certificates of further server names are checked like the first, and against their name.
#[test]
fn checks_server_names() {
    let folder = folder();
    let with = |list: &str| format!("cert='server.pem'\nkey='server.key'\nsni=[{list}]");
    let entry = |host: &str| format!("{{ host='{host}', cert='server.pem', key='server.key' }}");
    let loaded = load_tls(&folder, &with(&entry("gateway.example"))).unwrap();
    assert_eq!(
        loaded.config.listeners[0].tls.as_ref().unwrap().sni[0].cert,
        folder.path().join("server.pem")
    );
    let warnings = load_tls(&folder, &with(&entry("other.example"))).unwrap().warnings;
    assert!(warnings[0].to_string().contains("is not made out for `other.example`"), "{warnings:?}");
    let warnings = load_tls(&folder, &with(&entry("*.example"))).unwrap().warnings;
    assert!(warnings[0].to_string().contains("is not made out for `*.example`"), "{warnings:?}");
    assert_error(&folder, &with(&entry("a.*.example")), &["gate.toml:9:", "is not a DNS name"]);
    let twice = format!("{}, {}", entry("localhost"), entry("LOCALHOST"));
    assert_error(&folder, &with(&twice), &["has a certificate already"]);
    assert_error(&folder, &with("{ host='localhost', cert='server.pem' }"), &["`key` is missing"]);
    assert_error(
        &folder,
        &with("{ host='localhost', cert='server.pem', key='server.key', ky=1 }"),
        &["did you mean `key`?"],
    );
}

/// An expired certificate is a warning: the gateway may still be started by somebody whose clock is wrong.
#[test]
fn warns_of_expired_certificates() {
    let folder = folder();
    let (mut params, key) =
        (CertificateParams::new(vec!["a.example".to_owned()]).unwrap(), KeyPair::generate().unwrap());
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    folder.write("old.pem", params.self_signed(&key).unwrap().pem());
    folder.write("old.key", key.serialize_pem());
    let text = "[[listener]]\nname='a'\nbind='127.0.0.1:0'\nprotocols=['mqtt']\nallow_anonymous=true\n\
                tls={ cert='old.pem', key='old.key', client_ca='clients-ca.pem', client_auth='optional' }\n";
    let file = folder.write("gate.toml", text);
    let at = |days: u64| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let registry = registry();
        let sources = Sources {
            file: Some(file.clone()),
            embedded: tidegate_config::EMBEDDED,
            environment: Vec::new(),
            overrides: Vec::new(),
            registry: &registry,
            now,
        };
        load(&sources).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // 2021-01-01 is day 18628 of the epoch; 2020-01-01 is day 18262.
    assert!(
        at(18_638)[0].contains("gate.toml:6:12: warning: a certificate in")
            && at(18_638)[0].contains("expired 10 days ago"),
        "{:?}",
        at(18_638)
    );
    assert!(at(18_260)[0].contains("is valid only in 2 days"), "{:?}", at(18_260));
    assert!(at(18_300).is_empty(), "{:?}", at(18_300));
}

/// A listener that demands certificates needs no `allow_anonymous`, and gains nothing by it.
#[test]
fn client_certificates_are_authentication() {
    let folder = folder();
    let tls = "cert='server.pem'\nkey='server.key'\nclient_ca='clients-ca.pem'\nclient_auth='required'";
    let warnings = load_tls(&folder, tls).unwrap().warnings;
    assert!(warnings[0].to_string().contains("`allow_anonymous` has no effect"), "{warnings:?}");
    let text =
        format!("[[listener]]\nname='a'\nbind='0.0.0.0:0'\nprotocols=['mqtt']\n[listener.tls]\n{tls}\n");
    assert!(load_all(Some(&folder.write("gate.toml", text)), &[], &[]).is_ok());
}
