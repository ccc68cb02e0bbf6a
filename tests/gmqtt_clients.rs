//! gmqtt (Python): a second implementation of MQTT 5 properties, and thousands of clients in one program.

use crate::harness::{Gateway, Program, get, metric_sum, python};

/// Clients of the crowd. More than a default limit of open files lets through by mistake, few enough for a default test run.
const CROWD: &str = "3000";

/// Runs one scenario of `tests/clients/gmqtt_checks.py`, which asserts for itself.
fn check(scenario: &str, version: &str) {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt").to_string();
    Program::start(python("tests/clients/gmqtt_checks.py").args([scenario, &port, version])).succeed();
}

/// [MQTT-4.3.1-1], [MQTT-4.3.2-1], [MQTT-4.3.3-1], [MQTT-4.6.0-6]: everything arrives once, and each topic in order.
#[test]
fn gmqtt_round_trip() {
    check("round_trip", "3.1.1");
    check("round_trip", "5");
}

/// [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]
#[test]
fn gmqtt_properties_pass_through() {
    check("properties", "5");
}

/// [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
#[test]
fn gmqtt_gets_retained_messages_as_it_asks_for_them() {
    check("retain_handling", "5");
}

/// Thousands connect, all send to one, one sends to all, and nothing is left when they have gone.
#[test]
fn thousands_of_clients_come_talk_and_go() {
    let gateway = Gateway::start(
        r#"
        workers = 2
        [[listener]]
        name = "mqtt"
        bind = "127.0.0.1:0"
        protocols = ["mqtt"]
        allow_anonymous = true
        connect_timeout = "60s"
        [http]
        bind = "127.0.0.1:0"
        "#,
    );
    let (port, http) = (gateway.port("mqtt").to_string(), gateway.port("http"));
    let mut crowd =
        Program::start(python("tests/clients/gmqtt_checks.py").args(["crowd", &port, "5", CROWD]));
    crowd.wait_for_line("that everybody is there", |line| line == "everybody is here");
    crowd.succeed();
    // Goodbyes may still be on their way when their sender has ended.
    let settled = |metrics: &str| {
        let held = [
            "tidegate_connections_open",
            "tidegate_sessions",
            "tidegate_subscriptions",
            "tidegate_queue_bytes",
        ];
        held.iter().all(|name| metric_sum(metrics, name, &[]) == 0.0)
    };
    let deadline = std::time::Instant::now() + crate::harness::DEADLINE;
    let mut metrics = get(http, "/metrics").body;
    while !settled(&metrics) && std::time::Instant::now() < deadline {
        metrics = get(http, "/metrics").body;
    }
    assert!(settled(&metrics), "{metrics}");
    let opened = metric_sum(&metrics, "tidegate_connections_opened_total", &["protocol=\"mqtt\""]);
    assert!(opened > 3000.0, "{opened} connections");
}
