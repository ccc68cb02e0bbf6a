//! A message out of the broker as a PUBLISH, written without an intermediate buffer.

use super::encode::{Frame, publish_first_byte, publish_length, write_publish_head};
use super::error::EncodeError;
use super::message::properties_of_message;
use super::properties::{Property, section_length};
use super::reader::VARINT_MAX;
use super::version::Version;
use super::writer;
use std::num::NonZeroU16;
use tidegate_message::{Properties, QoS};

/// A PUBLISH made of the shared vocabulary's parts.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingPublish<'a> {
    /// Whether it may have been sent before; only with a QoS above 0.
    pub dup: bool,
    /// The level of this delivery.
    pub qos: QoS,
    /// Whether the receiver sees it as retained.
    pub retain: bool,
    /// The text of a checked topic; empty where a topic alias that the receiver knows stands for it.
    pub topic: &'a str,
    /// Present exactly when the QoS is above 0.
    pub packet_id: Option<NonZeroU16>,
    /// What is left of the message's lifetime, in seconds.
    pub message_expiry_interval: Option<u32>,
    /// Sets the alias where there is a topic, uses it where there is none.
    pub topic_alias: Option<NonZeroU16>,
    /// The identifiers of the matching subscriptions, each 1 to 268,435,455.
    pub subscription_identifiers: &'a [u32],
    /// What the message carries beside its payload.
    pub properties: Option<&'a Properties>,
    /// The application's bytes.
    pub payload: &'a [u8],
}

impl<'a> OutgoingPublish<'a> {
    /// The properties in the order in which they are written; none in 3.1.1.
    fn properties(&self) -> impl Iterator<Item = Property<'a>> + Clone + use<'a> {
        let expiry = self.message_expiry_interval.map(Property::MessageExpiryInterval);
        let alias = self.topic_alias.map(Property::TopicAlias);
        let identifiers = self.subscription_identifiers.iter().copied().map(Property::SubscriptionIdentifier);
        let of_message = self.properties.into_iter().flat_map(properties_of_message);
        expiry.into_iter().chain(alias).chain(identifiers).chain(of_message)
    }

    #[inline]
    fn has_properties(&self) -> bool {
        self.message_expiry_interval.is_some()
            || self.topic_alias.is_some()
            || !self.subscription_identifiers.is_empty()
            || self.properties.is_some()
    }

    /// The bytes of the section's content, after each property has been checked.
    fn properties_length(&self) -> Result<usize, EncodeError> {
        let bytes = self.properties().try_fold(0, |sum, property| Ok(sum + property.checked_length()?))?;
        match bytes > VARINT_MAX as usize {
            true => Err(EncodeError::PropertiesTooLong { bytes }),
            false => Ok(bytes),
        }
    }
}

/// Appends the message as a PUBLISH. In 3.1.1 properties, expiry, alias and identifiers are left out.
#[inline]
pub fn encode_outgoing(
    output: &mut Vec<u8>,
    version: Version,
    publish: &OutgoingPublish<'_>,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let has_alias = version == Version::V5 && publish.topic_alias.is_some();
    let first = publish_first_byte(publish.qos, publish.dup, publish.retain, publish.packet_id)?;
    let topic = publish.topic.as_bytes();
    let mut body_bytes = publish_length(topic, publish.packet_id, publish.payload, has_alias)?;
    let mut properties_bytes = 0;
    if version == Version::V5 {
        if publish.has_properties() {
            properties_bytes = publish.properties_length()?;
        }
        body_bytes += section_length(properties_bytes);
    }
    Frame::with_first_byte(first, body_bytes, packet_bytes_max)?.begin(output);
    write_publish_head(output, topic, publish.packet_id);
    if version == Version::V5 {
        writer::varint(output, properties_bytes as u32);
        if properties_bytes > 0 {
            publish.properties().for_each(|property| property.write(output));
        }
    }
    output.extend_from_slice(publish.payload);
    Ok(())
}
