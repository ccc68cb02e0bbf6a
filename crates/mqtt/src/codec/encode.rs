//! Packets to bytes.
//!
//! Each function computes and checks the length first and then appends the packet, or appends nothing and says why. What the
//! version has no place for is left out where that says nothing false (properties in 3.1.1); otherwise it is an error.
//! `packet_bytes_max` is what the receiver takes; [`PACKET_BYTES_MAX`] where it has set no limit.

use super::connect::encode_connect;
use super::error::EncodeError;
use super::exchanges::{encode_suback, encode_subscribe, encode_unsuback, encode_unsubscribe};
use super::packet::{Ack, Auth, ConnAck, Disconnect, Packet, PacketType, Publish};
use super::properties::{PropertiesRef, PropertyId, Section, section_length};
use super::reader::VARINT_MAX;
use super::reason::ReasonCode;
use super::version::Version;
use super::writer;
use std::num::NonZeroU16;
use tidegate_message::QoS;

/// The largest packet that the protocol can express, fixed header included, in bytes (section 2.1.4).
pub const PACKET_BYTES_MAX: usize = 1 + 4 + VARINT_MAX as usize;

/// A fixed header whose lengths have been checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    first: u8,
    body_bytes: u32,
}

impl Frame {
    /// A packet of a type whose flags are fixed.
    #[inline]
    pub(super) fn of(
        packet: PacketType,
        body_bytes: usize,
        packet_bytes_max: usize,
    ) -> Result<Frame, EncodeError> {
        Frame::with_first_byte(packet.first_byte(), body_bytes, packet_bytes_max)
    }

    #[inline]
    pub(super) fn with_first_byte(
        first: u8,
        body_bytes: usize,
        packet_bytes_max: usize,
    ) -> Result<Frame, EncodeError> {
        let limit = packet_bytes_max.min(PACKET_BYTES_MAX);
        let width = u32::try_from(body_bytes).map_or(4, writer::varint_width);
        let bytes = 1 + width + body_bytes;
        match bytes > limit {
            true => Err(EncodeError::PacketTooLarge { bytes, limit }),
            false => Ok(Frame { first, body_bytes: body_bytes as u32 }),
        }
    }

    /// Appends the fixed header and makes room for the rest.
    #[inline]
    pub(super) fn begin(self, output: &mut Vec<u8>) {
        output.reserve(5 + self.body_bytes as usize);
        match self.body_bytes {
            // Written as one piece where it is short, which nearly all are.
            0..=127 => output.extend_from_slice(&[self.first, self.body_bytes as u8]),
            _ => {
                output.push(self.first);
                writer::varint(output, self.body_bytes);
            }
        }
    }
}

/// The bytes that a property section takes with its length, after a check that all of it belongs there.
#[inline]
pub(super) fn properties_length(
    version: Version,
    properties: &PropertiesRef<'_>,
    section: Section,
) -> Result<usize, EncodeError> {
    if version < Version::V5 {
        return Ok(0);
    }
    properties.check_allowed(section)?;
    Ok(section_length(properties.bytes().len()))
}

/// Appends a property section with its length; nothing in 3.1.1.
#[inline]
pub(super) fn write_properties(output: &mut Vec<u8>, version: Version, properties: &PropertiesRef<'_>) {
    if version == Version::V5 {
        writer::varint(output, properties.bytes().len() as u32);
        output.extend_from_slice(properties.bytes());
    }
}

/// Appends any packet. A CONNECT is written in its own version, every other packet in `version`.
pub fn encode(
    output: &mut Vec<u8>,
    version: Version,
    packet: &Packet<'_>,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let limit = packet_bytes_max;
    match packet {
        Packet::Connect(connect) => encode_connect(output, connect, limit),
        Packet::ConnAck(connack) => encode_connack(output, version, connack, limit),
        Packet::Publish(publish) => encode_publish(output, version, publish, limit),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            encode_full_ack(output, version, packet.packet_type(), ack, limit)
        }
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters.iter();
            encode_subscribe(output, version, subscribe.packet_id, &subscribe.properties, filters, limit)
        }
        Packet::SubAck(suback) => {
            let reasons = suback.reasons.iter();
            encode_suback(output, version, suback.packet_id, &suback.properties, reasons, limit)
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.filters.iter();
            encode_unsubscribe(
                output,
                version,
                unsubscribe.packet_id,
                &unsubscribe.properties,
                filters,
                limit,
            )
        }
        Packet::UnsubAck(unsuback) => {
            let reasons = unsuback.reasons.iter();
            encode_unsuback(output, version, unsuback.packet_id, &unsuback.properties, reasons, limit)
        }
        Packet::PingReq => encode_without_body(output, PacketType::PingReq, limit),
        Packet::PingResp => encode_without_body(output, PacketType::PingResp, limit),
        Packet::Disconnect(disconnect) => encode_disconnect(output, version, disconnect, limit),
        Packet::Auth(auth) => encode_auth(output, version, auth, limit),
    }
}

/// Appends a PUBLISH as it was decoded or composed. The topic's bytes are written as they are: they must be valid UTF-8.
///
/// For messages out of the broker see [`super::encode_outgoing`].
#[inline]
pub fn encode_publish(
    output: &mut Vec<u8>,
    version: Version,
    publish: &Publish<'_>,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let has_alias = version == Version::V5 && publish.properties.contains(PropertyId::TopicAlias);
    let first = publish_first_byte(publish.qos, publish.dup, publish.retain, publish.packet_id)?;
    let properties = properties_length(version, &publish.properties, Section::Publish)?;
    let body = publish_length(publish.topic, publish.packet_id, publish.payload, has_alias)? + properties;
    Frame::with_first_byte(first, body, packet_bytes_max)?.begin(output);
    write_publish_head(output, publish.topic, publish.packet_id);
    write_properties(output, version, &publish.properties);
    output.extend_from_slice(publish.payload);
    Ok(())
}

/// The first byte of a PUBLISH, where its delivery fields fit each other.
#[inline]
pub(super) fn publish_first_byte(
    qos: QoS,
    dup: bool,
    retain: bool,
    packet_id: Option<NonZeroU16>,
) -> Result<u8, EncodeError> {
    // [MQTT-2.2.1-2] and [MQTT-3.3.1-2].
    let acknowledged = qos != QoS::AtMostOnce;
    if acknowledged != packet_id.is_some() || dup && !acknowledged {
        return Err(EncodeError::Delivery);
    }
    Ok(PacketType::Publish.first_byte() | u8::from(dup) << 3 | qos.number() << 1 | u8::from(retain))
}

/// The bytes of a PUBLISH's body without its properties.
#[inline]
pub(super) fn publish_length(
    topic: &[u8],
    packet_id: Option<NonZeroU16>,
    payload: &[u8],
    has_alias: bool,
) -> Result<usize, EncodeError> {
    if topic.is_empty() && !has_alias {
        return Err(EncodeError::EmptyTopic);
    }
    Ok(writer::binary_length(topic)? + if packet_id.is_some() { 2 } else { 0 } + payload.len())
}

/// Appends topic and packet identifier.
#[inline]
pub(super) fn write_publish_head(output: &mut Vec<u8>, topic: &[u8], packet_id: Option<NonZeroU16>) {
    writer::binary(output, topic);
    if let Some(packet_id) = packet_id {
        output.extend_from_slice(&packet_id.get().to_be_bytes());
    }
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP that says nothing but success: four bytes, the same in all versions.
///
/// `packet` must be one of these four; anything else is written as PUBACK.
#[inline]
pub fn encode_ack(output: &mut Vec<u8>, packet: PacketType, packet_id: NonZeroU16) {
    let first = match packet {
        PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => packet.first_byte(),
        _ => PacketType::PubAck.first_byte(),
    };
    let [high, low] = packet_id.get().to_be_bytes();
    output.extend_from_slice(&[first, 2, high, low]);
}

/// Appends a PINGREQ.
pub fn encode_pingreq(output: &mut Vec<u8>) {
    output.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
}

/// Appends a PINGRESP.
pub fn encode_pingresp(output: &mut Vec<u8>) {
    output.extend_from_slice(&[PacketType::PingResp.first_byte(), 0]);
}

fn encode_without_body(output: &mut Vec<u8>, packet: PacketType, limit: usize) -> Result<(), EncodeError> {
    Frame::of(packet, 0, limit)?.begin(output);
    Ok(())
}

/// Fails where the specification does not list the code for the packet.
pub(super) fn check_reason(
    version: Version,
    packet: PacketType,
    reason: ReasonCode,
) -> Result<(), EncodeError> {
    match reason.is_allowed_in(packet) {
        true => Ok(()),
        false => Err(EncodeError::ReasonCode { version, packet, reason }),
    }
}

fn encode_connack(
    output: &mut Vec<u8>,
    version: Version,
    connack: &ConnAck<'_>,
    limit: usize,
) -> Result<(), EncodeError> {
    let (packet, reason) = (PacketType::ConnAck, connack.reason);
    // [MQTT-3.2.2-6]
    if connack.session_present && reason != ReasonCode::Success {
        return Err(EncodeError::SessionPresent);
    }
    check_reason(version, packet, reason)?;
    let code = match version {
        Version::V5 => reason.number(),
        Version::V31 | Version::V3 => {
            reason.connack_return_code().ok_or(EncodeError::ReasonCode { version, packet, reason })?
        }
    };
    // MQTT 3.1 section 3.2: the byte is reserved.
    let session_present = connack.session_present && version > Version::V31;
    let length = 2 + properties_length(version, &connack.properties, Section::ConnAck)?;
    Frame::of(packet, length, limit)?.begin(output);
    output.extend_from_slice(&[u8::from(session_present), code]);
    write_properties(output, version, &connack.properties);
    Ok(())
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP with all that they may carry, in the shortest form.
fn encode_full_ack(
    output: &mut Vec<u8>,
    version: Version,
    packet: PacketType,
    ack: &Ack<'_>,
    limit: usize,
) -> Result<(), EncodeError> {
    let reason = ack.reason;
    check_reason(version, packet, reason)?;
    // 3.1.1 cannot refuse a message. A PUBREL or PUBCOMP ends the exchange whatever its reason, so there nothing is lost.
    let is_refusal = reason.is_failure() && matches!(packet, PacketType::PubAck | PacketType::PubRec);
    if version < Version::V5 && is_refusal {
        return Err(EncodeError::ReasonCode { version, packet, reason });
    }
    let tail = tail_length(version, reason, &ack.properties, Section::Ack)?;
    Frame::of(packet, 2 + tail, limit)?.begin(output);
    output.extend_from_slice(&ack.packet_id.get().to_be_bytes());
    write_tail(output, tail, reason, &ack.properties);
    Ok(())
}

/// The bytes of reason code and properties where both may be left out: 0 for success alone, 1 for a reason alone.
fn tail_length(
    version: Version,
    reason: ReasonCode,
    properties: &PropertiesRef<'_>,
    section: Section,
) -> Result<usize, EncodeError> {
    match version {
        Version::V31 | Version::V3 => Ok(0),
        Version::V5 if properties.is_empty() => Ok(usize::from(reason != ReasonCode::Success)),
        Version::V5 => Ok(1 + properties_length(version, properties, section)?),
    }
}

fn write_tail(output: &mut Vec<u8>, tail_bytes: usize, reason: ReasonCode, properties: &PropertiesRef<'_>) {
    if tail_bytes > 0 {
        output.push(reason.number());
    }
    if tail_bytes > 1 {
        write_properties(output, Version::V5, properties);
    }
}

/// Appends a DISCONNECT. In 3.1.1 it can only say that all is well.
fn encode_disconnect(
    output: &mut Vec<u8>,
    version: Version,
    disconnect: &Disconnect<'_>,
    limit: usize,
) -> Result<(), EncodeError> {
    let (packet, reason) = (PacketType::Disconnect, disconnect.reason);
    check_reason(version, packet, reason)?;
    if version < Version::V5 && reason != ReasonCode::Success {
        return Err(EncodeError::ReasonCode { version, packet, reason });
    }
    let tail = tail_length(version, reason, &disconnect.properties, Section::Disconnect)?;
    Frame::of(packet, tail, limit)?.begin(output);
    write_tail(output, tail, reason, &disconnect.properties);
    Ok(())
}

fn encode_auth(
    output: &mut Vec<u8>,
    version: Version,
    auth: &Auth<'_>,
    limit: usize,
) -> Result<(), EncodeError> {
    let packet = PacketType::Auth;
    if version < Version::V5 {
        return Err(EncodeError::NotInVersion { version, packet });
    }
    check_reason(version, packet, auth.reason)?;
    let tail = tail_length(version, auth.reason, &auth.properties, Section::Auth)?;
    // Section 3.15.2.2.2: only the form without any field does without a method.
    if tail > 0 && !auth.properties.contains(PropertyId::AuthenticationMethod) {
        return Err(EncodeError::AuthenticationMethodMissing);
    }
    Frame::of(packet, tail, limit)?.begin(output);
    write_tail(output, tail, auth.reason, &auth.properties);
    Ok(())
}
