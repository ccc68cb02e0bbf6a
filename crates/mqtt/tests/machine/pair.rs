//! Several clients on the real broker: what one sends, the others receive, over workers, versions and connections.

use crate::packets::{
    V3, V5, V31, VERSIONS, ack_because, connect, delivered, delivered_1, delivered_2, id, puback, pubcomp,
    publish, publish_1, publish_2, publish_packet, pubrec, pubrel, suback, subscribe, will,
};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{Packet, PacketType, Property, ReasonCode, Version, decode};
use tidegate_mqtt::{Mqtt, MqttOptions, ReceiveMaximumPolicy};
use tidegate_protocol::{CloseReason, Protocol};
use tidegate_testkit::pair::{Link, World};
use tidegate_testkit::script::peer;

/// A world with a worker for each of two clients.
pub(crate) struct Pair {
    pub(crate) world: World,
    mqtt: Mqtt,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        Pair::with(MqttOptions::default())
    }

    fn with(options: MqttOptions) -> Pair {
        let mqtt = Mqtt::new(options);
        Pair { world: World::with_protocols(2, Default::default(), vec!["mqtt"]), mqtt }
    }

    /// Connects, and checks the CONNACK.
    #[track_caller]
    pub(crate) fn connects(
        &mut self,
        worker: usize,
        version: Version,
        bytes: Vec<u8>,
        present: bool,
    ) -> (Link, Vec<u8>) {
        let now = self.world.now;
        let link = self.world.connect(worker, 0, self.mqtt.open(&peer(now), now));
        self.world.send(&link, &bytes);
        self.world.run();
        let received = link.take_received();
        match decode(&received, version, usize::MAX).unwrap() {
            Some((Packet::ConnAck(connack), length)) => {
                // MQTT 3.1 does not tell.
                let told = present && version > V31;
                assert_eq!((connack.reason, connack.session_present), (ReasonCode::Success, told));
                (link, received[length..].to_vec())
            }
            other => panic!("CONNACK expected, not {other:?}"),
        }
    }

    pub(crate) fn sends(&mut self, link: &Link, bytes: Vec<u8>) {
        self.world.send(link, &bytes);
        self.world.run();
    }
}

/// A session that outlives its connections.
pub(crate) fn lasting(version: Version) -> Vec<u8> {
    match version {
        V31 | V3 => connect(version).client_id("lasting").continued().bytes(),
        V5 => {
            let script = connect(V5).client_id("lasting").continued();
            script.with(Property::SessionExpiryInterval(1000)).bytes()
        }
    }
}

/// [MQTT-3.8.4-8] [MQTT-4.5.0-1] [MQTT-3.3.2-3] [MQTT-3.1.1/3.8.4-6] [MQTT-3.1.1/4.5.0-1] [MQTT-3.1.1/3.3.2-3] and
/// section 4.3 over all versions and over workers: the lower level of publisher and subscriber.
#[test]
fn messages_cross_versions_and_workers() {
    for (publisher_version, subscriber_version) in
        VERSIONS.into_iter().flat_map(|one| VERSIONS.map(|two| (one, two)))
    {
        for subscriber_worker in [0, 1] {
            let mut pair = Pair::new();
            let (publisher, _) =
                pair.connects(0, publisher_version, connect(publisher_version).client_id("p").bytes(), false);
            let (subscriber, _) = pair.connects(
                subscriber_worker,
                subscriber_version,
                connect(subscriber_version).bytes(),
                false,
            );
            pair.sends(&subscriber, subscribe(subscriber_version, 1, &[("a/#", QoS::ExactlyOnce)]));
            assert_eq!(subscriber.take_received(), suback(subscriber_version, 1, &[ReasonCode::GrantedQoS2]));
            pair.sends(&publisher, publish(publisher_version, "a", "0"));
            pair.sends(&publisher, publish_1(publisher_version, 1, "a", "1"));
            pair.sends(&publisher, publish_2(publisher_version, 2, "a", "2"));
            pair.sends(&publisher, publish_1(publisher_version, 3, "b", "3"));
            let nobody = match publisher_version {
                V31 | V3 => puback(3),
                V5 => vec![0x40, 3, 0, 3, 0x10],
            };
            assert_eq!(publisher.take_received(), [puback(1), pubrec(2), nobody].concat());
            let expected = [
                delivered(subscriber_version, "a", "0", |_| {}),
                delivered_1(subscriber_version, 1, "a", "1"),
                delivered_2(subscriber_version, 2, "a", "2"),
            ];
            assert_eq!(subscriber.take_received(), expected.concat());
        }
    }
}

/// [MQTT-4.4.0-1] [MQTT-4.3.3-10] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.3.3-1] [MQTT-3.1.1/4.3.3-2]: with QoS 2 each message
/// arrives once, wherever the connection breaks.
#[test]
fn exactly_once_over_broken_connections() {
    for version in VERSIONS {
        let mut pair = Pair::new();
        let (publisher, _) = pair.connects(0, version, connect(version).client_id("p").bytes(), false);
        let (subscriber, _) = pair.connects(1, version, lasting(version), false);
        pair.sends(&subscriber, subscribe(version, 1, &[("a", QoS::ExactlyOnce)]));
        for number in 1..4 {
            pair.sends(&publisher, publish_2(version, number, "a", &number.to_string()));
        }
        // 1 is over, 2 waits for PUBCOMP, 3 for PUBREC.
        pair.sends(&subscriber, [pubrec(1), pubcomp(1), pubrec(2)].concat());
        subscriber.take_received();
        pair.world.close(&subscriber, CloseReason::PeerClosed);
        pair.sends(&publisher, publish_2(version, 4, "a", "4"));

        let (subscriber, behind) = pair.connects(0, version, lasting(version), true);
        let third = delivered(version, "a", "3", |publish| {
            (publish.qos, publish.packet_id, publish.dup) = (QoS::ExactlyOnce, Some(id(3)), true);
        });
        assert_eq!(behind, [pubrel(2), third, delivered_2(version, 4, "a", "4")].concat());
        pair.sends(&subscriber, [pubcomp(2), pubrec(3), pubcomp(3), pubrec(4), pubcomp(4)].concat());
        assert_eq!(subscriber.take_received(), [pubrel(3), pubrel(4)].concat());
        pair.world.close(&subscriber, CloseReason::PeerClosed);
        let (_, behind) = pair.connects(1, version, lasting(version), true);
        assert_eq!(behind, b"");
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-2]: never more than the receive maximum without PUBACK or PUBCOMP, PUBREC does not count.
#[test]
fn receive_maximum_holds_until_pubcomp() {
    let mut pair = Pair::new();
    let (publisher, _) = pair.connects(0, V5, connect(V5).client_id("p").bytes(), false);
    let (subscriber, _) = pair.connects(1, V5, connect(V5).receive_maximum(1).bytes(), false);
    pair.sends(&subscriber, subscribe(V5, 1, &[("a", QoS::ExactlyOnce)]));
    subscriber.take_received();
    pair.sends(&publisher, publish_2(V5, 1, "a", "1"));
    pair.sends(&publisher, publish_2(V5, 2, "a", "2"));
    assert_eq!(subscriber.take_received(), delivered_2(V5, 1, "a", "1"));
    pair.sends(&subscriber, pubrec(1));
    assert_eq!(subscriber.take_received(), pubrel(1));
    pair.sends(&subscriber, pubcomp(1));
    assert_eq!(subscriber.take_received(), delivered_2(V5, 2, "a", "2"));
}

/// [MQTT-3.1.4-3] [MQTT-3.1.2-8]: the older connection is told, its will is published, the newer one has the session.
#[test]
fn newer_connection_takes_the_session_over() {
    for worker in [0, 1] {
        let mut pair = Pair::new();
        let (watcher, _) = pair.connects(0, V5, connect(V5).client_id("w").bytes(), false);
        pair.sends(&watcher, subscribe(V5, 1, &[("state", QoS::AtMostOnce)]));
        watcher.take_received();
        let (older, _) = pair.connects(0, V5, connect(V5).will(will("state")).bytes(), false);
        let (newer, _) = pair.connects(worker, V5, connect(V5).bytes(), false);
        assert_eq!(older.ended(), Some(CloseReason::SessionTakenOver));
        assert_eq!(older.take_received(), [0xE0, 1, 0x8E]);
        assert_eq!(watcher.take_received(), delivered(V5, "state", "gone", |_| {}));
        assert!(!newer.is_ended());
    }
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT-3.1.1/3.3.1-5] [MQTT-3.1.1/3.3.1-6] [MQTT-3.1.1/3.3.1-8]: the last value is there
/// for who comes later; [MQTT-3.1.2-22] [MQTT-3.1.1/3.1.2-24]: who is silent is let go.
#[test]
fn retained_messages_and_silence() {
    for version in VERSIONS {
        let mut pair = Pair::new();
        let (publisher, _) =
            pair.connects(0, version, connect(version).client_id("p").keep_alive(10).bytes(), false);
        pair.sends(&publisher, publish_packet(version, "a", "x", |publish| publish.retain = true));
        let (subscriber, _) = pair.connects(1, version, connect(version).bytes(), false);
        pair.sends(&subscriber, subscribe(version, 1, &[("a", QoS::AtMostOnce)]));
        let retained = delivered(version, "a", "x", |publish| publish.retain = true);
        assert_eq!(
            subscriber.take_received(),
            [suback(version, 1, &[ReasonCode::Success]), retained].concat()
        );
        pair.world.advance(Duration::from_secs(15));
        assert_eq!(publisher.ended(), Some(CloseReason::KeepAliveTimeout));
        assert!(!subscriber.is_ended());
    }
}

/// The listener option `receive_maximum_policy`: the driver is told to wait, and may go on a moment later.
#[test]
fn client_beyond_its_receive_maximum_is_read_from_slowly() {
    let receive_maximum_policy = ReceiveMaximumPolicy::Lenient;
    let options = MqttOptions { receive_maximum: 1, receive_maximum_policy, ..MqttOptions::default() };
    let mut pair = Pair::with(options);
    let (publisher, _) = pair.connects(0, V5, connect(V5).bytes(), false);
    let now = pair.world.now;
    pair.sends(&publisher, publish_2(V5, 1, "a", "1"));
    assert_eq!(pair.world.shard(0).rests_until(publisher.key(), now), None);
    pair.sends(&publisher, publish_2(V5, 2, "a", "2"));
    let until = now + Duration::from_millis(100);
    assert_eq!(pair.world.shard(0).rests_until(publisher.key(), now), Some(until));
    assert_eq!(pair.world.shard(0).rests_until(publisher.key(), until), None);
}

/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1]: what a client left unacknowledged for longer than `ack_timeout` goes back to its session, and
/// comes again when it is back.
#[test]
fn messages_of_a_client_that_forgot_them_come_again() {
    for version in VERSIONS {
        let options = MqttOptions { ack_timeout: "10s".parse().ok(), ..MqttOptions::default() };
        let mut pair = Pair::with(options);
        let (publisher, _) = pair.connects(0, version, connect(version).client_id("p").bytes(), false);
        let (subscriber, _) = pair.connects(1, version, lasting(version), false);
        pair.sends(&subscriber, subscribe(version, 1, &[("a", QoS::AtLeastOnce)]));
        pair.sends(&publisher, publish_1(version, 1, "a", "1"));
        pair.sends(&publisher, publish_1(version, 2, "a", "2"));
        pair.sends(&subscriber, puback(1));
        pair.world.advance(Duration::from_secs(9));
        assert!(!subscriber.is_ended());
        pair.world.advance(Duration::from_secs(1));
        assert_eq!(subscriber.ended(), Some(CloseReason::ProtocolFault("ack_timeout")));
        let (_, behind) = pair.connects(0, version, lasting(version), true);
        let second = delivered(version, "a", "2", |publish| {
            (publish.qos, publish.packet_id, publish.dup) = (QoS::AtLeastOnce, Some(id(2)), true);
        });
        assert_eq!(behind, second);
    }
}

/// [MQTT-4.8.2-4] [MQTT-4.4.0-1] and section 4.8.2: what a member has begun with comes again under its identifier, but for QoS 1
/// where another member is there, to which it is new.
#[test]
fn a_member_that_comes_back_finishes_what_is_its_own() {
    for version in VERSIONS {
        let mut pair = Pair::new();
        let (publisher, _) = pair.connects(0, version, connect(version).client_id("p").bytes(), false);
        let (member, _) = pair.connects(1, version, lasting(version), false);
        let shared = [("$share/g/a", QoS::ExactlyOnce)];
        pair.sends(&member, subscribe(version, 1, &shared));
        pair.sends(&publisher, publish_2(version, 1, "a", "2"));
        pair.sends(&publisher, publish_1(version, 2, "a", "1"));
        let granted = suback(version, 1, &[ReasonCode::GrantedQoS2]);
        let first = [delivered_2(version, 1, "a", "2"), delivered_1(version, 2, "a", "1")].concat();
        assert_eq!(member.take_received(), [granted.clone(), first].concat());
        let again = |number, qos, text| {
            delivered(version, "a", text, |publish| {
                (publish.qos, publish.packet_id, publish.dup) = (qos, Some(id(number)), true);
            })
        };
        let (second, first) = (again(1, QoS::ExactlyOnce, "2"), again(2, QoS::AtLeastOnce, "1"));
        pair.world.close(&member, CloseReason::PeerClosed);
        let (member, behind) = pair.connects(0, version, lasting(version), true);
        assert_eq!(behind, [second.clone(), first].concat());

        let (other, _) = pair.connects(1, version, connect(version).client_id("o").bytes(), false);
        pair.sends(&other, subscribe(version, 1, &shared));
        assert_eq!(other.take_received(), granted);
        pair.world.close(&member, CloseReason::PeerClosed);
        pair.world.run();
        assert_eq!(other.take_received(), delivered_1(version, 1, "a", "1"));
        let (member, behind) = pair.connects(1, version, lasting(version), true);
        assert_eq!(behind, second);
        pair.sends(&member, [pubrec(1), pubcomp(1)].concat());
        assert_eq!(member.take_received(), pubrel(1));
    }
}

/// [MQTT-4.8.2-6]: what a member refuses goes to nobody else.
#[test]
fn a_refused_shared_message_is_discarded() {
    let mut pair = Pair::new();
    let (publisher, _) = pair.connects(0, V5, connect(V5).client_id("p").bytes(), false);
    let members = ["a", "b"].map(|name| pair.connects(1, V5, connect(V5).client_id(name).bytes(), false).0);
    for member in &members {
        pair.sends(member, subscribe(V5, 1, &[("$share/g/a", QoS::AtLeastOnce)]));
        member.take_received();
    }
    pair.sends(&publisher, publish_1(V5, 1, "a", "x"));
    assert_eq!(members[0].take_received(), delivered_1(V5, 1, "a", "x"));
    pair.sends(&members[0], ack_because(PacketType::PubAck, 1, ReasonCode::UnspecifiedError, ""));
    pair.world.close(&members[0], CloseReason::PeerClosed);
    pair.world.run();
    assert_eq!(members[1].take_received(), b"");
}

/// The line in the log that tells of an end names the client, also one that the gateway has named.
#[test]
fn an_end_is_told_with_the_name_of_the_client() {
    let mut pair = Pair::new();
    let (named, _) = pair.connects(0, V5, connect(V5).client_id("meter-7").bytes(), false);
    let (unnamed, _) = pair.connects(0, V5, connect(V5).client_id("").bytes(), false);
    for link in [&named, &unnamed] {
        pair.sends(link, vec![0xF0]);
    }
    pair.sends(&named, vec![0]);
    pair.sends(&unnamed, vec![0]);
    assert_eq!(named.ended_client_id().as_deref(), Some("meter-7"));
    assert!(unnamed.ended_client_id().is_some_and(|name| name.starts_with("auto-")));
}
