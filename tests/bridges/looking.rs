//! What an operator sees of a bridge: over HTTP, on the command line, under `$SYS`, in the metrics and in readiness.

use super::config;
use crate::harness::{
    DEADLINE, Ended, Gateway, Program, Scratch, get, metric_sum, mosquitto_pub, mosquitto_sub, run_tidegate,
};
use serde_json::Value;
use std::time::Instant;
use tidegate_testkit::proxy::{Direction, Flow, Proxy};
use tidegate_testkit::servers::Mosquitto;

fn bridge_to(port: u16) -> String {
    format!(
        r#"
[http]
bind = "127.0.0.1:0"

[[bridge]]
name = "central"
kind = "mqtt"
url = "mqtt://gateway:Kennwort@127.0.0.1:{port}"
retry_first = "20ms"
retry_longest = "200ms"
connect_timeout = "500ms"
probe_after = "300ms"
stalled_after = "600ms"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"

[[bridge.receive]]
name = "commands"
filter = "commands/#"
to = "{{topic}}"
"#
    )
}

/// `tidegate bridges` with these words.
fn bridges(gateway: &Gateway, words: &[&str]) -> Ended {
    let url = format!("http://127.0.0.1:{}", gateway.port("http"));
    run_tidegate([&["bridges", "--url", &url], words].concat())
}

/// Asks until something is so.
fn until(gateway: &Gateway, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let answer = get(gateway.port("http"), "/bridges");
        assert_eq!(answer.status, 200);
        let bridge = serde_json::from_str::<Value>(&answer.body).unwrap()["bridges"][0].clone();
        if is_so(&bridge) {
            return bridge;
        }
        assert!(started.elapsed() < DEADLINE, "never; the last was {bridge}");
    }
}

#[test]
fn a_bridge_that_does_not_move_looks_like_that_from_everywhere() {
    let mosquitto = Mosquitto::start();
    let proxy = Proxy::start(mosquitto.address());
    let gateway = Gateway::start(&config(&bridge_to(proxy.address().port())));
    let device = gateway.port("mqtt");
    until(&gateway, |bridge| bridge["state"] == "live");
    mosquitto_pub(device, &["-q", "1", "-t", "telemetry/a", "-m", "1"]);
    mosquitto_pub(mosquitto.address().port(), &["-q", "1", "-t", "commands/a", "-m", "open"]);
    let bridge = until(&gateway, |bridge| {
        let is_through = bridge["forwards"][0]["confirmed"] == 1 && bridge["receives"][0]["published"] == 1;
        // What came in its first moment may count as what has waited.
        is_through && bridge["state"] == "live"
    });
    assert!(bridge["answered_seconds_ago"].as_f64().unwrap() < 60.0, "{bridge}");
    assert_eq!(bridge["address"], format!("mqtt://127.0.0.1:{}", proxy.address().port()), "no password");
    let shown = bridges(&gateway, &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.output);
    for text in ["central", "live", "central.telemetry", "central.commands"] {
        assert!(shown.output.contains(text), "{text}: {}", shown.output);
    }

    // The upstream takes what is sent, and nothing comes back.
    proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    mosquitto_pub(device, &["-q", "1", "-t", "telemetry/a", "-m", "2"]);
    let bridge = until(&gateway, |bridge| {
        bridge["state"] != "live" && bridge["state"] != "draining" && !bridge["last_error"].is_null()
    });
    assert_eq!(bridge["forwards"][0]["backlog_messages"], 1, "{bridge}");
    assert!(bridge["forwards"][0]["oldest_seconds"].as_f64().unwrap() > 0.3, "{bridge}");
    let shown = bridges(&gateway, &["--json"]);
    assert_eq!(shown.code, Some(1), "{}", shown.output);
    let topics =
        ["-t", "$SYS/bridges/central/state", "-t", "$SYS/bridges/central/forward/+/backlog/messages"];
    let told = Program::start(&mut mosquitto_sub(device, &[&topics[..], &["-C", "2"]].concat())).succeed();
    assert!(told.contains("got $SYS/bridges/central/forward/telemetry/backlog/messages 0 1 1\n"), "{told}");
    assert!(!told.contains("state 0 1 live") && !told.contains("state 0 1 draining"), "{told}");
    let metrics = get(gateway.port("http"), "/metrics").body;
    let sum = |name: &str, label: &str| metric_sum(&metrics, name, &["bridge=\"central\"", label]);
    assert_eq!(sum("tidegate_bridge_backlog_messages", "forward=\"telemetry\""), 1.0);
    let moving =
        ["live", "draining"].map(|state| sum("tidegate_bridge_state", &format!("state=\"{state}\"")));
    assert_eq!(moving, [0.0, 0.0], "{metrics}");
    // The gateway itself is well: it takes what the upstream does not.
    let ready = get(gateway.port("http"), "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready"));

    proxy.heal();
    until(&gateway, |bridge| bridge["state"] == "live" && bridge["forwards"][0]["confirmed"] == 2);
    let output = shown.output + &bridges(&gateway, &[]).output + &metrics + &gateway.log();
    assert!(!output.contains("Kennwort"), "{output}");
}

#[test]
fn who_cannot_be_asked_is_not_well() {
    let nobody = run_tidegate(["bridges", "--url", "http://127.0.0.1:1"]);
    assert_eq!(nobody.code, Some(2), "{}", nobody.output);
    let scratch = Scratch::new();
    let file = scratch.write("without.toml", config(""));
    let unknown = run_tidegate(["bridges".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert!(unknown.code == Some(2) && unknown.output.contains("--url"), "{}", unknown.output);
    let gateway = Gateway::standard();
    let none = bridges(&gateway, &[]);
    assert_eq!((none.code, none.output.trim()), (Some(0), "there are no bridges"));
}

/// What each kind of upstream would get, in its own words, with nobody there.
#[test]
fn a_dry_run_says_what_would_be_sent() {
    let scratch = Scratch::new();
    let bridges = r#"
[[bridge]]
name = "mqtt"
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
[[bridge.forward]]
name = "up"
from = "telemetry/#"
topic = "plant/{client_id}/{topic[1]}"
dead_letter = "dead"

[[bridge]]
name = "rabbit"
kind = "rabbitmq"
url = "amqp://guest:Kennwort@127.0.0.1:1"
[[bridge.forward]]
from = "telemetry/#"
exchange = "amq.topic"
routing_key = "{topic}"
payload = "cloudevents"
event_source = "//plant/{topic[1]}"
"#;
    let file = scratch.write("edge.toml", config(bridges));
    let file = file.to_str().expect("the path is text");
    let dry_run = |name: &str, words: &[&str]| {
        run_tidegate([&["bridge", "dry-run", name, "--config", file, "--payload", "21"], words].concat())
    };
    let sent =
        dry_run("mqtt", &["--topic", "telemetry/a", "--client-id", "pump", "--property", "site=north"]);
    assert_eq!(sent.code, Some(0), "{}", sent.output);
    for text in ["plant/pump/a", "site: north", "tidegate-path: edge-1", "edge-1/0/mqtt.up/1"] {
        assert!(sent.output.contains(text), "{text}: {}", sent.output);
    }
    let refused = dry_run("mqtt", &["--topic", "telemetry/a"]);
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(
        refused.output.contains("not_expressible") && refused.output.contains("to dead instead"),
        "{}",
        refused.output
    );
    let rabbit = dry_run("rabbit", &["--topic", "telemetry/a", "--json"]);
    assert_eq!(rabbit.code, Some(0), "{}", rabbit.output);
    let told: Value = serde_json::from_str(rabbit.output.trim()).expect("JSON");
    let fields = told[0]["sends"]["fields"].to_string();
    assert!(fields.contains(r#"["routing key","telemetry.a"]"#), "{fields}");
    assert!(rabbit.output.contains("//plant/a"), "{}", rabbit.output);
    assert!(!rabbit.output.contains("Kennwort"), "{}", rabbit.output);
    assert_eq!(dry_run("mqtt", &["--topic", "other"]).code, Some(1), "no forward takes it");
    let unknown = dry_run("nobody", &["--topic", "telemetry/a"]);
    assert!(unknown.code == Some(2) && unknown.output.contains("mqtt, rabbit"), "{}", unknown.output);
}
