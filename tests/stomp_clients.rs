//! stomp.py (Python) over TCP: the frames that stand, and the answers to bad ones.

use crate::harness::{Gateway, Program, python};

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
