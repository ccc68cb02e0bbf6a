//! Exchanges between two clients on the real broker: what flows without quota, what is sent again and what is not, and what
//! outlives its subscription, its time or its connection.

use crate::client::Client;
use crate::packets::{
    PINGREQ, PINGRESP, V5, VERSIONS, connect, delivered, delivered_1, id, properties, puback, pubcomp,
    publish_1, publish_2, publish_packet, publish_with, pubrec, pubrel, suback, subscribe, unsuback,
    unsubscribe, will,
};
use crate::pair::{Pair, lasting};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{Packet, Property, ReasonCode, decode};
use tidegate_protocol::CloseReason;
use tidegate_testkit::script::parcel;

/// [MQTT-4.9.0-3] [MQTT-3.3.4-10]: a client that owes all its acknowledgements is answered and heard like any other.
#[test]
fn everything_but_messages_flows_without_quota() {
    let mut pair = Pair::new();
    let (publisher, _) = pair.connects(0, V5, connect(V5).client_id("p").bytes(), false);
    let (subscriber, _) = pair.connects(1, V5, connect(V5).receive_maximum(1).bytes(), false);
    pair.sends(&subscriber, subscribe(V5, 1, &[("a", QoS::ExactlyOnce)]));
    pair.sends(&publisher, [publish_1(V5, 1, "a", "1"), publish_1(V5, 2, "a", "2")].concat());
    subscriber.take_received();
    let said = [
        PINGREQ.to_vec(),
        subscribe(V5, 2, &[("b", QoS::AtMostOnce)]),
        unsubscribe(V5, 3, &["b"]),
        publish_2(V5, 4, "c", "x"),
        pubrel(4),
    ];
    pair.sends(&subscriber, said.concat());
    let nobody = vec![0x50, 3, 0, 4, 0x10];
    let answers = [
        PINGRESP.to_vec(),
        suback(V5, 2, &[ReasonCode::Success]),
        unsuback(V5, 3, &[ReasonCode::Success]),
        nobody,
        pubcomp(4),
    ];
    assert_eq!(subscriber.take_received(), answers.concat());
    pair.sends(&subscriber, puback(1));
    assert_eq!(subscriber.take_received(), delivered_1(V5, 2, "a", "2"));
}

/// [MQTT-3.3.1-3] [MQTT-3.1.1/3.3.1-3]: DUP is about one hop.
#[test]
fn dup_of_the_publisher_does_not_reach_the_subscriber() {
    for version in VERSIONS {
        let mut pair = Pair::new();
        let (publisher, _) = pair.connects(0, version, connect(version).client_id("p").bytes(), false);
        let (subscriber, _) = pair.connects(0, version, connect(version).bytes(), false);
        pair.sends(&subscriber, subscribe(version, 1, &[("a", QoS::ExactlyOnce)]));
        subscriber.take_received();
        for (number, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
            let repeated = publish_packet(version, "a", "x", |publish| {
                (publish.qos, publish.packet_id, publish.dup) = (qos, Some(id(number)), true);
            });
            pair.sends(&publisher, repeated);
            let first = delivered(version, "a", "x", |publish| {
                (publish.qos, publish.packet_id) = (qos, Some(id(number)));
            });
            assert_eq!(subscriber.take_received(), first);
        }
    }
}

/// [MQTT-3.1.3-10]: also where one name comes twice.
#[test]
fn user_properties_of_a_will_keep_their_order() {
    let mut pair = Pair::new();
    let (watcher, _) = pair.connects(0, V5, connect(V5).client_id("w").bytes(), false);
    pair.sends(&watcher, subscribe(V5, 1, &[("state", QoS::AtMostOnce)]));
    watcher.take_received();
    let user = [("b", "1"), ("a", "2"), ("b", "1"), ("a", "1")];
    let with = properties(&user.map(Property::UserProperty));
    let packet = tidegate_mqtt::codec::Will { properties: with.as_ref(), ..will("state") };
    let (device, _) = pair.connects(1, V5, connect(V5).will(packet).bytes(), false);
    pair.world.close(&device, CloseReason::PeerClosed);
    pair.world.run();
    let received = watcher.take_received();
    let Some((Packet::Publish(publish), _)) = decode(&received, V5, usize::MAX).unwrap() else {
        panic!("{received:x?}")
    };
    assert_eq!(publish.properties.user_properties().collect::<Vec<_>>(), user);
}

/// [MQTT-3.3.2-7]: the next connection of the session begins without.
#[test]
fn topic_aliases_end_with_their_connection() {
    let mut pair = Pair::new();
    let alias = [Property::TopicAlias(id(1))];
    let (device, _) = pair.connects(0, V5, lasting(V5), false);
    pair.sends(&device, [publish_with("a", "x", &alias), publish_with("", "y", &alias)].concat());
    assert!(!device.is_ended());
    pair.world.close(&device, CloseReason::PeerClosed);
    let (device, _) = pair.connects(0, V5, lasting(V5), true);
    pair.sends(&device, publish_with("", "z", &alias));
    assert_eq!(device.ended(), Some(CloseReason::ProtocolFault(ReasonCode::ProtocolError.label())));
}

/// [MQTT-4.3.3-7] [MQTT-4.3.3-13]: a message whose exchange has begun is not dropped when its time is over.
#[test]
fn exchange_goes_on_when_its_message_has_expired() {
    let mut pair = Pair::new();
    let (publisher, _) = pair.connects(0, V5, connect(V5).client_id("p").bytes(), false);
    let (subscriber, _) = pair.connects(0, V5, lasting(V5), false);
    pair.sends(&subscriber, subscribe(V5, 1, &[("a", QoS::ExactlyOnce)]));
    let brief = properties(&[Property::MessageExpiryInterval(10)]);
    for number in [1, 2] {
        let message = publish_packet(V5, "a", "x", |publish| {
            (publish.qos, publish.packet_id) = (QoS::ExactlyOnce, Some(id(number)));
            publish.properties = brief.as_ref();
        });
        pair.sends(&publisher, message);
    }
    pair.sends(&subscriber, pubrec(1));
    subscriber.take_received();
    pair.world.close(&subscriber, CloseReason::PeerClosed);
    pair.world.advance(Duration::from_secs(11));
    let (subscriber, behind) = pair.connects(0, V5, lasting(V5), true);
    let second = delivered(V5, "a", "x", |publish| {
        (publish.qos, publish.packet_id, publish.dup) = (QoS::ExactlyOnce, Some(id(2)), true);
        publish.message_expiry_interval = Some(0);
    });
    assert_eq!(behind, [pubrel(1), second].concat());
    pair.sends(&subscriber, [pubcomp(1), pubrec(2), pubcomp(2)].concat());
    assert_eq!(subscriber.take_received(), pubrel(2));
}

/// [MQTT-3.10.4-3] [MQTT-3.1.1/3.10.4-3]: what had begun is delivered to its end, over a lost connection as well.
#[test]
fn exchanges_outlive_their_subscription() {
    for version in VERSIONS {
        let mut pair = Pair::new();
        let (publisher, _) = pair.connects(0, version, connect(version).client_id("p").bytes(), false);
        let (subscriber, _) = pair.connects(1, version, lasting(version), false);
        pair.sends(&subscriber, subscribe(version, 1, &[("a", QoS::ExactlyOnce)]));
        pair.sends(&publisher, [publish_1(version, 1, "a", "1"), publish_2(version, 2, "a", "2")].concat());
        pair.sends(&subscriber, unsubscribe(version, 2, &["a"]));
        pair.sends(&publisher, publish_1(version, 3, "a", "3"));
        subscriber.take_received();
        pair.world.close(&subscriber, CloseReason::PeerClosed);
        let (subscriber, behind) = pair.connects(0, version, lasting(version), true);
        let again = |qos, number, payload| {
            delivered(version, "a", payload, |publish| {
                (publish.qos, publish.packet_id, publish.dup) = (qos, Some(id(number)), true);
            })
        };
        assert_eq!(behind, [again(QoS::AtLeastOnce, 1, "1"), again(QoS::ExactlyOnce, 2, "2")].concat());
        pair.sends(&subscriber, [puback(1), pubrec(2), pubcomp(2)].concat());
        assert_eq!(subscriber.take_received(), pubrel(2));
    }
}

/// [MQTT-4.3.2-5] [MQTT-3.1.1/4.3.2-2]: behind its PUBACK an identifier says nothing about what it was used for.
#[test]
fn acknowledged_identifier_is_a_new_message() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        let again = publish_packet(version, "a", "x", |publish| {
            (publish.qos, publish.packet_id, publish.dup) = (QoS::AtLeastOnce, Some(id(7)), true);
        });
        client.sends([publish_1(version, 7, "a", "x"), again].concat()).receives([puback(7), puback(7)]);
        assert_eq!(client.harness.take_requests().len(), 2);
    }
}

/// [MQTT-4.4.0-1] and section 4.4 of MQTT 3.1.1: time alone repeats nothing.
#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a", "x").at_least_once(1)).delivers(parcel("a", "y").exactly_once(2));
        client.delivers(parcel("a", "z").exactly_once(3)).sends(pubrec(3)).harness.take_output();
        for _ in 0..10 {
            client.harness.advance(Duration::from_secs(5));
            client.sends(PINGREQ).receives([PINGRESP.to_vec()]);
        }
    }
}
