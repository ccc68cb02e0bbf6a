//! Protocols meet: what one client publishes, clients of every other protocol and transport see.

use crate::harness::{Gateway, Program, mosquitto_pub, node, python, received, subscribed_mosquitto};

/// No UTF-8, with NUL: what a careless bridge between protocols breaks.
const BINARY: &[u8] = &[0x00, 0xFF, 0x80, b'a', 0x00, 0x0A, 0xC3, 0x28];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn websocket_url(gateway: &Gateway) -> String {
    format!("ws://127.0.0.1:{}/stomp", gateway.port("websocket"))
}

/// A subscribed stomp.py client that ends after `count` messages.
fn stomp_listener(port: u16, destination: &str, count: u32) -> Program {
    let mut command = python("tests/clients/stomp_checks.py");
    subscribed(command.args(["listen", &port.to_string(), destination, &count.to_string()]))
}

/// A subscribed @stomp/stompjs client that ends after `count` messages.
fn browser_listener(gateway: &Gateway, destination: &str, count: u32) -> Program {
    let mut command = node("stomp_client.js");
    subscribed(command.args(["listen", &websocket_url(gateway), destination, &count.to_string()]))
}

fn subscribed(command: &mut std::process::Command) -> Program {
    let mut program = Program::start(command);
    program.wait_for_line("`subscribed`", |line| line == "subscribed");
    program
}

fn stomp_send(port: u16, destination: &str, body: &[u8]) {
    let mut command = python("tests/clients/stomp_checks.py");
    Program::start(command.args(["send", &port.to_string(), destination, &hex(body)])).succeed();
}

fn browser_send(gateway: &Gateway, destination: &str, body: &[u8], form: &str) {
    let mut command = node("stomp_client.js");
    Program::start(command.args(["send", &websocket_url(gateway), destination, &hex(body), form])).succeed();
}

/// The README's promise: an MQTT subscriber, a STOMP subscriber and a browser all see one MQTT message.
#[test]
fn every_protocol_sees_an_mqtt_message() {
    let gateway = Gateway::standard();
    let mut device = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "a/#", "-q", "1"]);
    let mut service = stomp_listener(gateway.port("stomp"), "/topic/a/b", 1);
    let mut browser = browser_listener(&gateway, "/topic/a/b", 1);

    mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b", "-q", "1", "-m", "hi"]);

    assert_eq!(received(&mut device), "a/b 1 0 hi");
    assert_eq!(received(&mut service), format!("/topic/a/b {}", hex(b"hi")));
    assert_eq!(received(&mut browser), format!("/topic/a/b {}", hex(b"hi")));
    service.succeed();
    browser.succeed();
}

/// [STOMP-1.2/SEND]: a STOMP message, from TCP or from a browser, reaches MQTT subscribers with QoS 1.
#[test]
fn mqtt_subscriber_sees_stomp_messages() {
    let gateway = Gateway::standard();
    let mut device = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "a/#", "-q", "2"]);
    stomp_send(gateway.port("stomp"), "/topic/a/b", b"from a service");
    assert_eq!(received(&mut device), "a/b 1 0 from a service");
    browser_send(&gateway, "/topic/a/b", b"from a browser", "text");
    assert_eq!(received(&mut device), "a/b 1 0 from a browser");
}

/// [STOMP-1.2/Body]: binary payloads cross in both directions; a WebSocket frame with one never kills the browser's socket.
#[test]
fn binary_payloads_cross_unchanged() {
    let gateway = Gateway::standard();
    let mut browser = browser_listener(&gateway, "/topic/bytes/#", 3);
    let mut service = stomp_listener(gateway.port("stomp"), "/topic/bytes/#", 3);
    let file = gateway.scratch().write("payload", BINARY);

    let file = file.to_str().expect("the target folder's name is text");
    mosquitto_pub(gateway.port("mqtt"), &["-t", "bytes/mqtt", "-f", file]);
    stomp_send(gateway.port("stomp"), "/topic/bytes/stomp", BINARY);
    browser_send(&gateway, "/topic/bytes/browser", BINARY, "binary");

    for from in ["mqtt", "stomp", "browser"] {
        let expected = format!("/topic/bytes/{from} {}", hex(BINARY));
        assert_eq!(received(&mut browser), expected);
        assert_eq!(received(&mut service), expected);
    }
}

/// A retained MQTT message is the first thing that a later STOMP subscriber sees.
#[test]
fn stomp_subscriber_sees_retained_mqtt_messages() {
    let gateway = Gateway::standard();
    mosquitto_pub(gateway.port("mqtt"), &["-t", "state/door", "-q", "1", "-r", "-m", "open"]);
    let mut service = stomp_listener(gateway.port("stomp"), "/topic/state/+", 1);
    assert_eq!(received(&mut service), format!("/topic/state/door {}", hex(b"open")));
}

/// One TCP port serves both protocols: the first bytes decide.
#[test]
fn mqtt_and_stomp_share_a_tcp_port() {
    let gateway = Gateway::standard();
    let port = gateway.port("shared");
    let mut device = subscribed_mosquitto(port, &["-V", "mqttv5", "-t", "a/#"]);
    let mut service = stomp_listener(port, "/topic/a/b", 1);
    mosquitto_pub(port, &["-t", "a/b", "-m", "hi"]);
    assert_eq!(received(&mut device), "a/b 0 0 hi");
    assert_eq!(received(&mut service), format!("/topic/a/b {}", hex(b"hi")));
}

/// One WebSocket port serves both protocols: the sub-protocol decides.
#[test]
fn mqtt_and_stomp_share_a_websocket_port() {
    let gateway = Gateway::standard();
    let mut browser = browser_listener(&gateway, "/topic/javascript/0", 4);
    let url = format!("ws://127.0.0.1:{}/any/path", gateway.port("websocket"));
    Program::start(node("mqtt_round_trip.js").args([&url, "5"])).succeed();
    assert_eq!(received(&mut browser), format!("/topic/javascript/0 {}", hex(b"hi")));
    browser.succeed();
}
