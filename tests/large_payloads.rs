//! Payloads of many MiB over every transport, where `max_packet_size` allows them; and what happens above it.

use crate::harness::{Authority, Gateway, Program, Scratch, mosquitto_pub, node, python, tool};

const MIB: usize = 1 << 20;

/// A gateway with every transport in the clear and inside TLS, with its authority and a client's certificate.
struct Everywhere {
    gateway: Gateway,
    authority: String,
    certificate: [String; 2],
    _scratch: Scratch,
}

impl Everywhere {
    fn start(max_packet_size: &str) -> Everywhere {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch, "authority");
        let server = authority.sign(&scratch, &["localhost", "127.0.0.1"]);
        let client = authority.sign(&scratch, &["device-7"]);
        let ca = authority.certificate_file.display().to_string();
        let tls = format!(
            "{{ cert = {:?}, key = {:?}, client_ca = {ca:?}, client_auth = \"required\" }}",
            server.certificate_file, server.key_file
        );
        let mut config = "workers = 2\n".to_owned();
        for (name, transport, is_encrypted) in [
            ("mqtt", "tcp", false),
            ("mqtts", "tcp", true),
            ("ws", "websocket", false),
            ("wss", "websocket", true),
        ] {
            let access =
                if is_encrypted { format!("tls = {tls}") } else { "allow_anonymous = true".to_owned() };
            config += &format!(
                "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\ntransport = \"{transport}\"\n\
                 protocols = [\"mqtt\"]\nmqtt = {{ max_packet_size = \"{max_packet_size}\" }}\n{access}\n"
            );
        }
        let file = |path: &std::path::Path| path.display().to_string();
        let certificate = [file(&client.certificate_file), file(&client.key_file)];
        Everywhere { gateway: Gateway::start(&config), authority: ca, certificate, _scratch: scratch }
    }

    fn round_trip(&self, listener: &str, bytes: usize) {
        let url = format!("{listener}://localhost:{}/mqtt", self.gateway.port(listener));
        let mut command = match listener {
            "mqtt" | "mqtts" => python("tests/clients/large_payloads.py"),
            _ => node("large_payload.js"),
        };
        command.args([&url, &bytes.to_string()]);
        match listener {
            "mqtts" => drop(command.arg(&self.authority).args(&self.certificate)),
            "wss" => drop(command.args(&self.certificate).env("NODE_EXTRA_CA_CERTS", &self.authority)),
            _ => {}
        }
        Program::start(&mut command).succeed();
    }
}

/// 10 MiB there and back, unchanged, at every quality of service, over TCP, TLS with a client certificate, WebSocket, and both.
#[test]
fn ten_mebibytes_pass_over_every_transport() {
    let everywhere = Everywhere::start("16MiB");
    for listener in ["mqtt", "mqtts", "ws", "wss"] {
        everywhere.round_trip(listener, 10 * MIB);
    }
}

/// A packet of exactly the limit passes. The header of this one takes 1 + 3 bytes, topic 2 + 7, packet identifier 2, properties 1.
#[test]
fn a_packet_of_the_limit_passes_and_one_byte_more_does_not() {
    let everywhere = Everywhere::start("2MiB");
    everywhere.round_trip("mqtt", 2 * MIB - 16);
    let port = everywhere.gateway.port("mqtt");
    for (bytes, passes) in [(2 * MIB - 16, true), (2 * MIB - 15, false)] {
        let file = everywhere.gateway.scratch().write("payload", vec![b'x'; bytes]);
        let file = file.to_str().expect("the target folder's name is text");
        let arguments = ["-V", "mqttv5", "-t", "large/0", "-q", "1", "-f", file];
        if passes {
            mosquitto_pub(port, &arguments);
        } else {
            let port = port.to_string();
            let mut command = tool("mosquitto_pub");
            command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments);
            assert_ne!(Program::start(&mut command).wait().code, Some(0));
        }
    }
}
