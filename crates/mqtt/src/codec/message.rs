//! The shared vocabulary's properties and those of a PUBLISH or will, in both directions.
//!
//! Message expiry, topic alias and subscription identifiers belong to one hop and not to the message: they are left out here.

use super::properties::{PropertiesRef, Property, PropertyId};
use bytes::Bytes;
use tidegate_message::Properties;

/// The properties that belong to the message itself.
const OF_MESSAGE: u64 = PropertyId::PayloadFormatIndicator.bit()
    | PropertyId::ContentType.bit()
    | PropertyId::ResponseTopic.bit()
    | PropertyId::CorrelationData.bit()
    | PropertyId::UserProperty.bit();

/// What the message of a PUBLISH or will carries beside its payload; nothing, and no allocation, where all of it is empty.
pub fn message_properties(section: &PropertiesRef<'_>) -> Option<Box<Properties>> {
    if !section.contains_any(OF_MESSAGE) {
        return None;
    }
    let mut properties = Box::<Properties>::default();
    for property in section.iter() {
        match property {
            Property::PayloadFormatIndicator(is_text) => properties.payload_is_text = Some(is_text),
            Property::ContentType(text) => properties.content_type = Some(text.into()),
            Property::ResponseTopic(topic) => properties.reply_to = Some(topic.into()),
            Property::CorrelationData(bytes) => properties.correlation = Some(Bytes::copy_from_slice(bytes)),
            Property::UserProperty((name, value)) => properties.user.push((name.into(), value.into())),
            _ => {}
        }
    }
    // A payload format indicator of 0 says the same as none.
    (!properties.is_empty()).then_some(properties)
}

/// The message's properties as MQTT 5.0 writes them; user properties last, in their order.
///
/// Other protocols can carry what MQTT cannot (a U+0000, a wildcard in a reply address, a value above 65,535 bytes): then
/// writing the property fails.
pub fn properties_of_message(properties: &Properties) -> impl Iterator<Item = Property<'_>> + Clone {
    let is_text = properties.payload_is_text.map(Property::PayloadFormatIndicator);
    let content_type = properties.content_type.as_deref().map(Property::ContentType);
    let reply_to = properties.reply_to.as_deref().map(Property::ResponseTopic);
    let correlation = properties.correlation.as_deref().map(Property::CorrelationData);
    let user = properties.user.iter().map(|(name, value)| Property::UserProperty((name, value)));
    is_text.into_iter().chain(content_type).chain(reply_to).chain(correlation).chain(user)
}
