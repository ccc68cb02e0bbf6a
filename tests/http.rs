//! The HTTP listener: health, readiness, and metrics that agree with what was sent.

use std::time::Instant;

use crate::harness::{DEADLINE, Gateway, get, metric_sum, mosquitto_pub, received, subscribed_mosquitto};

/// Asks for the metrics until `holds` or the deadline: workers add their counts up when they come round to it.
fn metrics_when(gateway: &Gateway, holds: impl Fn(&str) -> bool) -> String {
    let started = Instant::now();
    loop {
        let metrics = get(gateway.port("http"), "/metrics").body;
        if holds(&metrics) {
            return metrics;
        }
        assert!(started.elapsed() < DEADLINE, "the metrics never came to this; the last were:\n{metrics}");
    }
}

/// `/healthz` and `/readyz` answer 200 once the gateway has said that it is ready; other paths answer 404.
#[test]
fn health_and_readiness_answer() {
    let gateway = Gateway::standard();
    assert_eq!(get(gateway.port("http"), "/healthz").status, 200);
    assert_eq!(get(gateway.port("http"), "/readyz").status, 200);
    assert_eq!(get(gateway.port("http"), "/nothing-here").status, 404);
}

/// Every family is there from the start, with its help text, in a format that a scraper accepts.
#[test]
fn metric_families_are_exposed() {
    let gateway = Gateway::standard();
    let answer = get(gateway.port("http"), "/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: application/openmetrics-text")
            || answer.head.contains("content-type: text/plain"),
        "{}",
        answer.head
    );
    for family in [
        "tidegate_connections_opened",
        "tidegate_connections_closed",
        "tidegate_messages_received",
        "tidegate_messages_sent",
        "tidegate_bytes_received",
        "tidegate_bytes_sent",
    ] {
        assert!(
            answer.body.contains(&format!("# HELP {family}")),
            "{family} is missing in:\n{}",
            answer.body
        );
    }
}

/// Messages are counted by protocol and quality of service, as received and as delivered.
#[test]
fn message_counts_match_what_was_sent() {
    let gateway = Gateway::standard();
    let port = gateway.port("mqtt");
    let mut subscriber = subscribed_mosquitto(port, &["-t", "a/#", "-q", "1"]);
    for qos in ["0", "1", "1", "2", "2", "2"] {
        mosquitto_pub(port, &["-t", "a/b", "-q", qos, "-m", "hi"]);
        received(&mut subscriber);
    }

    let counts = |metrics: &str, name: &str| {
        ["0", "1", "2"]
            .map(|qos| metric_sum(metrics, name, &["protocol=\"mqtt\"", &format!("qos=\"{qos}\"")]))
    };
    metrics_when(&gateway, |metrics| {
        counts(metrics, "tidegate_messages_received_total") == [1.0, 2.0, 3.0]
            && counts(metrics, "tidegate_messages_sent_total") == [1.0, 5.0, 0.0]
    });
}

/// Connections are counted when they open, and with their reason when they close.
#[test]
fn connection_counts_match_what_happened() {
    let gateway = Gateway::standard();
    let _stays = subscribed_mosquitto(gateway.port("mqtt"), &["-t", "a/#"]);
    for _ in 0..3 {
        mosquitto_pub(gateway.port("mqtt"), &["-t", "a/b", "-m", "hi"]);
    }
    let metrics = metrics_when(&gateway, |metrics| {
        metric_sum(metrics, "tidegate_connections_opened_total", &[]) == 4.0
            && metric_sum(metrics, "tidegate_connections_closed_total", &["protocol=\"mqtt\"", "reason=\""])
                == 3.0
    });
    assert!(metric_sum(&metrics, "tidegate_bytes_received_total", &[]) > 0.0, "{metrics}");
    assert!(metric_sum(&metrics, "tidegate_bytes_sent_total", &[]) > 0.0, "{metrics}");
}
