//! Random valid packets of every type, with everything that each may carry.
//!
//! What a packet borrows is leaked: a few hundred bytes a sample, in a test.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::num::{NonZeroU16, NonZeroU32};
use tidegate_message::QoS;
use tidegate_mqtt::codec::*;

/// A packet in the version that it was made for, as the encoder wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) version: Version,
    pub(crate) packet_type: PacketType,
    pub(crate) bytes: Vec<u8>,
}

impl Sample {
    /// The sample's packet. Panics where the decoder does not take it whole.
    pub(crate) fn packet(&self) -> Packet<'_> {
        let (packet, consumed) = crate::decode_all(&self.bytes, self.version).unwrap().unwrap();
        assert_eq!(consumed, self.bytes.len());
        packet
    }
}

pub(crate) fn packet_id() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(QoS::ALL.to_vec())
}

/// Text without U+0000, not empty.
pub(crate) fn text() -> impl Strategy<Value = &'static str> {
    "[a-zA-Z0-9 /é\u{10FFFF}$\u{1}]{1,12}".prop_map(|text| &*text.leak())
}

/// Text that a topic may be.
pub(crate) fn topic() -> impl Strategy<Value = &'static str> {
    text()
}

/// A topic filter.
fn filter() -> impl Strategy<Value = &'static str> {
    "(([a-z]{0,5}|\\+)/){0,3}([a-z]{1,5}|\\+|#)".prop_map(|text| &*text.leak())
}

/// Bytes; now and then more than fit into one byte of length.
pub(crate) fn bytes() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![9 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 100..300)]
        .prop_map(|bytes| &*bytes.leak())
}

fn property(id: PropertyId) -> BoxedStrategy<Property<'static>> {
    use Property as P;
    match id {
        PropertyId::PayloadFormatIndicator => any::<bool>().prop_map(P::PayloadFormatIndicator).boxed(),
        PropertyId::MessageExpiryInterval => any::<u32>().prop_map(P::MessageExpiryInterval).boxed(),
        PropertyId::ContentType => text().prop_map(P::ContentType).boxed(),
        PropertyId::ResponseTopic => topic().prop_map(P::ResponseTopic).boxed(),
        PropertyId::CorrelationData => bytes().prop_map(P::CorrelationData).boxed(),
        PropertyId::SubscriptionIdentifier => {
            (1_u32..=268_435_455).prop_map(P::SubscriptionIdentifier).boxed()
        }
        PropertyId::SessionExpiryInterval => any::<u32>().prop_map(P::SessionExpiryInterval).boxed(),
        PropertyId::AssignedClientIdentifier => text().prop_map(P::AssignedClientIdentifier).boxed(),
        PropertyId::ServerKeepAlive => any::<u16>().prop_map(P::ServerKeepAlive).boxed(),
        PropertyId::AuthenticationMethod => text().prop_map(P::AuthenticationMethod).boxed(),
        PropertyId::AuthenticationData => bytes().prop_map(P::AuthenticationData).boxed(),
        PropertyId::RequestProblemInformation => any::<bool>().prop_map(P::RequestProblemInformation).boxed(),
        PropertyId::WillDelayInterval => any::<u32>().prop_map(P::WillDelayInterval).boxed(),
        PropertyId::RequestResponseInformation => {
            any::<bool>().prop_map(P::RequestResponseInformation).boxed()
        }
        PropertyId::ResponseInformation => text().prop_map(P::ResponseInformation).boxed(),
        PropertyId::ServerReference => text().prop_map(P::ServerReference).boxed(),
        PropertyId::ReasonString => text().prop_map(P::ReasonString).boxed(),
        PropertyId::ReceiveMaximum => any::<NonZeroU16>().prop_map(P::ReceiveMaximum).boxed(),
        PropertyId::TopicAliasMaximum => any::<u16>().prop_map(P::TopicAliasMaximum).boxed(),
        PropertyId::TopicAlias => any::<NonZeroU16>().prop_map(P::TopicAlias).boxed(),
        PropertyId::MaximumQoS => {
            prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce]).prop_map(P::MaximumQoS).boxed()
        }
        PropertyId::RetainAvailable => any::<bool>().prop_map(P::RetainAvailable).boxed(),
        PropertyId::UserProperty => (text(), text()).prop_map(P::UserProperty).boxed(),
        PropertyId::MaximumPacketSize => any::<NonZeroU32>().prop_map(P::MaximumPacketSize).boxed(),
        PropertyId::WildcardSubscriptionAvailable => {
            any::<bool>().prop_map(P::WildcardSubscriptionAvailable).boxed()
        }
        PropertyId::SubscriptionIdentifierAvailable => {
            any::<bool>().prop_map(P::SubscriptionIdentifierAvailable).boxed()
        }
        PropertyId::SharedSubscriptionAvailable => {
            any::<bool>().prop_map(P::SharedSubscriptionAvailable).boxed()
        }
    }
}

/// Some of the properties, in any order, with user properties where they may be.
fn properties(ids: &[PropertyId]) -> impl Strategy<Value = Vec<Property<'static>>> + use<> {
    let singles = prop::sample::subsequence(ids.to_vec(), 0..=ids.len()).prop_shuffle();
    let singles = prop_oneof![1 => Just(Vec::new()), 3 => singles];
    let singles = singles.prop_flat_map(|ids| ids.into_iter().map(property).collect::<Vec<_>>());
    (singles, vec(property(PropertyId::UserProperty), 0..3)).prop_map(|(mut all, user)| {
        all.extend(user);
        all
    })
}

/// A section made with the builder; leaked.
fn section(properties: &[Property<'static>]) -> PropertiesRef<'static> {
    let mut buffer = PropertiesBuffer::new();
    buffer.extend(properties.iter().copied()).unwrap();
    Box::leak(Box::new(buffer)).as_ref()
}

use PropertyId as Id;

const MESSAGE: [Id; 5] = [
    Id::PayloadFormatIndicator,
    Id::MessageExpiryInterval,
    Id::ContentType,
    Id::ResponseTopic,
    Id::CorrelationData,
];

/// What a packet of this type may carry, user properties left out.
fn ids_of(packet: PacketType) -> Vec<Id> {
    match packet {
        PacketType::Connect => vec![
            Id::SessionExpiryInterval,
            Id::AuthenticationMethod,
            Id::RequestProblemInformation,
            Id::RequestResponseInformation,
            Id::ReceiveMaximum,
            Id::TopicAliasMaximum,
            Id::MaximumPacketSize,
        ],
        PacketType::ConnAck => vec![
            Id::SessionExpiryInterval,
            Id::AssignedClientIdentifier,
            Id::ServerKeepAlive,
            Id::AuthenticationMethod,
            Id::AuthenticationData,
            Id::ResponseInformation,
            Id::ServerReference,
            Id::ReasonString,
            Id::ReceiveMaximum,
            Id::TopicAliasMaximum,
            Id::MaximumQoS,
            Id::RetainAvailable,
            Id::MaximumPacketSize,
            Id::WildcardSubscriptionAvailable,
            Id::SubscriptionIdentifierAvailable,
            Id::SharedSubscriptionAvailable,
        ],
        PacketType::Publish => [&MESSAGE[..], &[Id::TopicAlias, Id::SubscriptionIdentifier]].concat(),
        PacketType::Subscribe => vec![Id::SubscriptionIdentifier],
        PacketType::Unsubscribe => vec![],
        PacketType::Disconnect => vec![Id::SessionExpiryInterval, Id::ServerReference, Id::ReasonString],
        PacketType::Auth => vec![Id::AuthenticationData, Id::ReasonString],
        _ => vec![Id::ReasonString],
    }
}

fn reasons_of(packet: PacketType, version: Version) -> Vec<ReasonCode> {
    let allowed = ReasonCode::ALL.iter().copied().filter(|reason| reason.is_allowed_in(packet));
    match (version, packet) {
        (Version::V5, _) => allowed.collect(),
        (Version::V31 | Version::V3, PacketType::ConnAck) => {
            (0..=5).filter_map(ReasonCode::from_connack_return_code).collect()
        }
        (Version::V31, PacketType::SubAck) => allowed.filter(|reason| !reason.is_failure()).collect(),
        (Version::V3, PacketType::SubAck) => {
            allowed.filter(|reason| !reason.is_failure() || *reason == ReasonCode::UnspecifiedError).collect()
        }
        (Version::V31 | Version::V3, _) => vec![ReasonCode::Success],
    }
}

fn reason(packet: PacketType, version: Version) -> impl Strategy<Value = ReasonCode> + use<> {
    let reasons = reasons_of(packet, version);
    prop_oneof![Just(ReasonCode::Success), prop::sample::select(reasons)]
        .prop_filter("allowed", move |reason| reason.is_allowed_in(packet))
}

/// The properties of a packet; none in 3.1.1.
fn section_of(packet: PacketType, version: Version) -> BoxedStrategy<PropertiesRef<'static>> {
    match version {
        Version::V31 | Version::V3 => Just(PropertiesRef::EMPTY).boxed(),
        Version::V5 => properties(&ids_of(packet)).prop_map(|all| section(&all)).boxed(),
    }
}

fn options(version: Version) -> BoxedStrategy<SubscriptionOptions> {
    let handling = prop::sample::select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let v5 = (qos(), any::<bool>(), any::<bool>(), handling);
    match version {
        Version::V31 | Version::V3 => qos().prop_map(SubscriptionOptions::at_most).boxed(),
        Version::V5 => v5
            .prop_map(|(qos_max, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
                qos_max,
                no_local,
                retain_as_published,
                retain_handling,
            })
            .boxed(),
    }
}

fn will(version: Version) -> impl Strategy<Value = Will<'static>> {
    let ids = [&MESSAGE[..], &[Id::WillDelayInterval]].concat();
    let properties = match version {
        Version::V31 | Version::V3 => Just(PropertiesRef::EMPTY).boxed(),
        Version::V5 => properties(&ids).prop_map(|all| section(&all)).boxed(),
    };
    (topic(), bytes(), qos(), any::<bool>(), properties).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    )
}

pub(crate) fn connect(version: Version) -> impl Strategy<Value = Connect<'static>> {
    let credentials = (option::of(text()), option::of(bytes()));
    let client_id = prop_oneof![Just(""), text()];
    let fixed = (any::<bool>(), any::<u16>(), section_of(PacketType::Connect, version), client_id);
    (fixed, option::of(will(version)), credentials).prop_map(move |(fixed, will, (user_name, password))| {
        let (clean_start, keep_alive_seconds, properties, client_id) = fixed;
        // [MQTT-3.1.1/3.1.2-22]
        let password = password.filter(|_| version == Version::V5 || user_name.is_some()).map(Password);
        Connect { version, clean_start, keep_alive_seconds, properties, client_id, will, user_name, password }
    })
}

/// What a PUBLISH carries: the only packet with several subscription identifiers (section 3.3.2.3.8).
fn publish_section(version: Version) -> BoxedStrategy<PropertiesRef<'static>> {
    let identifiers = vec(property(PropertyId::SubscriptionIdentifier), 0..3);
    let all = (properties(&ids_of(PacketType::Publish)), identifiers);
    match version {
        Version::V31 | Version::V3 => Just(PropertiesRef::EMPTY).boxed(),
        Version::V5 => all.prop_map(|(all, identifiers)| section(&[all, identifiers].concat())).boxed(),
    }
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish<'static>> {
    let fixed = (any::<bool>(), qos(), any::<bool>(), packet_id());
    (fixed, topic(), publish_section(version), bytes()).prop_map(|(fixed, topic, properties, payload)| {
        let (dup, qos, retain, packet_id) = fixed;
        let acknowledged = qos != QoS::AtMostOnce;
        let packet_id = acknowledged.then_some(packet_id);
        Publish {
            dup: dup && acknowledged,
            qos,
            retain,
            topic: topic.as_bytes(),
            packet_id,
            properties,
            payload,
        }
    })
}

fn ack(packet: PacketType, version: Version) -> impl Strategy<Value = Ack<'static>> {
    (packet_id(), reason(packet, version), section_of(packet, version))
        .prop_map(|(packet_id, reason, properties)| Ack { packet_id, reason, properties })
}

/// All packets that can be written as a value.
pub(crate) fn plain_packet(version: Version) -> impl Strategy<Value = Packet<'static>> {
    let connack =
        (any::<bool>(), reason(PacketType::ConnAck, version), section_of(PacketType::ConnAck, version));
    let connack = connack.prop_map(move |(present, reason, properties)| {
        let session_present = present && reason == ReasonCode::Success && version > Version::V31;
        Packet::ConnAck(ConnAck { session_present, reason, properties })
    });
    let disconnect = (reason(PacketType::Disconnect, version), section_of(PacketType::Disconnect, version))
        .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties }));
    let common = prop_oneof![
        connect(version).prop_map(Packet::Connect),
        connack,
        publish(version).prop_map(Packet::Publish),
        ack(PacketType::PubAck, version).prop_map(Packet::PubAck),
        ack(PacketType::PubRec, version).prop_map(Packet::PubRec),
        ack(PacketType::PubRel, version).prop_map(Packet::PubRel),
        ack(PacketType::PubComp, version).prop_map(Packet::PubComp),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect,
    ];
    match version {
        Version::V31 | Version::V3 => common.boxed(),
        Version::V5 => prop_oneof![9 => common, 1 => auth()].boxed(),
    }
}

fn auth() -> impl Strategy<Value = Packet<'static>> {
    let all = (text(), properties(&ids_of(PacketType::Auth)));
    (reason(PacketType::Auth, Version::V5), all).prop_map(|(reason, (method, mut all))| {
        all.insert(0, Property::AuthenticationMethod(method));
        Packet::Auth(Auth { reason, properties: section(&all) })
    })
}

/// The parts of a packet that answers or lists filters.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) packet_id: NonZeroU16,
    pub(crate) properties: PropertiesRef<'static>,
    pub(crate) filters: Vec<SubscribeFilter<'static>>,
    pub(crate) reasons: Vec<ReasonCode>,
}

pub(crate) fn exchange(packet: PacketType, version: Version) -> impl Strategy<Value = Exchange> {
    let one = (filter(), options(version)).prop_map(|(filter, options)| SubscribeFilter { filter, options });
    let reasons = vec(reason(packet_with_reasons(packet), version), 1..5);
    (packet_id(), section_of(packet, version), vec(one, 1..5), reasons).prop_map(
        |(packet_id, properties, filters, reasons)| Exchange { packet_id, properties, filters, reasons },
    )
}

fn packet_with_reasons(packet: PacketType) -> PacketType {
    match packet {
        PacketType::Subscribe => PacketType::SubAck,
        PacketType::Unsubscribe => PacketType::UnsubAck,
        other => other,
    }
}

impl Exchange {
    /// Writes the exchange as a packet of this type.
    pub(crate) fn encode(&self, packet: PacketType, version: Version) -> Vec<u8> {
        let (mut output, id, properties, limit) =
            (Vec::new(), self.packet_id, &self.properties, PACKET_BYTES_MAX);
        let reasons = self.reasons.iter().copied();
        let filters = self.filters.iter().copied();
        let names = self.filters.iter().map(|filter| filter.filter);
        match packet {
            PacketType::Subscribe => encode_subscribe(&mut output, version, id, properties, filters, limit),
            PacketType::SubAck => encode_suback(&mut output, version, id, properties, reasons, limit),
            PacketType::Unsubscribe => encode_unsubscribe(&mut output, version, id, properties, names, limit),
            _ => encode_unsuback(&mut output, version, id, properties, reasons, limit),
        }
        .unwrap();
        output
    }
}

/// The types whose packets are written from lists.
pub(crate) const EXCHANGES: [PacketType; 4] =
    [PacketType::Subscribe, PacketType::SubAck, PacketType::Unsubscribe, PacketType::UnsubAck];

/// A packet of any type, in bytes.
pub(crate) fn sample(version: Version) -> impl Strategy<Value = Sample> {
    let plain = plain_packet(version).prop_map(move |packet| {
        let mut bytes = Vec::new();
        encode(&mut bytes, version, &packet, PACKET_BYTES_MAX).unwrap();
        Sample { version, packet_type: packet.packet_type(), bytes }
    });
    let exchanges = EXCHANGES.map(|packet_type| {
        let parts = exchange(packet_type, version);
        parts
            .prop_map(move |parts| Sample { version, packet_type, bytes: parts.encode(packet_type, version) })
            .boxed()
    });
    prop_oneof![2 => plain, 1 => proptest::strategy::Union::new(exchanges)]
}

/// A packet of any type in any version.
pub(crate) fn any_sample() -> impl Strategy<Value = Sample> {
    prop_oneof![sample(Version::V31), sample(Version::V3), sample(Version::V5)]
}

/// A packet of any type in a version that other codecs know.
pub(crate) fn known_sample() -> impl Strategy<Value = Sample> {
    prop_oneof![sample(Version::V3), sample(Version::V5)]
}
