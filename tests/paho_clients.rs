//! paho-mqtt (Python): flows and properties that a command line client does not show.

use crate::harness::{Gateway, Program, python};

/// Runs one scenario of `tests/clients/paho_checks.py`, which asserts for itself, in each of these protocol versions,
/// each with a gateway of its own, because retained messages and sessions would outlive the first run.
fn check(scenario: &str, versions: &[&str]) {
    for version in versions {
        let gateway = Gateway::standard();
        let port = gateway.port("mqtt").to_string();
        let mut command = python("tests/clients/paho_checks.py");
        Program::start(command.args([scenario, &port, version])).succeed();
    }
}

/// [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-3.1.1/4.3.1-1] [MQTT-3.1.1/4.3.2-1] [MQTT-3.1.1/4.3.3-1]: each
/// quality of service completes its flow, once and in order.
#[test]
fn every_quality_of_service_completes_in_order() {
    check("quality_of_service", &["3.1.1", "5"]);
}

/// [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]: properties pass unchanged; user properties keep order and duplicates.
#[test]
fn properties_pass_through_unchanged() {
    check("properties", &["5"]);
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-12] [MQTT-3.1.1/3.3.1-8] [MQTT-3.1.1/3.3.1-9]: a retained message that is delivered as it
/// is published is not marked retained.
#[test]
fn retained_flag_tells_old_from_new() {
    check("retained", &["3.1.1", "5"]);
}

/// [MQTT-3.1.4-3] [MQTT-3.1.1/3.1.4-2]: a second client with the same id takes the session over.
#[test]
fn second_client_with_the_same_id_takes_over() {
    check("take_over", &["3.1.1", "5"]);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-15] [MQTT-3.1.1/3.1.2-8] [MQTT-3.1.1/3.1.2-17]: an abrupt end publishes the will, retained
/// if it says so.
#[test]
fn will_is_published_on_an_abrupt_end() {
    check("will", &["3.1.1", "5"]);
}

/// [MQTT-3.3.4-3], [MQTT-3.3.4-4]: a message names the subscriptions that it matched.
#[test]
fn subscription_identifiers_come_with_the_message() {
    check("subscription_identifier", &["5"]);
}

/// [MQTT-3.8.3-3]: no-local keeps a client's own messages from it.
#[test]
fn no_local_keeps_own_messages_away() {
    check("no_local", &["5"]);
}

/// [MQTT-3.3.1-9] to [MQTT-3.3.1-11]: when retained messages are sent on subscribing is the subscriber's choice.
#[test]
fn retain_handling_is_obeyed() {
    check("retain_handling", &["5"]);
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13]: retain-as-published keeps the flag.
#[test]
fn retain_as_published_keeps_the_flag() {
    check("retain_as_published", &["5"]);
}

/// [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.1.1/3.2.2-1] to [MQTT-3.1.1/3.2.2-3]: CONNACK tells whether a session was there.
#[test]
fn connack_tells_whether_a_session_was_there() {
    check("session_present", &["3.1.1", "5"]);
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.1.1/3.10.4-1] [MQTT-3.1.1/3.10.4-2]: after UNSUBSCRIBE nothing more arrives.
#[test]
fn unsubscribing_ends_deliveries() {
    check("unsubscribe", &["3.1.1", "5"]);
}

/// MQTT 5.0 section 4.8.2: members share what is published; what a member leaves unacknowledged goes to another.
#[test]
fn shared_subscriptions_divide_the_messages() {
    check("shared", &["3.1.1", "5"]);
}
