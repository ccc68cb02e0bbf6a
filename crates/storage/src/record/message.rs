//! A message as it is kept.

use super::{Reader, Writer};
use crate::Damaged;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tidegate_message::{Message, Origin, Properties, Publisher, QoS, Topic};

const VERSION: u8 = 1;
const RETAIN: u8 = 0b100;
const HAS_PROPERTIES: u8 = 0b1000;
const HAS_PUBLISHER: u8 = 0b1_0000;

/// A message whose deadline is told in the store's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// The message, without a deadline.
    pub message: Message,
    /// When it expires, in milliseconds of the store's time.
    pub expires_at_millis: Option<u64>,
}

/// What is written of a message, in whatever memory it stands.
#[derive(Debug, Clone, Copy)]
pub struct MessageParts<'a> {
    /// Where it was published.
    pub topic: &'a Topic,
    /// What was published.
    pub payload: &'a [u8],
    /// The level at which it was published.
    pub qos: QoS,
    /// Whether it was published as a retained message.
    pub retain: bool,
    /// What else was said of it.
    pub properties: Option<&'a Properties>,
    /// When it expires.
    pub expires_at: Option<Instant>,
    /// Who has published it.
    pub origin: Origin,
    /// Who that was in words.
    pub publisher: Option<&'a Publisher>,
}

impl<'a> From<&'a Message> for MessageParts<'a> {
    fn from(message: &'a Message) -> MessageParts<'a> {
        MessageParts {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_deref(),
            expires_at: message.expires_at,
            origin: message.origin,
            publisher: message.publisher.as_deref(),
        }
    }
}

impl MessageRecord {
    /// Writes a message as a record; at `now` the store's time is `now_millis`.
    pub fn write<'a>(message: impl Into<MessageParts<'a>>, now: Instant, now_millis: u64, out: &mut Vec<u8>) {
        let message = message.into();
        let left = message.expires_at.map(|at| at.saturating_duration_since(now).as_millis());
        let at = left.map(|left| now_millis.saturating_add(u64::try_from(left).unwrap_or(u64::MAX)));
        MessageRecord::write_expiring(message, at, out);
    }

    /// The same for a message whose deadline is told in the store's time, whatever it says itself.
    pub fn write_expiring<'a>(
        message: impl Into<MessageParts<'a>>,
        expires_at_millis: Option<u64>,
        out: &mut Vec<u8>,
    ) {
        let message = message.into();
        let mut writer = Writer::new(out);
        writer.byte(VERSION);
        let properties = message.properties;
        let retain = if message.retain { RETAIN } else { 0 };
        let publisher = message.publisher;
        let has = properties.map_or(0, |_| HAS_PROPERTIES) | publisher.map_or(0, |_| HAS_PUBLISHER);
        writer.byte(message.qos as u8 | retain | has);
        writer.optional(expires_at_millis);
        writer.number(message.origin.0);
        writer.text(message.topic.as_str());
        if let Some(properties) = properties {
            write_properties(properties, &mut writer);
        }
        if let Some(publisher) = publisher {
            write_publisher(publisher, &mut writer);
        }
        writer.bytes(message.payload);
    }

    /// Reads a record.
    pub fn read(bytes: &[u8]) -> Result<MessageRecord, Damaged> {
        MessageRecord::read_after(bytes, None)
    }

    /// Reads a record behind that of a message with this topic, which the two of them share where they have the same.
    pub fn read_after(bytes: &[u8], topic: Option<&Topic>) -> Result<MessageRecord, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let flags = reader.byte()?;
        let qos = QoS::from_number(flags & 0b11).ok_or(Damaged)?;
        if flags & !(0b11 | RETAIN | HAS_PROPERTIES | HAS_PUBLISHER) != 0 {
            return Err(Damaged);
        }
        let expires_at_millis = reader.optional()?;
        let origin = Origin(reader.number()?);
        let text = reader.bytes()?;
        let topic = match topic.filter(|topic| topic.as_str().as_bytes() == text) {
            Some(topic) => topic.clone(),
            None => Topic::parse(text).map_err(|_| Damaged)?,
        };
        let properties = match flags & HAS_PROPERTIES != 0 {
            true => Some(Box::new(read_properties(&mut reader)?)),
            false => None,
        };
        let publisher = match flags & HAS_PUBLISHER != 0 {
            true => Some(Box::new(read_publisher(&mut reader)?)),
            false => None,
        };
        let payload = Bytes::copy_from_slice(reader.bytes()?);
        reader.finish()?;
        let message = Message {
            topic,
            payload,
            qos,
            retain: flags & RETAIN != 0,
            properties,
            expires_at: None,
            origin,
            publisher,
        };
        Ok(MessageRecord { message, expires_at_millis })
    }

    /// The message at a moment at which the store's time is `now_millis`; nothing where it has expired.
    pub fn at(self, now: Instant, now_millis: u64) -> Option<Message> {
        let expires_at = match self.expires_at_millis {
            None => None,
            Some(at) if at <= now_millis => return None,
            // What a clock cannot say is as good as never.
            Some(at) => now.checked_add(Duration::from_millis(at - now_millis)),
        };
        Some(Message { expires_at, ..self.message })
    }
}

const CLIENT_ID: u8 = 1;
const USER: u8 = 2;

fn write_publisher(publisher: &Publisher, writer: &mut Writer<'_>) {
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    writer.byte(bit(publisher.client_id.is_some(), CLIENT_ID) | bit(publisher.user.is_some(), USER));
    publisher.client_id.iter().for_each(|text| writer.text(text));
    publisher.user.iter().for_each(|text| writer.text(text));
    writer.number(publisher.published_at_millis);
    writer.number(publisher.taken_at_millis);
}

fn read_publisher(reader: &mut Reader<'_>) -> Result<Publisher, Damaged> {
    let flags = reader.byte()?;
    let mut text = |bit: u8| match flags & bit != 0 {
        true => reader.text().map(|text| Some(Box::from(text))),
        false => Ok(None),
    };
    let (client_id, user) = (text(CLIENT_ID)?, text(USER)?);
    let (published_at_millis, taken_at_millis) = (reader.number()?, reader.number()?);
    Ok(Publisher { client_id, user, published_at_millis, taken_at_millis })
}

const CONTENT_TYPE: u8 = 1;
const REPLY_TO: u8 = 2;
const CORRELATION: u8 = 4;
const IS_TEXT: u8 = 8;
const IS_NO_TEXT: u8 = 16;

fn write_properties(properties: &Properties, writer: &mut Writer<'_>) {
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    writer.byte(
        bit(properties.content_type.is_some(), CONTENT_TYPE)
            | bit(properties.reply_to.is_some(), REPLY_TO)
            | bit(properties.correlation.is_some(), CORRELATION)
            | bit(properties.payload_is_text == Some(true), IS_TEXT)
            | bit(properties.payload_is_text == Some(false), IS_NO_TEXT),
    );
    properties.content_type.iter().for_each(|text| writer.text(text));
    properties.reply_to.iter().for_each(|text| writer.text(text));
    properties.correlation.iter().for_each(|bytes| writer.bytes(bytes));
    writer.number(properties.user.len() as u64);
    for (name, value) in &properties.user {
        writer.text(name);
        writer.text(value);
    }
}

fn read_properties(reader: &mut Reader<'_>) -> Result<Properties, Damaged> {
    let flags = reader.byte()?;
    let has = |bit: u8| flags & bit != 0;
    let mut text = |is_there: bool| match is_there {
        true => reader.text().map(|text| Some(Box::from(text))),
        false => Ok(None),
    };
    let (content_type, reply_to) = (text(has(CONTENT_TYPE))?, text(has(REPLY_TO))?);
    let correlation = match has(CORRELATION) {
        true => Some(Bytes::copy_from_slice(reader.bytes()?)),
        false => None,
    };
    let payload_is_text = match (has(IS_TEXT), has(IS_NO_TEXT)) {
        (false, false) => None,
        (is_text, _) => Some(is_text),
    };
    let mut user = Vec::new();
    for _ in 0..reader.number()? {
        user.push((Box::from(reader.text()?), Box::from(reader.text()?)));
    }
    Ok(Properties { content_type, reply_to, correlation, payload_is_text, user })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_properties() -> impl Strategy<Value = Properties> {
        let text = || proptest::option::of("[a-zü]{0,5}".prop_map(|text| Box::from(text.as_str())));
        let pair = ("[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(name, value)| (name.into(), value.into()));
        let correlation =
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from));
        (text(), text(), correlation, any::<Option<bool>>(), proptest::collection::vec(pair, 0..3)).prop_map(
            |(content_type, reply_to, correlation, payload_is_text, user)| Properties {
                content_type,
                reply_to,
                correlation,
                payload_is_text,
                user,
            },
        )
    }

    fn any_publisher() -> impl Strategy<Value = Publisher> {
        let text = || proptest::option::of("[a-zü]{0,5}".prop_map(|text| Box::from(text.as_str())));
        (text(), text(), any::<[u64; 2]>()).prop_map(
            |(client_id, user, [published_at_millis, taken_at_millis])| Publisher {
                client_id,
                user,
                published_at_millis,
                taken_at_millis,
            },
        )
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(
            topic in "[a-c/]{1,6}",
            payload in proptest::collection::vec(any::<u8>(), 0..20),
            qos in 0_u8..3,
            retain in any::<bool>(),
            properties in proptest::option::of(any_properties().prop_map(Box::new)),
            origin in any::<u64>(),
            publisher in proptest::option::of(any_publisher()),
            lifetime in proptest::option::of(1_u64..1_000_000),
        ) {
            let now = Instant::now();
            let message = Message {
                topic: Topic::parse(topic.as_bytes()).unwrap(),
                payload: payload.into(),
                qos: QoS::from_number(qos).unwrap(),
                retain,
                properties,
                expires_at: lifetime.map(|millis| now + Duration::from_millis(millis)),
                origin: Origin(origin),
                publisher: publisher.map(Box::new),
            };
            let mut bytes = Vec::new();
            MessageRecord::write(&message, now, 5000, &mut bytes);
            let record = MessageRecord::read(&bytes).unwrap();
            prop_assert_eq!(record.clone().at(now, 5000), Some(message.clone()));
            if let Some(lifetime) = lifetime {
                prop_assert_eq!(record.at(now, 5000 + lifetime), None);
            }
            for before in ["a", message.topic.as_str()] {
                let before = Topic::parse(before.as_bytes()).unwrap();
                prop_assert_eq!(&MessageRecord::read_after(&bytes, Some(&before)).unwrap().message.topic, &message.topic);
            }
            for cut in 0..bytes.len() {
                prop_assert_eq!(MessageRecord::read(&bytes[..cut]), Err(Damaged));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(MessageRecord::read(&bytes));
        }
    }
}
