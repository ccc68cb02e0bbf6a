//! One port for everything: MQTT and STOMP, plain and in WebSocket, in the clear and inside TLS; the first bytes tell.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use crate::harness::{
    Authority, DEADLINE, Gateway, Identity, Program, Scratch, WebSocket, get, metric_sum, mosquitto_pub,
    node, python, received, subscribed_mosquitto, tcp, tool, upgrade,
};

const MQTT_CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
const STOMP_CONNECT: &[u8] = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0";

/// A gateway with one listener for everything, and who vouches for it.
struct OnePort {
    gateway: Gateway,
    authority: Authority,
    server: Identity,
    scratch: Scratch,
}

impl OnePort {
    fn start() -> OnePort {
        OnePort::with("", "allow_anonymous = true")
    }

    /// `tls` is added to the table, with `{ca}` for the authority's file; `listener` to the listener.
    fn with(tls: &str, listener: &str) -> OnePort {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch, "authority");
        let server = authority.sign(&scratch, &["localhost", "127.0.0.1"]);
        let config = config(&authority, &server, &format!("optional = true, {tls}"), listener);
        OnePort { gateway: Gateway::start(&config), authority, server, scratch }
    }

    fn port(&self) -> u16 {
        self.gateway.port("all")
    }

    fn certificate(&self) -> &str {
        self.authority.certificate_file.to_str().expect("the target folder's name is text")
    }

    /// A JavaScript client that trusts the authority.
    fn node(&self, script: &str, scheme: &str, arguments: &[&str]) -> Program {
        let url = format!("{scheme}://localhost:{}/any", self.port());
        let mut command = node(script);
        let (action, rest) = arguments.split_first().expect("a client has something to do");
        match script {
            "stomp_client.js" => command.arg(action).arg(&url).args(rest),
            _ => command.arg(&url).args(arguments),
        };
        Program::start(command.env("NODE_EXTRA_CA_CERTS", self.certificate()))
    }

    fn mosquitto_over_tls(&self, arguments: &[&str]) -> Command {
        let port = self.port().to_string();
        let mut command = tool("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &port, "--cafile", self.certificate()]).args(arguments);
        command
    }
}

fn config(authority: &Authority, server: &Identity, tls: &str, listener: &str) -> String {
    let tls = tls.replace("{ca}", &authority.certificate_file.display().to_string());
    let (cert, key) = (&server.certificate_file, &server.key_file);
    format!(
        "[http]\nbind = \"127.0.0.1:0\"\n[[listener]]\nname = \"all\"\nbind = \"127.0.0.1:0\"\ntransport = \"any\"\n\
         protocols = [\"mqtt\", \"stomp\"]\ntls = {{ {tls} cert = {cert:?}, key = {key:?} }}\n{listener}\n"
    )
}

/// Reads until the gateway closes.
fn until_the_end(mut stream: impl Read) -> Vec<u8> {
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return received,
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return received,
            Err(error) => panic!("the connection stays open: {error}, got {received:x?}"),
        }
    }
}

/// Other people's MQTT clients, four ways through one port.
#[test]
fn mqtt_clients_share_the_port_over_every_transport() {
    let one = OnePort::start();
    let mut subscriber = subscribed_mosquitto(one.port(), &["-t", "one/#"]);
    mosquitto_pub(one.port(), &["-t", "one/plain", "-m", "1"]);
    assert_eq!(received(&mut subscriber), "one/plain 0 0 1");
    // RFC 7301: a name for the protocol is no reason to refuse, and none is needed.
    for alpn in [&["--tls-alpn", "mqtt"][..], &[]] {
        let message = ["-t", "one/tls", "-m", "2"];
        Program::start(one.mosquitto_over_tls(&message).args(alpn)).succeed();
        assert_eq!(received(&mut subscriber), "one/tls 0 0 2");
    }
    for scheme in ["mqtt", "mqtts", "ws", "wss"] {
        one.node("mqtt_round_trip.js", scheme, &["5"]).succeed();
    }
}

/// stomp.py and @stomp/stompjs, four ways through the same port.
#[test]
fn stomp_clients_share_the_port_over_every_transport() {
    let one = OnePort::start();
    let mut subscriber = subscribed_mosquitto(one.port(), &["-t", "one/#"]);
    let port = one.port().to_string();
    for authority in [None, Some(one.certificate())] {
        let mut command = python("tests/clients/stomp_checks.py");
        command.args(["send", &port, "/topic/one/python", "6869"]);
        authority.map(|file| command.env("STOMP_CA", file));
        Program::start(&mut command).succeed();
        assert_eq!(received(&mut subscriber), "one/python 0 0 hi");
    }
    for scheme in ["ws", "wss"] {
        one.node("stomp_client.js", scheme, &["send", "/topic/one/js", "6869", "text"]).succeed();
        assert_eq!(received(&mut subscriber), "one/js 0 0 hi");
    }
}

/// RFC 6455 section 7.1.2: inside TLS the closing handshake is finished before the session is.
#[test]
fn a_close_event_over_tls_is_clean() {
    let one = OnePort::start();
    // SEND, before CONNECT.
    let mut program = one.node("close_event.js", "wss", &["v12.stomp", "53454e440a0a00"]);
    let line = program.wait_for_line("the close event", |line| line.starts_with("closed "));
    assert!(line.starts_with("closed true 1002 unexpected_frame: "), "{line}");
}

/// However slowly the first bytes come, they tell.
#[test]
fn clients_are_recognised_byte_by_byte() {
    let one = OnePort::start();
    let upgrade = upgrade(&["mqtt"]);
    for (bytes, answer) in [
        (MQTT_CONNECT, &b"\x20\x02\0\0"[..]),
        (STOMP_CONNECT, b"CONNECTED\n"),
        (b"\r\n\nSTOMP\naccept-version:1.2\nhost:x\n\n\0", b"CONNECTED\n"),
        (upgrade.as_bytes(), b"HTTP/1.1 101 Switching Protocols\r\n"),
    ] {
        let mut stream = tcp(one.port());
        for byte in bytes {
            stream.write_all(&[*byte]).expect("the gateway reads");
        }
        let mut got = vec![0; answer.len()];
        stream.read_exact(&mut got).expect("the gateway answers");
        assert_eq!(got, answer);
    }
}

/// What belongs to nothing that the listener serves is closed at once.
#[test]
fn strangers_are_closed_and_counted() {
    let one = OnePort::start();
    let strangers: [&[u8]; 5] =
        [b"HELO there\r\n", b"GE0", b"POST / HTTP/1.1\r\n", b"\0", b"CONNECT x:443 HTTP/1.1\r\n"];
    for bytes in strangers {
        let mut stream = tcp(one.port());
        stream.write_all(bytes).expect("the gateway reads");
        assert_eq!(until_the_end(stream), b"");
    }
    let closed = |reason: &str| {
        let metrics = get(one.gateway.port("http"), "/metrics").body;
        metric_sum(&metrics, "tidegate_connections_closed_total", &[&format!("reason=\"{reason}\"")])
    };
    // A connection is counted when its worker has forgotten it, which may be after its peer has seen the end.
    let comes = |reason: &str, count: f64| {
        let since = Instant::now();
        while closed(reason) != count {
            assert!(since.elapsed() < DEADLINE, "{reason}: {} of {count}", closed(reason));
        }
    };
    comes("protocol_unrecognised", 5.0);
    let mut page = tcp(one.port());
    page.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("the gateway reads");
    assert!(until_the_end(page).starts_with(b"HTTP/1.1 426 "));
    comes("websocket_not_upgrade", 1.0);
}

/// Who says nothing, or half of what would tell, is closed when the time for the opening is over.
#[test]
fn half_a_beginning_is_closed_in_time() {
    let one = OnePort::with("", "allow_anonymous = true\nconnect_timeout = \"300ms\"");
    let request = upgrade(&[]);
    let (half_a_request, _) = request.as_bytes().split_at(60);
    let beginnings: [&[u8]; 8] =
        [b"", b"G", b"GET", b"\n\n", b"CONN", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00", half_a_request];
    let begin = |bytes: &&[u8]| {
        let mut stream = tcp(one.port());
        stream.write_all(bytes).expect("the gateway reads");
        stream
    };
    let streams: Vec<TcpStream> = beginnings.iter().map(begin).collect();
    for (stream, beginning) in streams.into_iter().zip(beginnings) {
        assert_eq!(until_the_end(stream), b"", "{beginning:?}");
    }
    // The same for messages that never tell.
    let mut websocket = WebSocket::connect(one.port(), &[]);
    websocket.send_text("CONN");
    assert_eq!(websocket.next(), crate::harness::Frame::End);
}

/// `client_auth = "optional"` with `optional`: only a certificate shown over TLS lets a client in.
#[test]
fn certificates_count_over_tls_only() {
    let one = OnePort::with(r#"client_ca = "{ca}", client_auth = "optional", client_identity = "cn","#, "");
    let device = one.authority.sign(&one.scratch, &["device-7"]);
    let text = |path: &std::path::Path| path.to_str().expect("the target folder's name is text").to_owned();
    let (cert, key) = (text(&device.certificate_file), text(&device.key_file));
    let message = ["-t", "a", "-m", "x", "-q", "1"];
    let exit =
        |arguments: &[&str]| Program::start(one.mosquitto_over_tls(&message).args(arguments)).wait().code;
    assert_eq!(exit(&["--cert", &cert, "--key", &key]), Some(0));
    assert_ne!(exit(&[]), Some(0));
    let mut plain = tcp(one.port());
    plain.write_all(MQTT_CONNECT).expect("the gateway reads");
    assert_eq!(until_the_end(plain), b"\x20\x02\0\x05");
}

/// When TLS is no longer optional, clients without it are told, those with it stay, and no door is opened anew.
#[test]
fn a_reload_that_asks_for_tls_drops_clients_without() {
    let mut one = OnePort::start();
    let port = one.port();
    let mut plain = tcp(port);
    plain.write_all(STOMP_CONNECT).expect("the gateway reads");
    let mut answer = [0; 10];
    plain.read_exact(&mut answer).expect("the gateway answers");
    assert_eq!(&answer, b"CONNECTED\n");
    let listener = "allow_anonymous = true";
    let changed = one.gateway.reload(&config(&one.authority, &one.server, "", listener));
    assert_eq!(changed["fields"]["listeners_changed"], "all");
    assert_eq!(changed["fields"]["listeners_closed"], "none");
    let end = String::from_utf8(until_the_end(plain)).expect("STOMP is text");
    assert!(end.contains("\nERROR\n") || end.contains("\0ERROR\n"), "{end:?}");
    assert_eq!(one.port(), port);
    assert_eq!(until_the_end(refused(port)), b"");
    Program::start(&mut one.mosquitto_over_tls(&["-t", "a", "-m", "x"])).succeed();
}

/// A client without TLS where it is asked for.
fn refused(port: u16) -> TcpStream {
    let mut stream = tcp(port);
    stream.write_all(MQTT_CONNECT).expect("the gateway takes the first bytes");
    stream
}
