//! Files from a private authority, and whole handshakes in memory against another `rustls` connection as the client.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConnection,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;

mod revocation;

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidegate-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Pair {
    fn new(authority: &Authority, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, authority).unwrap().pem();
        Self { cert, key: key.serialize_pem() }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

/// A server's files: a default certificate for `gateway.example`, and one per host.
struct Site {
    folder: Folder,
    authority: Authority,
    default: Pair,
    options: TlsOptions,
}

impl Site {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), authority("server authority"));
        let default = Pair::new(&authority, "gateway.example");
        let cert = folder.write("cert.pem", &default.cert);
        let key = folder.write("key.pem", &default.key);
        Self { folder, authority, default, options: TlsOptions { cert, key, ..TlsOptions::default() } }
    }

    fn add_host(&mut self, host: &str) -> Pair {
        let pair = Pair::new(&self.authority, host);
        let count = self.options.sni.len();
        let cert = self.folder.write(&format!("cert-{count}.pem"), &pair.cert);
        let key = self.folder.write(&format!("key-{count}.pem"), &pair.key);
        self.options.sni.push(SniCertificate { host: host.to_owned(), cert, key });
        pair
    }

    fn ask_clients(&mut self, client_auth: ClientAuth, authority: &Authority) {
        self.options.client_auth = client_auth;
        self.options.client_ca = Some(self.folder.write("clients.pem", &authority.pem()));
    }

    fn client(&self, version: &'static SupportedProtocolVersion, pair: Option<&Pair>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![pair.der()], key).unwrap()
            }
        }
    }

    fn error(&self) -> String {
        material(&self.options).unwrap_err().to_string()
    }
}

/// Carries bytes between the two until neither has any; the error is the server's or the client's.
fn shake(
    server: &Arc<ServerConfig>,
    client: ClientConfig,
    host: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    shake_again(server, &Arc::new(client), host)
}

fn shake_again(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    host: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    loop {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        server.read_tls(&mut to_server.as_slice()).unwrap();
        server.process_new_packets()?;
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        client.read_tls(&mut to_client.as_slice()).unwrap();
        client.process_new_packets()?;
        if to_server.is_empty() && to_client.is_empty() {
            assert!(!server.is_handshaking() && !client.is_handshaking());
            return Ok((server, client));
        }
    }
}

fn shown(connection: &ClientConnection) -> CertificateDer<'_> {
    connection.peer_certificates().unwrap()[0].clone()
}

/// RFC 8446, RFC 5246: both versions, and no ALPN answer on a listener without WebSocket.
#[test]
fn good_pair_serves_both_versions() {
    let site = Site::new();
    let config = material(&site.options).unwrap().config().clone();
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut client = site.client(version, None);
        client.alpn_protocols = vec![b"mqtt".to_vec()];
        let (server, client) = shake(&config, client, "gateway.example").unwrap();
        assert_eq!(server.protocol_version(), Some(expected));
        assert_eq!((server.alpn_protocol(), shown(&client)), (None, site.default.der()));
        assert!(server.peer_certificates().is_none());
    }
}

/// RFC 8446 section 4.6.1, RFC 5077: the second connection of a device resumes the session of the first.
#[test]
fn second_connection_resumes_by_ticket() {
    let site = Site::new();
    let config = material(&site.options).unwrap().config().clone();
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(site.client(version, None));
        let (first, _) = shake_again(&config, &client, "gateway.example").unwrap();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let (second, _) = shake_again(&config, &client, "gateway.example").unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

/// RFC 7301: a WebSocket listener chooses HTTP/1.1 although the browser prefers HTTP/2.
#[test]
fn websocket_listener_chooses_http_1_1() {
    let mut site = Site::new();
    site.options.application = Application::WebSocket;
    let config = material(&site.options).unwrap().config().clone();
    let mut client = site.client(&TLS13, None);
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (server, _) = shake(&config, client, "gateway.example").unwrap();
    assert_eq!(server.alpn_protocol(), Some(b"http/1.1".as_slice()));
    shake(&config, site.client(&TLS13, None), "gateway.example").unwrap();
}

/// RFC 6066 section 3, RFC 6125 section 6.4.3: full name, then wildcard over one label, then the default.
#[test]
fn certificate_is_chosen_by_host_name() {
    let mut site = Site::new();
    let full = site.add_host("a.plant.example");
    let wildcard = site.add_host("*.plant.example");
    let config = material(&site.options).unwrap().config().clone();
    for (host, pair) in [
        ("a.plant.example", &full),
        ("A.Plant.Example", &full),
        ("b.plant.example", &wildcard),
        ("gateway.example", &site.default),
    ] {
        let (_, client) = shake(&config, site.client(&TLS13, None), host).unwrap();
        assert_eq!(shown(&client), pair.der(), "{host}");
    }
    // Two labels below, and the parent itself: the default, which the client then does not take for this host.
    for host in ["x.b.plant.example", "plant.example", "127.0.0.1"] {
        assert!(shake(&config, site.client(&TLS13, None), host).is_err(), "{host}");
    }
}

/// RFC 8446 section 4.4.2.4: `required` takes the authority's clients only, and the certificate names the client.
#[test]
fn required_client_certificate_is_checked() {
    let (mut site, clients) = (Site::new(), authority("client authority"));
    site.ask_clients(ClientAuth::Required, &clients);
    let config = material(&site.options).unwrap().config().clone();
    let good = Pair::new(&clients, "sensor-7");
    let foreign = Pair::new(&authority("client authority"), "sensor-7");
    for version in [&TLS12, &TLS13] {
        let (server, _) = shake(&config, site.client(version, Some(&good)), "gateway.example").unwrap();
        let name = CertificateName::Common.of(&server.peer_certificates().unwrap()[0]);
        assert_eq!(name.as_deref(), Some("sensor-7"));
        assert!(shake(&config, site.client(version, Some(&foreign)), "gateway.example").is_err());
        let without = shake(&config, site.client(version, None), "gateway.example").unwrap_err();
        assert_eq!(without, rustls::Error::NoCertificatesPresented);
    }
}

/// RFC 8446 section 4.4.2.4: `optional` takes clients without a certificate, and no wrong one.
#[test]
fn optional_client_certificate_is_checked_when_it_comes() {
    let (mut site, clients) = (Site::new(), authority("client authority"));
    site.ask_clients(ClientAuth::Optional, &clients);
    let config = material(&site.options).unwrap().config().clone();
    let (server, _) = shake(&config, site.client(&TLS13, None), "gateway.example").unwrap();
    assert!(server.peer_certificates().is_none());
    let good = Pair::new(&clients, "sensor-7");
    let (server, _) = shake(&config, site.client(&TLS13, Some(&good)), "gateway.example").unwrap();
    assert!(server.peer_certificates().is_some());
    let foreign = Pair::new(&authority("other"), "sensor-7");
    assert!(shake(&config, site.client(&TLS13, Some(&foreign)), "gateway.example").is_err());
}

/// RFC 7468: what is wrong with a certificate's or a key's file is said with the file's name.
#[test]
fn wrong_file_is_named() {
    let site = Site::new();
    let other_key = Pair::new(&site.authority, "other").key;
    let write = |name: &str, text: &str| site.folder.write(name, text);
    let cut = site.default.key.replace("-----END PRIVATE KEY-----", "");
    let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let old_form =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let vectors: Vec<(PathBuf, PathBuf, &str)> = vec![
        (site.folder.0.join("absent.pem"), site.options.key.clone(), "cannot read"),
        (site.options.cert.clone(), site.folder.0.join("absent.pem"), "cannot read"),
        (site.options.key.clone(), site.options.key.clone(), "holds no certificate"),
        (site.options.cert.clone(), site.options.cert.clone(), "holds no private key"),
        (site.options.cert.clone(), write("other.pem", &other_key), "does not belong to"),
        (site.options.cert.clone(), write("cut.pem", &cut), "is not valid PEM"),
        (site.options.cert.clone(), write("old.pem", old_form), "is encrypted"),
        (
            site.options.cert.clone(),
            write("new.pem", &site.default.key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
            "is encrypted",
        ),
        (write("der.pem", der), site.options.key.clone(), "cannot be used"),
    ];
    for (cert, key, message) in vectors {
        let error = material(&TlsOptions { cert, key, ..site.options.clone() }).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains(".pem"), "{error}");
    }
}

/// RFC 6066 section 3: a host is a DNS name and has one certificate.
#[test]
fn wrong_sni_host_is_named() {
    for host in ["", "a b", "*.", "*", "a.*.example", "127.0.0.1"] {
        let mut site = Site::new();
        site.add_host("name.example");
        site.options.sni[0].host = host.to_owned();
        assert_eq!(
            site.error(),
            format!("the SNI host {host:?} is not a DNS name, nor one with \"*.\" in front")
        );
    }
    let mut site = Site::new();
    site.add_host("*.name.example");
    site.add_host("name.example");
    material(&site.options).unwrap();
    site.add_host("NAME.example");
    assert_eq!(site.error(), "the SNI host \"name.example\" has two certificates");
}

/// RFC 8446 section 4.3.2: neither an authority that is not used nor a check without authority passes silently.
#[test]
fn client_authority_and_client_auth_belong_together() {
    let mut site = Site::new();
    site.options.client_auth = ClientAuth::Required;
    assert!(site.error().starts_with("client_auth asks for client certificates"));
    site.ask_clients(ClientAuth::None, &authority("clients"));
    assert!(site.error().contains("clients.pem, but client_auth does not ask"));
    site.options.client_auth = ClientAuth::Required;
    fs::write(Path::new(site.options.client_ca.as_ref().unwrap()), "no PEM").unwrap();
    assert!(site.error().contains("clients.pem holds no certificate"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(Path::new(site.options.client_ca.as_ref().unwrap()), broken).unwrap();
    assert!(site.error().contains("cannot be an authority"));
}
