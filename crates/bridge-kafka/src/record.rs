//! A message becomes a record of Kafka: topic, key, partition, headers.
//!
//! What has a place of its own in a record or a header of its own comes first; the user properties follow in their order, duplicates
//! kept, and then what the operator has added. The payload is the value as it is: an empty one is an empty value and no tombstone.

use crate::options::ForwardTarget;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use tidegate_bridge::{
    Facts, HeaderNames, ID_PROPERTY, Outgoing, PATH_PROPERTY, RenderError, Rendered, Template, Verdict,
};

/// Headers with a meaning of their own. Everything else is a user property, which stands behind `user-` where it is called like one of these.
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const REPLY_TO: &str = "reply-to";
pub(crate) const CORRELATION_ID: &str = "correlation-id";
pub(crate) const NAMES: HeaderNames =
    HeaderNames(&[ID_PROPERTY, PATH_PROPERTY, CONTENT_TYPE, REPLY_TO, CORRELATION_ID]);

/// The longest name of a topic in bytes.
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Texts that are written anew for each message.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    topic: String,
    key: String,
    other: String,
}

/// A record, but for its value.
pub(crate) struct Record<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp_millis: Option<i64>,
    pub(crate) headers: OwnedHeaders,
    /// What keys and headers weigh.
    pub(crate) bytes: usize,
}

/// Why a message cannot be a record, for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Inexpressible {
    #[error("{field}: {error}")]
    Template { field: &'static str, error: RenderError },
    #[error("its topic would be `{}`, which Kafka cannot have", .0.escape_debug())]
    TopicName(String),
    #[error("its partition would be `{}`, which is no number", .0.escape_debug())]
    Partition(String),
}

/// Whether Kafka can have a topic of this name.
pub(crate) fn is_topic_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(is_legal)
}

/// Whether this is the number of a partition.
pub(crate) fn is_partition(text: &str) -> bool {
    partition(text).is_some()
}

fn partition(text: &str) -> Option<i32> {
    text.parse().ok().filter(|number| *number >= 0)
}

impl<'a> Record<'a> {
    /// The record of a message, without its value.
    pub(crate) fn of(
        target: &'a ForwardTarget,
        outgoing: &'a Outgoing,
        scratch: &'a mut Scratch,
    ) -> Result<Record<'a>, Inexpressible> {
        let facts = Facts::from(outgoing);
        let Scratch { topic, key, other } = scratch;
        let topic = rendered("topic", &target.topic, &facts, topic)?;
        if !is_topic_name(topic) {
            return Err(Inexpressible::TopicName(topic.to_owned()));
        }
        let key = match &target.key {
            Some(template) => rendered("key", template, &facts, key)?,
            None => outgoing.topic.as_str(),
        };
        let partition = match &target.partition {
            Some(template) => {
                let text = rendered("partition", template, &facts, other)?;
                Some(partition(text).ok_or_else(|| Inexpressible::Partition(text.to_owned()))?)
            }
            None => None,
        };
        let timestamp_millis = facts.timestamp_millis.and_then(|millis| i64::try_from(millis).ok());
        let mut headers = Headers::with_own(outgoing);
        for (name, template) in &target.headers {
            headers.add(name, rendered("header", template, &facts, other)?.as_bytes());
        }
        let bytes = key.len() + headers.bytes;
        Ok(Record { topic, key, partition, timestamp_millis, headers: headers.list, bytes })
    }
}

/// A message as it would be produced.
pub(crate) fn rendered_message(target: &ForwardTarget, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
    let mut scratch = Scratch::default();
    let record = Record::of(target, outgoing, &mut scratch);
    let record =
        record.map_err(|error| Verdict::Never { label: "not_expressible", reason: error.to_string() })?;
    let mut fields = vec![("topic", record.topic.to_owned()), ("key", record.key.to_owned())];
    let by_key = || "by the key".to_owned();
    fields.push(("partition", record.partition.map_or_else(by_key, |partition| partition.to_string())));
    fields.extend(record.timestamp_millis.map(|millis| ("timestamp", millis.to_string())));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = record.headers.iter();
    let headers = headers.map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()));
    Ok(Rendered { fields, headers: headers.collect(), payload: outgoing.payload.clone() })
}

fn rendered<'a>(
    field: &'static str,
    template: &'a Template,
    facts: &Facts<'_>,
    scratch: &'a mut String,
) -> Result<&'a str, Inexpressible> {
    template.rendered(facts, scratch).map_err(|error| Inexpressible::Template { field, error })
}

struct Headers {
    list: OwnedHeaders,
    bytes: usize,
}

impl Headers {
    /// Those that every record has, and those of the message.
    fn with_own(outgoing: &Outgoing) -> Headers {
        let user = outgoing.properties.as_ref().map_or(&[][..], |properties| &properties.user);
        let mut headers = Headers { list: OwnedHeaders::new_with_capacity(user.len() + 5), bytes: 0 };
        headers.add(ID_PROPERTY, outgoing.id.as_bytes());
        headers.add(PATH_PROPERTY, outgoing.path.as_bytes());
        if let Some(properties) = &outgoing.properties {
            let content_type = properties.content_type.as_deref().map(str::as_bytes);
            let reply_to = properties.reply_to.as_deref().map(str::as_bytes);
            let correlation = properties.correlation.as_deref();
            for (name, value) in
                [(CONTENT_TYPE, content_type), (REPLY_TO, reply_to), (CORRELATION_ID, correlation)]
            {
                if let Some(value) = value {
                    headers.add(name, value);
                }
            }
        }
        for (name, value) in user {
            headers.add(&NAMES.of_property(name), value.as_bytes());
        }
        headers
    }

    fn add(&mut self, key: &str, value: &[u8]) {
        self.bytes += key.len() + value.len();
        let list = std::mem::take(&mut self.list);
        self.list = list.insert(Header { key, value: Some(value) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidegate_bridge::{Form, Vocabulary};
    use tidegate_message::{Properties, QoS, Topic};

    fn template(text: &str) -> Template {
        Template::parse(text, &Vocabulary::FORWARD, Form::Text).unwrap()
    }

    fn target(topic: &str) -> ForwardTarget {
        ForwardTarget { topic: template(topic), key: None, partition: None, headers: Vec::new() }
    }

    fn outgoing(topic: &str, user: &[(&str, &str)]) -> Outgoing {
        let user = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let properties =
            Properties { content_type: Some("text/plain".into()), user, ..Properties::default() };
        Outgoing {
            lane: 0,
            ticket: 1,
            topic: Topic::parse(topic.as_bytes()).unwrap(),
            payload: Bytes::from_static(b"21"),
            original: Bytes::from_static(b"21"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Some(Box::new(properties)),
            expires_at: None,
            id: "edge-1/7/central.0/42".into(),
            path: "edge-1".into(),
            is_repeated: false,
            publisher: None,
        }
    }

    #[test]
    fn headers_keep_their_order_and_their_duplicates() {
        let target = ForwardTarget {
            headers: vec![("level".to_owned(), template("{topic[1]}"))],
            partition: Some(template("{qos}")),
            ..target("{topic.dotted}")
        };
        let (outgoing, mut scratch) =
            (outgoing("plant/7", &[("b", "1"), ("a", "2"), ("b", "3")]), Scratch::default());
        let record = Record::of(&target, &outgoing, &mut scratch).unwrap();
        assert_eq!((record.topic, record.key, record.partition), ("plant.7", "plant/7", Some(1)));
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        let headers: Vec<_> =
            record.headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect();
        let expected = [
            ("tidegate-id", "edge-1/7/central.0/42"),
            ("tidegate-path", "edge-1"),
            ("content-type", "text/plain"),
            ("b", "1"),
            ("a", "2"),
            ("b", "3"),
            ("level", "7"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// A device cannot say where an answer goes, or what the payload is, in the words of the gateway.
    #[test]
    fn properties_that_are_called_like_headers_with_a_meaning_stand_behind_a_prefix() {
        let pairs = ["reply-to", "content-type", "correlation-id", "tidegate-id", "user-reply-to", "site"];
        let message = outgoing("plant/7", &pairs.map(|name| (name, "x")));
        let target = target("plant");
        let mut scratch = Scratch::default();
        let record = Record::of(&target, &message, &mut scratch).unwrap();
        let names: Vec<_> = record.headers.iter().map(|header| header.key.to_owned()).collect();
        let (own, user) = names.split_at(3);
        assert_eq!(own, ["tidegate-id", "tidegate-path", "content-type"]);
        let expected = ["reply-to", "content-type", "correlation-id", "tidegate-id", "user-reply-to"]
            .map(|name| format!("user-{name}"));
        assert_eq!(user[..5], expected);
        assert_eq!(user[5..], ["site"]);
    }

    #[test]
    fn what_kafka_cannot_have_is_refused_by_name() {
        let mut scratch = Scratch::default();
        let spaced = outgoing("a b", &[]);
        let refused = |target: &ForwardTarget, scratch: &mut Scratch| {
            Record::of(target, &spaced, scratch).err().unwrap()
        };
        assert_eq!(refused(&target("{topic}"), &mut scratch), Inexpressible::TopicName("a b".to_owned()));
        let partition = ForwardTarget { partition: Some(template("{topic}")), ..target("t") };
        assert_eq!(refused(&partition, &mut scratch), Inexpressible::Partition("a b".to_owned()));
        let absent = refused(&target("{property.site}"), &mut scratch);
        assert!(matches!(absent, Inexpressible::Template { field: "topic", .. }));
    }

    #[test]
    fn names_of_topics_are_those_of_kafka() {
        assert!(["a", "A.b_c-9", &"x".repeat(249)].into_iter().all(is_topic_name));
        assert!(!["", ".", "..", "a/b", "ä", &"x".repeat(250)].into_iter().any(is_topic_name));
        assert!(["0", "17"].into_iter().all(is_partition));
        assert!(!["", "-1", "x", "99999999999"].into_iter().any(is_partition));
    }
}
