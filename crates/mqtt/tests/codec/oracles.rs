//! Packet by packet against three codecs by other people.
//!
//! A random valid packet in our bytes is decoded by the other codec, encoded again by it, and read by us: what comes back must
//! say what was written, apart from the order of properties. Where an oracle is wrong the fault stands beside the exclusion. None
//! of them is asked what is *in*valid: they accept much that the specification forbids.

use crate::samples::{Sample, known_sample};
use crate::{check, decode_all};
use bytes::BytesMut;
use proptest::prelude::*;
use tidegate_mqtt::codec::*;
use tokio_util::codec::{Decoder, Encoder};

/// The packet with its properties in the order of their numbers, which is free but for user properties.
fn normal<'a>(packet: Packet<'a>) -> Packet<'a> {
    let sorted = |properties: PropertiesRef<'a>| -> PropertiesRef<'a> {
        let mut all: Vec<_> = properties.iter().filter(|property| !says_nothing(property)).collect();
        all.sort_by_key(|property| property.id() as u8);
        let mut buffer = PropertiesBuffer::new();
        buffer.extend(all).unwrap();
        Box::leak(Box::new(buffer)).as_ref()
    };
    let ack = |ack: Ack<'a>| Ack { properties: sorted(ack.properties), ..ack };
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.map(|will| Will { properties: sorted(will.properties), ..will });
            Packet::Connect(Connect { properties: sorted(connect.properties), will, ..connect })
        }
        Packet::ConnAck(packet) => {
            Packet::ConnAck(ConnAck { properties: sorted(packet.properties), ..packet })
        }
        Packet::Publish(packet) => {
            Packet::Publish(Publish { properties: sorted(packet.properties), ..packet })
        }
        Packet::PubAck(packet) => Packet::PubAck(ack(packet)),
        Packet::PubRec(packet) => Packet::PubRec(ack(packet)),
        Packet::PubRel(packet) => Packet::PubRel(ack(packet)),
        Packet::PubComp(packet) => Packet::PubComp(ack(packet)),
        Packet::Subscribe(packet) => {
            Packet::Subscribe(Subscribe { properties: sorted(packet.properties), ..packet })
        }
        Packet::SubAck(packet) => Packet::SubAck(SubAck { properties: sorted(packet.properties), ..packet }),
        Packet::Unsubscribe(packet) => {
            Packet::Unsubscribe(Unsubscribe { properties: sorted(packet.properties), ..packet })
        }
        Packet::UnsubAck(packet) => {
            Packet::UnsubAck(UnsubAck { properties: sorted(packet.properties), ..packet })
        }
        Packet::Disconnect(packet) => {
            Packet::Disconnect(Disconnect { properties: sorted(packet.properties), ..packet })
        }
        Packet::Auth(packet) => Packet::Auth(Auth { properties: sorted(packet.properties), ..packet }),
        Packet::PingReq | Packet::PingResp => packet,
    }
}

/// Whether the property has the value that it would have if it were absent: some codecs leave it out then.
fn says_nothing(property: &Property<'_>) -> bool {
    match *property {
        Property::PayloadFormatIndicator(is_set) | Property::RequestResponseInformation(is_set) => !is_set,
        Property::RequestProblemInformation(is_set)
        | Property::RetainAvailable(is_set)
        | Property::WildcardSubscriptionAvailable(is_set)
        | Property::SubscriptionIdentifierAvailable(is_set)
        | Property::SharedSubscriptionAvailable(is_set) => is_set,
        Property::TopicAliasMaximum(number) => number == 0,
        Property::SessionExpiryInterval(seconds) => seconds == 0,
        Property::ReceiveMaximum(number) => number.get() == u16::MAX,
        _ => false,
    }
}

/// Sends random packets through an oracle, but for those that it is known to get wrong.
fn compare(is_excluded: impl Fn(&Sample) -> bool, oracle: impl Fn(&Sample) -> Result<Vec<u8>, String>) {
    check(6_000, &known_sample(), |sample| {
        if is_excluded(&sample) {
            return Ok(());
        }
        let bytes = oracle(&sample)
            .map_err(|fault| TestCaseError::fail(format!("{fault}: {:?}", sample.packet())))?;
        match decode_all(&bytes, sample.version) {
            Ok(Some((packet, consumed))) => {
                prop_assert_eq!(consumed, bytes.len());
                prop_assert_eq!(normal(packet), normal(sample.packet()));
            }
            other => prop_assert!(false, "{:?} for {:x?} of {:?}", other, bytes, sample.packet()),
        }
        Ok(())
    });
}

/// MQTT 5.0 section 3 and MQTT 3.1.1 section 3, as rmqtt-codec reads and writes them.
#[test]
fn agrees_with_rmqtt_codec() {
    compare(rmqtt_is_wrong, |sample| {
        let (mut input, mut output) = (BytesMut::from(&sample.bytes[..]), BytesMut::new());
        match sample.version {
            Version::V31 | Version::V3 => {
                let mut codec = rmqtt_codec::v3::Codec::default();
                let packet =
                    codec.decode(&mut input).map_err(|fault| format!("{fault:?}"))?.ok_or("incomplete")?.0;
                codec.encode(packet, &mut output).map_err(|fault| format!("{fault:?}"))?;
            }
            Version::V5 => {
                let mut codec = rmqtt_codec::v5::Codec::default();
                let packet =
                    codec.decode(&mut input).map_err(|fault| format!("{fault:?}"))?.ok_or("incomplete")?.0;
                // A new codec: the one that read the CONNECT leaves out reason strings if the CONNECT asks for that.
                rmqtt_codec::v5::Codec::default()
                    .encode(packet, &mut output)
                    .map_err(|fault| format!("{fault:?}"))?;
            }
        }
        Ok(output.to_vec())
    });
}

fn rmqtt_is_wrong(sample: &Sample) -> bool {
    match sample.packet() {
        // Refuses an empty client identifier without clean start: in 5.0 it is allowed (section 3.1.3.1), in 3.1.1 it is
        // answered with a CONNACK ([MQTT-3.1.1/3.1.3-8]) and no fault of the packet.
        Packet::Connect(connect) => connect.client_id.is_empty() && !connect.clean_start,
        _ => false,
    }
}

/// MQTT 5.0 section 3 and MQTT 3.1.1 section 3, as mqtt-protocol-core reads and writes them.
#[test]
fn agrees_with_mqtt_protocol_core() {
    compare(protocol_core_is_wrong, |sample| {
        let body_bytes = sample.bytes.len() - header_bytes(&sample.bytes);
        let body = &sample.bytes[sample.bytes.len() - body_bytes..];
        match sample.version {
            Version::V31 | Version::V3 => protocol_core_v3(sample.packet_type, sample.bytes[0], body),
            Version::V5 => protocol_core_v5(sample.packet_type, sample.bytes[0], body),
        }
    });
}

fn protocol_core_is_wrong(sample: &Sample) -> bool {
    match sample.packet() {
        // Refuses a password without a user name, which 5.0 allows (section 3.1.2.9).
        Packet::Connect(connect) => connect.user_name.is_none() && connect.password.is_some(),
        // Does not know "bad authentication method" in DISCONNECT, where section 2.4 has it.
        Packet::Disconnect(disconnect) => disconnect.reason == ReasonCode::BadAuthenticationMethod,
        _ => false,
    }
}

fn header_bytes(bytes: &[u8]) -> usize {
    1 + bytes[1..].iter().position(|byte| *byte < 0x80).unwrap() + 1
}

/// Parses a body with one of the oracle's types and writes it again; the parser must take all of it.
macro_rules! again {
    ($parse:expr, $body:expr) => {{
        let (packet, consumed) = $parse.map_err(|fault| format!("{fault:?}"))?;
        match consumed == $body.len() {
            true => Ok(packet.to_continuous_buffer()),
            false => Err(format!("took {consumed} of {} bytes", $body.len())),
        }
    }};
}

fn protocol_core_v3(packet: PacketType, first: u8, body: &[u8]) -> Result<Vec<u8>, String> {
    use mqtt_protocol_core::mqtt::packet::v3_1_1 as core;
    match packet {
        PacketType::Connect => again!(core::Connect::parse(body), body),
        PacketType::ConnAck => again!(core::Connack::parse(body), body),
        PacketType::Publish => again!(core::Publish::parse(first & 0xF, body.into()), body),
        PacketType::PubAck => again!(core::Puback::parse(body), body),
        PacketType::PubRec => again!(core::Pubrec::parse(body), body),
        PacketType::PubRel => again!(core::Pubrel::parse(body), body),
        PacketType::PubComp => again!(core::Pubcomp::parse(body), body),
        PacketType::Subscribe => again!(core::Subscribe::parse(body), body),
        PacketType::SubAck => again!(core::Suback::parse(body), body),
        PacketType::Unsubscribe => again!(core::Unsubscribe::parse(body), body),
        PacketType::UnsubAck => again!(core::Unsuback::parse(body), body),
        PacketType::PingReq => again!(core::Pingreq::parse(body), body),
        PacketType::PingResp => again!(core::Pingresp::parse(body), body),
        PacketType::Disconnect => again!(core::Disconnect::parse(body), body),
        PacketType::Auth => Err("no AUTH in 3.1.1".into()),
    }
}

fn protocol_core_v5(packet: PacketType, first: u8, body: &[u8]) -> Result<Vec<u8>, String> {
    use mqtt_protocol_core::mqtt::packet::v5_0 as core;
    match packet {
        PacketType::Connect => again!(core::Connect::parse(body), body),
        PacketType::ConnAck => again!(core::Connack::parse(body), body),
        PacketType::Publish => again!(core::Publish::parse(first & 0xF, body.into()), body),
        PacketType::PubAck => again!(core::Puback::parse(body), body),
        PacketType::PubRec => again!(core::Pubrec::parse(body), body),
        PacketType::PubRel => again!(core::Pubrel::parse(body), body),
        PacketType::PubComp => again!(core::Pubcomp::parse(body), body),
        PacketType::Subscribe => again!(core::Subscribe::parse(body), body),
        PacketType::SubAck => again!(core::Suback::parse(body), body),
        PacketType::Unsubscribe => again!(core::Unsubscribe::parse(body), body),
        PacketType::UnsubAck => again!(core::Unsuback::parse(body), body),
        PacketType::PingReq => again!(core::Pingreq::parse(body), body),
        PacketType::PingResp => again!(core::Pingresp::parse(body), body),
        PacketType::Disconnect => again!(core::Disconnect::parse(body), body),
        PacketType::Auth => again!(core::Auth::parse(body), body),
    }
}

/// MQTT 5.0 section 3 and MQTT 3.1.1 section 3, as mqttbytes reads and writes them.
#[test]
fn agrees_with_mqttbytes() {
    compare(mqttbytes_is_wrong, |sample| {
        let mut input = BytesMut::from(&sample.bytes[..]);
        match sample.version {
            Version::V31 | Version::V3 => mqttbytes_v3(&mut input),
            Version::V5 => mqttbytes_v5(&mut input),
        }
        .map_err(|fault| format!("{fault:?}"))
    });
}

fn mqttbytes_is_wrong(sample: &Sample) -> bool {
    match sample.packet() {
        // Takes passwords for text, and an empty user name or password for none; 3.1.1 and 5.0 section 3.1.3.5 or 3.1.3.6.
        Packet::Connect(connect) => connect.password.is_some_and(|password| {
            password.0.is_empty() || std::str::from_utf8(password.0).is_err() || connect.user_name.is_none()
        }),
        // Leaves the property length out of a CONNACK without properties (section 3.2.2.3.1).
        Packet::ConnAck(connack) => sample.version == Version::V5 && connack.properties.is_empty(),
        // Refuses a DISCONNECT without a body and one without a property length, the ordinary ones of 5.0 (section 3.14.2), and
        // has no "bad authentication method" in it.
        Packet::Disconnect(disconnect) => {
            let is_short = disconnect.properties.is_empty();
            sample.version == Version::V5
                && (is_short || disconnect.reason == ReasonCode::BadAuthenticationMethod)
        }
        // Leaks property bytes into the payload where there are several subscription identifiers (section 3.3.2.3.8).
        Packet::Publish(publish) => publish.properties.subscription_identifiers().count() > 1,
        // Has no AUTH.
        Packet::Auth(_) => true,
        _ => false,
    }
}

fn mqttbytes_v3(input: &mut BytesMut) -> Result<Vec<u8>, mqttbytes::Error> {
    use mqttbytes::v4::{Disconnect, Packet as Other, PingReq, PingResp};
    let mut output = BytesMut::new();
    match mqttbytes::v4::read(input, PACKET_BYTES_MAX)? {
        Other::Connect(packet) => packet.write(&mut output),
        Other::ConnAck(packet) => packet.write(&mut output),
        Other::Publish(packet) => packet.write(&mut output),
        Other::PubAck(packet) => packet.write(&mut output),
        Other::PubRec(packet) => packet.write(&mut output),
        Other::PubRel(packet) => packet.write(&mut output),
        Other::PubComp(packet) => packet.write(&mut output),
        Other::Subscribe(packet) => packet.write(&mut output),
        Other::SubAck(packet) => packet.write(&mut output),
        Other::Unsubscribe(packet) => packet.write(&mut output),
        Other::UnsubAck(packet) => packet.write(&mut output),
        Other::PingReq => PingReq.write(&mut output),
        Other::PingResp => PingResp.write(&mut output),
        Other::Disconnect => Disconnect.write(&mut output),
    }?;
    Ok(output.to_vec())
}

fn mqttbytes_v5(input: &mut BytesMut) -> Result<Vec<u8>, mqttbytes::Error> {
    use mqttbytes::v5::{Packet as Other, PingReq, PingResp};
    let mut output = BytesMut::new();
    match mqttbytes::v5::read(input, PACKET_BYTES_MAX)? {
        Other::Connect(packet) => packet.write(&mut output),
        Other::ConnAck(packet) => packet.write(&mut output),
        Other::Publish(packet) => packet.write(&mut output),
        Other::PubAck(packet) => packet.write(&mut output),
        Other::PubRec(packet) => packet.write(&mut output),
        Other::PubRel(packet) => packet.write(&mut output),
        Other::PubComp(packet) => packet.write(&mut output),
        Other::Subscribe(packet) => packet.write(&mut output),
        Other::SubAck(packet) => packet.write(&mut output),
        Other::Unsubscribe(packet) => packet.write(&mut output),
        Other::UnsubAck(packet) => packet.write(&mut output),
        Other::PingReq => PingReq.write(&mut output),
        Other::PingResp => PingResp.write(&mut output),
        Other::Disconnect(packet) => packet.write(&mut output),
    }?;
    Ok(output.to_vec())
}
