//! `acknowledge = "forwarded"`: devices and browsers are answered when the upstream has confirmed what they have sent.

use super::config;
use crate::harness::{Answer, Gateway, MqttClient, Session, WebSocket, received, subscribed_mosquitto};
use tidegate_message::QoS;
use tidegate_mqtt::codec::{PacketType, Version};
use tidegate_testkit::proxy::{Direction, Ending, Flow, Proxy};
use tidegate_testkit::servers::Mosquitto;

const STOMP: &str = r#"
[[listener]]
name = "browsers"
bind = "127.0.0.1:0"
protocols = ["stomp"]
transport = "websocket"
allow_anonymous = true
"#;

fn bridge_to(port: u16) -> String {
    format!(
        r#"
[[topic]]
topics = ["telemetry/#"]
acknowledge = "forwarded"

[[bridge]]
name = "central"
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "60s"

[[bridge.forward]]
from = "telemetry/#"
{STOMP}"#
    )
}

/// While confirms are swallowed nobody is told anything, although everything goes on; when the upstream has confirmed, everybody is.
#[test]
fn nobody_is_told_before_the_upstream_has_confirmed() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    let mut gateway = Gateway::start(&config(&bridge_to(proxy.address().port())));
    gateway.wait_for_log("the upstream answers");
    let mut panel =
        subscribed_mosquitto(mosquitto.address().port(), &["-q", "1", "-t", "#", "-F", "got %t %p"]);
    let mut device = MqttClient::connect(gateway.port("mqtt"), Version::V3, "device", Session::Kept);
    assert_eq!(device.publish_and_wait("telemetry/a", b"before"), 0);
    assert_eq!(received(&mut panel), "telemetry/a before");
    let mut browser = WebSocket::connect(gateway.port("browsers"), &["v12.stomp"]);
    browser.send_text("CONNECT\naccept-version:1.2\nhost:x\n\n\0");
    assert!(browser.next_text().starts_with("CONNECTED\n"));
    browser.send_text("SUBSCRIBE\nid:0\ndestination:/topic/echo\n\n\0");

    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    let id = device.publish("telemetry/a", QoS::AtLeastOnce, b"from the device");
    assert_eq!(received(&mut panel), "telemetry/a from the device");
    browser.send_text("SEND\ndestination:/topic/telemetry/b\nqos:1\nreceipt:7\n\nfrom the page\0");
    assert_eq!(received(&mut panel), "telemetry/b from the page");
    // What is answered behind them says that they were read, and were not answered.
    device.ping();
    browser.send_text("SEND\ndestination:/topic/echo\n\nstill here\0");
    assert!(browser.next_text().starts_with("MESSAGE\n"));

    proxy.end_connections(Ending::Reset);
    proxy.heal();
    assert_eq!(device.next(), Answer::Ack(PacketType::PubAck, id, 0));
    assert_eq!(browser.next_text(), "RECEIPT\nreceipt-id:7\n\n\0");
}

/// The gateway is killed while a device waits. What it has taken is forwarded all the same, and the device sends again what nobody has answered.
#[test]
fn a_device_that_was_not_answered_sends_again_and_nothing_is_lost() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    let config = config(&bridge_to(proxy.address().port()));
    let mut gateway = Gateway::start(&config);
    gateway.wait_for_log("the upstream answers");
    let mut panel =
        subscribed_mosquitto(mosquitto.address().port(), &["-q", "1", "-t", "#", "-F", "got %t %p"]);
    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    let mut device = MqttClient::connect(gateway.port("mqtt"), Version::V5, "device", Session::Kept);
    device.publish("telemetry/a", QoS::AtLeastOnce, b"1");
    assert_eq!(received(&mut panel), "telemetry/a 1");
    let scratch = gateway.kill();
    proxy.end_connections(Ending::Reset);
    proxy.heal();
    let again = scratch.write("again.toml", &config);
    let gateway = Gateway::start_in(scratch, &again);
    assert_eq!(received(&mut panel), "telemetry/a 1");
    let mut device = MqttClient::connect(gateway.port("mqtt"), Version::V5, "device", Session::Kept);
    assert_eq!(device.publish_and_wait("telemetry/a", b"1"), 0);
    assert_eq!(received(&mut panel), "telemetry/a 1");
}
