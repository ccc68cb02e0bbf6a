//! A message, with everything that it carries.

use super::{Clock, FormError, heard, number, told};
use serde::{Deserialize, Serialize};
use tidegate_message::{Message, Origin, Properties, Publisher, QoS, Topic};
use tidegate_storage::record::MessageRecord;

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageForm {
    pub(crate) topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload_base64: Option<String>,
    pub(crate) qos: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) retain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_millis: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_is_text: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    user: Vec<(Box<str>, Box<str>)>,
    /// The number of the connection or session that published it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) origin: u64,
    /// Who that was, where a receiver wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<PublisherForm>,
}

/// Who published a message, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    published_at_millis: u64,
    /// How long that was before the export, by the store's own time.
    taken_before_millis: u64,
}

impl PublisherForm {
    fn of(publisher: Publisher, clock: Clock) -> PublisherForm {
        let Publisher { client_id, user, published_at_millis, taken_at_millis } = publisher;
        let taken_before_millis = clock.now_millis.saturating_sub(taken_at_millis);
        PublisherForm { client_id, user, published_at_millis, taken_before_millis }
    }

    fn publisher(self, clock: Clock) -> Publisher {
        let PublisherForm { client_id, user, published_at_millis, taken_before_millis } = self;
        let taken_at_millis = clock.now_millis.saturating_sub(taken_before_millis);
        Publisher { client_id, user, published_at_millis, taken_at_millis }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A level of quality of service.
pub(crate) fn qos(field: &'static str, number: u8) -> Result<QoS, FormError> {
    QoS::from_number(number).ok_or_else(|| FormError::new(field, "0, 1 or 2 is allowed"))
}

impl MessageForm {
    /// How it is told at this moment. A message that has expired has no time left.
    pub(crate) fn tell(record: MessageRecord, clock: Clock) -> MessageForm {
        let MessageRecord { message, expires_at_millis } = record;
        let (payload, payload_base64) = told(&message.payload);
        let properties = message.properties.map(|properties| *properties).unwrap_or_default();
        let (correlation, correlation_base64) =
            properties.correlation.as_deref().map(told).unwrap_or_default();
        MessageForm {
            topic: message.topic.as_str().to_owned(),
            payload,
            payload_base64,
            qos: message.qos.number(),
            retain: message.retain,
            expires_in_millis: expires_at_millis.map(|at| clock.left(at)),
            content_type: properties.content_type,
            reply_to: properties.reply_to,
            correlation,
            correlation_base64,
            payload_is_text: properties.payload_is_text,
            user: properties.user,
            origin: message.origin.0,
            publisher: message.publisher.map(|publisher| PublisherForm::of(*publisher, clock)),
        }
    }

    /// The message that was told.
    pub(crate) fn hear(self, clock: Clock) -> Result<MessageRecord, FormError> {
        let payload = heard("payload", self.payload, self.payload_base64)?
            .ok_or_else(|| FormError::new("payload", "is missing, and so is `payload_base64`"))?;
        let properties = Properties {
            content_type: self.content_type,
            reply_to: self.reply_to,
            correlation: heard("correlation", self.correlation, self.correlation_base64)?.map(Into::into),
            payload_is_text: self.payload_is_text,
            user: self.user,
        };
        let message = Message {
            topic: Topic::parse(self.topic.as_bytes()).map_err(|error| FormError::new("topic", error))?,
            payload: payload.into(),
            qos: qos("qos", self.qos)?,
            retain: self.retain,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
            expires_at: None,
            origin: Origin(number("origin", self.origin)?),
            publisher: self.publisher.map(|publisher| Box::new(publisher.publisher(clock))),
        };
        Ok(MessageRecord { message, expires_at_millis: self.expires_in_millis.map(|left| clock.at(left)) })
    }

    /// Bytes of the payload as it is told.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload.as_ref().or(self.payload_base64.as_ref()).map_or(0, String::len)
    }
}
