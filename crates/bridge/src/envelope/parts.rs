//! What was in an envelope.

use super::{OpenError, PROPERTIES_MAX, TEXT_BYTES_MAX};
use crate::facts::{Facts, is_travel_property};
use bytes::Bytes;
use tidegate_message::{Properties, QoS};

/// What an envelope said of a message. Names and ids are what somebody at the upstream says they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// The topic, as text that nobody has checked to be one.
    pub topic: Option<Box<str>>,
    /// The application's bytes.
    pub payload: Bytes,
    /// The level at which it was published.
    pub qos: Option<QoS>,
    /// Whether its publisher asked to retain it.
    pub retain: bool,
    /// What it carries beside the payload.
    pub properties: Properties,
    /// What was left of its lifetime when the envelope was closed, in milliseconds.
    pub expires_in_millis: Option<u64>,
    /// When it was published, in milliseconds since 1970 (UTC).
    pub timestamp_millis: Option<u64>,
    /// On which node.
    pub node: Option<Box<str>>,
    /// By whom.
    pub client_id: Option<Box<str>>,
    /// As whom.
    pub user: Option<Box<str>>,
    /// Its id.
    pub id: Option<Box<str>>,
}

impl Parts {
    /// The same, for templates. Where the envelope stood at the upstream is for its receiver to add.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            topic: self.topic.as_deref().unwrap_or_default(),
            payload: &self.payload,
            properties: (!self.properties.is_empty()).then_some(&self.properties),
            qos: self.qos.unwrap_or_default(),
            retain: self.retain,
            client_id: self.client_id.as_deref(),
            user: self.user.as_deref(),
            timestamp_millis: self.timestamp_millis,
            expires_in_millis: self.expires_in_millis,
            node: self.node.as_deref(),
            id: self.id.as_deref(),
            place: &[],
        }
    }

    /// The same, with what travels beside an event: reply-to, correlation and user properties, but for those of whose names the event has one
    /// itself. What is said there of the payload means the event.
    #[must_use]
    pub(crate) fn with_beside(mut self, beside: &Properties) -> Parts {
        let properties = &mut self.properties;
        properties.reply_to.clone_from(&beside.reply_to);
        properties.correlation.clone_from(&beside.correlation);
        let own = properties.user.len();
        for (name, value) in &beside.user {
            if !properties.user.iter().take(own).any(|(known, _)| known == name) {
                properties.user.push((name.clone(), value.clone()));
            }
        }
        self
    }

    /// Checks every text. What a bridge writes itself is taken from where bridges write it, and not from an envelope.
    pub(super) fn checked(mut self) -> Result<Parts, OpenError> {
        let properties = &mut self.properties;
        if properties.user.len() > PROPERTIES_MAX {
            return Err(OpenError::field("properties", "are more than 1,000"));
        }
        properties.user.retain(|(name, _)| !is_travel_property(name));
        for (name, value) in &properties.user {
            check("properties", name)?;
            check("properties", value)?;
        }
        let texts = [
            ("topic", &self.topic),
            ("node", &self.node),
            ("client_id", &self.client_id),
            ("user", &self.user),
            ("id", &self.id),
            ("content_type", &self.properties.content_type),
            ("reply_to", &self.properties.reply_to),
        ];
        texts
            .into_iter()
            .try_for_each(|(field, text)| text.as_deref().map_or(Ok(()), |text| check(field, text)))?;
        match self.properties.correlation.as_ref().is_some_and(|bytes| bytes.len() > TEXT_BYTES_MAX) {
            true => Err(OpenError::field("correlation", "has more than 65,535 bytes")),
            false => Ok(self),
        }
    }
}

/// A text that every protocol can carry: MQTT has no U+0000 in strings [MQTT-1.5.4-2] and no more than 65,535 bytes.
fn check(field: &'static str, text: &str) -> Result<(), OpenError> {
    match text {
        text if text.len() > TEXT_BYTES_MAX => Err(OpenError::field(field, "has more than 65,535 bytes")),
        text if text.contains('\0') => Err(OpenError::field(field, "holds U+0000")),
        _ => Ok(()),
    }
}
