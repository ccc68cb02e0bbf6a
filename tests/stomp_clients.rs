//! stomp.py (Python) over TCP and @stomp/stompjs (JavaScript) over WebSocket: the frames that stand, and the answers to bad ones.

use crate::harness::{Gateway, Program, node, python};

/// Runs one scenario of `tests/clients/stomp_checks.py`, which asserts for itself.
fn check(scenario: &str) {
    let gateway = Gateway::standard();
    let port = gateway.port("stomp").to_string();
    Program::start(python("tests/clients/stomp_checks.py").args([scenario, &port])).succeed();
}

/// [STOMP-1.2/SEND], [STOMP-1.2/MESSAGE]: a message reaches its subscriber with the headers that the spec asks for.
#[test]
fn subscriber_receives_what_is_sent() {
    check("send_and_receive");
}

/// [STOMP-1.2/SUBSCRIBE]: `+` and `#` in a topic destination mean what they mean in MQTT; each subscription gets its copy.
#[test]
fn wildcard_destinations_match() {
    check("wildcards");
}

/// [STOMP-1.2/Body]: with content-length a body may hold any octet, NUL too.
#[test]
fn binary_body_survives() {
    check("binary_body");
}

/// [STOMP-1.2/Value Encoding]: custom headers arrive, with their colons, backslashes and newlines.
#[test]
fn custom_headers_survive() {
    check("headers");
}

/// [STOMP-1.2/UNSUBSCRIBE]: after its receipt nothing more arrives.
#[test]
fn unsubscribing_ends_deliveries() {
    check("unsubscribe");
}

/// [STOMP-1.2/ERROR]: a frame without its required header is answered with its receipt id, and the connection ends.
#[test]
fn bad_frame_is_answered_with_an_error() {
    check("error");
}

/// [STOMP-1.2/Heart-beating]: the gateway sends the beats that it agreed to.
#[test]
fn agreed_heart_beats_arrive() {
    check("heart_beat");
}

/// A durable subscription over disconnections, a lost socket, a take-over and its end, while an MQTT client publishes.
#[test]
fn durable_subscription_waits_for_its_client() {
    let gateway = Gateway::standard();
    let ports = ["mqtt", "stomp"].map(|listener| gateway.port(listener).to_string());
    Program::start(python("tests/clients/stomp_durable_checks.py").args(ports)).succeed();
}

/// Runs one scenario of `tests/clients/stomp_versions.py` in these versions, with an MQTT client on the other side.
fn check_in(versions: &[&str], scenario: &str) {
    for version in versions {
        let gateway = Gateway::standard();
        let [stomp, mqtt] = ["stomp", "mqtt"].map(|listener| gateway.port(listener).to_string());
        let arguments = [scenario, version, &stomp, &mqtt];
        Program::start(python("tests/clients/stomp_versions.py").args(arguments)).succeed();
    }
}

const ALL: [&str; 3] = ["1.0", "1.1", "1.2"];

/// [STOMP-1.2/Protocol Negotiation] [STOMP-1.1/Value Encoding] [STOMP-1.0/MESSAGE]: messages cross to MQTT and back in each version, with
/// their headers.
#[test]
fn every_version_exchanges_messages_with_a_device() {
    check_in(&ALL, "exchange");
}

/// [STOMP-1.0/UNSUBSCRIBE] [STOMP-1.1/UNSUBSCRIBE] [STOMP-1.2/UNSUBSCRIBE]: by destination or by id.
#[test]
fn every_version_unsubscribes_in_its_way() {
    check_in(&ALL, "unsubscribe");
}

/// [STOMP-1.2/SUBSCRIBE ack Header] [STOMP-1.0/ACK] [STOMP-1.1/ACK] [STOMP-1.2/ACK] [STOMP-1.1/SUBSCRIBE ack Header]
#[test]
fn every_version_acknowledges_in_its_way() {
    check_in(&ALL, "cumulative");
    check_in(&ALL, "redelivery");
}

/// [STOMP-1.1/NACK] [STOMP-1.2/NACK] [STOMP-1.0/Client Commands]
#[test]
fn a_message_that_is_refused_comes_again_or_not() {
    check_in(&ALL, "refusal");
}

/// [STOMP-1.0/COMMIT] [STOMP-1.1/COMMIT] [STOMP-1.2/COMMIT] [STOMP-1.2/ABORT] [STOMP-1.2/DISCONNECT]
#[test]
fn every_version_has_transactions() {
    check_in(&ALL, "transactions");
    check_in(&ALL, "acknowledging_in_transactions");
}

/// [STOMP-1.2/COMMIT] [STOMP-1.2/ERROR]
#[test]
fn a_refused_transaction_reaches_nobody() {
    check_in(&ALL, "all_or_nothing");
}

/// [STOMP-1.1/Heart-beating] [STOMP-1.2/Heart-beating]: both ways, for as long as nothing else is said.
#[test]
fn heart_beats_keep_a_silent_connection() {
    check_in(&["1.1", "1.2"], "heart_beats");
}

/// [STOMP-1.2/Protocol Negotiation]: over WebSocket, with acknowledgements and transactions.
#[test]
fn every_version_of_stompjs_is_served() {
    in_browser("exchange");
}

/// [STOMP-1.2/ERROR] [STOMP-1.2/Size Limits] [STOMP-1.2/Client Frames]: what is wrong is named before the socket closes, and nobody else
/// is harmed.
#[test]
fn hostile_frames_are_named_before_the_websocket_closes() {
    in_browser("hostile");
}

/// Runs one action of `tests/clients/node/stomp_versions.js`.
fn in_browser(action: &str) {
    let gateway = Gateway::standard();
    let url = format!("ws://127.0.0.1:{}/stomp", gateway.port("websocket"));
    Program::start(node("stomp_versions.js").args([action, &url])).succeed();
}
