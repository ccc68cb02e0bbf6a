//! MQTT.js over TCP and WebSocket. (@stomp/stompjs meets the other protocols in `protocols_together.rs`.)

use crate::harness::{Gateway, Program, node};

fn round_trip(url: &str) {
    for version in ["3", "4", "5"] {
        Program::start(node("mqtt_round_trip.js").args([url, version])).succeed();
    }
}

/// [MQTT-4.3.3-1]: all payloads arrive once and in order at every quality of service, over TCP.
#[test]
fn mqtt_js_round_trip_over_tcp() {
    let gateway = Gateway::standard();
    round_trip(&format!("mqtt://127.0.0.1:{}", gateway.port("mqtt")));
}

/// [MQTT-6.0.0-1] to [MQTT-6.0.0-4] [MQTT-3.1.1/6.0.0-1] to [MQTT-3.1.1/6.0.0-4]: MQTT packets travel in binary WebSocket
/// frames, whatever their boundaries.
#[test]
fn mqtt_js_round_trip_over_websocket() {
    let gateway = Gateway::standard();
    round_trip(&format!("ws://127.0.0.1:{}/mqtt", gateway.port("websocket")));
}
