//! What clients are told, and when, on a node with a store; and QoS 2 over the end of the process, at every moment.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use tidegate_broker::Limits;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    self as mqtt, Packet, PacketType, PropertiesRef, Publish, SubscribeFilter, SubscriptionOptions, Version,
};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{CloseReason, Protocol};
use tidegate_stomp::{Stomp, StompOptions};
use tidegate_storage::MemoryStorage;
use tidegate_testkit::pair::{Link, World};
use tidegate_testkit::random::Random;
use tidegate_testkit::script::peer;

const V3: Version = Version::V3;

/// Messages that cross in each round of the crash test.
const MESSAGES: u16 = 7;

/// Packet identifiers that the publisher has: each is used again and again.
const WINDOW: u16 = 3;

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn world(storage: &Arc<MemoryStorage>) -> World {
    let protocols = vec!["mqtt", "stomp"];
    World::on_storage_with_protocols(1, Limits::default(), protocols, storage.clone())
}

/// An MQTT 3.1.1 client of a session that lasts.
fn mqtt(world: &mut World, client_id: &str) -> Link {
    let machine = Mqtt::new(MqttOptions::default()).open(&peer(world.now), world.now);
    let link = world.connect(0, 0, machine);
    let connect = mqtt::Connect {
        version: V3,
        clean_start: false,
        keep_alive_seconds: 0,
        properties: PropertiesRef::EMPTY,
        client_id,
        will: None,
        user_name: None,
        password: None,
    };
    send(world, &link, &Packet::Connect(connect));
    link
}

fn send(world: &mut World, link: &Link, packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    mqtt::encode(&mut bytes, V3, packet, usize::MAX).unwrap();
    world.send(link, &bytes);
}

fn subscribe(world: &mut World, link: &Link, filter: &str) {
    let mut bytes = Vec::new();
    let options = SubscriptionOptions::at_most(QoS::ExactlyOnce);
    let wanted = std::iter::once(SubscribeFilter { filter, options });
    mqtt::encode_subscribe(&mut bytes, V3, id(1), &PropertiesRef::EMPTY, wanted, usize::MAX).unwrap();
    world.send(link, &bytes);
}

fn publish(world: &mut World, link: &Link, qos: QoS, (number, payload): (u16, &[u8]), dup: bool) {
    let packet_id = Some(id(number));
    let (topic, properties) = (&b"t"[..], PropertiesRef::EMPTY);
    let publish = Publish { dup, qos, retain: false, topic, packet_id, properties, payload };
    send(world, link, &Packet::Publish(publish));
}

fn ack(world: &mut World, link: &Link, packet: PacketType, number: NonZeroU16) {
    let mut bytes = Vec::new();
    mqtt::encode_ack(&mut bytes, packet, number);
    world.send(link, &bytes);
}

/// What a client got: the kind of each packet, its identifier, and its payload.
fn received(world: &mut World, link: &Link) -> Vec<(PacketType, u16, Vec<u8>)> {
    world.run();
    let bytes = link.take_received();
    let (mut rest, mut packets) = (&bytes[..], Vec::new());
    while let Some((packet, length)) = mqtt::decode(rest, V3, usize::MAX).unwrap() {
        let (number, payload) = match &packet {
            Packet::Publish(publish) => (publish.packet_id, publish.payload.to_vec()),
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                (Some(ack.packet_id), Vec::new())
            }
            _ => (None, Vec::new()),
        };
        packets.push((packet.packet_type(), number.map_or(0, NonZeroU16::get), payload));
        rest = &rest[length..];
    }
    assert!(rest.is_empty() && !link.is_ended());
    packets
}

fn kinds(world: &mut World, link: &Link) -> Vec<PacketType> {
    received(world, link).into_iter().map(|(kind, ..)| kind).collect()
}

/// [MQTT-4.3.2-4] [MQTT-4.3.3-8] [STOMP-1.2/RECEIPT]: the acknowledgement waits for the sync, the receiver does not.
#[test]
fn publishers_of_both_protocols_are_told_when_the_disk_has_it() {
    let storage = Arc::new(MemoryStorage::manual());
    let mut world = world(&storage);
    let receiver = mqtt(&mut world, "receiver");
    subscribe(&mut world, &receiver, "t");
    let publisher = mqtt(&mut world, "publisher");
    let stomp = Stomp::new(StompOptions::default()).open(&peer(world.now), world.now);
    let stomp = world.connect(0, 0, stomp);
    world.send(&stomp, b"CONNECT\naccept-version:1.2\nhost:example\n\n\0");
    storage.sync_all();
    assert_eq!(kinds(&mut world, &receiver), [PacketType::ConnAck, PacketType::SubAck]);
    kinds(&mut world, &publisher);
    stomp.take_received();
    publish(&mut world, &publisher, QoS::AtLeastOnce, (1, b"x"), false);
    publish(&mut world, &publisher, QoS::ExactlyOnce, (2, b"x"), false);
    world.send(&stomp, b"SEND\ndestination:/topic/t\nreceipt:r\n\nx\0");
    storage.write_all();
    assert_eq!(kinds(&mut world, &publisher), []);
    assert!(stomp.take_received().is_empty());
    storage.sync_all();
    assert_eq!(kinds(&mut world, &publisher), [PacketType::PubAck, PacketType::PubRec]);
    assert_eq!(stomp.take_received(), b"RECEIPT\nreceipt-id:r\n\n\0");
    let got = received(&mut world, &receiver);
    assert_eq!(got.iter().filter(|(kind, ..)| *kind == PacketType::Publish).count(), 3);
}

/// The publisher's side of its exchanges, as a careful client keeps it.
struct Publisher {
    /// By identifier: the message, and whether its PUBREC has come.
    open: Vec<Option<(u16, bool)>>,
    next: u16,
}

/// The receiver's side.
#[derive(Default)]
struct Receiver {
    known: BTreeSet<u16>,
    got: Vec<u8>,
}

impl Publisher {
    fn new() -> Publisher {
        Publisher { open: vec![None; usize::from(WINDOW)], next: 1 }
    }

    /// Sends again what has no answer ([MQTT-4.4.0-1]).
    fn resume(&self, world: &mut World, link: &Link) {
        for (at, open) in self.open.iter().enumerate() {
            let number = at as u16 + 1;
            match open {
                Some((message, false)) => {
                    publish(world, link, QoS::ExactlyOnce, (number, &[*message as u8]), true);
                }
                Some((_, true)) => ack(world, link, PacketType::PubRel, id(number)),
                None => {}
            }
        }
    }

    /// Does what a client does with what it got, and begins what it may. True when nothing is left to do.
    fn act(&mut self, world: &mut World, link: &Link) -> bool {
        for (kind, number, _) in received(world, link) {
            let Some(place) = self.open.get_mut(usize::from(number).wrapping_sub(1)) else { continue };
            match (kind, &mut *place) {
                (PacketType::PubRec, Some((_, is_received))) => {
                    *is_received = true;
                    ack(world, link, PacketType::PubRel, id(number));
                }
                (PacketType::PubComp, Some((_, true))) => *place = None,
                _ => {}
            }
        }
        for (at, place) in self.open.iter_mut().enumerate() {
            if place.is_none() && self.next <= MESSAGES {
                *place = Some((self.next, false));
                publish(world, link, QoS::ExactlyOnce, (at as u16 + 1, &[self.next as u8]), false);
                self.next += 1;
            }
        }
        self.next > MESSAGES && self.open.iter().all(Option::is_none)
    }
}

impl Receiver {
    fn act(&mut self, world: &mut World, link: &Link) {
        for (kind, number, payload) in received(world, link) {
            match kind {
                PacketType::Publish => {
                    if self.known.insert(number) {
                        self.got.extend(payload);
                    }
                    ack(world, link, PacketType::PubRec, id(number));
                }
                PacketType::PubRel => {
                    self.known.remove(&number);
                    ack(world, link, PacketType::PubComp, id(number));
                }
                _ => {}
            }
        }
    }
}

/// One run: the power is lost after so many steps, and once more after as many again.
fn run_with_power_losses(seed: u64, steps: usize) -> usize {
    let mut random = Random::new(seed);
    let mut storage = Arc::new(MemoryStorage::manual());
    let mut world = world(&storage);
    let (mut publisher, mut receiver) = (Publisher::new(), Receiver::default());
    let mut links = ["receiver", "publisher"].map(|client_id| mqtt(&mut world, client_id));
    subscribe(&mut world, &links[0], "t");
    storage.sync_all();
    world.run();
    for step in 1..2000 {
        if step == steps || step == 2 * steps {
            storage = Arc::new(storage.crash());
            world = self::world(&storage);
            links = ["receiver", "publisher"].map(|client_id| mqtt(&mut world, client_id));
            publisher.resume(&mut world, &links[1]);
        }
        receiver.act(&mut world, &links[0]);
        let is_done = publisher.act(&mut world, &links[1]);
        if random.below(3) == 0 || step > 2 * steps {
            storage.sync_all();
        }
        if is_done && step > 2 * steps {
            // What is on its way to the receiver still gets there.
            (0..20).for_each(|_| {
                storage.sync_all();
                receiver.act(&mut world, &links[0]);
            });
            receiver.got.sort_unstable();
            let expected: Vec<u8> = (1..=MESSAGES as u8).collect();
            assert_eq!(receiver.got, expected, "seed {seed}, power lost after {steps} steps");
            return step;
        }
    }
    panic!("seed {seed}, power lost after {steps} steps: the exchanges never end");
}

/// [MQTT-4.3.3-10] [MQTT-4.3.3-2] [MQTT-4.4.0-1] over the end of the process: nothing is lost, and nothing comes twice, wherever the power
/// is lost.
#[test]
fn exactly_once_over_power_losses() {
    for seed in 0..5 {
        for steps in 1..30 {
            run_with_power_losses(seed, steps);
        }
    }
}

/// [MQTT-4.3.3-10] [MQTT-4.4.0-1] [MQTT-3.1.1/4.3.3-2] [MQTT-3.1.1/4.4.0-1]: more is under way than is read before the node begins. The rest
/// is read when it is its turn, and comes again as well and not anew.
#[test]
fn what_is_under_way_comes_again_however_much_it_is() {
    const LARGE: usize = 100_000;
    let storage = Arc::new(MemoryStorage::manual());
    let mut world = world(&storage);
    let links = ["receiver", "publisher"].map(|client_id| mqtt(&mut world, client_id));
    subscribe(&mut world, &links[0], "t");
    for number in 1..=20 {
        publish(&mut world, &links[1], QoS::ExactlyOnce, (number, &vec![number as u8; LARGE]), false);
    }
    let under_way = |world: &mut World, storage: &MemoryStorage, link: &Link| {
        let mut got = Vec::new();
        for _ in 0..20 {
            storage.sync_all();
            got.extend(received(world, link));
        }
        got.retain(|(kind, ..)| matches!(kind, PacketType::Publish | PacketType::PubRel));
        got.into_iter().map(|(kind, number, payload)| (kind, number, payload.first().copied())).collect()
    };
    let before: Vec<_> = under_way(&mut world, &storage, &links[0]);
    assert_eq!(before.len(), 20);
    world.close(&links[0], CloseReason::PeerClosed);
    storage.sync_all();
    let storage = Arc::new(storage.crash());
    let mut world = self::world(&storage);
    let receiver = mqtt(&mut world, "receiver");
    let after: Vec<_> = under_way(&mut world, &storage, &receiver);
    assert_eq!(after, before);
}
