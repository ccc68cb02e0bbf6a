//! What one delivery of a fan-out costs in the state machine: `cargo bench -p tidegate-mqtt --bench fan_out`.
//!
//! Prints nanoseconds per receiver, the best of several rounds in which all take turns. For eyes, not for assertions: read the
//! figures of one run as ratios.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;
use tidegate_mqtt::codec::{
    Connect, PACKET_BYTES_MAX, Packet, PropertiesBuffer, PropertiesRef, Property, Version, encode,
};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{Connection, Context, Encoded, Output, Protocol};
use tidegate_testkit::script::{Parcel, RecordingBroker, parcel, peer};

const ROUNDS: usize = 15;
const MESSAGES: u32 = 2_000;
const RECEIVERS: usize = 100;

/// A connected client and what waits for it.
struct Receiver {
    connection: Box<dyn Connection>,
    output: Output,
}

/// Many receivers of one kind and the messages that all of them get.
struct FanOut {
    name: &'static str,
    receivers: Vec<Receiver>,
    parcels: Vec<Parcel>,
    best_nanoseconds: f64,
}

fn connect(version: Version, properties: PropertiesRef<'_>) -> Receiver {
    let connect = Connect {
        version,
        clean_start: true,
        keep_alive_seconds: 60,
        properties,
        client_id: "device",
        will: None,
        user_name: None,
        password: None,
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, version, &Packet::Connect(connect), PACKET_BYTES_MAX).unwrap();
    let now = Instant::now();
    let mut connection = Mqtt::new(MqttOptions::default()).open(&peer(now), now);
    let (mut output, mut broker) = (Output::stream(), RecordingBroker::default());
    let mut context = Context { now, output: &mut output, broker: &mut broker };
    connection.handle_bytes(&bytes, &mut context).unwrap();
    output.consume(usize::MAX);
    Receiver { connection, output }
}

fn fan_out(name: &'static str, version: Version, aliases: u16, topics: usize) -> FanOut {
    let mut properties = PropertiesBuffer::new();
    if aliases > 0 {
        properties.push(Property::TopicAliasMaximum(aliases)).unwrap();
    }
    let receivers = (0..RECEIVERS).map(|_| connect(version, properties.as_ref())).collect();
    let topic = |number| format!("plant/line-7/machine-42/temperature/{number}");
    let parcels = (0..topics).map(|number| parcel(&topic(number), [0x42; 64])).collect();
    FanOut { name, receivers, parcels, best_nanoseconds: f64::INFINITY }
}

impl FanOut {
    fn run(&mut self, encoded: &mut Encoded) {
        let now = Instant::now();
        for number in 0..MESSAGES as usize {
            let Some(parcel) = self.parcels.get(number % self.parcels.len()) else { return };
            let delivery = parcel.delivery(now);
            encoded.start(true);
            for Receiver { connection, output } in &mut self.receivers {
                connection.handle_delivery(black_box(&delivery), encoded, output).unwrap();
            }
            // As a flush does at the end of a turn.
            if number % 16 == 0 {
                self.receivers.iter_mut().for_each(|receiver| receiver.output.consume(usize::MAX));
            }
        }
        let nanoseconds = now.elapsed().as_nanos() as f64;
        let each = nanoseconds / (f64::from(MESSAGES) * RECEIVERS as f64);
        self.best_nanoseconds = self.best_nanoseconds.min(each);
    }
}

fn main() {
    let mut kinds = [
        fan_out("3.1.1", Version::V3, 0, 1),
        fan_out("5.0 without aliases", Version::V5, 0, 1),
        fan_out("5.0 with aliases, 1 topic", Version::V5, 16, 1),
        fan_out("5.0 with aliases, 8 topics", Version::V5, 16, 8),
        fan_out("5.0 with aliases, 1000 topics", Version::V5, 16, 1000),
    ];
    // A number chooses one of them, for tools that count instructions.
    let chosen = std::env::args().find_map(|argument| argument.parse::<usize>().ok());
    let mut encoded = Encoded::default();
    for _ in 0..ROUNDS {
        let chosen = kinds.iter_mut().enumerate().filter(|(at, _)| chosen.is_none_or(|chosen| chosen == *at));
        chosen.for_each(|(_, kind)| kind.run(&mut encoded));
    }
    for kind in kinds {
        println!("{:32} {:7.1} ns", kind.name, kind.best_nanoseconds);
    }
}
