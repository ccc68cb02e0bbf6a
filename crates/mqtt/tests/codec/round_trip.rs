//! What is written is read back as it was, whole and in pieces.

use crate::samples::{EXCHANGES, any_sample, exchange, plain_packet, publish};
use crate::{ALL_VERSIONS, check, decode_all};
use proptest::prelude::*;
use tidegate_message::Properties;
use tidegate_mqtt::codec::*;

/// MQTT 5.0 section 3, MQTT 3.1.1 section 3: every field survives.
#[test]
fn plain_packets_come_back_as_they_were() {
    for version in ALL_VERSIONS {
        check(2_000, &plain_packet(version), |packet| {
            let mut bytes = vec![0xAA];
            encode(&mut bytes, version, &packet, PACKET_BYTES_MAX).unwrap();
            prop_assert_eq!(decode_all(&bytes[1..], version), Ok(Some((packet, bytes.len() - 1))));
            Ok(())
        });
    }
}

/// MQTT 5.0 sections 3.8 to 3.11: filters, options and reason codes survive in their order.
#[test]
fn exchanges_come_back_as_they_were() {
    for (version, packet_type) in
        ALL_VERSIONS.into_iter().flat_map(|version| EXCHANGES.map(|packet| (version, packet)))
    {
        check(300, &exchange(packet_type, version), |parts| {
            let bytes = parts.encode(packet_type, version);
            let (packet, consumed) = decode_all(&bytes, version).unwrap().unwrap();
            prop_assert_eq!(consumed, bytes.len());
            let (id, properties) = match packet {
                Packet::Subscribe(packet) => {
                    prop_assert_eq!(&packet.filters.iter().collect::<Vec<_>>(), &parts.filters);
                    (packet.packet_id, packet.properties)
                }
                Packet::Unsubscribe(packet) => {
                    let names: Vec<_> = parts.filters.iter().map(|filter| filter.filter).collect();
                    prop_assert_eq!(packet.filters.iter().collect::<Vec<_>>(), names);
                    (packet.packet_id, packet.properties)
                }
                Packet::SubAck(packet) => {
                    prop_assert_eq!(&packet.reasons.iter().collect::<Vec<_>>(), &parts.reasons);
                    (packet.packet_id, packet.properties)
                }
                Packet::UnsubAck(packet) => {
                    let expected = if version == Version::V5 { &parts.reasons[..] } else { &[] };
                    prop_assert_eq!(&packet.reasons.iter().collect::<Vec<_>>(), expected);
                    (packet.packet_id, packet.properties)
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!((id, properties), (parts.packet_id, parts.properties));
            let mut again = Vec::new();
            encode(&mut again, version, &packet, PACKET_BYTES_MAX).unwrap();
            prop_assert_eq!(again, bytes);
            Ok(())
        });
    }
}

/// A packet may arrive in any pieces: no prefix is taken for a packet or for an error, and what follows changes nothing.
#[test]
fn every_split_gives_the_same_packet() {
    check(1_000, &any_sample(), |sample| {
        let Sample { version, bytes, .. } = &sample;
        for end in 0..bytes.len() {
            prop_assert_eq!(decode_all(&bytes[..end], *version), Ok(None), "prefix of {} bytes", end);
            let known = frame_length(&bytes[..end]).unwrap();
            prop_assert!(known.is_none_or(|length| length == bytes.len()));
        }
        prop_assert_eq!(frame_length(bytes), Ok(Some(bytes.len())));
        let followed = [bytes, &[0xFF, 0x00][..]].concat();
        prop_assert_eq!(decode_all(&followed, *version), Ok(Some((sample.packet(), bytes.len()))));
        Ok(())
    });
}

use crate::samples::Sample;

/// [MQTT-3.1.2-24]: a packet is refused by its size before its body is there, and written only where it fits.
#[test]
fn limits_count_the_whole_packet() {
    check(500, &any_sample(), |sample| {
        let (version, size) = (sample.version, sample.bytes.len());
        prop_assert!(decode(&sample.bytes, version, size).unwrap().is_some());
        let refusal = Err(DecodeError::PacketTooLarge { bytes: size, limit: size - 1 });
        prop_assert_eq!(decode(&sample.bytes, version, size - 1), refusal);
        let header = if size > 129 { 3 } else { 2 };
        prop_assert_eq!(decode(&sample.bytes[..header], version, size - 1), refusal);
        let mut output = vec![7];
        encode(&mut output, version, &sample.packet(), size).unwrap();
        prop_assert_eq!(&output[1..], &sample.bytes[..]);
        output.truncate(1);
        let refusal = Err(EncodeError::PacketTooLarge { bytes: size, limit: size - 1 });
        prop_assert_eq!(encode(&mut output, version, &sample.packet(), size - 1), refusal);
        prop_assert_eq!(output, [7]);
        Ok(())
    });
}

/// MQTT 5.0 section 3.3.2.3: a message out of the broker is written with the properties that it came with.
#[test]
fn outgoing_messages_keep_their_properties() {
    for version in ALL_VERSIONS {
        check(1_000, &publish(version), |publish| {
            let properties = message_properties(&publish.properties);
            let identifiers: Vec<u32> = publish.properties.subscription_identifiers().collect();
            let outgoing = OutgoingPublish {
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                topic: std::str::from_utf8(publish.topic).unwrap(),
                packet_id: publish.packet_id,
                message_expiry_interval: publish.properties.message_expiry_interval(),
                topic_alias: publish.properties.topic_alias(),
                subscription_identifiers: &identifiers,
                properties: properties.as_deref(),
                payload: publish.payload,
            };
            let mut bytes = Vec::new();
            encode_outgoing(&mut bytes, version, &outgoing, PACKET_BYTES_MAX).unwrap();
            let Packet::Publish(read) = decode_all(&bytes, version).unwrap().unwrap().0 else { panic!() };
            let without_properties =
                |publish: Publish<'static>| Publish { properties: PropertiesRef::EMPTY, ..publish };
            prop_assert_eq!(
                Publish { properties: PropertiesRef::EMPTY, ..read },
                without_properties(publish)
            );
            prop_assert_eq!(sorted(&read.properties), sorted(&publish.properties));
            prop_assert_eq!(message_properties(&read.properties), properties);
            Ok(())
        });
    }
}

/// The properties without order, but with the order among user properties; a payload format indicator of 0 says nothing.
fn sorted<'a>(properties: &PropertiesRef<'a>) -> Vec<Property<'a>> {
    let says_nothing = |property: &Property<'_>| *property == Property::PayloadFormatIndicator(false);
    let mut all: Vec<_> = properties.iter().filter(|property| !says_nothing(property)).collect();
    all.sort_by_key(|property| property.id() as u8);
    all
}

/// MQTT 5.0 section 3.3.2.3: the shared vocabulary's properties as a will's or PUBLISH's section and back.
#[test]
fn shared_properties_come_back_as_they_were() {
    let properties = Properties {
        content_type: Some("text/plain".into()),
        reply_to: Some("answers/é".into()),
        correlation: Some(bytes::Bytes::from_static(b"\0\x01")),
        payload_is_text: Some(true),
        user: vec![("b".into(), "1".into()), ("a".into(), "2".into()), ("b".into(), "1".into())],
    };
    let mut buffer = PropertiesBuffer::new();
    buffer.extend(properties_of_message(&properties)).unwrap();
    assert_eq!(message_properties(&buffer.as_ref()).as_deref(), Some(&properties));
    assert_eq!(message_properties(&PropertiesRef::EMPTY), None);
}
