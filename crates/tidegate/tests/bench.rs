//! `tidegate bench` against a gateway, against nobody, and against a broker that sends nonsense.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is outside of test functions here is part of tests too, and so is the harness"
)]

#[path = "../../../tests/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests need more of it than these")]
mod harness;

use harness::{Ended, Gateway, Scratch, run_tidegate};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Runs the load generator for a second and returns how it ended, with its JSON where it wrote one.
fn bench(target: &str, scratch: &Scratch, options: &str) -> (Ended, Option<Value>) {
    let json = scratch.write("figures.json", "");
    let fixed = ["bench", "--target", target, "--warmup", "100ms", "--duration", "1s", "--json"];
    let path = json.to_str().expect("a path of plain letters");
    let ended = run_tidegate(fixed.into_iter().chain([path]).chain(options.split_whitespace()));
    let written = std::fs::read_to_string(&json).expect("the file is there");
    (ended, serde_json::from_str(&written).ok())
}

/// Expects that everything that was sent arrived `receivers` times, once each and in order.
fn delivers_everything(listener: &str, options: &str, receivers: u64) {
    crosses([listener, listener], options, receivers);
}

/// The same where publishers and subscribers come through these two listeners.
fn crosses(listeners: [&str; 2], options: &str, receivers: u64) {
    let gateway = Gateway::standard();
    let [publish, subscribe] = listeners.map(|listener| format!("127.0.0.1:{}", gateway.port(listener)));
    let targets = format!("--subscribe-target {subscribe} {options}");
    let (ended, figures) = bench(&publish, gateway.scratch(), &targets);
    assert_eq!(ended.code, Some(0), "{options}: {}", ended.output);
    let figures = figures.expect("figures as JSON");
    let count = |name: &str| figures[name].as_u64().unwrap_or_else(|| panic!("no {name} in {figures}"));
    assert!(count("sent") > 0, "{options}: {figures}");
    assert_eq!(count("received"), count("sent") * receivers, "{options}: {figures}");
    for name in ["lost", "duplicates", "out_of_order", "foreign", "refused", "failed_connections"] {
        assert_eq!(count(name), 0, "{options}: {name} in {figures}");
    }
    assert!(figures["latency_microseconds"]["p50"].as_f64() > Some(0.0), "{options}: {figures}");
}

/// [MQTT-3.1.1/4.3.1-1]
#[test]
fn mqtt_at_qos_0_is_measured_without_loss() {
    delivers_everything("mqtt", "--protocol mqtt --quiet", 1);
}

/// [MQTT-3.1.1/4.3.3-1] [MQTT-3.1.1/4.3.3-2]
#[test]
fn mqtt_at_qos_2_is_measured_without_loss_or_duplicates() {
    delivers_everything("mqtt", "--protocol mqtt --qos 2 --size 1024", 1);
}

/// [MQTT-4.3.2-1] [MQTT-4.3.2-4]
#[test]
fn mqtt5_is_measured_in_an_open_loop() {
    delivers_everything("mqtt", "--protocol mqtt5 --qos 1 --rate 2000 --publishers 3 --threads 2", 1);
}

/// [MQTT-3.1.1/4.5.0-1] and MQTT 3.1.1 section 4.7.1
#[test]
fn a_fan_in_by_wildcard_is_measured() {
    delivers_everything("mqtt", "--layout fan-in --publishers 20 --topics 3 --subscribers 2 --qos 1", 2);
}

/// [MQTT-3.1.1/3.3.1-9] [MQTT-3.1.1/3.3.1-10]
#[test]
fn a_fan_out_of_retained_messages_is_measured_and_cleared_away() {
    delivers_everything("mqtt", "--layout fan-out --publishers 2 --subscribers 10 --retain --window 10", 10);
}

/// [STOMP-1.2/SEND]
#[test]
fn stomp_is_measured() {
    delivers_everything("stomp", "--protocol stomp", 1);
}

/// [STOMP-1.2/RECEIPT] and [STOMP-1.2/ACK]
#[test]
fn stomp_with_receipts_and_acknowledgements_is_measured() {
    delivers_everything("stomp", "--protocol stomp --qos 1 --layout fan-in --publishers 5 --window 5", 1);
}

/// [STOMP-1.2/MESSAGE]: what devices publish reaches browsers.
#[test]
fn mqtt_publishers_with_stomp_subscribers_over_websocket_are_measured() {
    let sides = "--publish-protocol mqtt --subscribe-protocol stomp --subscribe-transport websocket";
    crosses(["mqtt", "websocket"], &format!("{sides} --layout fan-out --subscribers 3"), 3);
    crosses(["mqtt", "websocket"], &format!("{sides} --qos 1 --publishers 3 --size 70000 --window 4"), 1);
}

/// [MQTT-6.0.0-1]
#[test]
fn stomp_publishers_with_mqtt_subscribers_over_websocket_are_measured() {
    let sides = "--transport websocket --publish-protocol stomp --subscribe-protocol mqtt5";
    delivers_everything("websocket", &format!("{sides} --qos 1 --layout fan-in --publishers 4"), 1);
}

#[test]
fn a_listener_without_websocket_is_named() {
    let gateway = Gateway::standard();
    let target = format!("127.0.0.1:{}", gateway.port("stomp"));
    let (ended, _) = bench(&target, gateway.scratch(), "--transport websocket");
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains(&target), "{}", ended.output);
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    // Bound and closed again, so that nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let (ended, figures) = bench(&address.to_string(), &scratch, "");
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains(&address.to_string()), "{}", ended.output);
    assert!(figures.is_none());
}

/// Accepts the connection, confirms the subscription, and then sends random bytes.
#[test]
fn a_hostile_broker_ends_the_run_and_nothing_else() {
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let broker = std::thread::spawn(move || {
        for seed in 0..2 {
            let (mut socket, _) = listener.accept().unwrap();
            babble(&mut socket, seed);
        }
    });
    let (ended, _) = bench(&target, &scratch, "--qos 1");
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
    broker.join().unwrap();
}

/// CONNACK and SUBACK, whichever is asked for, and then half a mebibyte of nonsense from this seed.
fn babble(socket: &mut TcpStream, seed: u64) {
    let mut request = [0; 512];
    let _ = socket.read(&mut request);
    let _ = socket.write_all(&[0x20, 2, 0, 0]);
    let _ = socket.read(&mut request);
    let _ = socket.write_all(&[0x90, 3, 0, 1, 1]);
    let mut state = seed ^ 0x5EED;
    let nonsense = (0..1 << 19).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    // The peer may have had enough of it.
    let _ = socket.write_all(&nonsense.collect::<Vec<u8>>());
}
