//! Topic aliases towards the client, section 3.3.2.3.4.

use crate::client::Client;
use crate::packets::{V3, V5, V31, connect, delivered, delivered_2, id, puback};
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::MqttOptions;
use tidegate_mqtt::codec::{OutgoingPublish, Packet, Property, decode};
use tidegate_protocol::{Encoded, Refused};
use tidegate_testkit::random::Random;
use tidegate_testkit::script::parcel;

/// A client that takes this many aliases, of a gateway that would use as many.
fn client(maximum: u16) -> Client {
    let options = MqttOptions { topic_alias_max_outgoing: maximum, ..MqttOptions::default() };
    Client::connected_with(connect(V5).with(Property::TopicAliasMaximum(maximum)), options)
}

fn one() -> Option<NonZeroU16> {
    Some(id(1))
}

fn set(topic: &str, payload: &str) -> Vec<u8> {
    delivered(V5, topic, payload, |publish| publish.topic_alias = one())
}

fn alone(payload: &str) -> Vec<u8> {
    delivered(V5, "", payload, |publish| publish.topic_alias = one())
}

/// Section 3.3.2.3.4: set when the topic comes again, and from then on in its place.
#[test]
fn a_topic_that_comes_again_is_left_out() {
    let mut client = client(1);
    for payload in ["1", "2", "3", "4"] {
        client.delivers(parcel("a/b/c", payload));
    }
    client.receives([delivered(V5, "a/b/c", "1", |_| {}), set("a/b/c", "2"), alone("3"), alone("4")]);
}

/// [MQTT-3.1.2-26] [MQTT-3.1.2-27]: no alias for a client that allows none, above what it allows, or against the listener's will.
#[test]
fn aliases_are_used_only_where_both_sides_allow_them() {
    let none = MqttOptions { topic_alias_max_outgoing: 0, ..MqttOptions::default() };
    let clients = [
        Client::connected(V31),
        Client::connected(V3),
        Client::connected(V5),
        Client::connected_by(connect(V5).with(Property::TopicAliasMaximum(0))),
        Client::connected_with(connect(V5).with(Property::TopicAliasMaximum(10)), none),
    ];
    for mut client in clients {
        let version = client.version;
        for _ in 0..4 {
            client.delivers(parcel("a/b/c", "x")).receives([delivered(version, "a/b/c", "x", |_| {})]);
        }
    }
    for (theirs, ours, expected) in [(3, 100, 3), (100, 3, 3)] {
        let options = MqttOptions { topic_alias_max_outgoing: ours, ..MqttOptions::default() };
        let mut client =
            Client::connected_with(connect(V5).with(Property::TopicAliasMaximum(theirs)), options);
        let mut highest = 0;
        for number in 0..400 {
            let topic = format!("topic/{}", number % 40);
            client.delivers(parcel(&topic, "x")).delivers(parcel(&topic, "x"));
            let output = client.harness.take_output();
            let mut rest = &output[..];
            while let Some((Packet::Publish(publish), length)) = decode(rest, V5, usize::MAX).unwrap() {
                highest = highest.max(publish.properties.topic_alias().map_or(0, NonZeroU16::get));
                rest = &rest[length..];
            }
        }
        assert_eq!(highest, expected);
    }
}

/// [MQTT-3.3.2-7]: an alias is the connection's, so the next one begins without.
#[test]
fn aliases_end_with_their_connection() {
    for _ in 0..2 {
        let mut client = client(1);
        client.delivers(parcel("a/b/c", "1")).receives([delivered(V5, "a/b/c", "1", |_| {})]);
        client.delivers(parcel("a/b/c", "2")).receives([set("a/b/c", "2")]);
    }
}

/// What else a packet carries stands beside its alias: properties, expiry, subscription identifiers, packet identifier, flags.
#[test]
fn aliases_go_with_everything_else() {
    let properties = Properties {
        content_type: Some("x".repeat(200).into()),
        user: vec![("k".into(), "v".into())],
        ..Properties::default()
    };
    let mut client = client(1);
    let deadline = client.harness.now + Duration::from_secs(9);
    client.delivers(parcel("a/b/c", "0")).delivers(parcel("a/b/c", "1")).harness.take_output();
    client.delivers(parcel("a/b/c", "2").properties(properties.clone()).at_least_once(1));
    client.delivers(parcel("a/b/c", "3").properties(properties.clone()).retained());
    client.delivers(parcel("a/b/c", "4").expires_at(deadline).at_least_once(2).redelivered());
    client.delivers(parcel("a/b/c", "5").subscription_ids(&[7]));
    let with = |payload: &'static str, change: &dyn Fn(&mut OutgoingPublish<'_>)| {
        delivered(V5, "", payload, |publish| {
            publish.topic_alias = one();
            change(publish);
        })
    };
    let mut expected = vec![
        delivered(V5, "", "2", |publish| {
            publish.topic_alias = one();
            (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, Some(id(1)));
            publish.properties = Some(&properties);
        }),
        delivered(V5, "", "3", |publish| {
            publish.topic_alias = one();
            (publish.retain, publish.properties) = (true, Some(&properties));
        }),
    ];
    expected.push(with("4", &|publish| {
        (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, Some(id(2)));
        publish.message_expiry_interval = Some(9);
    }));
    expected.push(with("5", &|publish| publish.subscription_identifiers = &[7]));
    assert_eq!(client.harness.take_output(), expected.concat());
}

/// QoS 2 goes without: there are clients that lose the topic of such a message.
#[test]
fn qos_2_has_its_topic() {
    let mut client = client(1);
    client.delivers(parcel("a/b/c", "1")).delivers(parcel("a/b/c", "2")).harness.take_output();
    client.delivers(parcel("a/b/c", "3").exactly_once(1)).receives([delivered_2(V5, 1, "a/b/c", "3")]);
    client.delivers(parcel("a/b/c", "4")).receives([alone("4")]);
}

/// A message that was not written has set no alias.
#[test]
fn refused_message_sets_no_alias() {
    let mut client = client(1);
    let unwritable = Properties { content_type: Some("a\0b".into()), ..Properties::default() };
    client.delivers(parcel("a/b/c", "1")).harness.take_output();
    let refused = client.harness.deliver(&parcel("a/b/c", "2").properties(unwritable));
    assert_eq!(refused, Err(Refused::NotExpressible));
    client.delivers(parcel("a/b/c", "3")).receives([set("a/b/c", "3")]);
}

/// [MQTT-3.1.2-24]: a message that fits only without the alias beside its topic is sent without.
#[test]
fn alias_is_left_out_where_it_does_not_fit() {
    let whole = |payload: &str| delivered(V5, "a/b/c", payload, |_| {});
    let room = whole(&"x".repeat(30)).len();
    let script = connect(V5).with(Property::TopicAliasMaximum(1)).packet_bytes_max(room as u32);
    let mut client = Client::connected_by(script);
    for parcel in [parcel("a/b/c", "x".repeat(30)), parcel("a/b/c", "x".repeat(28)).at_least_once(1)] {
        client.delivers(parcel.clone());
        assert_eq!(client.harness.take_output().len(), room);
    }
    client.delivers(parcel("a/b/c", "x".repeat(30))).receives([whole(&"x".repeat(30))]);
    client.delivers(parcel("a/b/c", "x")).receives([set("a/b/c", "x")]);
    client.delivers(parcel("a/b/c", "x".repeat(32))).receives([alone(&"x".repeat(32))]);
    // One more is too much, with and without.
    let mut client =
        Client::connected_by(connect(V5).with(Property::TopicAliasMaximum(1)).packet_bytes_max(room as u32));
    for _ in 0..3 {
        assert_eq!(client.harness.deliver(&parcel("a/b/c", "x".repeat(31))), Err(Refused::TooLargeForPeer));
    }
}

/// One fan-out to clients with and without aliases, at different points of their acquaintance: each gets its own packet.
#[test]
fn shared_form_knows_aliases() {
    let properties = Properties { content_type: Some("x".repeat(150).into()), ..Properties::default() };
    for kind in 0..3 {
        // How often each client has seen the topic, and how many aliases it allows.
        let receivers: Vec<(usize, u16)> =
            (0..4).flat_map(|seen| [0, 1, 5].map(|maximum| (seen, maximum))).collect();
        for offset in 0..receivers.len() {
            let mut encoded = Encoded::default();
            encoded.start(true);
            for turn in 0..receivers.len() {
                let (seen, maximum) = receivers[(turn + offset) % receivers.len()];
                let parcel = match kind {
                    0 => parcel("a/b/c", "x"),
                    1 => parcel("a/b/c", "x".repeat(200)).properties(properties.clone()).at_least_once(9),
                    _ => parcel("a/b/c", "x").at_least_once(9).redelivered(),
                };
                let mut receiver = client(maximum);
                (0..seen).for_each(|_| assert_eq!(receiver.harness.deliver(&before()), Ok(())));
                receiver.harness.take_output();
                receiver.harness.deliver_with(&parcel, &mut encoded).unwrap();
                let output = receiver.harness.take_output();
                let Some((Packet::Publish(publish), length)) = decode(&output, V5, usize::MAX).unwrap()
                else {
                    panic!("{output:x?}")
                };
                let (has_topic, has_alias) = (seen < 2 || maximum == 0, seen > 0 && maximum > 0);
                assert_eq!(length, output.len());
                assert_eq!(publish.topic, if has_topic { &b"a/b/c"[..] } else { b"" });
                let alias = publish.properties.topic_alias().map_or(0, NonZeroU16::get);
                assert_eq!((1..=maximum).contains(&alias), has_alias);
                assert_eq!((publish.payload, publish.qos), (parcel.payload.as_slice(), parcel.qos));
                assert_eq!(publish.packet_id, parcel.tag.map(|_| id(1)));
            }
        }
    }
}

fn before() -> tidegate_testkit::script::Parcel {
    parcel("a/b/c", "before")
}

/// The topic that a client takes a PUBLISH for, which sets its aliases or uses them.
fn resolved(publish: &[u8], known: &mut HashMap<u16, Vec<u8>>, aliased: &mut usize) -> Vec<u8> {
    let Some((Packet::Publish(publish), _)) = decode(publish, V5, usize::MAX).unwrap() else {
        panic!("{publish:x?}")
    };
    match publish.properties.topic_alias() {
        None => publish.topic.to_vec(),
        Some(alias) if publish.topic.is_empty() => {
            *aliased += 1;
            known[&alias.get()].clone()
        }
        Some(alias) => {
            known.insert(alias.get(), publish.topic.to_vec());
            publish.topic.to_vec()
        }
    }
}

/// Many topics, few aliases, everything that a packet may carry, and fan-outs: each client takes each message for what it is.
#[test]
fn clients_resolve_every_topic() {
    let seed = 0x5EED_00A1;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    let mut clients: Vec<_> = [0, 1, 2, 7, 50].map(|maximum| (client(maximum), HashMap::new())).into();
    let topics: Vec<String> =
        (0..60).map(|number| "t".repeat(1 + number * 37 % 200) + &number.to_string()).collect();
    let mut aliased = 0;
    for tag in 1..30_000_u64 {
        // Some topics come often.
        let span = if random.one_in(3) { topics.len() } else { 6 };
        let topic = random.pick(&topics[..span]).clone();
        let mut parcel = parcel(&topic, "x".repeat(random.below(300)));
        if random.one_in(4) {
            parcel =
                parcel.properties(Properties { content_type: Some("c".into()), ..Properties::default() });
        }
        if random.one_in(8) {
            parcel = parcel.subscription_ids(&[1]);
        }
        if random.one_in(4) {
            parcel = parcel.at_least_once(tag);
        }
        let mut encoded = Encoded::default();
        encoded.start(true);
        for (client, known) in &mut clients {
            client.harness.deliver_with(&parcel, &mut encoded).unwrap();
            let output = client.harness.take_output();
            assert_eq!(resolved(&output, known, &mut aliased), topic.as_bytes());
            if parcel.tag.is_some() {
                let at = output.iter().skip(1).position(|byte| *byte < 0x80).unwrap() + 2;
                let length = usize::from(u16::from_be_bytes([output[at], output[at + 1]]));
                client.sends(puback(u16::from_be_bytes([output[at + 2 + length], output[at + 3 + length]])));
                client.harness.take_requests();
            }
        }
    }
    assert!(aliased > 20_000, "only {aliased} packets did without their topic");
}
