//! MESSAGE: a delivery into a frame.
//!
//! What belongs to one receiver (subscription, message-id, ack) comes first; everything behind it is the same for all receivers of a
//! fan-out of the same version and is encoded once.

use crate::codec::{Version, end_with_body, push_decimal, push_header, push_raw_header};
use crate::destination::{push_destination, push_reply_destination};
use crate::standard_headers::prefix_of_property;
use crate::subscriptions::push_ack_id;
use data_encoding::BASE64;
use std::time::Instant;
use tidegate_message::Properties;
use tidegate_protocol::{Delivery, Encoded, Layout, Output, Refused};

/// The high half of all layouts of this protocol: the letters `ST`.
const LAYOUT_PROTOCOL: u32 = 0x5354_0000;

/// Appends the MESSAGE frame of a delivery. `frame_start` is the subscription's part, up to the message's id: what an ACK calls it, or its
/// number where there is nothing to acknowledge ([STOMP-1.2/MESSAGE], [STOMP-1.1/ACK], [STOMP-1.0/ACK]).
pub(crate) fn push_message(
    version: Version,
    frame_start: &[u8],
    number: u64,
    delivery: &Delivery<'_>,
    encoded: &mut Encoded,
    output: &mut Output,
) -> Result<(), Refused> {
    if !is_expressible(version, delivery) {
        return Err(Refused::NotExpressible);
    }
    let buffer = output.buffer();
    buffer.extend_from_slice(frame_start);
    match delivery.tag {
        Some(tag) => push_ack_id(buffer, delivery.consumer, tag),
        None => push_decimal(buffer, number),
    }
    buffer.push(b'\n');
    if let Some(tag) = delivery.tag.filter(|_| version == Version::V1_2) {
        buffer.extend_from_slice(b"ack:");
        push_ack_id(buffer, delivery.consumer, tag);
        buffer.push(b'\n');
    }
    encoded.write(layout_of(version, delivery), output, |buffer| push_shared(buffer, version, delivery));
    output.end_frame();
    Ok(())
}

/// The form of the shared part: the version's escapes, and the flags that differ between receivers of one message.
fn layout_of(version: Version, delivery: &Delivery<'_>) -> Layout {
    let escapes = match version {
        Version::V1_0 => 0,
        Version::V1_1 => 1,
        Version::V1_2 => 2,
    };
    let flags = u32::from(delivery.retain) << 2 | u32::from(delivery.redelivered) << 3 | escapes << 4;
    Layout(LAYOUT_PROTOCOL | flags | u32::from(delivery.qos.number()))
}

/// Whether all texts can stand in headers of this version: no version has an escape for a NUL, which readers take for the end of the
/// frame, and older ones have none for line ends.
fn is_expressible(version: Version, delivery: &Delivery<'_>) -> bool {
    // A topic has no NUL.
    if version != Version::V1_2 && !version.can_express(delivery.topic.as_str()) {
        return false;
    }
    let Some(properties) = delivery.properties else { return true };
    let named = [&properties.content_type, &properties.reply_to];
    let is_property =
        |(name, value): &(Box<str>, Box<str>)| version.can_express_name(name) && version.can_express(value);
    named.into_iter().flatten().all(|text| version.can_express(text))
        && properties.user.iter().all(is_property)
}

/// Everything that all receivers of the message see alike, to the NUL at the end.
fn push_shared(buffer: &mut Vec<u8>, version: Version, delivery: &Delivery<'_>) {
    buffer.extend_from_slice(b"destination:");
    push_destination(buffer, version, delivery.topic);
    buffer.extend_from_slice(b"\nqos:");
    push_decimal(buffer, u64::from(delivery.qos.number()));
    buffer.push(b'\n');
    if delivery.retain {
        push_raw_header(buffer, "retained", b"true");
    }
    if delivery.redelivered {
        push_raw_header(buffer, "redelivered", b"true");
    }
    if let Some(deadline) = delivery.expires_at {
        push_expiration(buffer, deadline, delivery.now);
    }
    if let Some(properties) = delivery.properties {
        push_properties(buffer, version, properties);
    }
    end_with_body(buffer, delivery.payload);
}

/// The time that remains in whole milliseconds; at least 1, because the broker has just found it alive and 0 means "never" to some.
fn push_expiration(buffer: &mut Vec<u8>, deadline: Instant, now: Instant) {
    let remaining = deadline.saturating_duration_since(now).as_millis().max(1);
    buffer.extend_from_slice(b"expiration:");
    push_decimal(buffer, u64::try_from(remaining).unwrap_or(u64::MAX));
    buffer.push(b'\n');
}

fn push_properties(buffer: &mut Vec<u8>, version: Version, properties: &Properties) {
    if let Some(content_type) = &properties.content_type {
        push_header(buffer, version, "content-type", content_type);
    }
    if let Some(is_text) = properties.payload_is_text {
        push_raw_header(buffer, "payload-format", if is_text { b"text" } else { b"binary" });
    }
    if let Some(reply_to) = &properties.reply_to {
        buffer.extend_from_slice(b"reply-to:");
        push_reply_destination(buffer, version, reply_to);
        buffer.push(b'\n');
    }
    if let Some(correlation) = &properties.correlation {
        push_correlation(buffer, version, correlation);
    }
    for (name, value) in &properties.user {
        buffer.extend_from_slice(prefix_of_property(name).as_bytes());
        push_header(buffer, version, name, value);
    }
}

/// Text where it can stand in a header, base64 otherwise.
fn push_correlation(buffer: &mut Vec<u8>, version: Version, correlation: &[u8]) {
    match simdutf8::basic::from_utf8(correlation) {
        Ok(text) if version.can_express(text) => push_header(buffer, version, "correlation-id", text),
        _ => {
            push_raw_header(buffer, "correlation-id", BASE64.encode(correlation).as_bytes());
            push_raw_header(buffer, "correlation-id-encoding", b"base64");
        }
    }
}
