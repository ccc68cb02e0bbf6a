//! MESSAGE: a delivery into a frame.
//!
//! What belongs to one receiver (subscription, message-id, ack, how often it was delivered) comes first; everything behind it is the same
//! for all receivers of a fan-out of the same version and is encoded once.

use crate::codec::{Version, end_with_body, push_decimal, push_header, push_raw_header};
use crate::names::{Names, Printed};
use crate::resuming::{push_gap, push_token};
use crate::standard_headers::prefix_of_property;
use crate::subscriptions::push_ack_id;
use data_encoding::BASE64;
use std::time::Instant;
use tidegate_message::{Properties, QoS};
use tidegate_protocol::{Delivery, Encoded, Layout, Output, Refused};

/// The high half of all layouts of this protocol: the letters `ST`.
const LAYOUT_PROTOCOL: u32 = 0x5354_0000;

/// What belongs to the receiver alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameStart<'s> {
    /// The subscription's part, up to the message's id.
    pub(crate) subscription: &'s [u8],
    /// The message's number.
    pub(crate) number: u64,
}

/// The texts of a message that are names, as its receiver writes them.
#[derive(Debug, Clone, Copy)]
struct PrintedNames<'m> {
    names: &'m Names,
    destination: Printed<'m>,
    reply_to: Option<Printed<'m>>,
}

/// Appends the MESSAGE frame of a delivery; a message that cannot be told in full is not told in part. Its id is what an ACK calls it, or
/// its number where there is nothing to acknowledge ([STOMP-1.2/MESSAGE], [STOMP-1.1/ACK], [STOMP-1.0/ACK]).
pub(crate) fn push_message(
    start: FrameStart<'_>,
    names: &Names,
    delivery: &Delivery<'_>,
    encoded: &mut Encoded,
    output: &mut Output,
) -> Result<(), Refused> {
    let version = names.version();
    let printed = printed_names(names, delivery).ok_or(Refused::NotExpressible)?;
    let buffer = output.buffer();
    buffer.extend_from_slice(start.subscription);
    let id_start = buffer.len();
    match delivery.tag {
        Some(tag) => push_ack_id(buffer, delivery.consumer, tag),
        None => push_decimal(buffer, start.number),
    }
    let id_end = buffer.len();
    if delivery.tag.is_some() && version == Version::V1_2 {
        buffer.extend_from_slice(b"\nack:");
        buffer.extend_from_within(id_start..id_end);
    }
    buffer.push(b'\n');
    if delivery.attempt > 1 {
        push_raw_header(buffer, "redelivered", b"true");
        buffer.extend_from_slice(b"delivery-count:");
        push_decimal(buffer, u64::from(delivery.attempt));
        buffer.push(b'\n');
    }
    push_gap(buffer, delivery.position);
    match names.form() {
        Some(form) => {
            encoded.write(layout_of(delivery, form), output, |buffer| push_shared(buffer, delivery, printed))
        }
        None => push_shared(output.buffer(), delivery, printed),
    }
    output.end_frame();
    Ok(())
}

/// The names in a message; nothing where the message cannot be expressed.
fn printed_names<'m>(names: &'m Names, delivery: &Delivery<'m>) -> Option<PrintedNames<'m>> {
    let (version, topic) = (names.version(), delivery.topic.as_str());
    // A topic has no NUL.
    if version != Version::V1_2 && !version.can_express(topic) {
        return None;
    }
    let destination = names.print(topic)?;
    let Some(properties) = delivery.properties else {
        return Some(PrintedNames { names, destination, reply_to: None });
    };
    let reply_to = match properties.reply_to.as_deref() {
        Some(reply_to) => Some(names.print_reply_to(reply_to)?),
        None => None,
    };
    is_expressible(version, properties).then_some(PrintedNames { names, destination, reply_to })
}

/// The form of the shared part: the form of the names, with the version's escapes, and the flags that differ between receivers of one
/// message.
fn layout_of(delivery: &Delivery<'_>, form: u32) -> Layout {
    let flags = u32::from(delivery.retain) << 2 | u32::from(delivery.position.is_some()) << 3 | form << 4;
    Layout(LAYOUT_PROTOCOL | flags | u32::from(delivery.qos.number()))
}

/// Whether all texts can stand in headers of this version: no version has an escape for a NUL, which readers take for the end of the
/// frame, and older ones have none for line ends.
fn is_expressible(version: Version, properties: &Properties) -> bool {
    let named = [&properties.content_type, &properties.reply_to];
    let is_property =
        |(name, value): &(Box<str>, Box<str>)| version.can_express_name(name) && version.can_express(value);
    named.into_iter().flatten().all(|text| version.can_express(text))
        && properties.user.iter().all(is_property)
}

/// Everything that all receivers of the message see alike, to the NUL at the end.
fn push_shared(buffer: &mut Vec<u8>, delivery: &Delivery<'_>, printed: PrintedNames<'_>) {
    buffer.extend_from_slice(b"destination:");
    printed.names.push_destination(buffer, printed.destination);
    buffer.extend_from_slice(match delivery.qos {
        QoS::AtMostOnce => b"\nqos:0\n",
        QoS::AtLeastOnce => b"\nqos:1\n",
        QoS::ExactlyOnce => b"\nqos:2\n",
    });
    if delivery.retain {
        push_raw_header(buffer, "retained", b"true");
    }
    push_token(buffer, delivery.position);
    if let Some(deadline) = delivery.expires_at {
        push_expiration(buffer, deadline, delivery.now);
    }
    if let Some(properties) = delivery.properties {
        push_properties(buffer, properties, printed);
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

fn push_properties(buffer: &mut Vec<u8>, properties: &Properties, printed: PrintedNames<'_>) {
    let version = printed.names.version();
    if let Some(content_type) = &properties.content_type {
        push_header(buffer, version, "content-type", content_type);
    }
    if let Some(is_text) = properties.payload_is_text {
        push_raw_header(buffer, "payload-format", if is_text { b"text" } else { b"binary" });
    }
    if let Some(reply_to) = printed.reply_to {
        buffer.extend_from_slice(b"reply-to:");
        printed.names.push_destination(buffer, reply_to);
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
