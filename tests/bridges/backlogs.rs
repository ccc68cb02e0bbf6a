//! What becomes of a backlog that is not to be sent as a whole.

use super::config;
use crate::harness::{
    DEADLINE, Gateway, get, metric_sum, mosquitto_pub, received, run_tidegate, subscribed_mosquitto,
};
use serde_json::Value;
use std::time::Instant;
use tidegate_testkit::proxy::{Direction, Ending, Flow, Proxy};
use tidegate_testkit::servers::Mosquitto;

/// A bridge whose forward has these lines as well.
fn bridge_to(port: u16, forward: &str) -> String {
    config(&format!(
        r#"
[http]
bind = "127.0.0.1:0"

[[bridge]]
name = "central"
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "500ms"
stalled_after = "1s"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
topic = "plant/{{topic}}"
{forward}
"#
    ))
}

/// Asks for the forward until something is so.
fn until(gateway: &Gateway, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let answer = get(gateway.port("http"), "/bridges");
        let reports = serde_json::from_str::<Value>(&answer.body).unwrap();
        let forward = reports["bridges"][0]["forwards"][0].clone();
        if is_so(&forward) {
            return forward;
        }
        assert!(started.elapsed() < DEADLINE, "never; the last was {forward}");
    }
}

fn publish(gateway: &Gateway, topic: &str, payload: &str) {
    mosquitto_pub(gateway.port("mqtt"), &["-q", "1", "-t", topic, "-m", payload]);
}

/// How many were dropped for a reason, as the metrics have it.
fn dropped(gateway: &Gateway, reason: &str) -> f64 {
    let metrics = get(gateway.port("http"), "/metrics").body;
    let reason = format!("reason=\"{reason}\"");
    metric_sum(&metrics, "tidegate_bridge_forward_dropped_total", &["forward=\"telemetry\"", &reason])
}

/// Devices publish while the link is cut and the gateway is killed: each topic's last value arrives and no other.
#[test]
fn of_what_waited_the_last_value_of_each_topic_arrives() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    let config = bridge_to(proxy.address().port(), "keep = \"last\"");
    let gateway = Gateway::start(&config);
    for number in 0..10 {
        publish(&gateway, "telemetry/a", &format!("a{number}"));
        publish(&gateway, "telemetry/b", &format!("b{number}"));
    }
    let scratch = gateway.kill();
    let file = scratch.write("again.toml", config);
    let mut gateway = Gateway::start_in(scratch, &file);
    publish(&gateway, "telemetry/a", "a10");
    let forward = until(&gateway, |forward| forward["backlog_messages"] == 2);
    assert!(forward["dropped"]["superseded"].as_u64().unwrap() > 0, "{forward}");
    assert!(dropped(&gateway, "superseded") > 0.0);
    let central = mosquitto.address().port();
    let mut panel = subscribed_mosquitto(central, &["-q", "1", "-t", "plant/#", "-F", "got %t %p"]);
    proxy.end_connections(Ending::Reset);
    proxy.heal();
    gateway.wait_for_log("the upstream answers");
    assert_eq!(received(&mut panel), "plant/telemetry/b b9");
    assert_eq!(received(&mut panel), "plant/telemetry/a a10");
    publish(&gateway, "telemetry/b", "b10");
    assert_eq!(received(&mut panel), "plant/telemetry/b b10");
}

/// The age of what waits goes on while the gateway is killed, and what is too old goes before the link is back.
#[test]
fn what_is_older_than_max_age_is_dropped_and_not_sent() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    let with_age = |age: &str| bridge_to(proxy.address().port(), &format!("max_age = \"{age}\""));
    let gateway = Gateway::start(&with_age("1h"));
    for number in 0..5 {
        publish(&gateway, "telemetry/a", &format!("m{number}"));
    }
    let scratch = gateway.kill();
    let file = scratch.write("again.toml", with_age("1s"));
    let mut gateway = Gateway::start_in(scratch, &file);
    let forward = until(&gateway, |forward| forward["dropped"]["max_age"] == 5);
    assert_eq!(forward["confirmed"], 0, "{forward}");
    until(&gateway, |forward| forward["backlog_messages"] == 0);
    assert_eq!(dropped(&gateway, "max_age"), 5.0);
    let url = format!("http://127.0.0.1:{}", gateway.port("http"));
    let shown = run_tidegate(["bridges", "--url", &url]).output;
    assert!(
        shown.lines().any(|line| line.starts_with("central.telemetry") && line.contains("max_age")),
        "{shown}"
    );

    gateway.reload(&with_age("1h"));
    let central = mosquitto.address().port();
    let mut panel = subscribed_mosquitto(central, &["-q", "1", "-t", "plant/#", "-F", "got %p"]);
    publish(&gateway, "telemetry/a", "young");
    proxy.end_connections(Ending::Reset);
    proxy.heal();
    assert_eq!(received(&mut panel), "young");
}
