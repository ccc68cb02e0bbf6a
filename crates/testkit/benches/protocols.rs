//! What a message costs from its publisher's bytes to its receiver's, by protocol: machines, broker and codecs, without sockets.
//!
//! `cargo bench -p tidegate-testkit --bench protocols` prints nanoseconds per message. On a busy machine instructions are the figure that
//! stands still: the program with two arguments, `stomp-qos1 20000`, runs one case so many times, under `valgrind --tool=callgrind` for example.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop"
)]

use std::num::NonZeroU16;
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    self as mqtt, Packet, PropertiesRef, SubscribeFilter, SubscriptionOptions, Version,
};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::Protocol;
use tidegate_stomp::codec::{self as stomp, Command};
use tidegate_stomp::{Stomp, StompOptions};
use tidegate_testkit::pair::{Link, World};
use tidegate_testkit::script::peer;

/// Messages that are sent, and acknowledged, together: as many as a busy socket brings at a time.
const BATCH: u64 = 50;
const PAYLOAD: [u8; 64] = [b'x'; 64];
const CASES: [&str; 5] = ["mqtt-qos0", "stomp-qos0", "mqtt-qos1", "stomp-qos1", "mqtt-qos0-to-stomp"];

/// A publisher and a receiver, and what they say for one batch.
struct Pair {
    world: World,
    publisher: Link,
    receiver: Link,
    batch: Vec<u8>,
    /// The acknowledgements of a batch; the receiver makes them of what it has received.
    acknowledge: fn(&[u8], &mut Vec<u8>),
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [case, messages] = &arguments[..] {
        return run(&mut pair(case), messages.parse().unwrap());
    }
    for case in CASES {
        let (mut pair, messages) = (pair(case), 200_000);
        run(&mut pair, messages / 10);
        let start = Instant::now();
        run(&mut pair, messages);
        println!("{case}: {:.0} ns", start.elapsed().as_secs_f64() * 1e9 / messages as f64);
    }
}

fn run(pair: &mut Pair, messages: u64) {
    let mut answer = Vec::new();
    for _ in 0..messages / BATCH {
        pair.world.send(&pair.publisher, &pair.batch);
        pair.world.run();
        pair.publisher.take_received();
        answer.clear();
        (pair.acknowledge)(&pair.receiver.take_received(), &mut answer);
        if !answer.is_empty() {
            pair.world.send(&pair.receiver, &answer);
        }
    }
}

fn pair(case: &str) -> Pair {
    let qos = if case.contains("qos1") { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let mut world = World::with_protocols(1, Default::default(), vec!["mqtt", "stomp"]);
    let mut open = |machine: Box<dyn tidegate_protocol::Connection>, bytes: &[u8]| {
        let link = world.connect(0, 0, machine);
        world.send(&link, bytes);
        world.run();
        assert!(!link.take_received().is_empty() && link.ended().is_none());
        link
    };
    let now = Instant::now();
    let mqtt = Mqtt::new(MqttOptions { max_inflight: 1_000, ..MqttOptions::default() });
    let stomp = Stomp::new(StompOptions::default());
    let [from, to] = match case.split_once("-to-") {
        Some((from, to)) => [from, to],
        None => [case, case],
    };
    let publisher = match from.starts_with("mqtt") {
        true => open(mqtt.open(&peer(now), now), &mqtt_opening("p")),
        false => open(stomp.open(&peer(now), now), &stomp_opening(None)),
    };
    let receiver = match to.starts_with("mqtt") {
        true => open(mqtt.open(&peer(now), now), &[mqtt_opening("s"), mqtt_subscribe(qos)].concat()),
        false => open(stomp.open(&peer(now), now), &stomp_opening(Some(qos))),
    };
    let acknowledge: fn(&[u8], &mut Vec<u8>) = match (to.starts_with("mqtt"), qos) {
        (_, QoS::AtMostOnce) => |_, _| {},
        (true, _) => mqtt_acknowledge,
        (false, _) => stomp_acknowledge,
    };
    let batch = (1..=BATCH as u16).flat_map(|number| match from.starts_with("mqtt") {
        true => mqtt_publish(qos, number),
        false => stomp_send(qos, number),
    });
    let batch = batch.collect();
    Pair { world, publisher, receiver, batch, acknowledge }
}

fn mqtt_opening(client_id: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let connect = mqtt::Connect {
        version: Version::V3,
        clean_start: true,
        keep_alive_seconds: 0,
        properties: PropertiesRef::EMPTY,
        client_id,
        will: None,
        user_name: None,
        password: None,
    };
    mqtt::encode(&mut bytes, Version::V3, &Packet::Connect(connect), usize::MAX).unwrap();
    bytes
}

fn mqtt_subscribe(qos: QoS) -> Vec<u8> {
    let (mut bytes, id) = (Vec::new(), NonZeroU16::MIN);
    let filter = SubscribeFilter { filter: "plant/+/state", options: SubscriptionOptions::at_most(qos) };
    let filters = std::iter::once(filter);
    mqtt::encode_subscribe(&mut bytes, Version::V3, id, &PropertiesRef::EMPTY, filters, usize::MAX).unwrap();
    bytes
}

fn mqtt_publish(qos: QoS, number: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = mqtt::Publish {
        dup: false,
        qos,
        retain: false,
        topic: b"plant/7/state",
        packet_id: NonZeroU16::new(number).filter(|_| qos > QoS::AtMostOnce),
        properties: PropertiesRef::EMPTY,
        payload: &PAYLOAD,
    };
    mqtt::encode_publish(&mut bytes, Version::V3, &publish, usize::MAX).unwrap();
    bytes
}

fn mqtt_acknowledge(received: &[u8], answer: &mut Vec<u8>) {
    let mut rest = received;
    while let Some((Packet::Publish(publish), length)) = mqtt::decode(rest, Version::V3, usize::MAX).unwrap()
    {
        mqtt::encode_ack(answer, mqtt::PacketType::PubAck, publish.packet_id.unwrap());
        rest = rest.split_at(length).1;
    }
}

fn stomp_opening(qos: Option<QoS>) -> Vec<u8> {
    let (mut bytes, version) = (Vec::new(), stomp::Version::V1_2);
    let connect = [("accept-version", "1.2"), ("host", "x")];
    stomp::encode(&mut bytes, version, Command::Connect, connect, b"").unwrap();
    if let Some(qos) = qos {
        let ack = if qos == QoS::AtMostOnce { "auto" } else { "client-individual" };
        let subscribe = [("id", "0"), ("destination", "/topic/plant/+/state"), ("ack", ack)];
        stomp::encode(&mut bytes, version, Command::Subscribe, subscribe, b"").unwrap();
    }
    bytes
}

fn stomp_send(qos: QoS, number: u16) -> Vec<u8> {
    let (mut bytes, receipt) = (Vec::new(), number.to_string());
    let level = if qos == QoS::AtMostOnce { "0" } else { "1" };
    let fixed = [("destination", "/topic/plant/7/state"), ("qos", level)];
    let receipt = (qos > QoS::AtMostOnce).then_some(("receipt", &*receipt));
    let headers = fixed.into_iter().chain(receipt);
    stomp::encode(&mut bytes, stomp::Version::V1_2, Command::Send, headers, &PAYLOAD).unwrap();
    bytes
}

/// Finds what has to be acknowledged without parsing frames: the client's work is not what is measured.
fn stomp_acknowledge(received: &[u8], answer: &mut Vec<u8>) {
    for line in received.split(|byte| *byte == b'\n') {
        if let Some(id) = line.strip_prefix(b"ack:") {
            answer.extend_from_slice(b"ACK\nid:");
            answer.extend_from_slice(id);
            answer.extend_from_slice(b"\n\n\0");
        }
    }
}
