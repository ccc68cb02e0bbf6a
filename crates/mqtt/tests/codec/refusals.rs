//! Bytes that are no packet, each with the error and the reason code that it must give.

use crate::{VERSIONS, decode_all};
use tidegate_mqtt::codec::*;

/// Checks each input against the error that it must give, and the error against its reason code.
#[track_caller]
fn refused(version: Version, code: ReasonCode, cases: &[(&[u8], DecodeError)]) {
    for (bytes, expected) in cases {
        assert_eq!(decode_all(bytes, version), Err(*expected), "MQTT {version} {bytes:x?}");
        assert_eq!(expected.reason_code(), code, "{expected}");
    }
}

use DecodeError as E;
use ReasonCode::{MalformedPacket, ProtocolError};

/// Section 2.1.2: type 0 is forbidden, and 15 in 3.1.1.
#[test]
fn reserved_packet_types() {
    for version in VERSIONS {
        refused(version, MalformedPacket, &[(b"\0", E::PacketType(0)), (b"\x0f\0", E::PacketType(0))]);
    }
    refused(Version::V3, MalformedPacket, &[(b"\xf0\0", E::PacketType(15))]);
}

/// [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT-3.1.1/2.2.2-1]
/// [MQTT-3.1.1/2.2.2-2] [MQTT-3.1.1/3.6.1-1] [MQTT-3.1.1/3.8.1-1] [MQTT-3.1.1/3.10.1-1] [MQTT-3.1.1/3.14.1-1]: every
/// value of the flags but the one that is allowed.
#[test]
fn reserved_flags() {
    for (version, packet) in
        VERSIONS.into_iter().flat_map(|version| PacketType::ALL.map(|packet| (version, packet)))
    {
        let needs = match packet {
            PacketType::Publish => continue,
            PacketType::Auth if version == Version::V3 => continue,
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        };
        for flags in (0..16).filter(|flags| *flags != needs) {
            refused(
                version,
                MalformedPacket,
                &[(&[(packet as u8) << 4 | flags], E::Flags { packet, flags })],
            );
        }
        assert_eq!(decode_all(&[(packet as u8) << 4 | needs], version), Ok(None));
    }
}

/// [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.1.1/3.3.1-2] [MQTT-3.1.1/3.3.1-4] and section 3.3.1: QoS 3, DUP without QoS, no
/// topic, no packet identifier.
#[test]
fn publish() {
    for version in VERSIONS {
        for first in [0x36, 0x37, 0x3e, 0x3f] {
            refused(version, MalformedPacket, &[(&[first], E::PublishQoS)]);
        }
        refused(
            version,
            MalformedPacket,
            &[
                (b"\x38", E::DupWithoutQoS),
                (b"\x39", E::DupWithoutQoS),
                (b"\x30\x00", E::Overrun),
                (b"\x30\x03\0\x02a", E::Overrun),
                (b"\x32\x04\0\x01a\0", E::Overrun),
            ],
        );
        // [MQTT-2.2.1-3] [MQTT-3.1.1/2.3.1-1]; [MQTT-4.7.3-1] [MQTT-3.1.1/4.7.3-1].
        refused(
            version,
            ProtocolError,
            &[(b"\x32\x06\0\x01a\0\0\0", E::PacketIdZero), (b"\x30\x03\0\0\0", E::EmptyTopic)],
        );
    }
    refused(
        Version::V5,
        MalformedPacket,
        &[(b"\x30\x03\0\x01a", E::Overrun), (b"\x30\x05\0\x01a\x02\x01", E::Overrun)],
    );
}

/// Section 1.5.5, in 3.1.1 section 2.2.3, and [MQTT-1.5.5-1].
#[test]
fn remaining_length() {
    for version in VERSIONS {
        refused(
            version,
            MalformedPacket,
            &[(b"\x30\xff\xff\xff\xff", E::VarintTooLong), (b"\xc0\x80\x80\x80\x80", E::VarintTooLong)],
        );
    }
    assert_eq!(frame_length(b"\x30\xff\xff\xff\xff"), Err(E::VarintTooLong));
    refused(
        Version::V5,
        MalformedPacket,
        &[
            (b"\xc0\x80\0", E::VarintNotShortest),
            (b"\x10\x8f\0\0\x04MQTT\x05\x02\0\x0a\0\0\x02id", E::VarintNotShortest),
            (b"\x30\x06\0\x01a\x80\0x", E::VarintNotShortest),
        ],
    );
}

/// [MQTT-3.1.1/3.1.2-18] [MQTT-3.1.1/3.1.2-20] [MQTT-3.1.1/3.1.3-1] [MQTT-3.1.1/3.1.3-3] and section 1.2, "malformed
/// packet": a body that goes on after its last field, or ends before it.
#[test]
fn lengths_that_do_not_fit() {
    for version in VERSIONS {
        refused(
            version,
            MalformedPacket,
            &[
                (b"\xc0\x01\0", E::TrailingBytes { bytes: 1 }),
                (b"\xd0\x02\0\0", E::TrailingBytes { bytes: 2 }),
                (b"\x40\x00", E::Overrun),
                (b"\x40\x01\0", E::Overrun),
                (b"\x10\x03\0\x04M", E::Overrun),
                (b"\x20\x01\0", E::Overrun),
                (b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x02idX", E::TrailingBytes { bytes: 1 }),
                (b"\x10\x0d\0\x04MQTT\x04\x02\0\x0a\0\x02i", E::Overrun),
            ],
        );
    }
    refused(
        Version::V3,
        MalformedPacket,
        &[
            (b"\x40\x03\0\x01\0", E::TrailingBytes { bytes: 1 }),
            (b"\xb0\x03\0\x01\0", E::TrailingBytes { bytes: 1 }),
            (b"\xe0\x01\0", E::TrailingBytes { bytes: 1 }),
            (b"\x20\x03\0\0\0", E::TrailingBytes { bytes: 1 }),
        ],
    );
    refused(
        Version::V5,
        MalformedPacket,
        &[
            (b"\x40\x05\0\x01\0\0\0", E::TrailingBytes { bytes: 1 }),
            (b"\x40\x04\0\x01\0\x05", E::Overrun),
            (b"\xe0\x03\0\0\0", E::TrailingBytes { bytes: 1 }),
            (b"\x20\x02\0\0", E::Overrun),
            // Section 3.15.2.1: reason code and properties are left out together.
            (b"\xf0\x01\0", E::Overrun),
        ],
    );
}

/// [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.1.1/3.1.2-1] [MQTT-3.1.1/3.1.2-2]: another protocol or level, told apart from
/// bytes that cannot be read.
#[test]
fn connect_of_another_protocol() {
    for version in VERSIONS {
        refused(
            version,
            ReasonCode::UnsupportedProtocolVersion,
            &[
                (b"\x10\x10\0\x06MQIsdq\x03\x02\0\x0a\0\x02id", E::ProtocolName),
                (b"\x10\x10\0\x06MQIsdp\x04\x02\0\x0a\0\x02id", E::ProtocolLevel(4)),
                (b"\x10\x0e\0\x04mqtt\x04\x02\0\x0a\0\x02id", E::ProtocolName),
                (b"\x10\x0e\0\x04MQTT\x03\x02\0\x0a\0\x02id", E::ProtocolLevel(3)),
                (b"\x10\x0e\0\x04MQTT\x06\x02\0\x0a\0\x02id", E::ProtocolLevel(6)),
                (b"\x10\x0e\0\x04MQTT\x84\x02\0\x0a\0\x02id", E::ProtocolLevel(0x84)),
            ],
        );
    }
}

/// [MQTT-3.1.2-3] [MQTT-3.1.2-9] [MQTT-3.1.2-11] to [MQTT-3.1.2-13] [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT-3.1.1/3.1.2-3]
/// [MQTT-3.1.1/3.1.2-9] [MQTT-3.1.1/3.1.2-11] [MQTT-3.1.1/3.1.2-13] to [MQTT-3.1.1/3.1.2-15] [MQTT-3.1.1/3.1.2-19]
/// [MQTT-3.1.1/3.1.2-21]
#[test]
fn connect_flags() {
    let connect = |level: u8, flags: u8| {
        let properties: &[u8] = if level == 5 { b"\0" } else { b"" };
        let head = [b"\0\x04MQTT", &[level, flags, 0, 10][..], properties, b"\0\x02id"].concat();
        [&[0x10, head.len() as u8][..], &head].concat()
    };
    for level in [4, 5] {
        let cases = [
            (0b0000_0011, E::ConnectFlag),
            (0b0001_1100, E::WillFlags),
            (0b0001_1000, E::WillFlags),
            (0b0000_1000, E::WillFlags),
            (0b0001_0000, E::WillFlags),
            (0b0010_0000, E::WillFlags),
        ];
        for (flags, expected) in cases {
            refused(Version::V3, MalformedPacket, &[(&connect(level, flags), expected)]);
        }
        // The flag is set and the field is missing.
        for flags in [0b0000_0100, 0b1000_0000, 0b1100_0000] {
            refused(Version::V3, MalformedPacket, &[(&connect(level, flags), E::Overrun)]);
        }
    }
    // [MQTT-3.1.1/3.1.2-22], which 5.0 does not have.
    refused(Version::V3, MalformedPacket, &[(&connect(4, 0b0100_0000), E::PasswordWithoutUserName)]);
    refused(Version::V3, MalformedPacket, &[(&connect(5, 0b0100_0000), E::Overrun)]);
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.1.1/1.5.3-1] [MQTT-3.1.1/1.5.3-2] [MQTT-3.1.1/3.1.3-4] [MQTT-3.1.1/3.1.3-10]
/// [MQTT-3.1.1/3.1.3-11] [MQTT-3.1.1/3.8.3-1] [MQTT-3.1.1/3.10.3-1] [MQTT-3.3.2-19]: in every string but a PUBLISH's
/// topic.
#[test]
fn strings() {
    for version in VERSIONS {
        refused(
            version,
            MalformedPacket,
            &[
                (b"\x10\x0e\0\x04MQTT\x04\x02\0\x0a\0\x02\xc0\x80", E::NotUtf8),
                (b"\x10\x0e\0\x04MQTT\x04\x02\0\x0a\0\x02i\0", E::NullCharacter),
                (b"\x10\x13\0\x04MQTT\x04\x06\0\x0a\0\x02id\0\x01\xff\0\0", E::NotUtf8),
                (b"\x10\x11\0\x04MQTT\x04\x82\0\x0a\0\x02id\0\x01\0", E::NullCharacter),
                // A surrogate in three bytes.
                (b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03\xed\xa0\x80", E::NotUtf8),
            ],
        );
    }
    refused(Version::V3, MalformedPacket, &[(b"\x82\x06\0\x01\0\x01\xff\0", E::NotUtf8)]);
    refused(Version::V3, MalformedPacket, &[(b"\xa2\x05\0\x01\0\x01\0", E::NullCharacter)]);
    refused(Version::V5, MalformedPacket, &[(b"\x30\x08\0\x01a\x04\x03\0\x01\xff", E::NotUtf8)]);
    refused(Version::V5, MalformedPacket, &[(b"\x30\x08\0\x01a\x04\x03\0\x01\0", E::NullCharacter)]);
}

/// A v5 PUBLISH to "a" with these properties.
fn publish_with(properties: &[u8]) -> Vec<u8> {
    [&[0x30, 4 + properties.len() as u8, 0, 1, b'a', properties.len() as u8][..], properties].concat()
}

/// Section 2.2.2.2: unknown, misplaced, doubled and wrong properties.
#[test]
fn properties() {
    let malformed: [(&[u8], DecodeError); 7] = [
        (b"\0", E::UnknownProperty(0)),
        (b"\x04", E::UnknownProperty(4)),
        (b"\x2b\0", E::UnknownProperty(0x2b)),
        (b"\x80\x01", E::UnknownProperty(128)),
        (b"\x11\0\0\0\0", E::PropertyNotAllowed(PropertyId::SessionExpiryInterval)),
        (b"\x02\0\0\0", E::Overrun),
        (b"\x0b\xff\xff\xff\xff\x7f", E::VarintTooLong),
    ];
    for (bytes, expected) in malformed {
        refused(Version::V5, MalformedPacket, &[(&publish_with(bytes), expected)]);
    }
    let wrong: [(&[u8], DecodeError); 6] = [
        (b"\x01\0\x01\0", E::PropertyTwice(PropertyId::PayloadFormatIndicator)),
        (b"\x23\0\x01\x23\0\x01", E::PropertyTwice(PropertyId::TopicAlias)),
        (b"\x01\x02", E::PropertyValue(PropertyId::PayloadFormatIndicator)),
        (b"\x0b\0", E::PropertyValue(PropertyId::SubscriptionIdentifier)),
        // [MQTT-3.3.2-14]
        (b"\x08\0\x01+", E::PropertyValue(PropertyId::ResponseTopic)),
        (b"\x08\0\0", E::PropertyValue(PropertyId::ResponseTopic)),
    ];
    for (bytes, expected) in wrong {
        refused(Version::V5, ProtocolError, &[(&publish_with(bytes), expected)]);
    }
    // [MQTT-3.3.2-8]
    refused(Version::V5, ReasonCode::TopicAliasInvalid, &[(&publish_with(b"\x23\0\0"), E::TopicAliasZero)]);
    // Section 3.8.2.1.2: several subscription identifiers only in a PUBLISH.
    let twice = E::PropertyTwice(PropertyId::SubscriptionIdentifier);
    refused(Version::V5, ProtocolError, &[(b"\x82\x0b\0\x01\x04\x0b\x01\x0b\x02\0\x01a\0", twice)]);
}

/// Sections 3.1.2.11.3, 3.1.2.11.4 and 3.2.2.3.4: numbers that a CONNECT or CONNACK must not have.
#[test]
fn property_values_of_the_opening() {
    let connack = |properties: &[u8]| {
        [&[0x20, 3 + properties.len() as u8, 0, 0, properties.len() as u8][..], properties].concat()
    };
    let cases: [(&[u8], PropertyId); 5] = [
        (b"\x21\0\0", PropertyId::ReceiveMaximum),
        (b"\x27\0\0\0\0", PropertyId::MaximumPacketSize),
        (b"\x24\x02", PropertyId::MaximumQoS),
        (b"\x25\x02", PropertyId::RetainAvailable),
        (b"\x2a\xff", PropertyId::SharedSubscriptionAvailable),
    ];
    for (bytes, property) in cases {
        refused(Version::V5, ProtocolError, &[(&connack(bytes), E::PropertyValue(property))]);
    }
}

/// Sections 3.1.2.11.10 and 3.15.2.2.2.
#[test]
fn authentication_without_a_method() {
    let missing = E::AuthenticationMethodMissing;
    let connect = b"\x10\x12\0\x04MQTT\x05\x02\0\x0a\x03\x16\0\0\0\x02id";
    refused(Version::V5, ProtocolError, &[(connect, missing), (b"\xf0\x02\x18\0", missing)]);
}

/// Every packet accepts exactly the properties that section 2.2.2.2 lists for it.
#[test]
fn every_property_in_every_packet() {
    for id in PropertyId::ALL {
        let number = *id as u8;
        for (packet, head) in HEADS {
            // One byte of the property is enough to be asked for the rest, or to be refused.
            let bytes = [&[head[0], head.len() as u8 + 1][..], &head[1..], &[1, number]].concat();
            let refusal = Err(E::PropertyNotAllowed(*id));
            let allowed = ALLOWED.iter().find(|(name, _)| name == packet).unwrap().1.contains(&number);
            assert_eq!(decode_all(&bytes, Version::V5) != refusal, allowed, "{id} in {packet}");
        }
    }
}

/// First byte and what stands before the properties.
const HEADS: &[(&str, &[u8])] = &[
    ("connect", b"\x10\0\x04MQTT\x05\x02\0\0"),
    ("will", b"\x10\0\x04MQTT\x05\x06\0\0\0\0\0"),
    ("connack", b"\x20\0\0"),
    ("publish", b"\x30\0\x01a"),
    ("ack", b"\x40\0\x01\0"),
    ("ack", b"\x50\0\x01\0"),
    ("ack", b"\x62\0\x01\0"),
    ("ack", b"\x70\0\x01\0"),
    ("subscribe", b"\x82\0\x01"),
    ("ack", b"\x90\0\x01"),
    ("unsubscribe", b"\xa2\0\x01"),
    ("ack", b"\xb0\0\x01"),
    ("disconnect", b"\xe0\0"),
    ("auth", b"\xf0\x18"),
];

/// Table 2-4 of section 2.2.2.2, by packet.
const ALLOWED: &[(&str, &[u8])] = &[
    ("connect", &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]),
    ("will", &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]),
    (
        "connack",
        &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
            0x2A,
        ],
    ),
    ("publish", &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26]),
    ("ack", &[0x1F, 0x26]),
    ("subscribe", &[0x0B, 0x26]),
    ("unsubscribe", &[0x26]),
    ("disconnect", &[0x11, 0x1C, 0x1F, 0x26]),
    ("auth", &[0x15, 0x16, 0x1F, 0x26]),
];

/// [MQTT-3.2.2-1] [MQTT-3.2.2-6] [MQTT-3.2.2-8] [MQTT-3.1.1/3.2.2-4] and the codes of section 3.2.2.2.
#[test]
fn connack() {
    let code = |code| E::ReasonCode { packet: PacketType::ConnAck, code };
    refused(
        Version::V3,
        MalformedPacket,
        &[(b"\x20\x02\x02\0", E::ConnAckFlags(2)), (b"\x20\x02\x01\x05", E::ConnAckFlags(1))],
    );
    refused(
        Version::V5,
        MalformedPacket,
        &[(b"\x20\x03\x80\0\0", E::ConnAckFlags(128)), (b"\x20\x03\x01\x80\0", E::ConnAckFlags(1))],
    );
    refused(Version::V3, ProtocolError, &[(b"\x20\x02\0\x06", code(6))]);
    refused(Version::V5, ProtocolError, &[(b"\x20\x03\0\x05\0", code(5)), (b"\x20\x03\0\x8d\0", code(0x8d))]);
}

/// Section 2.4, table 2-6: every number in every packet that has a reason code.
#[test]
fn reason_codes() {
    let listed: [(PacketType, &[u8], &[u8]); 7] = [
        (PacketType::PubAck, b"\x40\x03\0\x01", &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
        (PacketType::PubRec, b"\x50\x03\0\x01", &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
        (PacketType::PubRel, b"\x62\x03\0\x01", &[0, 0x92]),
        (PacketType::PubComp, b"\x70\x03\0\x01", &[0, 0x92]),
        (
            PacketType::SubAck,
            b"\x90\x04\0\x01\0",
            &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        ),
        (PacketType::UnsubAck, b"\xb0\x04\0\x01\0", &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
        (
            PacketType::Disconnect,
            b"\xe0\x01",
            &[
                0, 4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
                0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
            ],
        ),
    ];
    for (packet, head, codes) in listed {
        for code in 0..=255 {
            let bytes = [head, &[code]].concat();
            match codes.contains(&code) {
                true => assert!(decode_all(&bytes, Version::V5).unwrap().is_some(), "{packet} {code:x}"),
                false => refused(Version::V5, ProtocolError, &[(&bytes, E::ReasonCode { packet, code })]),
            }
        }
    }
    // [MQTT-3.1.1/3.9.3-2]
    let code = |code| E::ReasonCode { packet: PacketType::SubAck, code };
    refused(
        Version::V3,
        ProtocolError,
        &[(b"\x90\x03\0\x01\x03", code(3)), (b"\x90\x03\0\x01\x87", code(0x87))],
    );
    refused(Version::V3, ProtocolError, &[(b"\x90\x02\0\x01", E::NoReasonCode(PacketType::SubAck))]);
    refused(Version::V5, ProtocolError, &[(b"\xb0\x03\0\x01\0", E::NoReasonCode(PacketType::UnsubAck))]);
}

/// [MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT-3.1.1/3.8.3-3] [MQTT-3.1.1/3.10.3-2] and the options of section 3.8.3.1.
#[test]
fn subscriptions() {
    refused(
        Version::V3,
        ProtocolError,
        &[(b"\x82\x02\0\x01", E::NoFilter), (b"\xa2\x02\0\x01", E::NoFilter)],
    );
    refused(
        Version::V5,
        ProtocolError,
        &[(b"\x82\x03\0\x01\0", E::NoFilter), (b"\xa2\x03\0\x01\0", E::NoFilter)],
    );
    refused(
        Version::V3,
        ProtocolError,
        &[
            (b"\x82\x06\0\0\0\x01a\0", E::PacketIdZero),
            (b"\xa2\x05\0\0\0\x01a", E::PacketIdZero),
            (b"\x82\x06\0\x01\0\x01a\x03", E::SubscriptionQoS),
        ],
    );
    refused(
        Version::V3,
        MalformedPacket,
        &[
            (b"\x82\x05\0\x01\0\x01a", E::Overrun),
            (b"\x82\x06\0\x01\0\x01a\x04", E::SubscriptionOptions(4)),
            (b"\x82\x06\0\x01\0\x01a\x80", E::SubscriptionOptions(0x80)),
        ],
    );
    // [MQTT-3.8.3-5] [MQTT-3.1.1/3.8.3-4]
    refused(
        Version::V5,
        MalformedPacket,
        &[
            (b"\x82\x07\0\x01\0\0\x01a\x40", E::SubscriptionOptions(0x40)),
            (b"\x82\x07\0\x01\0\0\x01a\x80", E::SubscriptionOptions(0x80)),
        ],
    );
    refused(
        Version::V5,
        ProtocolError,
        &[
            (b"\x82\x07\0\x01\0\0\x01a\x03", E::SubscriptionQoS),
            (b"\x82\x07\0\x01\0\0\x01a\x30", E::RetainHandling),
            // [MQTT-3.8.3-4]
            (b"\x82\x10\0\x01\0\0\x0a$share/g/a\x04", E::NoLocalOnShared),
        ],
    );
}

/// Section 3.1.2.11.4: told before the body has come.
#[test]
fn size() {
    let refusal = E::PacketTooLarge { bytes: 103, limit: 102 };
    assert_eq!(decode(b"\x30\x65", Version::V3, 102), Err(refusal));
    assert_eq!(decode(b"\x30\x65", Version::V3, 103), Ok(None));
    assert_eq!(refusal.reason_code(), ReasonCode::PacketTooLarge);
}
