//! The fields of packets: text in every place that has some, and the payload of CONNECT.

use crate::{VERSIONS, decode_all};
use tidegate_message::QoS;
use tidegate_mqtt::codec::*;

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first, body.len() as u8][..], &body].concat()
}

/// A field of text or of bytes, with its length.
fn field(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// A CONNECT of this level with these flags; `fields` follow the (empty) properties.
fn connect(level: u8, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { b"\0" } else { b"" };
    let fields = fields.concat();
    packet(0x10, &[b"\0\x04MQTT", &[level, flags, 0, 10], properties, &fields])
}

/// A PUBLISH of 5.0 with this property section.
fn publish_with(properties: &[u8]) -> Vec<u8> {
    packet(0x30, &[b"\0\x01a", &[properties.len() as u8], properties])
}

/// Every packet with `text` in a place for text, but for the topic of PUBLISH, which is the broker's to check.
fn texts(text: &[u8]) -> Vec<(Version, Vec<u8>)> {
    let text = &field(text)[..];
    let (id, empty) = (&field(b"id")[..], &field(b"")[..]);
    let mut packets = Vec::new();
    for (level, version) in [(4, Version::V3), (5, Version::V5)] {
        let none: &[u8] = if level == 5 { b"\0" } else { b"" };
        packets.push((version, connect(level, 0x02, &[text])));
        packets.push((version, connect(level, 0x06, &[id, none, text, empty])));
        packets.push((version, connect(level, 0x82, &[id, text])));
        packets.push((version, packet(0x82, &[b"\0\x01", none, text, b"\0"])));
        packets.push((version, packet(0xA2, &[b"\0\x01", none, text])));
    }
    for property in [&[b"\x03", text][..], &[b"\x08", text], &[b"\x26", text, id], &[b"\x26", id, text]] {
        packets.push((Version::V5, publish_with(&property.concat())));
    }
    packets
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.3.2-13]
/// [MQTT-3.3.2-19] [MQTT-3.8.3-1] [MQTT-3.10.3-1], [MQTT-3.1.1/1.5.3-1] [MQTT-3.1.1/1.5.3-2] [MQTT-3.1.1/3.1.3-4]
/// [MQTT-3.1.1/3.1.3-10] [MQTT-3.1.1/3.1.3-11] [MQTT-3.1.1/3.8.3-1] [MQTT-3.1.1/3.10.3-1]
#[test]
fn text_is_checked_wherever_it_stands() {
    for (version, bytes) in texts("é\u{10FFFF}".as_bytes()) {
        assert!(decode_all(&bytes, version).unwrap().is_some(), "{bytes:x?}");
    }
    // A lone byte, an overlong form, a surrogate, beyond the last character, cut off.
    for bad in [&b"a\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xc3"] {
        for (version, bytes) in texts(bad) {
            assert_eq!(decode_all(&bytes, version), Err(DecodeError::NotUtf8), "{bytes:x?}");
        }
    }
    for (version, bytes) in texts(b"a\0b") {
        assert_eq!(decode_all(&bytes, version), Err(DecodeError::NullCharacter), "{bytes:x?}");
    }
}

/// [MQTT-1.5.4-3] [MQTT-3.1.1/1.5.3-3]: read and written as the character that it is, in front and in between.
#[test]
fn byte_order_marks_are_characters() {
    for (version, bytes) in texts("\u{FEFF}a\u{FEFF}".as_bytes()) {
        let (packet, length) = decode_all(&bytes, version).unwrap().unwrap();
        let mut again = Vec::new();
        encode(&mut again, version, &packet, PACKET_BYTES_MAX).unwrap();
        assert_eq!((length, again), (bytes.len(), bytes));
    }
    for version in VERSIONS {
        let topic = "\u{FEFF}a";
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: topic.as_bytes(),
            packet_id: None,
            properties: PropertiesRef::EMPTY,
            payload: b"",
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, version, &Packet::Publish(publish), PACKET_BYTES_MAX).unwrap();
        assert_eq!(decode_all(&bytes, version), Ok(Some((Packet::Publish(publish), bytes.len()))));
    }
}

/// [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT-3.1.2-9] [MQTT-3.1.3-1] [MQTT-3.1.3-3], [MQTT-3.1.1/3.1.2-18] to
/// [MQTT-3.1.1/3.1.2-21], [MQTT-3.1.1/3.1.2-9] [MQTT-3.1.1/3.1.2-11] [MQTT-3.1.1/3.1.3-1] [MQTT-3.1.1/3.1.3-3]: every
/// field that the flags announce, no other one, and in this order.
#[test]
fn payload_of_connect_is_what_its_flags_say() {
    let (id, topic, last) = (field(b"id"), field(b"w"), field(b"gone"));
    let (user, password) = (field(b"u"), field(b"\xff\0"));
    for (level, properties) in [(4_u8, &b""[..]), (5, b"\0")] {
        let will: [&[u8]; 3] = [properties, &topic, &last];
        let full = [&[&id[..]][..], &will[..], &[&user[..], &password[..]]].concat();
        // The flags of user name and password, and which fields they announce.
        for (flags, count) in [(0x02, 1), (0x06, 4), (0x86, 5), (0xC6, 6)] {
            let right = connect(level, flags, &full[..count]);
            assert!(decode_all(&right, Version::V5).unwrap().is_some(), "{level} {flags:x}");
            let less = connect(level, flags, &full[..count - 1]);
            assert_eq!(decode_all(&less, Version::V5), Err(DecodeError::Overrun), "{level} {flags:x}");
            let more = connect(level, flags, &[&full[..count], &[&user[..]]].concat());
            let refusal = Err(DecodeError::TrailingBytes { bytes: user.len() });
            assert_eq!(decode_all(&more, Version::V5), refusal, "{level} {flags:x}");
        }
        let bytes = connect(level, 0xC6, &full);
        let Some((Packet::Connect(read), _)) = decode_all(&bytes, Version::V5).unwrap() else { panic!() };
        let will = read.will.unwrap();
        assert_eq!((read.client_id, will.topic, will.payload), ("id", "w", &b"gone"[..]));
        assert_eq!((read.user_name, read.password), (Some("u"), Some(Password(b"\xff\0"))));
    }
}
