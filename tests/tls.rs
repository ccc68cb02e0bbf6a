//! TLS on listeners: server and client certificates, SNI, and a log that tells the usual mistakes apart.

use std::path::Path;

use crate::harness::{
    Authority, Gateway, Identity, Program, Scratch, mosquitto_pub, node, received, subscribed_mosquitto, tool,
};

/// An authority, a server certificate for `localhost`, and a gateway that uses them.
struct Secured {
    gateway: Gateway,
    authority: Authority,
    scratch: Scratch,
}

impl Secured {
    /// `extra` is added to the `tls` table of both listeners; `{ca}` in it becomes the authority's file. Whoever is not
    /// asked for a certificate is let in without one.
    fn start(extra: &str) -> Secured {
        let anonymous = if extra.contains("required") { "" } else { "allow_anonymous = true" };
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch, "authority");
        let server = authority.sign(&scratch, &["localhost", "127.0.0.1"]);
        let extra = extra.replace("{ca}", &authority.certificate_file.display().to_string());
        let tls = format!("{{ {}{extra} }}", certificate_and_key(&server));
        let gateway = Gateway::start(&format!(
            r#"
            [[listener]]
            name = "mqtts"
            bind = "127.0.0.1:0"
            protocols = ["mqtt"]
            tls = {tls}
            {anonymous}

            [[listener]]
            name = "wss"
            bind = "127.0.0.1:0"
            transport = "websocket"
            protocols = ["mqtt"]
            tls = {tls}
            {anonymous}

            [[listener]]
            name = "plain"
            bind = "127.0.0.1:0"
            protocols = ["mqtt"]
            allow_anonymous = true
            "#
        ));
        Secured { gateway, authority, scratch }
    }

    /// Publishes over TLS with these extra arguments and tells whether it worked.
    fn can_publish(&self, arguments: &[&str]) -> bool {
        let port = self.gateway.port("mqtts").to_string();
        let mut command = tool("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &port, "--cafile", text(&self.authority.certificate_file)]);
        command.args(["-t", "a/b", "-q", "1", "-m", "hi"]).args(arguments);
        Program::start(&mut command).wait().code == Some(0)
    }
}

fn certificate_and_key(identity: &Identity) -> String {
    format!("cert = {:?}, key = {:?}", identity.certificate_file, identity.key_file)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the target folder's name is text")
}

fn client_arguments(identity: &Identity) -> [&str; 4] {
    ["--cert", text(&identity.certificate_file), "--key", text(&identity.key_file)]
}

/// A client that trusts the authority is served; one that trusts another authority walks away.
#[test]
fn server_certificate_is_presented() {
    let secured = Secured::start("");
    let mut subscriber = subscribed_mosquitto(secured.gateway.port("plain"), &["-t", "a/#"]);
    assert!(secured.can_publish(&[]));
    assert_eq!(received(&mut subscriber), "a/b 0 0 hi");

    let stranger = Authority::new(&secured.scratch, "stranger");
    assert!(!secured.can_publish(&["--cafile", text(&stranger.certificate_file)]));
}

/// WebSocket inside TLS.
#[test]
fn mqtt_js_round_trip_over_secure_websocket() {
    let secured = Secured::start("");
    let url = format!("wss://localhost:{}/mqtt", secured.gateway.port("wss"));
    let mut command = node("mqtt_round_trip.js");
    command.args([&url, "5"]).env("NODE_EXTRA_CA_CERTS", &secured.authority.certificate_file);
    Program::start(&mut command).succeed();
}

/// `client_auth = "required"`: no certificate, or one of another authority, is refused.
#[test]
fn required_client_certificate_is_required() {
    let secured = Secured::start(r#", client_ca = "{ca}", client_auth = "required""#);
    let known = secured.authority.sign(&secured.scratch, &["device-7"]);
    let stranger = Authority::new(&secured.scratch, "stranger").sign(&secured.scratch, &["device-8"]);
    assert!(!secured.can_publish(&[]));
    assert!(!secured.can_publish(&client_arguments(&stranger)));
    assert!(secured.can_publish(&client_arguments(&known)));
}

/// `client_identity`: a certificate with the name that is asked for lets its client in, one without it is as good as none.
#[test]
fn client_certificate_needs_the_name_that_is_asked_for() {
    for (name, is_let_in) in [("cn", true), ("san-dns", true), ("san-uri", false), ("san-email", false)] {
        let tls = format!(r#", client_ca = "{{ca}}", client_auth = "required", client_identity = "{name}""#);
        let secured = Secured::start(&tls);
        let device = secured.authority.sign(&secured.scratch, &["device-7"]);
        assert_eq!(secured.can_publish(&client_arguments(&device)), is_let_in, "{name}");
    }
}

/// `client_auth = "optional"`: none is fine, a good one is fine, a bad one is refused.
#[test]
fn optional_client_certificate_is_checked_when_there_is_one() {
    let secured = Secured::start(r#", client_ca = "{ca}", client_auth = "optional""#);
    let known = secured.authority.sign(&secured.scratch, &["device-7"]);
    let stranger = Authority::new(&secured.scratch, "stranger").sign(&secured.scratch, &["device-8"]);
    assert!(secured.can_publish(&[]));
    assert!(secured.can_publish(&client_arguments(&known)));
    assert!(!secured.can_publish(&client_arguments(&stranger)));
}

/// A client that speaks plain MQTT to a TLS port is named as such in the log.
#[test]
fn plain_client_on_a_tls_listener_is_named_in_the_log() {
    let mut secured = Secured::start("");
    let port = secured.gateway.port("mqtts").to_string();
    let mut command = tool("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-t", "a", "-m", "b"]);
    assert_ne!(Program::start(&mut command).wait().code, Some(0));
    secured.gateway.wait_for_log("plain client on a TLS listener");
}

/// A client that speaks TLS to a plain port is named as such in the log, and the listener goes on serving.
#[test]
fn tls_client_on_a_plain_listener_is_named_in_the_log() {
    let mut secured = Secured::start("");
    let port = secured.gateway.port("plain").to_string();
    let mut command = tool("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port, "--cafile", text(&secured.authority.certificate_file)]);
    assert_ne!(Program::start(command.args(["-t", "a", "-m", "b"])).wait().code, Some(0));
    secured.gateway.wait_for_log("TLS client on a plain listener");
    mosquitto_pub(secured.gateway.port("plain"), &["-t", "a", "-m", "b"]);
}

/// [RFC 6066, section 3]: the certificate follows the server name that the client asks for; an unknown name gets `cert`.
#[test]
fn certificate_follows_the_server_name() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch, "authority");
    let first = authority.sign(&scratch, &["first.example"]);
    let second = authority.sign(&scratch, &["second.example"]);
    let (first, second) = (certificate_and_key(&first), certificate_and_key(&second));
    let gateway = Gateway::start(&format!(
        r#"
        [[listener]]
        name = "mqtts"
        bind = "127.0.0.1:0"
        protocols = ["mqtt"]
        tls = {{ {first}, sni = [{{ host = "second.example", {second} }}] }}
        allow_anonymous = true
        "#
    ));
    for (asked, presented) in [
        ("second.example", "second.example"),
        ("first.example", "first.example"),
        ("third.example", "first.example"),
    ] {
        let address = format!("127.0.0.1:{}", gateway.port("mqtts"));
        let mut command = tool("openssl");
        command.args(["s_client", "-connect", &address, "-servername", asked]);
        let output = Program::start(&mut command).wait().output;
        let subject = output.lines().find(|line| line.starts_with("subject=")).unwrap_or(&output);
        assert!(subject.ends_with(presented), "{asked} got {subject}");
    }
}
