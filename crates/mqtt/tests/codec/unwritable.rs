//! Packets that must not be written: the encoder says why and appends nothing.

use crate::VERSIONS;
use std::num::NonZeroU16;
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::codec::*;

fn id(number: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(number)
}

const PUBLISH: Publish<'static> = Publish {
    dup: false,
    qos: QoS::AtMostOnce,
    retain: false,
    topic: b"a",
    packet_id: None,
    properties: PropertiesRef::EMPTY,
    payload: b"",
};

/// Writes into a buffer that must stay as it was.
#[track_caller]
fn unwritable(version: Version, packet: Packet<'_>, expected: EncodeError) {
    let mut output = vec![1, 2, 3];
    assert_eq!(encode(&mut output, version, &packet, PACKET_BYTES_MAX), Err(expected));
    assert_eq!(output, [1, 2, 3]);
}

/// [MQTT-2.2.1-2] [MQTT-3.3.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-3] [MQTT-3.1.1/2.3.1-5] [MQTT-3.1.1/3.3.1-2]
/// [MQTT-3.1.1/4.7.3-1] [MQTT-3.1.1/4.7.3-3]
#[test]
fn publish_is_not_written_with_contradictions() {
    let cases = [
        (Publish { packet_id: id(1), ..PUBLISH }, EncodeError::Delivery),
        (Publish { qos: QoS::AtLeastOnce, ..PUBLISH }, EncodeError::Delivery),
        (Publish { dup: true, ..PUBLISH }, EncodeError::Delivery),
        (Publish { topic: b"", ..PUBLISH }, EncodeError::EmptyTopic),
        (Publish { topic: &[b'a'; 65_536], ..PUBLISH }, EncodeError::FieldTooLong { bytes: 65_536 }),
    ];
    for (version, (publish, expected)) in
        VERSIONS.into_iter().flat_map(|version| cases.map(|case| (version, case)))
    {
        unwritable(version, Packet::Publish(publish), expected);
    }
    let mut alias = PropertiesBuffer::new();
    alias.push(Property::TopicAlias(NonZeroU16::MIN)).unwrap();
    let by_alias = Publish { topic: b"", properties: alias.as_ref(), ..PUBLISH };
    unwritable(Version::V3, Packet::Publish(by_alias), EncodeError::EmptyTopic);
}

/// Section 2.2.2.2: the builder takes no property that a decoder would refuse.
#[test]
fn properties_are_not_collected_with_wrong_values() {
    let long = "a".repeat(65_536);
    let cases = [
        (Property::SubscriptionIdentifier(0), EncodeError::PropertyValue(PropertyId::SubscriptionIdentifier)),
        (
            Property::SubscriptionIdentifier(268_435_456),
            EncodeError::PropertyValue(PropertyId::SubscriptionIdentifier),
        ),
        (Property::MaximumQoS(QoS::ExactlyOnce), EncodeError::PropertyValue(PropertyId::MaximumQoS)),
        (Property::ResponseTopic("a/#"), EncodeError::PropertyValue(PropertyId::ResponseTopic)),
        (Property::ReasonString("a\0"), EncodeError::NullCharacter),
        (Property::UserProperty(("a", "\0")), EncodeError::NullCharacter),
        (Property::ContentType(&long), EncodeError::FieldTooLong { bytes: 65_536 }),
        (Property::TopicAliasMaximum(2), EncodeError::PropertyTwice(PropertyId::TopicAliasMaximum)),
    ];
    let mut buffer = PropertiesBuffer::new();
    buffer.push(Property::TopicAliasMaximum(1)).unwrap();
    let before = buffer.clone();
    for (property, expected) in cases {
        assert_eq!(buffer.push(property), Err(expected));
        assert_eq!(buffer, before);
    }
    buffer.clear();
    assert!(buffer.as_ref().is_empty());
}

/// Section 2.2.2.2: a property is not written into a packet that must not have it.
#[test]
fn properties_are_not_written_where_they_do_not_belong() {
    let mut buffer = PropertiesBuffer::new();
    buffer.push(Property::SubscriptionIdentifier(1)).unwrap();
    let ack = Ack { packet_id: NonZeroU16::MIN, reason: ReasonCode::Success, properties: buffer.as_ref() };
    let expected = EncodeError::PropertyNotAllowed(PropertyId::SubscriptionIdentifier);
    unwritable(Version::V5, Packet::PubAck(ack), expected);
    buffer.push(Property::SubscriptionIdentifier(2)).unwrap();
    let mut output = Vec::new();
    let filter = SubscribeFilter { filter: "a", options: SubscriptionOptions::at_most(QoS::AtMostOnce) };
    let properties = buffer.as_ref();
    let result = encode_subscribe(
        &mut output,
        Version::V5,
        NonZeroU16::MIN,
        &properties,
        [filter].into_iter(),
        PACKET_BYTES_MAX,
    );
    assert_eq!(result, Err(EncodeError::PropertyTwice(PropertyId::SubscriptionIdentifier)));
    assert!(output.is_empty());
}

/// [MQTT-3.2.2-6] [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.7.2-1] [MQTT-3.14.2-1] [MQTT-3.1.1/3.2.2-4]: session present with
/// a refusal, and the codes that a version or a packet cannot say.
#[test]
fn packets_are_not_written_with_a_false_meaning() {
    let properties = PropertiesRef::EMPTY;
    let connack = |session_present, reason| Packet::ConnAck(ConnAck { session_present, reason, properties });
    unwritable(Version::V5, connack(true, ReasonCode::Banned), EncodeError::SessionPresent);
    let wrong = |version, packet, reason| EncodeError::ReasonCode { version, packet, reason };
    let (v3, v5) = (Version::V3, Version::V5);
    let reason = ReasonCode::MalformedPacket;
    unwritable(v3, connack(false, reason), wrong(v3, PacketType::ConnAck, reason));
    let mut output = Vec::new();
    let reasons = [ReasonCode::Success, ReasonCode::NotAuthorized].into_iter();
    let refused =
        encode_suback(&mut output, Version::V31, NonZeroU16::MIN, &properties, reasons, PACKET_BYTES_MAX);
    assert_eq!(refused, Err(wrong(Version::V31, PacketType::SubAck, ReasonCode::NotAuthorized)));
    assert!(output.is_empty());
    let reason = ReasonCode::KeepAliveTimeout;
    unwritable(v5, connack(false, reason), wrong(v5, PacketType::ConnAck, reason));
    let reason = ReasonCode::NotAuthorized;
    let ack = Ack { packet_id: NonZeroU16::MIN, reason, properties };
    unwritable(v3, Packet::PubAck(ack), wrong(v3, PacketType::PubAck, reason));
    unwritable(v5, Packet::PubComp(ack), wrong(v5, PacketType::PubComp, reason));
    let goodbye = Disconnect { reason: ReasonCode::ServerBusy, properties };
    unwritable(v3, Packet::Disconnect(goodbye), wrong(v3, PacketType::Disconnect, ReasonCode::ServerBusy));
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties };
    unwritable(v3, Packet::Auth(auth), EncodeError::NotInVersion { version: v3, packet: PacketType::Auth });
    unwritable(v5, Packet::Auth(auth), EncodeError::AuthenticationMethodMissing);
}

/// [MQTT-3.1.1/3.1.2-22] [MQTT-3.1.1/1.5.3-2]
#[test]
fn connect_is_not_written_with_what_its_version_forbids() {
    let connect = Connect {
        version: Version::V3,
        clean_start: true,
        keep_alive_seconds: 0,
        properties: PropertiesRef::EMPTY,
        client_id: "",
        will: None,
        user_name: None,
        password: Some(Password(b"p")),
    };
    unwritable(Version::V3, Packet::Connect(connect), EncodeError::PasswordWithoutUserName);
    let connect = Connect { user_name: Some("\0"), ..connect };
    unwritable(Version::V3, Packet::Connect(connect), EncodeError::NullCharacter);
}

/// [MQTT-3.8.3-2] [MQTT-3.8.3-4] [MQTT-3.10.3-2] [MQTT-3.1.1/3.8.3-3] [MQTT-3.1.1/3.10.3-2]
#[test]
fn exchanges_are_not_written_empty() {
    let (mut output, id, none, limit) = (Vec::new(), NonZeroU16::MIN, PropertiesRef::EMPTY, PACKET_BYTES_MAX);
    for version in VERSIONS {
        let result = encode_subscribe(&mut output, version, id, &none, [].into_iter(), limit);
        assert_eq!(result, Err(EncodeError::Empty(PacketType::Subscribe)));
        let result = encode_unsubscribe(&mut output, version, id, &none, [].into_iter(), limit);
        assert_eq!(result, Err(EncodeError::Empty(PacketType::Unsubscribe)));
        let result = encode_suback(&mut output, version, id, &none, [].into_iter(), limit);
        assert_eq!(result, Err(EncodeError::Empty(PacketType::SubAck)));
    }
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::at_most(QoS::AtMostOnce) };
    let shared = [SubscribeFilter { filter: "$share/g/a", options }];
    let result = encode_subscribe(&mut output, Version::V5, id, &none, shared.into_iter(), limit);
    assert_eq!(result, Err(EncodeError::NoLocalOnShared));
    assert!(output.is_empty());
}

/// Section 3.3.2.3: what another protocol's message carries and MQTT cannot is refused, not cut.
#[test]
fn messages_that_mqtt_cannot_express_are_not_written() {
    let properties = Properties { reply_to: Some("queue/#".into()), ..Properties::default() };
    let outgoing = OutgoingPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "a",
        packet_id: None,
        message_expiry_interval: None,
        topic_alias: None,
        subscription_identifiers: &[],
        properties: Some(&properties),
        payload: b"",
    };
    let mut output = vec![9];
    let expected = EncodeError::PropertyValue(PropertyId::ResponseTopic);
    assert_eq!(encode_outgoing(&mut output, Version::V5, &outgoing, PACKET_BYTES_MAX), Err(expected));
    assert_eq!(output, [9]);
    // 3.1.1 has no place for it, so it stands in no one's way.
    assert_eq!(encode_outgoing(&mut output, Version::V3, &outgoing, PACKET_BYTES_MAX), Ok(()));
    let too_large = EncodeError::PacketTooLarge { bytes: 5, limit: 4 };
    assert_eq!(encode_outgoing(&mut output, Version::V3, &outgoing, 4), Err(too_large));
}
