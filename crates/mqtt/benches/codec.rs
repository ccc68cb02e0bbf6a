//! What the codec costs per packet, beside mqttbytes: `cargo bench -p tidegate-mqtt --bench codec`.
//!
//! Prints nanoseconds per operation, the best of several rounds in which all take turns. For eyes, not for assertions: the
//! machine's noise is larger than most differences, so read the figures of one run as ratios.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bytes::{Bytes, BytesMut};
use std::hint::black_box;
use std::num::NonZeroU16;
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    OutgoingPublish, PACKET_BYTES_MAX, PacketType, PropertiesBuffer, PropertiesRef, Property, Publish,
    Version, decode, encode_ack, encode_outgoing, encode_publish,
};

const ROUNDS: usize = 15;
const OPERATIONS: u32 = 200_000;
const TOPIC: &str = "plant/line-7/machine-42/temperature";
const PAYLOAD: &[u8] = &[0x42; 64];

/// One thing to measure; runs it `OPERATIONS` times.
struct Operation {
    name: &'static str,
    run: Box<dyn FnMut()>,
    best_nanoseconds: f64,
}

fn operation(name: &'static str, mut once: impl FnMut() + 'static) -> Operation {
    let run = Box::new(move || (0..OPERATIONS).for_each(|_| once()));
    Operation { name, run, best_nanoseconds: f64::INFINITY }
}

fn publish(properties: PropertiesRef<'static>, qos: QoS) -> Publish<'static> {
    let packet_id = (qos != QoS::AtMostOnce).then_some(NonZeroU16::MAX);
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: TOPIC.as_bytes(),
        packet_id,
        properties,
        payload: PAYLOAD,
    }
}

fn encoded(version: Version, publish: &Publish<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, version, publish, PACKET_BYTES_MAX).unwrap();
    bytes
}

/// Properties as a request would carry them; leaked, because a benchmark ends.
fn some_properties() -> PropertiesRef<'static> {
    let mut buffer = PropertiesBuffer::new();
    let all = [
        Property::MessageExpiryInterval(60),
        Property::ResponseTopic("answers/7"),
        Property::CorrelationData(b"12345678"),
        Property::UserProperty(("trace", "00f067aa0ba902b7")),
    ];
    buffer.extend(all).unwrap();
    Box::leak(Box::new(buffer)).as_ref()
}

fn decoding(name: &'static str, version: Version, bytes: Vec<u8>) -> Operation {
    operation(name, move || {
        black_box(decode(black_box(&bytes), version, PACKET_BYTES_MAX).unwrap());
    })
}

fn encoding(name: &'static str, mut encode: impl FnMut(&mut Vec<u8>) + 'static) -> Operation {
    let mut output = Vec::with_capacity(4096);
    operation(name, move || {
        output.clear();
        encode(black_box(&mut output));
        black_box(&output);
    })
}

fn ours() -> Vec<Operation> {
    let (plain, none) = (publish(PropertiesRef::EMPTY, QoS::AtMostOnce), PropertiesRef::EMPTY);
    let outgoing = OutgoingPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: TOPIC,
        packet_id: None,
        message_expiry_interval: None,
        topic_alias: None,
        subscription_identifiers: &[],
        properties: None,
        payload: PAYLOAD,
    };
    let encode_plain = move |version| {
        move |output: &mut Vec<u8>| {
            encode_publish(output, version, black_box(&plain), PACKET_BYTES_MAX).unwrap();
        }
    };
    vec![
        decoding("decode PUBLISH 3.1.1 QoS 0, 64 B", Version::V3, encoded(Version::V3, &plain)),
        decoding("decode PUBLISH 5.0 QoS 0, 64 B", Version::V5, encoded(Version::V5, &plain)),
        decoding(
            "decode PUBLISH 5.0 QoS 1, 64 B",
            Version::V5,
            encoded(Version::V5, &publish(none, QoS::AtLeastOnce)),
        ),
        decoding(
            "decode PUBLISH 5.0, 4 properties",
            Version::V5,
            encoded(Version::V5, &publish(some_properties(), QoS::AtMostOnce)),
        ),
        decoding("decode PUBACK", Version::V5, vec![0x40, 2, 0, 1]),
        encoding("encode PUBLISH 3.1.1 QoS 0, 64 B", encode_plain(Version::V3)),
        encoding("encode PUBLISH 5.0 QoS 0, 64 B", encode_plain(Version::V5)),
        encoding("encode outgoing 5.0 QoS 0, 64 B", move |output| {
            encode_outgoing(output, Version::V5, black_box(&outgoing), PACKET_BYTES_MAX).unwrap();
        }),
        encoding("encode PUBACK", |output| {
            encode_ack(output, PacketType::PubAck, black_box(NonZeroU16::MAX))
        }),
    ]
}

fn theirs() -> Vec<Operation> {
    let plain = publish(PropertiesRef::EMPTY, QoS::AtMostOnce);
    let (v3, v5) = (Bytes::from(encoded(Version::V3, &plain)), Bytes::from(encoded(Version::V5, &plain)));
    // mqttbytes takes packets out of a buffer, so the buffer is filled once for many packets and the filling is not counted twice.
    let refill = |stream: &mut BytesMut, packet: &Bytes| {
        if stream.len() < packet.len() {
            for _ in 0..512 {
                stream.extend_from_slice(packet);
            }
        }
    };
    let (mut stream3, mut stream5) = (BytesMut::new(), BytesMut::new());
    let (mut output3, mut output5) = (BytesMut::with_capacity(4096), BytesMut::with_capacity(4096));
    let publish3 = mqttbytes::v4::Publish::new(TOPIC, mqttbytes::QoS::AtMostOnce, PAYLOAD);
    let publish5 = mqttbytes::v5::Publish::new(TOPIC, mqttbytes::QoS::AtMostOnce, PAYLOAD);
    vec![
        operation("mqttbytes decode PUBLISH 3.1.1 QoS 0, 64 B", move || {
            refill(&mut stream3, &v3);
            black_box(mqttbytes::v4::read(&mut stream3, PACKET_BYTES_MAX).unwrap());
        }),
        operation("mqttbytes decode PUBLISH 5.0 QoS 0, 64 B", move || {
            refill(&mut stream5, &v5);
            black_box(mqttbytes::v5::read(&mut stream5, PACKET_BYTES_MAX).unwrap());
        }),
        operation("mqttbytes encode PUBLISH 3.1.1 QoS 0, 64 B", move || {
            output3.clear();
            black_box(black_box(&publish3).write(&mut output3).unwrap());
        }),
        operation("mqttbytes encode PUBLISH 5.0 QoS 0, 64 B", move || {
            output5.clear();
            black_box(black_box(&publish5).write(&mut output5).unwrap());
        }),
    ]
}

fn main() {
    let mut operations = ours();
    operations.extend(theirs());
    for _ in 0..ROUNDS {
        for operation in &mut operations {
            let start = Instant::now();
            (operation.run)();
            let nanoseconds = start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS);
            operation.best_nanoseconds = operation.best_nanoseconds.min(nanoseconds);
        }
    }
    for operation in operations {
        println!("{:46} {:7.1} ns", operation.name, operation.best_nanoseconds);
    }
}
