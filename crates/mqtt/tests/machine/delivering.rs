//! Messages to the client, in the direction from the gateway: sections 3.3, 4.3 and 4.9.

use crate::client::Client;
use crate::packets::{
    V3, V5, VERSIONS, ack_because, connect, delivered, delivered_1, delivered_2, id, puback, pubcomp, pubrec,
    pubrel,
};
use std::time::Duration;
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::MqttOptions;
use tidegate_mqtt::codec::{PacketType, ReasonCode, Version};
use tidegate_protocol::{ConsumerId, DeliveryTag, Encoded, Outcome, Refused};
use tidegate_testkit::script::{Request, parcel};

fn settled(tag: u64, outcome: Outcome) -> Request {
    Request::Settle { consumer: ConsumerId(0), tag: DeliveryTag(tag), outcome }
}

/// [MQTT-4.3.1-1] [MQTT-2.2.1-2] [MQTT-3.1.2-27] [MQTT-3.1.1/4.3.1-1] [MQTT-3.1.1/2.3.1-5]
#[test]
fn qos_0_is_sent_and_forgotten() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a/b", "x")).receives([delivered(version, "a/b", "x", |_| {})]);
        client.asks([]);
    }
}

/// [MQTT-4.3.2-1] to [MQTT-4.3.2-3] [MQTT-2.2.1-4] [MQTT-3.1.1/4.3.2-1] [MQTT-3.1.1/2.3.1-4]
#[test]
fn qos_1_is_settled_by_puback() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a", "x").at_least_once(10)).delivers(parcel("a", "y").at_least_once(11));
        client.receives([delivered_1(version, 1, "a", "x"), delivered_1(version, 2, "a", "y")]).asks([]);
        client.sends(puback(2)).asks([settled(11, Outcome::Accepted)]);
        client.sends(puback(1)).asks([settled(10, Outcome::Accepted)]);
        client.receives_nothing();
    }
}

/// [MQTT-4.3.3-1] to [MQTT-4.3.3-5] [MQTT-2.2.1-5] [MQTT-3.1.1/4.3.3-1] [MQTT-3.1.1/2.3.1-6]: settled when the exchange
/// is over, because until then it counts against the receive maximum ([MQTT-3.3.4-9]).
#[test]
fn qos_2_is_settled_by_pubcomp() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a", "x").exactly_once(10)).receives([delivered_2(version, 1, "a", "x")]);
        client.sends(pubrec(1)).receives([pubrel(1)]).asks([]);
        client.sends(pubcomp(1)).receives_nothing().asks([settled(10, Outcome::Accepted)]);
    }
}

/// [MQTT-4.3.3-4] [MQTT-3.1.1/4.3.3-1]
#[test]
fn repeated_pubrec_is_answered_by_pubrel_again() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a", "x").exactly_once(10)).harness.take_output();
        client.sends([pubrec(1), pubrec(1)].concat()).receives([pubrel(1), pubrel(1)]);
        client.sends(pubcomp(1)).asks([settled(10, Outcome::Accepted)]);
    }
}

/// [MQTT-4.3.3-4] [MQTT-4.4.0-2]: a PUBREC that refuses ends the exchange; section 3.4.2.1: a PUBACK that refuses as
/// well.
#[test]
fn client_may_refuse_a_message() {
    let mut client = Client::connected(V5);
    client.delivers(parcel("a", "x").exactly_once(10)).delivers(parcel("a", "x").at_least_once(11));
    client.harness.take_output();
    client.sends(ack_because(PacketType::PubRec, 1, ReasonCode::QuotaExceeded, "")).receives_nothing();
    client.asks([settled(10, Outcome::Rejected)]);
    client.sends(ack_because(PacketType::PubAck, 2, ReasonCode::ImplementationSpecificError, "full"));
    client.receives_nothing().asks([settled(11, Outcome::Rejected)]);
}

/// [MQTT-3.6.2-1] and sections 3.6.2.1 and 3.5.4
#[test]
fn unknown_acknowledgements_do_no_harm() {
    let words = "no message with this packet identifier is in flight";
    let unknown = ack_because(PacketType::PubRel, 9, ReasonCode::PacketIdentifierNotFound, words);
    let mut client = Client::connected(V5);
    client
        .sends(pubrec(9))
        .receives([unknown])
        .sends(pubcomp(9))
        .sends(puback(9))
        .receives_nothing()
        .asks([]);
    let mut client = Client::connected(V3);
    client
        .sends(pubrec(9))
        .receives([pubrel(9)])
        .sends(pubcomp(9))
        .sends(puback(9))
        .receives_nothing()
        .asks([]);
    assert_eq!(client.harness.closed(), None);
}

/// Section 4.3: an acknowledgement of the wrong kind.
#[test]
fn acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    for version in VERSIONS {
        for (parcel, wrong) in [
            (parcel("a", "x").at_least_once(1), pubrec(1)),
            (parcel("a", "x").at_least_once(1), pubcomp(1)),
            (parcel("a", "x").exactly_once(1), puback(1)),
            (parcel("a", "x").exactly_once(1), pubcomp(1)),
        ] {
            let mut client = Client::connected(version);
            client.delivers(parcel).harness.take_output();
            client.sends(wrong).is_disconnected(ReasonCode::ProtocolError);
        }
    }
}

/// [MQTT-3.3.1-2] [MQTT-3.3.1-9] [MQTT-3.3.1-13] [MQTT-3.1.1/3.3.1-2] [MQTT-3.1.1/3.3.1-8]: the broker says what RETAIN is.
/// [MQTT-3.3.1-3] [MQTT-4.3.2-2] [MQTT-4.3.3-2]: DUP says whether this client may have seen the packet, and not whether
/// somebody else had the message before.
#[test]
fn retain_is_that_of_the_delivery_and_dup_that_of_the_packet() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a", "x").retained());
        client.delivers(parcel("a", "x").redelivered().at_least_once(1));
        client.delivers(parcel("a", "x").redelivered());
        client.receives([
            delivered(version, "a", "x", |publish| publish.retain = true),
            delivered(version, "a", "x", |publish| {
                (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, Some(id(1)));
            }),
            // [MQTT-3.3.1-2]
            delivered(version, "a", "x", |_| {}),
        ]);
    }
}

fn all_properties() -> Properties {
    Properties {
        content_type: Some("text/plain".into()),
        reply_to: Some("answers".into()),
        correlation: Some([0, 255].as_slice().into()),
        payload_is_text: Some(true),
        user: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
    }
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] to [MQTT-3.3.2-20]; 3.1.1 has no place for them.
#[test]
fn properties_cross_to_the_client() {
    let properties = all_properties();
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.delivers(parcel("a", "x").properties(properties.clone()));
        client.receives([delivered(version, "a", "x", |publish| publish.properties = Some(&properties))]);
    }
}

/// [MQTT-3.3.2-6]: what is left, rounded up; 3.1.1 has no place for it.
#[test]
fn expiry_is_what_is_left() {
    for (left, seconds) in [(30_000, 30), (29_001, 30), (1, 1), (0, 0)] {
        let mut client = Client::connected(V5);
        let deadline = client.harness.now + Duration::from_millis(left);
        client.delivers(parcel("a", "x").expires_at(deadline));
        client.receives([delivered(V5, "a", "x", |publish| publish.message_expiry_interval = Some(seconds))]);
    }
    let mut client = Client::connected(V3);
    let deadline = client.harness.now + Duration::from_secs(9);
    client.delivers(parcel("a", "x").expires_at(deadline)).receives([delivered(V3, "a", "x", |_| {})]);
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn subscription_identifiers_are_told() {
    let mut client = Client::connected(V5);
    client.delivers(parcel("a", "x").subscription_ids(&[3, 300]).at_least_once(1));
    client.receives([delivered(V5, "a", "x", |publish| {
        (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, Some(id(1)));
        publish.subscription_identifiers = &[3, 300];
    })]);
}

/// [MQTT-3.3.2-6]: what is left is not shared with a receiver that is served later.
#[test]
fn expiry_is_never_shared() {
    let mut encoded = Encoded::default();
    encoded.start(true);
    for left in [9, 4] {
        let mut client = Client::connected(V5);
        let deadline = client.harness.now + Duration::from_secs(left);
        client.harness.deliver_with(&parcel("a", "x").expires_at(deadline), &mut encoded).unwrap();
        client.receives([delivered(V5, "a", "x", |publish| {
            publish.message_expiry_interval = Some(left as u32)
        })]);
    }
}

/// One fan-out: whoever encodes first, each receiver gets its own packet.
#[test]
fn shared_form_is_patched_for_each_receiver() {
    let properties = all_properties();
    let receivers: Vec<_> = VERSIONS.iter().flat_map(|version| (0..6).map(|kind| (*version, kind))).collect();
    for offset in 0..receivers.len() {
        let mut encoded = Encoded::default();
        encoded.start(true);
        for turn in 0..receivers.len() {
            let (version, kind) = receivers[(turn + offset) % receivers.len()];
            let parcel = parcel("a/b", "x".repeat(200)).properties(properties.clone());
            let parcel = match kind {
                0 => parcel,
                1 => parcel.retained(),
                2 => parcel.at_least_once(5),
                3 => parcel.exactly_once(5).redelivered(),
                4 => parcel.exactly_once(5).retained(),
                _ => parcel.subscription_ids(&[7]),
            };
            let mut shared = Client::connected(version);
            let mut alone = Client::connected(version);
            shared.harness.deliver_with(&parcel, &mut encoded).unwrap();
            alone.harness.deliver(&parcel).unwrap();
            assert_eq!(shared.harness.take_output(), alone.harness.take_output(), "{version} {kind}");
        }
    }
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn message_too_large_for_the_client_is_refused() {
    let fitting = "x".repeat(50);
    for parcel in [
        parcel("a", &fitting),
        parcel("a", &fitting).at_least_once(1),
        parcel("a", &fitting).subscription_ids(&[1]),
    ] {
        for (room, outcome) in [(0, Err(Refused::TooLargeForPeer)), (1, Ok(()))] {
            let mut free = Client::connected(V5);
            free.delivers(parcel.clone());
            let bytes = free.harness.take_output().len();
            let mut client = Client::connected_by(connect(V5).packet_bytes_max(bytes as u32 - 1 + room));
            assert_eq!(client.harness.deliver(&parcel), outcome);
            let mut encoded = Encoded::default();
            encoded.start(true);
            let tagged = parcel.clone().tagged(2);
            let tagged = if parcel.tag.is_some() { tagged } else { parcel.clone() };
            free.harness.deliver_with(&tagged, &mut encoded).unwrap();
            assert_eq!(client.harness.deliver_with(&tagged, &mut encoded), outcome);
        }
    }
    let mut client = Client::connected_by(connect(V5).packet_bytes_max(60));
    assert_eq!(
        client.harness.deliver(&parcel("a", "x".repeat(58)).at_least_once(1)),
        Err(Refused::TooLargeForPeer)
    );
    assert_eq!(client.is_lost().0, b"");
    let mut client = Client::connected_by(connect(V5).packet_bytes_max(40));
    assert_eq!(
        client.harness.deliver(&parcel("a", "x".repeat(40)).at_least_once(1)),
        Err(Refused::TooLargeForPeer)
    );
    client.delivers(parcel("a", "x").at_least_once(2)).harness.take_output();
    client.sends(puback(2)).asks([settled(2, Outcome::Accepted)]);
}

/// Section 1.5.4: what another protocol may carry and MQTT cannot.
#[test]
fn message_that_cannot_be_written_is_refused() {
    let properties = Properties { content_type: Some("a\0b".into()), ..Properties::default() };
    let mut client = Client::connected(V5);
    let refused = parcel("a", "x").properties(properties.clone());
    assert_eq!(client.harness.deliver(&refused), Err(Refused::NotExpressible));
    assert_eq!(client.harness.deliver(&refused.at_least_once(1)), Err(Refused::NotExpressible));
    client.delivers(parcel("a", "x").at_least_once(2)).harness.take_output();
    client.sends(puback(2)).asks([settled(2, Outcome::Accepted)]);
    let mut client = Client::connected(V3);
    client.delivers(parcel("a", "x").properties(properties));
}

/// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-3.1.1/2.3.1-4] [MQTT-3.1.1/4.3.2-1]: an identifier in use is not given out, around
/// the end and with one message stuck.
#[test]
fn identifiers_in_use_are_not_given_out() {
    for version in VERSIONS {
        let options = MqttOptions { max_inflight: 2, ..MqttOptions::default() };
        let mut client = Client::connected_with(connect(version), options);
        client.delivers(parcel("a", "x").at_least_once(0)).harness.take_output();
        for tag in 1..70_000 {
            client.delivers(parcel("a", "x").at_least_once(tag));
            let output = client.harness.take_output();
            let number = identifier_of(&output);
            assert_ne!(number, 1);
            client.sends(puback(number)).asks([settled(tag, Outcome::Accepted)]);
        }
    }
}

/// The identifier of a PUBLISH to the topic "a".
fn identifier_of(publish: &[u8]) -> u16 {
    u16::from_be_bytes([publish[5], publish[6]])
}

/// A QoS 0 delivery that the broker wants settled is settled in the next turn, which the machine asks for.
#[test]
fn tagged_qos_0_is_settled_in_the_next_turn() {
    let mut client = Client::connected(Version::V5);
    client.delivers(parcel("a", "x").tagged(4)).asks([]);
    let now = client.harness.now;
    assert!(client.harness.connection().next_timeout().is_some_and(|moment| moment <= now));
    client.harness.handle_timeout();
    client.asks([settled(4, Outcome::Accepted)]);
    assert_eq!(client.harness.connection().next_timeout(), None);
}
