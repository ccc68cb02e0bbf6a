//! Writing the packets that list filters or answer them: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK.
//!
//! They are written from iterators, so that a caller needs no list in the form of the wire.

use super::encode::{Frame, check_reason, properties_length, write_properties};
use super::error::EncodeError;
use super::filters::{SubscribeFilter, SubscriptionOptions};
use super::packet::PacketType;
use super::properties::{PropertiesRef, Section};
use super::reason::ReasonCode;
use super::version::Version;
use super::writer;
use std::num::NonZeroU16;

/// Appends packet identifier and properties.
fn write_exchange(
    output: &mut Vec<u8>,
    version: Version,
    packet_id: NonZeroU16,
    properties: &PropertiesRef<'_>,
) {
    output.extend_from_slice(&packet_id.get().to_be_bytes());
    write_properties(output, version, properties);
}

/// Appends a SUBSCRIBE. In 3.1.1 only the levels of the options are written.
pub fn encode_subscribe<'a>(
    output: &mut Vec<u8>,
    version: Version,
    packet_id: NonZeroU16,
    properties: &PropertiesRef<'_>,
    filters: impl Iterator<Item = SubscribeFilter<'a>> + Clone,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let mut length = 2 + properties_length(version, properties, Section::Subscribe)?;
    let without_filters = length;
    for filter in filters.clone() {
        length += filter_length(&filter, version)?;
    }
    if length == without_filters {
        return Err(EncodeError::Empty(PacketType::Subscribe));
    }
    Frame::of(PacketType::Subscribe, length, packet_bytes_max)?.begin(output);
    write_exchange(output, version, packet_id, properties);
    for SubscribeFilter { filter, options } in filters {
        writer::binary(output, filter.as_bytes());
        output.push(SubscriptionOptions::byte(options, version));
    }
    Ok(())
}

fn filter_length(filter: &SubscribeFilter<'_>, version: Version) -> Result<usize, EncodeError> {
    // [MQTT-3.8.3-4]
    if version == Version::V5 && filter.options.no_local && filter.filter.starts_with("$share/") {
        return Err(EncodeError::NoLocalOnShared);
    }
    Ok(1 + writer::text_length(filter.filter)?)
}

/// Appends an UNSUBSCRIBE.
pub fn encode_unsubscribe<'a>(
    output: &mut Vec<u8>,
    version: Version,
    packet_id: NonZeroU16,
    properties: &PropertiesRef<'_>,
    filters: impl Iterator<Item = &'a str> + Clone,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let mut length = 2 + properties_length(version, properties, Section::Unsubscribe)?;
    let without_filters = length;
    for filter in filters.clone() {
        length += writer::text_length(filter)?;
    }
    if length == without_filters {
        return Err(EncodeError::Empty(PacketType::Unsubscribe));
    }
    Frame::of(PacketType::Unsubscribe, length, packet_bytes_max)?.begin(output);
    write_exchange(output, version, packet_id, properties);
    for filter in filters {
        writer::binary(output, filter.as_bytes());
    }
    Ok(())
}

/// Appends a SUBACK. In 3.1.1 every failure is 0x80; 3.1 has no word for a failure.
pub fn encode_suback(
    output: &mut Vec<u8>,
    version: Version,
    packet_id: NonZeroU16,
    properties: &PropertiesRef<'_>,
    reasons: impl ExactSizeIterator<Item = ReasonCode> + Clone,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let length = 2 + properties_length(version, properties, Section::Ack)? + reasons.len();
    check_reasons(version, PacketType::SubAck, reasons.clone())?;
    Frame::of(PacketType::SubAck, length, packet_bytes_max)?.begin(output);
    write_exchange(output, version, packet_id, properties);
    output.extend(reasons.map(|reason| match version {
        Version::V31 | Version::V3 => reason.suback_return_code(),
        Version::V5 => reason.number(),
    }));
    Ok(())
}

/// Appends an UNSUBACK. In 3.1.1 the reasons are left out, because an unsubscription always succeeds there.
pub fn encode_unsuback(
    output: &mut Vec<u8>,
    version: Version,
    packet_id: NonZeroU16,
    properties: &PropertiesRef<'_>,
    reasons: impl ExactSizeIterator<Item = ReasonCode> + Clone,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let mut length = 2 + properties_length(version, properties, Section::Ack)?;
    if version == Version::V5 {
        check_reasons(version, PacketType::UnsubAck, reasons.clone())?;
        length += reasons.len();
    }
    Frame::of(PacketType::UnsubAck, length, packet_bytes_max)?.begin(output);
    write_exchange(output, version, packet_id, properties);
    if version == Version::V5 {
        output.extend(reasons.map(ReasonCode::number));
    }
    Ok(())
}

fn check_reasons(
    version: Version,
    packet: PacketType,
    mut reasons: impl ExactSizeIterator<Item = ReasonCode>,
) -> Result<(), EncodeError> {
    match reasons.len() {
        0 => Err(EncodeError::Empty(packet)),
        _ => reasons.try_for_each(|reason| match version == Version::V31 && reason.is_failure() {
            true => Err(EncodeError::ReasonCode { version, packet, reason }),
            false => check_reason(version, packet, reason),
        }),
    }
}
