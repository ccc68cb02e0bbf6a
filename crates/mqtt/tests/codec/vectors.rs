//! Packets written out by hand, each read and written: one table for both directions.

use crate::decode_all;
use std::num::{NonZeroU16, NonZeroU32};
use tidegate_message::QoS;
use tidegate_mqtt::codec::*;

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

/// A property section that lives as long as the test needs.
fn section(properties: &[Property<'static>]) -> PropertiesRef<'static> {
    let mut buffer = PropertiesBuffer::new();
    buffer.extend(properties.iter().copied()).unwrap();
    Box::leak(Box::new(buffer)).as_ref()
}

/// Reads the bytes as the packet and writes the packet as the bytes.
#[track_caller]
fn both_ways(version: Version, bytes: &[u8], packet: Packet<'_>) {
    assert_eq!(decode_all(bytes, version), Ok(Some((packet, bytes.len()))));
    let mut output = Vec::new();
    encode(&mut output, version, &packet, PACKET_BYTES_MAX).unwrap();
    assert_eq!(output, bytes, "{packet:?}");
}

const CONNECT: Connect<'static> = Connect {
    version: Version::V3,
    clean_start: true,
    keep_alive_seconds: 10,
    properties: PropertiesRef::EMPTY,
    client_id: "id",
    will: None,
    user_name: None,
    password: None,
};

/// [MQTT-3.1.3-1] [MQTT-3.1.1/3.1.3-1] [MQTT-3.1.1/3.1.2-9] and section 3.1 of both versions.
#[test]
fn connect() {
    both_ways(Version::V3, b"\x10\x0e\0\x04MQTT\x04\x02\0\x0a\0\x02id", Packet::Connect(CONNECT));
    let v31 = Connect { version: Version::V31, ..CONNECT };
    both_ways(Version::V31, b"\x10\x10\0\x06MQIsdp\x03\x02\0\x0a\0\x02id", Packet::Connect(v31));
    let v5 = Connect { version: Version::V5, ..CONNECT };
    both_ways(Version::V5, b"\x10\x0f\0\x04MQTT\x05\x02\0\x0a\0\0\x02id", Packet::Connect(v5));
    let will = Will {
        topic: "w",
        payload: b"\xff\0",
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: PropertiesRef::EMPTY,
    };
    let full = Connect {
        clean_start: false,
        will: Some(will),
        user_name: Some("u"),
        password: Some(Password(b"\xfe")),
        ..CONNECT
    };
    let bytes = b"\x10\x1b\0\x04MQTT\x04\xf4\0\x0a\0\x02id\0\x01w\0\x02\xff\0\0\x01u\0\x01\xfe";
    both_ways(Version::V3, bytes, Packet::Connect(full));
}

/// Sections 3.1.2.11 and 3.1.3.2 of 5.0: all properties of CONNECT and of its will.
#[test]
fn connect_with_all_properties() {
    let properties = section(&[
        Property::SessionExpiryInterval(0x0102_0304),
        Property::ReceiveMaximum(id(20)),
        Property::MaximumPacketSize(NonZeroU32::new(0xFFFF_FFFF).unwrap()),
        Property::TopicAliasMaximum(10),
        Property::RequestResponseInformation(true),
        Property::RequestProblemInformation(false),
        Property::UserProperty(("a", "b")),
        Property::UserProperty(("a", "b")),
        Property::AuthenticationMethod("m"),
        Property::AuthenticationData(b"\0"),
    ]);
    let of_will = section(&[
        Property::WillDelayInterval(1),
        Property::PayloadFormatIndicator(true),
        Property::MessageExpiryInterval(2),
        Property::ContentType("c"),
        Property::ResponseTopic("r"),
        Property::CorrelationData(b"d"),
        Property::UserProperty(("", "")),
    ]);
    let will = Will { topic: "w", payload: b"", qos: QoS::AtMostOnce, retain: false, properties: of_will };
    let connect = Connect {
        version: Version::V5,
        clean_start: false,
        properties,
        will: Some(will),
        password: Some(Password(b"p")),
        ..CONNECT
    };
    let bytes = [
        &b"\x10\x5f\0\x04MQTT\x05\x44\0\x0a"[..],
        b"\x2a\x11\x01\x02\x03\x04\x21\0\x14\x27\xff\xff\xff\xff\x22\0\x0a\x19\x01\x17\0",
        b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b\x15\0\x01m\x16\0\x01\0",
        b"\0\x02id",
        b"\x1d\x18\0\0\0\x01\x01\x01\x02\0\0\0\x02\x03\0\x01c\x08\0\x01r\x09\0\x01d\x26\0\0\0\0",
        b"\0\x01w\0\0\0\x01p",
    ]
    .concat();
    both_ways(Version::V5, &bytes, Packet::Connect(connect));
}

/// [MQTT-2.2.2-1] [MQTT-3.2.2-1] and section 3.2 of both versions; in 3.1.1 the return codes read as reason codes.
#[test]
fn connack() {
    let connack = |session_present, reason, properties| {
        Packet::ConnAck(ConnAck { session_present, reason, properties })
    };
    let empty = PropertiesRef::EMPTY;
    both_ways(Version::V3, b"\x20\x02\x01\0", connack(true, ReasonCode::Success, empty));
    both_ways(Version::V3, b"\x20\x02\0\x01", connack(false, ReasonCode::UnsupportedProtocolVersion, empty));
    both_ways(Version::V3, b"\x20\x02\0\x05", connack(false, ReasonCode::NotAuthorized, empty));
    both_ways(Version::V5, b"\x20\x03\x01\0\0", connack(true, ReasonCode::Success, empty));
    both_ways(Version::V5, b"\x20\x03\0\x87\0", connack(false, ReasonCode::NotAuthorized, empty));
    let properties = section(&[
        Property::AssignedClientIdentifier("x"),
        Property::ServerKeepAlive(60),
        Property::ResponseInformation("i"),
        Property::ServerReference("s"),
        Property::ReasonString("r"),
        Property::MaximumQoS(QoS::AtLeastOnce),
        Property::RetainAvailable(false),
        Property::WildcardSubscriptionAvailable(true),
        Property::SubscriptionIdentifierAvailable(true),
        Property::SharedSubscriptionAvailable(false),
    ]);
    let bytes = [
        &b"\x20\x20\0\0\x1d"[..],
        b"\x12\0\x01x\x13\0\x3c\x1a\0\x01i\x1c\0\x01s\x1f\0\x01r\x24\x01\x25\0\x28\x01\x29\x01\x2a\0",
    ]
    .concat();
    both_ways(Version::V5, &bytes, connack(false, ReasonCode::Success, properties));
}

/// [MQTT-2.2.2-1] [MQTT-3.3.2-1] [MQTT-3.1.1/3.3.2-1] and section 3.3 of both versions.
#[test]
fn publish() {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: b"a/b",
        packet_id: None,
        properties: PropertiesRef::EMPTY,
        payload: b"hi",
    };
    let again =
        Publish { dup: true, qos: QoS::ExactlyOnce, retain: true, packet_id: Some(id(258)), ..publish };
    both_ways(Version::V3, b"\x30\x07\0\x03a/bhi", Packet::Publish(publish));
    both_ways(Version::V5, b"\x30\x08\0\x03a/b\0hi", Packet::Publish(publish));
    both_ways(Version::V3, b"\x3d\x09\0\x03a/b\x01\x02hi", Packet::Publish(again));
    both_ways(Version::V5, b"\x3d\x0a\0\x03a/b\x01\x02\0hi", Packet::Publish(again));
    let alias = section(&[
        Property::TopicAlias(id(5)),
        Property::SubscriptionIdentifier(128),
        Property::SubscriptionIdentifier(1),
    ]);
    let by_alias = Publish { topic: b"", properties: alias, payload: b"", ..publish };
    both_ways(Version::V5, b"\x30\x0b\0\0\x08\x23\0\x05\x0b\x80\x01\x0b\x01", Packet::Publish(by_alias));
    let payload = [7; 200];
    let long = Publish { payload: &payload, ..publish };
    both_ways(Version::V3, &[b"\x30\xcd\x01\0\x03a/b", &payload[..]].concat(), Packet::Publish(long));
    // The topic is the broker's to check.
    both_ways(
        Version::V3,
        b"\x30\x03\0\x01\xff",
        Packet::Publish(Publish { topic: b"\xff", payload: b"", ..publish }),
    );
}

/// Sections 3.4 to 3.7 of both versions; what says nothing is left out (section 3.4.2.1 of 5.0).
#[test]
fn acknowledgements() {
    let plain =
        |packet_id, reason| Ack { packet_id: id(packet_id), reason, properties: PropertiesRef::EMPTY };
    for version in crate::VERSIONS {
        both_ways(version, b"\x40\x02\0\x01", Packet::PubAck(plain(1, ReasonCode::Success)));
        both_ways(version, b"\x50\x02\0\x02", Packet::PubRec(plain(2, ReasonCode::Success)));
        both_ways(version, b"\x62\x02\0\x03", Packet::PubRel(plain(3, ReasonCode::Success)));
        both_ways(version, b"\x70\x02\xff\xff", Packet::PubComp(plain(65_535, ReasonCode::Success)));
    }
    both_ways(
        Version::V5,
        b"\x40\x03\0\x01\x10",
        Packet::PubAck(plain(1, ReasonCode::NoMatchingSubscribers)),
    );
    both_ways(
        Version::V5,
        b"\x62\x03\0\x01\x92",
        Packet::PubRel(plain(1, ReasonCode::PacketIdentifierNotFound)),
    );
    let properties = section(&[Property::ReasonString("r"), Property::UserProperty(("k", "v"))]);
    let full = Ack { properties, ..plain(1, ReasonCode::Success) };
    both_ways(Version::V5, b"\x50\x0f\0\x01\0\x0b\x1f\0\x01r\x26\0\x01k\0\x01v", Packet::PubRec(full));
}

/// Section 3.4.2.1 of 5.0: the longer forms that say the same are read as well.
#[test]
fn long_forms_are_read() {
    let success = Ack { packet_id: id(1), reason: ReasonCode::Success, properties: PropertiesRef::EMPTY };
    for bytes in [&b"\x40\x03\0\x01\0"[..], b"\x40\x04\0\x01\0\0"] {
        assert_eq!(decode_all(bytes, Version::V5), Ok(Some((Packet::PubAck(success), bytes.len()))));
    }
    let goodbye =
        Packet::Disconnect(Disconnect { reason: ReasonCode::Success, properties: PropertiesRef::EMPTY });
    for bytes in [&b"\xe0\x01\0"[..], b"\xe0\x02\0\0"] {
        assert_eq!(decode_all(bytes, Version::V5), Ok(Some((goodbye, bytes.len()))));
    }
}

/// MQTT 3.1.1 section 2.2.3 has no rule against a remaining length that is longer than needed.
#[test]
fn long_remaining_length_is_read_in_3_1_1() {
    assert_eq!(decode_all(b"\xc0\x80\x80\x00", Version::V3), Ok(Some((Packet::PingReq, 4))));
    let connect = b"\x10\x8e\0\0\x04MQTT\x04\x02\0\x0a\0\x02id";
    assert_eq!(decode_all(connect, Version::V5), Ok(Some((Packet::Connect(CONNECT), connect.len()))));
}

/// Sections 3.8 to 3.11 of both versions.
#[test]
fn subscriptions() {
    let at_most = |filter, qos| SubscribeFilter { filter, options: SubscriptionOptions::at_most(qos) };
    let all = SubscriptionOptions {
        qos_max: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = [at_most("a/#", QoS::AtLeastOnce), at_most("", QoS::AtMostOnce)];
    subscribe(Version::V3, b"\x82\x0b\0\x01\0\x03a/#\x01\0\0\0", &filters, &[]);
    let filters = [SubscribeFilter { filter: "+", options: all }, at_most("$share/g/#", QoS::AtMostOnce)];
    let bytes = b"\x82\x16\0\x01\x02\x0b\x7f\0\x01+\x2e\0\x0a$share/g/#\0";
    subscribe(Version::V5, bytes, &filters, &[Property::SubscriptionIdentifier(127)]);
    unsubscribe(Version::V3, b"\xa2\x08\0\x01\0\x01a\0\x01b", &["a", "b"]);
    unsubscribe(Version::V5, b"\xa2\x09\0\x01\0\0\x01a\0\x01b", &["a", "b"]);
    use ReasonCode::{
        GrantedQoS1, GrantedQoS2, NoSubscriptionExisted, NotAuthorized, Success, UnspecifiedError,
    };
    suback(
        Version::V3,
        b"\x90\x06\0\x01\0\x01\x02\x80",
        &[Success, GrantedQoS1, GrantedQoS2, UnspecifiedError],
    );
    suback(Version::V5, b"\x90\x05\0\x01\0\x02\x87", &[GrantedQoS2, NotAuthorized]);
    unsuback(Version::V3, b"\xb0\x02\0\x01", &[]);
    unsuback(Version::V5, b"\xb0\x05\0\x01\0\0\x11", &[Success, NoSubscriptionExisted]);
}

#[track_caller]
fn subscribe(
    version: Version,
    bytes: &[u8],
    filters: &[SubscribeFilter<'_>],
    properties: &[Property<'static>],
) {
    let Packet::Subscribe(packet) = decode_all(bytes, version).unwrap().unwrap().0 else { panic!() };
    assert_eq!(packet.filters.iter().collect::<Vec<_>>(), filters);
    assert_eq!((packet.packet_id, packet.properties), (id(1), section(properties)));
    both_ways(version, bytes, Packet::Subscribe(packet));
}

#[track_caller]
fn unsubscribe(version: Version, bytes: &[u8], filters: &[&str]) {
    let Packet::Unsubscribe(packet) = decode_all(bytes, version).unwrap().unwrap().0 else { panic!() };
    assert_eq!(packet.filters.iter().collect::<Vec<_>>(), filters);
    both_ways(version, bytes, Packet::Unsubscribe(packet));
}

#[track_caller]
fn suback(version: Version, bytes: &[u8], reasons: &[ReasonCode]) {
    let Packet::SubAck(packet) = decode_all(bytes, version).unwrap().unwrap().0 else { panic!() };
    assert_eq!(packet.reasons.iter().collect::<Vec<_>>(), reasons);
    both_ways(version, bytes, Packet::SubAck(packet));
}

#[track_caller]
fn unsuback(version: Version, bytes: &[u8], reasons: &[ReasonCode]) {
    let Packet::UnsubAck(packet) = decode_all(bytes, version).unwrap().unwrap().0 else { panic!() };
    assert_eq!(packet.reasons.iter().collect::<Vec<_>>(), reasons);
    both_ways(version, bytes, Packet::UnsubAck(packet));
}

/// Sections 3.12 to 3.15.
#[test]
fn pings_and_goodbyes() {
    let disconnect = |reason, properties| Packet::Disconnect(Disconnect { reason, properties });
    for version in crate::VERSIONS {
        both_ways(version, b"\xc0\0", Packet::PingReq);
        both_ways(version, b"\xd0\0", Packet::PingResp);
        both_ways(version, b"\xe0\0", disconnect(ReasonCode::Success, PropertiesRef::EMPTY));
    }
    both_ways(Version::V5, b"\xe0\x01\x8b", disconnect(ReasonCode::ServerShuttingDown, PropertiesRef::EMPTY));
    let expiry = section(&[Property::SessionExpiryInterval(0)]);
    both_ways(
        Version::V5,
        b"\xe0\x07\x04\x05\x11\0\0\0\0",
        disconnect(ReasonCode::DisconnectWithWill, expiry),
    );
    let empty = Auth { reason: ReasonCode::Success, properties: PropertiesRef::EMPTY };
    both_ways(Version::V5, b"\xf0\0", Packet::Auth(empty));
    let method = section(&[Property::AuthenticationMethod("m")]);
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties: method };
    both_ways(Version::V5, b"\xf0\x06\x18\x04\x15\0\x01m", Packet::Auth(auth));
}

/// The short ways of writing frequent packets write what the long way writes.
#[test]
fn short_ways_write_the_same() {
    let ack = Ack { packet_id: id(9), reason: ReasonCode::Success, properties: PropertiesRef::EMPTY };
    let packets = [Packet::PubAck(ack), Packet::PubRec(ack), Packet::PubRel(ack), Packet::PubComp(ack)];
    for packet in packets {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        encode_ack(&mut short, packet.packet_type(), id(9));
        encode(&mut long, Version::V5, &packet, PACKET_BYTES_MAX).unwrap();
        assert_eq!(short, long);
    }
    let mut output = Vec::new();
    encode_pingreq(&mut output);
    encode_pingresp(&mut output);
    assert_eq!(output, b"\xc0\0\xd0\0");
}

/// A password or authentication data in a log would be a leak.
#[test]
fn secrets_are_not_printed() {
    let properties = section(&[Property::AuthenticationMethod("m"), Property::AuthenticationData(b"secret")]);
    let connect =
        Connect { properties, user_name: Some("u"), password: Some(Password(b"secret")), ..CONNECT };
    let printed = format!("{connect:?}");
    let bytes = format!("{:?}", b"secret");
    assert!(printed.contains("***") && !printed.contains("secret") && !printed.contains(&bytes), "{printed}");
}
