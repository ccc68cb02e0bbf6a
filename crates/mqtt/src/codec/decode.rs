//! Bytes to packets: the fixed header, the limits, and the bodies of all packets but CONNECT.

use super::connect::decode_connect;
use super::error::DecodeError;
use super::filters::{SubscribeFilters, UnsubscribeFilters};
use super::packet::{
    Ack, Auth, ConnAck, Disconnect, Packet, PacketType, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
};
use super::properties::{PropertiesRef, PropertyId, Section};
use super::reader::{Reader, read_varint};
use super::reason::{ReasonCode, ReasonCodes};
use super::version::Version;
use std::num::NonZeroU16;
use tidegate_message::QoS;

/// How long the packet at the front of `input` is, fixed header included; nothing where that has not arrived.
///
/// Checks nothing else. Lets a driver gather a large packet without offering each piece to [`decode`].
pub fn frame_length(input: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some((_, rest)) = input.split_first() else { return Ok(None) };
    Ok(read_varint(rest)?.map(|length| 1 + length.width + length.value as usize))
}

/// Decodes the packet at the front of `input` and says how many bytes it took; nothing where its end has not arrived.
///
/// A CONNECT is decoded by the version that it names, every other packet by `version`. `packet_bytes_max` counts the whole packet;
/// it and the first byte are checked before the body has arrived.
#[inline]
pub fn decode(
    input: &[u8],
    version: Version,
    packet_bytes_max: usize,
) -> Result<Option<(Packet<'_>, usize)>, DecodeError> {
    let Some(frame) = read_frame(input, version, packet_bytes_max)? else { return Ok(None) };
    let mut reader = Reader::new(frame.body);
    let packet = match frame.packet_type {
        PacketType::Publish => Packet::Publish(decode_publish(frame.first, &mut reader, version)?),
        other => decode_body(other, &mut reader, version, frame.length_is_shortest)?,
    };
    Ok(Some((packet, frame.bytes)))
}

/// What [`decode`] does where the first byte says that it is a PUBLISH. By itself, because a [`Packet`] is large enough for a copy of it to
/// be seen in the figures. `None` as well where it is another packet.
#[inline]
pub fn decode_message(
    input: &[u8],
    version: Version,
    packet_bytes_max: usize,
) -> Result<Option<(Publish<'_>, usize)>, DecodeError> {
    if input.first().is_none_or(|first| first >> 4 != PacketType::Publish as u8) {
        return Ok(None);
    }
    let Some(frame) = read_frame(input, version, packet_bytes_max)? else { return Ok(None) };
    let publish = decode_publish(frame.first, &mut Reader::new(frame.body), version)?;
    Ok(Some((publish, frame.bytes)))
}

/// The PUBACK, PUBREC, PUBREL or PUBCOMP at the front where it has its shortest form, which says success and is the same in all
/// versions: [`SHORT_ACK_BYTES`] bytes. Nothing where it is anything else; [`decode`] knows what.
#[inline]
pub fn decode_short_ack(input: &[u8]) -> Option<(PacketType, NonZeroU16)> {
    let &[first, 2, high, low, ..] = input else { return None };
    let short = [PacketType::PubAck, PacketType::PubRec, PacketType::PubRel, PacketType::PubComp];
    let packet = short.into_iter().find(|packet| packet.first_byte() == first)?;
    NonZeroU16::new(u16::from_be_bytes([high, low])).map(|id| (packet, id))
}

/// The length of what [`decode_short_ack`] decodes.
pub const SHORT_ACK_BYTES: usize = 4;

/// One packet with its fixed header read and checked.
struct Frame<'a> {
    first: u8,
    packet_type: PacketType,
    length_is_shortest: bool,
    body: &'a [u8],
    /// The length of the whole packet.
    bytes: usize,
}

#[inline]
fn read_frame(
    input: &[u8],
    version: Version,
    packet_bytes_max: usize,
) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let packet_type = check_first_byte(first, version)?;
    let Some(length) = read_varint(rest)? else { return Ok(None) };
    let (start, end) = (length.width, length.width + length.value as usize);
    if end >= packet_bytes_max {
        return Err(DecodeError::PacketTooLarge { bytes: 1 + end, limit: packet_bytes_max });
    }
    // [MQTT-1.5.5-1] forbids a longer form than needed. 3.1.1 does not, and there are devices that always write four bytes.
    if !length.is_shortest && version == Version::V5 && packet_type != PacketType::Connect {
        return Err(DecodeError::VarintNotShortest);
    }
    let Some(body) = rest.get(start..end) else { return Ok(None) };
    let length_is_shortest = length.is_shortest;
    Ok(Some(Frame { first, packet_type, length_is_shortest, body, bytes: 1 + end }))
}

/// Checks the packet type and the flags beside it.
#[inline]
fn check_first_byte(first: u8, version: Version) -> Result<PacketType, DecodeError> {
    let (number, flags) = (first >> 4, first & 0b1111);
    let packet = PacketType::from_number(number).ok_or(DecodeError::PacketType(number))?;
    match packet {
        // [MQTT-3.3.1-4] and [MQTT-3.3.1-2].
        PacketType::Publish if flags & 0b0110 == 0b0110 => Err(DecodeError::PublishQoS),
        PacketType::Publish if flags & 0b1110 == 0b1000 && version > Version::V31 => {
            Err(DecodeError::DupWithoutQoS)
        }
        PacketType::Publish => Ok(packet),
        PacketType::Auth if version < Version::V5 => Err(DecodeError::PacketType(number)),
        // MQTT 3.1 section 2.1: elsewhere the flags are not used, and what is sent again has DUP.
        _ if version == Version::V31 => Ok(packet),
        // [MQTT-2.1.3-1]
        _ if flags != packet.flags() => Err(DecodeError::Flags { packet, flags }),
        _ => Ok(packet),
    }
}

#[inline]
fn decode_publish<'a>(
    first: u8,
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<Publish<'a>, DecodeError> {
    let qos = QoS::from_number(first >> 1 & 0b11).ok_or(DecodeError::PublishQoS)?;
    let topic = reader.binary()?;
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        _ => Some(reader.packet_id()?),
    };
    let properties = read_properties(reader, version, Section::Publish)?;
    // [MQTT-4.7.3-1]; an alias may stand for the topic (section 3.3.2.1).
    if topic.is_empty() && !properties.contains(PropertyId::TopicAlias) {
        return Err(DecodeError::EmptyTopic);
    }
    Ok(Publish {
        dup: first & 0b1000 != 0 && packet_id.is_some(),
        qos,
        retain: first & 0b0001 != 0,
        topic,
        packet_id,
        properties,
        payload: reader.rest(),
    })
}

/// All packets that end with their last field.
fn decode_body<'a>(
    packet_type: PacketType,
    input: &mut Reader<'a>,
    version: Version,
    is_shortest: bool,
) -> Result<Packet<'a>, DecodeError> {
    let packet = match packet_type {
        PacketType::Connect => Packet::Connect(decode_connect(input, is_shortest)?),
        PacketType::ConnAck => Packet::ConnAck(decode_connack(input, version)?),
        PacketType::Publish => return Err(DecodeError::PacketType(packet_type as u8)),
        PacketType::PubAck => Packet::PubAck(decode_ack(input, version, packet_type)?),
        PacketType::PubRec => Packet::PubRec(decode_ack(input, version, packet_type)?),
        PacketType::PubRel => Packet::PubRel(decode_ack(input, version, packet_type)?),
        PacketType::PubComp => Packet::PubComp(decode_ack(input, version, packet_type)?),
        PacketType::Subscribe => Packet::Subscribe(decode_subscribe(input, version)?),
        PacketType::SubAck => Packet::SubAck(decode_suback(input, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(decode_unsubscribe(input, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(decode_unsuback(input, version)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(decode_disconnect(input, version)?),
        PacketType::Auth => Packet::Auth(decode_auth(input)?),
    };
    input.finish()?;
    Ok(packet)
}

/// The properties of a packet; 3.1.1 has none.
#[inline]
pub(super) fn read_properties<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    section: Section,
) -> Result<PropertiesRef<'a>, DecodeError> {
    match version {
        Version::V31 | Version::V3 => Ok(PropertiesRef::EMPTY),
        Version::V5 => PropertiesRef::check(reader, section),
    }
}

/// A reason code that the specification lists for the packet.
fn read_reason(reader: &mut Reader<'_>, packet: PacketType) -> Result<ReasonCode, DecodeError> {
    let code = reader.byte()?;
    match ReasonCode::from_number(code) {
        Some(reason) if reason.is_allowed_in(packet) => Ok(reason),
        _ => Err(DecodeError::ReasonCode { packet, code }),
    }
}

fn decode_connack<'a>(reader: &mut Reader<'a>, version: Version) -> Result<ConnAck<'a>, DecodeError> {
    let flags = match (reader.byte()?, version) {
        // MQTT 3.1 section 3.2: the byte is reserved.
        (_, Version::V31) => 0,
        (flags, _) => flags,
    };
    let reason = match version {
        Version::V5 => read_reason(reader, PacketType::ConnAck)?,
        Version::V31 | Version::V3 => {
            let code = reader.byte()?;
            let wrong = DecodeError::ReasonCode { packet: PacketType::ConnAck, code };
            ReasonCode::from_connack_return_code(code).ok_or(wrong)?
        }
    };
    // [MQTT-3.2.2-1] and [MQTT-3.2.2-6].
    if flags > 1 || flags == 1 && reason != ReasonCode::Success {
        return Err(DecodeError::ConnAckFlags(flags));
    }
    let properties = read_properties(reader, version, Section::ConnAck)?;
    Ok(ConnAck { session_present: flags == 1, reason, properties })
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP. In 5.0 what says nothing may be left out (section 3.4.2.1).
fn decode_ack<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    packet: PacketType,
) -> Result<Ack<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    if version < Version::V5 || reader.is_empty() {
        return Ok(Ack { packet_id, reason: ReasonCode::Success, properties: PropertiesRef::EMPTY });
    }
    let reason = read_reason(reader, packet)?;
    let properties = match reader.is_empty() {
        true => PropertiesRef::EMPTY,
        false => PropertiesRef::check(reader, Section::Ack)?,
    };
    Ok(Ack { packet_id, reason, properties })
}

fn decode_subscribe<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Subscribe<'a>, DecodeError> {
    Ok(Subscribe {
        packet_id: reader.packet_id()?,
        properties: read_properties(reader, version, Section::Subscribe)?,
        filters: SubscribeFilters::check(reader, version)?,
    })
}

fn decode_unsubscribe<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Unsubscribe<'a>, DecodeError> {
    Ok(Unsubscribe {
        packet_id: reader.packet_id()?,
        properties: read_properties(reader, version, Section::Unsubscribe)?,
        filters: UnsubscribeFilters::check(reader)?,
    })
}

/// The reason codes that fill the rest of a SUBACK or UNSUBACK.
fn read_reasons<'a>(reader: &mut Reader<'a>, packet: PacketType) -> Result<ReasonCodes<'a>, DecodeError> {
    let numbers = reader.bytes(reader.rest().len())?;
    match numbers.is_empty() {
        true => Err(DecodeError::NoReasonCode(packet)),
        false => {
            ReasonCodes::checked(numbers, packet).map_err(|code| DecodeError::ReasonCode { packet, code })
        }
    }
}

fn decode_suback<'a>(reader: &mut Reader<'a>, version: Version) -> Result<SubAck<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = read_properties(reader, version, Section::Ack)?;
    let reasons = read_reasons(reader, PacketType::SubAck)?;
    let is_foreign = |reason: &ReasonCode| match version {
        Version::V31 => reason.is_failure(),
        // [MQTT-3.1.1/3.9.3-2]: the only failure is 0x80.
        Version::V3 => reason.is_failure() && *reason != ReasonCode::UnspecifiedError,
        Version::V5 => false,
    };
    match reasons.iter().find(is_foreign) {
        Some(reason) => Err(DecodeError::ReasonCode { packet: PacketType::SubAck, code: reason.number() }),
        None => Ok(SubAck { packet_id, properties, reasons }),
    }
}

fn decode_unsuback<'a>(reader: &mut Reader<'a>, version: Version) -> Result<UnsubAck<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = read_properties(reader, version, Section::Ack)?;
    let reasons = match version {
        Version::V31 | Version::V3 => ReasonCodes::default(),
        Version::V5 => read_reasons(reader, PacketType::UnsubAck)?,
    };
    Ok(UnsubAck { packet_id, properties, reasons })
}

/// In 5.0 what says nothing may be left out (section 3.14.2.1 and 3.14.2.2.1).
fn decode_disconnect<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Disconnect<'a>, DecodeError> {
    if version < Version::V5 || reader.is_empty() {
        return Ok(Disconnect { reason: ReasonCode::Success, properties: PropertiesRef::EMPTY });
    }
    let reason = read_reason(reader, PacketType::Disconnect)?;
    let properties = match reader.is_empty() {
        true => PropertiesRef::EMPTY,
        false => PropertiesRef::check(reader, Section::Disconnect)?,
    };
    Ok(Disconnect { reason, properties })
}

/// Reason code and properties may be left out only together (section 3.15.2.1).
fn decode_auth<'a>(reader: &mut Reader<'a>) -> Result<Auth<'a>, DecodeError> {
    if reader.is_empty() {
        return Ok(Auth { reason: ReasonCode::Success, properties: PropertiesRef::EMPTY });
    }
    let reason = read_reason(reader, PacketType::Auth)?;
    let properties = PropertiesRef::check(reader, Section::Auth)?;
    // Section 3.15.2.2.2.
    match properties.contains(PropertyId::AuthenticationMethod) {
        true => Ok(Auth { reason, properties }),
        false => Err(DecodeError::AuthenticationMethodMissing),
    }
}
