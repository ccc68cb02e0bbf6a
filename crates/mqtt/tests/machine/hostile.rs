//! Whatever a client sends, and however it is cut into pieces: no panic, no growth without limit, an end with a name.

use crate::packets::{
    PINGREQ, V3, V5, V31, VERSIONS, connect, disconnect, id, properties, puback, pubcomp, publish, publish_1,
    publish_2, publish_packet, publish_with, pubrec, pubrel, subscribe, unsubscribe, will,
};
use std::time::Duration;
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::codec::{Property, ReasonCode, Version, decode};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{Answer, Attached, Attachment, CloseReason, Published, Refusal, Subscribed};
use tidegate_testkit::random::Random;
use tidegate_testkit::script::{Harness, parcel, same_at_every_split};

/// Everything that a client can say, in an order that makes sense.
fn conversation(version: Version) -> Vec<Vec<u8>> {
    let mut packets = vec![
        connect(version).keep_alive(30).will(will("state")).bytes(),
        subscribe(version, 1, &[("a/+", QoS::AtLeastOnce), ("#/b", QoS::AtMostOnce)]),
        publish(version, "a/b", "zero"),
        publish_1(version, 2, "a/b", "one"),
        publish_2(version, 3, "a/b", "two"),
        publish_2(version, 3, "a/b", "two"),
        pubrel(3),
        publish(version, "a/long", &"x".repeat(200)),
        PINGREQ.to_vec(),
        puback(9),
        pubrec(9),
        pubcomp(9),
        unsubscribe(version, 4, &["a/+"]),
    ];
    if version == V5 {
        packets.push(publish_with(
            "b",
            "alias",
            &[Property::TopicAlias(id(1)), Property::UserProperty(("k", "v"))],
        ));
        packets.push(publish_with("", "alias", &[Property::TopicAlias(id(1))]));
    }
    packets.push(disconnect(version, ReasonCode::Success, &[]));
    packets
}

/// Section 4.13, [MQTT-6.0.0-2] and [MQTT-3.1.1/6.0.0-2]: where the bytes are cut means nothing.
#[test]
fn conversation_is_the_same_at_every_split() {
    for version in VERSIONS {
        let mqtt = Mqtt::new(MqttOptions::default());
        let bytes = conversation(version).concat();
        let transcript = same_at_every_split(&bytes, || Harness::open(&mqtt));
        assert_eq!(transcript.closed.unwrap().reason, CloseReason::Disconnected);
    }
}

/// The same for a conversation that ends in a fault.
#[test]
fn fault_is_the_same_at_every_split() {
    for version in VERSIONS {
        let mqtt = Mqtt::new(MqttOptions::default());
        let bytes =
            [connect(version).bytes(), publish_1(version, 1, "a", "x"), vec![0xC0, 1, 2], PINGREQ.to_vec()]
                .concat();
        let transcript = same_at_every_split(&bytes, || Harness::open(&mqtt));
        assert_eq!(transcript.closed.unwrap().reason.label(), "malformed_packet");
    }
}

/// A large packet that arrives byte by byte is looked at when its header is there and when it is whole.
#[test]
fn large_packet_byte_by_byte() {
    let mut harness = Harness::open(&Mqtt::new(MqttOptions::default()));
    harness.feed(connect(V3).bytes());
    harness.take_requests();
    let packet = publish(V3, "a", &"x".repeat(100_000));
    harness.feed_in_pieces(&packet, 7);
    assert_eq!(harness.take_requests().len(), 1);
}

/// How many inputs each random test gives to machines.
const INPUTS: usize = 500_000;

/// Labels of ends that the random test below may see.
fn is_known_end(label: &str) -> bool {
    ["disconnected", "peer_closed", "keep_alive_timeout", "connect_timeout"].contains(&label)
        || ReasonCode::ALL.iter().any(|reason| reason.label() == label)
}

/// Packets that are right, nearly right and wrong, deliveries, and time, in any order. A million and a half inputs over all versions.
#[test]
fn random_conversations_end_with_a_name() {
    for (version, seed) in [(V31, 0x5EED_0031), (V3, 0x5EED_0003), (V5, 0x5EED_0005)] {
        println!("seed {seed:#x}");
        let mut random = Random::new(seed);
        let options = MqttOptions { receive_maximum: 20, max_inflight: 20, ..MqttOptions::default() };
        let mqtt = Mqtt::new(options);
        let packets = conversation(version);
        let mut inputs = 0;
        while inputs < INPUTS {
            inputs += play(&mut random, &mqtt, version, &packets);
        }
    }
}

/// One connection to its end, or for a while. Returns how many inputs it took.
fn play(random: &mut Random, mqtt: &Mqtt, version: Version, packets: &[Vec<u8>]) -> usize {
    let mut harness = Harness::open(mqtt);
    let mut script = connect(version).keep_alive(10);
    if version == V5 {
        script = script.packet_bytes_max(if random.one_in(4) { 60 } else { 100_000 });
    }
    if random.one_in(2) {
        harness.broker.attachments.push_back(Attachment::Now(session_of_a_store(random)));
    }
    harness.feed(script.bytes());
    let mut tag = 0;
    for input in 1..2_000 {
        match random.below(13) {
            10 => answer_later(&mut harness),
            11 if harness.broker.unanswered() > 0 => {
                let answer = if random.one_in(9) { Err(Refusal::StoreFailing) } else { Ok(()) };
                harness.answer(answer);
            }
            0 => deliver(random, &mut harness, &mut tag),
            1 if random.one_in(20) => drop(harness.advance(Duration::from_secs(random.below(20) as u64))),
            2 => drop(harness.handle_timeout()),
            3 if random.one_in(20) => harness.broker.published.push_back(Err(Refusal::QueueFull)),
            3 => harness.broker.published.push_back(Ok(Published { matched: false, answer: Answer::Now })),
            4 | 5 => drop(harness.feed(exchange(random, version))),
            _ => drop(harness.feed(mutated(random, packets))),
        }
        assert!(harness.input_waiting() <= 1 << 20, "input is bounded by the packet limit");
        if let Some(label) = harness.close_label() {
            assert!(is_known_end(label), "{label}");
            check_packets(version, &harness.take_output());
            return input;
        }
        harness.broker.requests.clear();
        check_packets(version, &harness.take_output());
    }
    harness.close(CloseReason::PeerClosed);
    2_000
}

/// A session whose pieces come from a disk, in whatever state.
fn session_of_a_store(random: &mut Random) -> Attached {
    let mut piece = || {
        let mut piece: &[u8] = random.pick::<&[u8]>(&[
            b"\x01\0\0\0\0",
            b"\x02\0\x01\0\x05\x03\0\0\0\0\0\0\0\x05\0\x01\0\x07",
            b"\x03\x01\0\x09",
            b"\x03\x02\0\x09",
            b"\x03\x03\0\x01\0\0\0\0\0\0\0\x01",
            b"\x03\x04\0\x05",
        ]);
        if random.one_in(8) {
            piece = piece.get(1..).unwrap_or_default();
        }
        piece.to_vec()
    };
    let saved = (0..5).map(|_| piece()).collect();
    Attached { present: true, saved, expiry: Duration::MAX, is_durable: true }
}

/// The broker says later to the next of each kind.
fn answer_later(harness: &mut Harness) {
    let answer = Answer::Later;
    harness.broker.published.push_back(Ok(Published { matched: true, answer }));
    harness.broker.subscribed.push_back(Ok(Subscribed { existed: false, answer }));
    harness.broker.saved.push_back(answer);
}

/// Everything that was written is packets.
fn check_packets(version: Version, mut output: &[u8]) {
    while let Some((_, length)) = decode(output, version, usize::MAX).expect("only valid packets are written")
    {
        output = &output[length..];
    }
    assert!(output.is_empty(), "a piece of a packet");
}

/// A packet of the conversation, most often as it is.
fn mutated(random: &mut Random, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.pick(&packets[1..packets.len() - 1]).clone();
    if random.one_in(30) {
        random.mutate(&mut bytes);
    }
    bytes
}

/// An acknowledgement or a message with one of few identifiers, so that they meet.
fn exchange(random: &mut Random, version: Version) -> Vec<u8> {
    let number = random.below(25) as u16 + 1;
    match random.below(8) {
        0 | 1 => puback(number),
        2 => pubrec(number),
        3 => pubcomp(number),
        4 | 5 => pubrel(number),
        6 => publish_1(version, number, "a", "x"),
        _ => publish_2(version, number, "a", "x"),
    }
}

fn deliver(random: &mut Random, harness: &mut Harness, tag: &mut u64) {
    if harness.closed().is_some() || harness.connection().client_id().is_none() {
        return;
    }
    *tag += 1;
    let mut parcel = parcel("a/b", "x".repeat(random.below(100)));
    if random.one_in(4) {
        parcel = parcel.properties(Properties { content_type: Some("a".into()), ..Properties::default() });
    }
    if random.one_in(4) {
        parcel = parcel.subscription_ids(&[1, 2]).expires_at(harness.now + Duration::from_secs(1));
    }
    let parcel = match random.below(3) {
        0 => parcel,
        1 => parcel.at_least_once(*tag),
        _ => parcel.exactly_once(*tag),
    };
    // A delivery may be refused; the harness checks that nothing was written then.
    let _ = harness.deliver(&parcel);
}

/// Any bytes at all, before and after CONNECT.
#[test]
fn random_bytes_end_with_a_name() {
    let seed = 0x5EED_0001;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    let mqtt = Mqtt::new(MqttOptions::default());
    for _ in 0..100_000 {
        let mut harness = Harness::open(&mqtt);
        if random.one_in(2) {
            harness.feed(connect(*random.pick(&VERSIONS)).bytes());
        }
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
        harness.feed(&bytes);
        if let Some(label) = harness.close_label() {
            assert!(is_known_end(label), "{label}");
        }
    }
}

/// A session state that nobody wrote, and then an ordinary life.
#[test]
fn random_state_is_survived() {
    let seed = 0x5EED_0002;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    for _ in 0..20_000 {
        let mut saved =
            vec![1, 0, 2, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 6, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 9];
        (0..random.below(6)).for_each(|_| random.mutate(&mut saved));
        let mut client = crate::client::Client::continues(V5, saved);
        for tag in 1..4 {
            let _ = client.harness.deliver(&parcel("a", "x").at_least_once(tag).redelivered());
        }
        for number in [5, 6, 7] {
            client.sends([puback(number), pubcomp(number)].concat());
        }
    }
}

/// [MQTT-3.3.2-12]: every alias up to the maximum is taken, and holds one topic, however often it is set.
#[test]
fn aliases_and_identifiers_are_bounded() {
    let mut client = crate::client::Client::connected(V5);
    for round in 0..1_000_u16 {
        let topic = format!("topic/{round}");
        let with = properties(&[Property::TopicAlias(id(round % 16 + 1))]);
        client.sends(publish_packet(V5, &topic, "x", |publish| publish.properties = with.as_ref()));
    }
    assert_eq!(client.harness.closed(), None);
    assert_eq!(client.harness.take_requests().len(), 1_000);
}
