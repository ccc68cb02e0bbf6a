//! Every example runs against a gateway and does what it says.

use crate::harness::{
    Gateway, Program, example, mosquitto_pub, node, python, received, subscribed_mosquitto,
};

/// `examples/python/device.py`: status, telemetry, and a clean end.
#[test]
fn python_device_publishes_telemetry_and_status() {
    let gateway = Gateway::standard();
    let subscription = ["-t", "telemetry/#", "-t", "status/#", "-q", "1"];
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &subscription);
    let port = gateway.port("mqtt").to_string();
    let mut device = python("examples/python/device.py");
    let device = Program::start(device.args(["--port", &port, "--count", "3", "--interval", "0"]));

    let messages: Vec<String> = (0..5).map(|_| received(&mut watcher)).collect();

    device.succeed();
    assert!(messages.contains(&"status/boiler-7 1 0 online".to_owned()), "{messages:?}");
    assert_eq!(messages.iter().filter(|line| line.starts_with("telemetry/boiler-7 1 0 {")).count(), 3);
    assert_eq!(messages.last().map(String::as_str), Some("status/boiler-7 1 0 offline"));
}

/// `examples/python/device.py`: killed in the middle, its will tells so.
#[test]
fn python_device_leaves_a_will() {
    let gateway = Gateway::standard();
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "status/#", "-q", "1"]);
    let port = gateway.port("mqtt").to_string();
    let device = Program::start(python("examples/python/device.py").args(["--port", &port]));
    assert_eq!(received(&mut watcher), "status/boiler-7 1 0 online");
    device.signal("KILL");
    assert_eq!(received(&mut watcher), "status/boiler-7 1 0 offline");
}

/// `examples/python/stomp_listener.py`: prints what an MQTT client publishes.
#[test]
fn python_stomp_listener_prints_mqtt_messages() {
    let gateway = Gateway::standard();
    let port = gateway.port("stomp").to_string();
    let mut listener =
        Program::start(python("examples/python/stomp_listener.py").args(["--port", &port, "--count", "1"]));
    listener.wait_for_line("that it listens", |line| line.starts_with("listening on"));
    mosquitto_pub(gateway.port("mqtt"), &["-t", "telemetry/x", "-q", "1", "-m", "21.5"]);
    listener.wait_for_line("the message", |line| line == "/topic/telemetry/x 21.5");
    listener.succeed();
}

/// `examples/rust/device.rs`: publishes, and ends on command.
#[test]
fn rust_device_publishes_and_obeys() {
    let gateway = Gateway::standard();
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "telemetry/#", "-q", "1"]);
    let port = gateway.port("mqtt").to_string();
    let device = Program::start(example("device").args(["127.0.0.1", &port, "boiler-8"]));
    assert_eq!(received(&mut watcher), "telemetry/boiler-8 1 0 {\"number\":0}");
    mosquitto_pub(gateway.port("mqtt"), &["-t", "commands/boiler-8", "-q", "1", "-m", "stop"]);
    assert!(device.succeed().contains("command b\"stop\""));
}

/// `examples/browser/index.html`: connects, shows an MQTT message, and sends one.
#[test]
fn browser_page_shows_and_sends_messages() {
    let gateway = Gateway::standard();
    let mut watcher = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "commands/#", "-q", "1"]);
    let url = format!("ws://127.0.0.1:{}/", gateway.port("websocket"));
    let mut page = Program::start(node("open_page.js").arg(url));
    page.wait_for_line("`connected`", |line| line == "connected");

    mosquitto_pub(gateway.port("mqtt"), &["-t", "telemetry/x", "-q", "1", "-m", "21.5"]);

    assert_eq!(received(&mut page), "/topic/telemetry/x 21.5");
    assert_eq!(received(&mut watcher), "commands/browser 1 0 from the page");
    assert_eq!(received(&mut page), "/topic/commands/browser from the page");
    page.succeed();
}
