//! What a message costs that waits on the disk for a session which is away: machines, broker, codec and the log, without sockets.
//!
//! `cargo bench -p tidegate-testkit --bench backlog` prints nanoseconds per message, of which much is the disk's. On a busy machine
//! instructions are the figure that stands still: the program with arguments, `drain 20000 50`, queues so many messages with so many in each
//! read, opens the store again and drains them, under `valgrind --tool=callgrind` for example; `fill 20000 50` only queues them.
//! `TIDEGATE_BENCH_FOLDER` names the disk.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop"
)]

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tidegate_broker::{Limits, Reconfiguration, TopicPolicies, TopicPolicy};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::codec::{
    self as mqtt, Packet, PropertiesRef, SubscribeFilter, SubscriptionOptions, Version,
};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::Protocol;
use tidegate_storage::{Log, LogOptions, Urgency};
use tidegate_testkit::pair::{Link, World};
use tidegate_testkit::script::peer;

const PAYLOAD: [u8; 64] = [b'x'; 64];
const DISK_BYTES_MAX: u64 = 8 << 30;

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays is in nobody's way.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn main() {
    let parent = std::env::var_os("TIDEGATE_BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = Scratch(parent.join(format!("tidegate-backlog-{}", std::process::id())));
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [what, messages, batch] = &arguments[..] {
        let (messages, batch) = (messages.parse().unwrap(), batch.parse().unwrap());
        fill(&folder.0, messages, batch);
        if what == "drain" {
            drain(&folder.0, messages);
        }
        return;
    }
    for batch in [50, 1000] {
        let messages = 500_000;
        timed("queued", batch, messages, || fill(&folder.0, messages, batch));
        timed("drained", batch, messages, || drain(&folder.0, messages));
    }
}

fn timed(what: &str, batch: u64, messages: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what}, {batch} together: {:.0} ns", start.elapsed().as_secs_f64() * 1e9 / messages as f64);
}

/// A gateway with this store that bounds queues by nothing, and acknowledges what is routed: so nobody waits for the disk.
fn world(folder: &Path) -> World {
    std::fs::create_dir_all(folder).unwrap();
    let (log, _) = Log::open(&LogOptions::new(folder, DISK_BYTES_MAX)).unwrap();
    let limits =
        Limits { queued_messages: usize::MAX >> 1, queued_bytes: usize::MAX >> 1, ..Limits::default() };
    let mut world = World::on_storage_with_protocols(1, limits.clone(), vec!["mqtt"], Arc::new(log));
    let topics = vec![TopicFilter::parse(b"#").unwrap()];
    let policy = TopicPolicy { topics, acknowledge: Urgency::Lazy, ..TopicPolicy::default() };
    world.reconfigure(Reconfiguration {
        limits,
        authenticator: None,
        access: None,
        queues: Default::default(),
        topics: TopicPolicies(vec![policy]),
        rings: Vec::new(),
    });
    world
}

fn connect(world: &mut World, bytes: &[u8]) -> Link {
    let now = Instant::now();
    let mqtt = Mqtt::new(MqttOptions { max_inflight: 1_000, ..MqttOptions::default() });
    let link = world.connect(0, 0, mqtt.open(&peer(now), now));
    world.send(&link, bytes);
    world.run();
    link
}

/// A session goes away and so many messages are queued for it, so many of them in each read.
fn fill(folder: &Path, messages: u64, batch: u64) {
    let mut world = world(folder);
    let absent = connect(&mut world, &[opening("absent", false), subscribe()].concat());
    world.send(&absent, &disconnect());
    world.run();
    let publisher = connect(&mut world, &opening("publisher", true));
    publisher.take_received();
    let bytes: Vec<u8> = (1..=batch).flat_map(|number| publish(number as u16)).collect();
    for _ in 0..messages / batch {
        world.send(&publisher, &bytes);
        world.run();
        assert_eq!(publisher.take_received().len() as u64, 4 * batch);
    }
}

/// It comes back and takes them all.
fn drain(folder: &Path, messages: u64) {
    let mut world = world(folder);
    let receiver = connect(&mut world, &opening("absent", false));
    let (mut left, mut answer) = (messages, Vec::new());
    while left > 0 {
        let received = receiver.take_received();
        answer.clear();
        left -= acknowledge(&received, &mut answer);
        world.send(&receiver, &answer);
        world.run();
    }
}

fn opening(client_id: &str, clean_start: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let connect = mqtt::Connect {
        version: Version::V3,
        clean_start,
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

fn disconnect() -> Vec<u8> {
    vec![0xe0, 0]
}

fn subscribe() -> Vec<u8> {
    let (mut bytes, id) = (Vec::new(), NonZeroU16::MIN);
    let options = SubscriptionOptions::at_most(QoS::AtLeastOnce);
    let filters = std::iter::once(SubscribeFilter { filter: "plant/+/state", options });
    mqtt::encode_subscribe(&mut bytes, Version::V3, id, &PropertiesRef::EMPTY, filters, usize::MAX).unwrap();
    bytes
}

fn publish(number: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = mqtt::Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: b"plant/7/state",
        packet_id: NonZeroU16::new(number),
        properties: PropertiesRef::EMPTY,
        payload: &PAYLOAD,
    };
    mqtt::encode_publish(&mut bytes, Version::V3, &publish, usize::MAX).unwrap();
    bytes
}

/// Acknowledges what was received; returns how many messages that is.
fn acknowledge(received: &[u8], answer: &mut Vec<u8>) -> u64 {
    let (mut rest, mut count) = (received, 0);
    while let Some((packet, length)) = mqtt::decode(rest, Version::V3, usize::MAX).unwrap() {
        if let Packet::Publish(publish) = packet {
            mqtt::encode_ack(answer, mqtt::PacketType::PubAck, publish.packet_id.unwrap());
            count += 1;
        }
        rest = rest.split_at(length).1;
    }
    count
}
