//! Packets as bytes, written the way the specification's examples are told.

use std::num::{NonZeroU16, NonZeroU32};
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Ack, ConnAck, Connect, Disconnect, OutgoingPublish, PACKET_BYTES_MAX, Packet, PacketType, Password,
    PropertiesBuffer, PropertiesRef, Property, Publish, ReasonCode, SubscribeFilter, SubscriptionOptions,
    Version, Will, encode, encode_ack, encode_outgoing, encode_suback, encode_subscribe, encode_unsuback,
    encode_unsubscribe,
};

pub(crate) use Version::{V3, V5, V31};

/// All versions, for what they have in common.
pub(crate) const VERSIONS: [Version; 3] = [V31, V3, V5];

pub(crate) fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn bytes(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, version, packet, PACKET_BYTES_MAX).unwrap();
    bytes
}

pub(crate) fn properties(properties: &[Property<'_>]) -> PropertiesBuffer {
    let mut buffer = PropertiesBuffer::new();
    buffer.extend(properties.iter().copied()).unwrap();
    buffer
}

/// A CONNECT that starts cleanly as "device", without keep alive; its parts are changed in place.
pub(crate) struct ConnectScript<'a> {
    pub(crate) packet: Connect<'a>,
    pub(crate) properties: Vec<Property<'a>>,
}

pub(crate) fn connect<'a>(version: Version) -> ConnectScript<'a> {
    let packet = Connect {
        version,
        clean_start: true,
        keep_alive_seconds: 0,
        properties: PropertiesRef::EMPTY,
        client_id: "device",
        will: None,
        user_name: None,
        password: None,
    };
    ConnectScript { packet, properties: Vec::new() }
}

impl<'a> ConnectScript<'a> {
    pub(crate) fn client_id(mut self, client_id: &'a str) -> Self {
        self.packet.client_id = client_id;
        self
    }

    /// Clean Start or Clean Session 0.
    pub(crate) fn continued(mut self) -> Self {
        self.packet.clean_start = false;
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.packet.keep_alive_seconds = seconds;
        self
    }

    pub(crate) fn credentials(mut self) -> Self {
        (self.packet.user_name, self.packet.password) = (Some("user"), Some(Password(b"secret")));
        self
    }

    pub(crate) fn will(mut self, will: Will<'a>) -> Self {
        self.packet.will = Some(will);
        self
    }

    pub(crate) fn with(mut self, property: Property<'a>) -> Self {
        self.properties.push(property);
        self
    }

    pub(crate) fn receive_maximum(self, maximum: u16) -> Self {
        self.with(Property::ReceiveMaximum(id(maximum)))
    }

    pub(crate) fn packet_bytes_max(self, bytes: u32) -> Self {
        self.with(Property::MaximumPacketSize(NonZeroU32::new(bytes).unwrap()))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let properties = properties(&self.properties);
        let packet = Connect { properties: properties.as_ref(), ..self.packet };
        bytes(packet.version, &Packet::Connect(packet))
    }
}

/// A will at QoS 1 without properties.
pub(crate) fn will(topic: &str) -> Will<'_> {
    Will { topic, payload: b"gone", qos: QoS::AtLeastOnce, retain: false, properties: PropertiesRef::EMPTY }
}

pub(crate) fn connack(version: Version, session_present: bool, with: &[Property<'_>]) -> Vec<u8> {
    let with = properties(with);
    bytes(
        version,
        &Packet::ConnAck(ConnAck { session_present, reason: ReasonCode::Success, properties: with.as_ref() }),
    )
}

/// PUBLISH with QoS 0.
pub(crate) fn publish(version: Version, topic: &str, payload: &str) -> Vec<u8> {
    publish_packet(version, topic, payload, |_| {})
}

/// PUBLISH with QoS 1.
pub(crate) fn publish_1(version: Version, number: u16, topic: &str, payload: &str) -> Vec<u8> {
    publish_packet(version, topic, payload, |publish| {
        (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, Some(id(number)));
    })
}

/// PUBLISH with QoS 2.
pub(crate) fn publish_2(version: Version, number: u16, topic: &str, payload: &str) -> Vec<u8> {
    publish_packet(version, topic, payload, |publish| {
        (publish.qos, publish.packet_id) = (QoS::ExactlyOnce, Some(id(number)));
    })
}

pub(crate) fn publish_packet<'a>(
    version: Version,
    topic: &'a str,
    payload: &'a str,
    change: impl FnOnce(&mut Publish<'a>),
) -> Vec<u8> {
    let mut publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic.as_bytes(),
        packet_id: None,
        properties: PropertiesRef::EMPTY,
        payload: payload.as_bytes(),
    };
    change(&mut publish);
    bytes(version, &Packet::Publish(publish))
}

/// PUBLISH of MQTT 5.0 with QoS 0 and properties.
pub(crate) fn publish_with(topic: &str, payload: &str, with: &[Property<'_>]) -> Vec<u8> {
    let with = properties(with);
    let mut bytes = Vec::new();
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic.as_bytes(),
        packet_id: None,
        properties: with.as_ref(),
        payload: payload.as_bytes(),
    };
    encode(&mut bytes, V5, &Packet::Publish(publish), PACKET_BYTES_MAX).unwrap();
    bytes
}

/// PUBLISH as the gateway sends it.
pub(crate) fn delivered<'a>(
    version: Version,
    topic: &'a str,
    payload: &'a str,
    change: impl FnOnce(&mut OutgoingPublish<'a>),
) -> Vec<u8> {
    let mut publish = OutgoingPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic,
        packet_id: None,
        message_expiry_interval: None,
        topic_alias: None,
        subscription_identifiers: &[],
        properties: None,
        payload: payload.as_bytes(),
    };
    change(&mut publish);
    let mut bytes = Vec::new();
    encode_outgoing(&mut bytes, version, &publish, PACKET_BYTES_MAX).unwrap();
    bytes
}

/// PUBLISH with QoS 1 as the gateway sends it.
pub(crate) fn delivered_1(version: Version, number: u16, topic: &str, payload: &str) -> Vec<u8> {
    publish_1(version, number, topic, payload)
}

/// PUBLISH with QoS 2 as the gateway sends it.
pub(crate) fn delivered_2(version: Version, number: u16, topic: &str, payload: &str) -> Vec<u8> {
    publish_2(version, number, topic, payload)
}

/// An acknowledgement that says success, the same in both versions.
pub(crate) fn ack(packet: PacketType, number: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_ack(&mut bytes, packet, id(number));
    bytes
}

pub(crate) fn puback(number: u16) -> Vec<u8> {
    ack(PacketType::PubAck, number)
}

pub(crate) fn pubrec(number: u16) -> Vec<u8> {
    ack(PacketType::PubRec, number)
}

pub(crate) fn pubrel(number: u16) -> Vec<u8> {
    ack(PacketType::PubRel, number)
}

pub(crate) fn pubcomp(number: u16) -> Vec<u8> {
    ack(PacketType::PubComp, number)
}

/// An acknowledgement of MQTT 5.0 with a reason, and words where there are any.
pub(crate) fn ack_because(packet: PacketType, number: u16, reason: ReasonCode, words: &str) -> Vec<u8> {
    let with = reason_string(words);
    let ack = Ack { packet_id: id(number), reason, properties: with.as_ref() };
    let packet = match packet {
        PacketType::PubRec => Packet::PubRec(ack),
        PacketType::PubRel => Packet::PubRel(ack),
        PacketType::PubComp => Packet::PubComp(ack),
        _ => Packet::PubAck(ack),
    };
    bytes(V5, &packet)
}

/// SUBSCRIBE to filters with their levels.
pub(crate) fn subscribe(version: Version, number: u16, filters: &[(&str, QoS)]) -> Vec<u8> {
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, qos)| SubscribeFilter { filter, options: SubscriptionOptions::at_most(*qos) })
        .collect();
    subscribe_with(version, number, &filters, &[])
}

pub(crate) fn subscribe_with(
    version: Version,
    number: u16,
    filters: &[SubscribeFilter<'_>],
    with: &[Property<'_>],
) -> Vec<u8> {
    let (mut bytes, with) = (Vec::new(), properties(with));
    let filters = filters.iter().copied();
    encode_subscribe(&mut bytes, version, id(number), &with.as_ref(), filters, PACKET_BYTES_MAX).unwrap();
    bytes
}

pub(crate) fn suback(version: Version, number: u16, reasons: &[ReasonCode]) -> Vec<u8> {
    suback_because(version, number, reasons, "")
}

/// SUBACK with the words of MQTT 5.0.
pub(crate) fn suback_because(version: Version, number: u16, reasons: &[ReasonCode], words: &str) -> Vec<u8> {
    let (mut bytes, reasons, with) = (Vec::new(), reasons.iter().copied(), reason_string(words));
    encode_suback(&mut bytes, version, id(number), &with.as_ref(), reasons, PACKET_BYTES_MAX).unwrap();
    bytes
}

fn reason_string(words: &str) -> PropertiesBuffer {
    match words {
        "" => PropertiesBuffer::new(),
        words => properties(&[Property::ReasonString(words)]),
    }
}

pub(crate) fn unsubscribe(version: Version, number: u16, filters: &[&str]) -> Vec<u8> {
    let (mut bytes, filters) = (Vec::new(), filters.iter().copied());
    encode_unsubscribe(&mut bytes, version, id(number), &PropertiesRef::EMPTY, filters, PACKET_BYTES_MAX)
        .unwrap();
    bytes
}

pub(crate) fn unsuback(version: Version, number: u16, reasons: &[ReasonCode]) -> Vec<u8> {
    unsuback_because(version, number, reasons, "")
}

/// UNSUBACK with the words of MQTT 5.0.
pub(crate) fn unsuback_because(
    version: Version,
    number: u16,
    reasons: &[ReasonCode],
    words: &str,
) -> Vec<u8> {
    let (mut bytes, reasons, with) = (Vec::new(), reasons.iter().copied(), reason_string(words));
    encode_unsuback(&mut bytes, version, id(number), &with.as_ref(), reasons, PACKET_BYTES_MAX).unwrap();
    bytes
}

pub(crate) fn disconnect(version: Version, reason: ReasonCode, with: &[Property<'_>]) -> Vec<u8> {
    let with = properties(with);
    bytes(version, &Packet::Disconnect(Disconnect { reason, properties: with.as_ref() }))
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const PINGRESP: [u8; 2] = [0xD0, 0];
