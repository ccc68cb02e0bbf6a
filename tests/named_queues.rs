//! Named queues with other people's clients: mosquitto, paho-mqtt and stomp.py on one queue.

use crate::harness::{Gateway, Program, mosquitto_pub, mosquitto_sub, python, received};

/// What holds for the queues of these tests.
const POLICIES: &str = r##"
[[queue]]
names = ["dead"]

[[queue]]
names = ["small"]
max_messages = 2

[[queue]]
names = ["#"]
delivery_limit = 3
message_ttl = "1h"
dead_letter = "$queue/dead"
"##;

/// Runs one scenario of `tests/clients/queue_checks.py`, which asserts for itself.
fn check(policies: &str, scenario: &str) {
    let gateway = Gateway::standard_with(policies);
    let ports = ["mqtt", "stomp"].map(|listener| gateway.port(listener).to_string());
    Program::start(python("tests/clients/queue_checks.py").arg(scenario).args(ports)).succeed();
}

/// In every version of MQTT, before anybody is there to take it.
#[test]
fn a_message_waits_for_the_first_who_asks_for_it() {
    let gateway = Gateway::standard_with(POLICIES);
    let port = gateway.port("mqtt");
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            mosquitto_pub(port, &["-V", version, "-t", "$queue/jobs", "-q", qos, "-m", qos]);
        }
        let arguments = ["-V", version, "-t", "$queue/jobs", "-q", "2", "-C", "3"];
        let mut subscriber = Program::start(&mut mosquitto_sub(port, &arguments));
        for qos in ["0", "1", "2"] {
            assert_eq!(received(&mut subscriber), format!("$queue/jobs {qos} 0 {qos}"));
        }
        subscriber.succeed();
    }
}

#[test]
fn consumers_of_two_protocols_compete() {
    check(POLICIES, "compete");
}

#[test]
fn what_a_consumer_leaves_goes_to_another_and_dies_in_the_end() {
    check(POLICIES, "failing");
}

#[test]
fn what_cannot_be_a_queue_is_refused_in_each_protocol() {
    check(POLICIES, "refusals");
}

#[test]
fn queues_keep_the_bounds_of_their_policies() {
    check(&POLICIES.replace("\"1h\"", "\"200ms\""), "bounds");
}
