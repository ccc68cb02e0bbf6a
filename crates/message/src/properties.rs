//! What a message carries beside its payload.

use bytes::Bytes;

/// The properties that every protocol can carry in its own form. All empty by default.
///
/// The names are AMQP's where MQTT 5.0 says it longer: MQTT's Response Topic is [`Properties::reply_to`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// The MIME type of the payload (MQTT 5.0 section 3.3.2.3.9, AMQP `content-type`).
    pub content_type: Option<Box<str>>,
    /// Where an answer is expected, as canonical topic text (MQTT 5.0 section 3.3.2.3.5, AMQP `reply-to`).
    pub reply_to: Option<Box<str>>,
    /// What an answer has to repeat (MQTT 5.0 section 3.3.2.3.6, AMQP `correlation-id`).
    pub correlation: Option<Bytes>,
    /// Whether the publisher says that the payload is UTF-8 text, or says that it is not (MQTT 5.0 section 3.3.2.3.2).
    pub payload_is_text: Option<bool>,
    /// Free pairs in the order in which they came, duplicates kept (MQTT 5.0 section 3.3.2.3.7).
    pub user: Vec<(Box<str>, Box<str>)>,
}

impl Properties {
    /// Whether nothing at all is set.
    pub fn is_empty(&self) -> bool {
        *self == Properties::default()
    }

    /// What the properties weigh in memory, in bytes, without the structure itself.
    pub fn heap_bytes(&self) -> usize {
        let text = |value: &Option<Box<str>>| value.as_ref().map_or(0, |text| text.len());
        let pair = |(name, value): &(Box<str>, Box<str>)| {
            name.len() + value.len() + size_of::<(Box<str>, Box<str>)>()
        };
        text(&self.content_type)
            + text(&self.reply_to)
            + self.correlation.as_ref().map_or(0, Bytes::len)
            + self.user.iter().map(pair).sum::<usize>()
    }
}
