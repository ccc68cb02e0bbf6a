//! What is known of a message that crosses a bridge: what templates ask for and envelopes hold.
//!
//! One form for both directions. What is not known, or has no meaning where the message comes from, is `None`.

use crate::id::ID_PROPERTY;
use crate::path::PATH_PROPERTY;
use crate::upstream::{Incoming, Outgoing};
use std::time::Duration;
use tidegate_message::{Properties, QoS};

/// What is known of one message; borrowed, so that nothing is copied which no template asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts<'a> {
    /// The topic here, or the one at the upstream for a message that comes from there; empty where there is none.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// What it carries beside the payload.
    pub properties: Option<&'a Properties>,
    /// The level at which it was published.
    pub qos: QoS,
    /// Whether its publisher asked to retain it.
    pub retain: bool,
    /// Who published it.
    pub client_id: Option<&'a str>,
    /// As whom; an anonymous client is nobody.
    pub user: Option<&'a str>,
    /// When it was published, in milliseconds since 1970 (UTC).
    pub timestamp_millis: Option<u64>,
    /// The node on which it was published; in the receiving direction this one, unless an envelope says otherwise.
    pub node: Option<&'a str>,
    /// Its stable id, or the id that its publisher at the upstream gave it.
    pub id: Option<&'a str>,
    /// What is left of its lifetime, in milliseconds.
    pub expires_in_millis: Option<u64>,
    /// Where it comes from at the upstream, by the names of the words that stand for it in templates: `routing_key`, `exchange`,
    /// `queue`, `key`, `partition`, `offset`.
    pub place: &'a [(&'static str, String)],
}

/// Whether a user property is one that bridges write themselves, for each hop anew.
pub(crate) fn is_travel_property(name: &str) -> bool {
    name == ID_PROPERTY || name == PATH_PROPERTY
}

impl<'a> Facts<'a> {
    /// The value of the first user property of this name.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        let pairs = self.properties.map_or(&[][..], |properties| &properties.user);
        pairs.iter().find(|(key, _)| **key == *name).map(|(_, value)| &**value)
    }

    /// The user properties but for those that bridges write themselves.
    pub fn travelling(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = self.properties.map_or(&[][..], |properties| &properties.user);
        pairs.iter().map(|(name, value)| (&**name, &**value)).filter(|(name, _)| !is_travel_property(name))
    }

    /// Where it comes from at the upstream, by the name of a word.
    pub fn place(&self, name: &str) -> Option<&'a str> {
        self.place.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The MIME type of the payload.
    pub fn content_type(&self) -> Option<&'a str> {
        self.properties?.content_type.as_deref()
    }
}

impl<'a> From<&'a Outgoing> for Facts<'a> {
    /// The payload is that of the message, and the content type that of what is sent. What is left of its lifetime is not known: that depends on
    /// when it is sent.
    fn from(outgoing: &'a Outgoing) -> Facts<'a> {
        let publisher = outgoing.publisher.as_deref();
        Facts {
            topic: outgoing.topic.as_str(),
            payload: &outgoing.original,
            properties: outgoing.properties.as_deref(),
            qos: outgoing.qos,
            retain: outgoing.retain,
            client_id: publisher.and_then(|publisher| publisher.client_id.as_deref()),
            user: publisher.and_then(|publisher| publisher.user.as_deref()),
            timestamp_millis: publisher.map(|publisher| publisher.published_at_millis),
            // An id that this gateway has made need not be read to the end.
            node: outgoing.id.split_once('/').map(|(node, _)| node),
            id: Some(&outgoing.id),
            ..Facts::default()
        }
    }
}

impl<'a> From<&'a Incoming> for Facts<'a> {
    fn from(incoming: &'a Incoming) -> Facts<'a> {
        let facts = Facts {
            payload: &incoming.payload,
            properties: incoming.properties.as_deref(),
            qos: incoming.qos,
            retain: incoming.retain,
            expires_in_millis: incoming.expires_in.map(millis),
            id: incoming.id.as_deref(),
            place: &incoming.place,
            ..Facts::default()
        };
        Facts {
            topic: facts.place("topic").unwrap_or_default(),
            user: facts.place("user"),
            timestamp_millis: facts.place("timestamp").and_then(|millis| millis.parse().ok()),
            // An id that no gateway has given is none to recognise repetitions by, but one to be told.
            id: facts.id.or(facts.place("id")),
            ..facts
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use tidegate_message::{Publisher, Topic};

    #[test]
    fn a_message_on_its_way_out_is_known_by_its_own_payload_and_its_id() {
        let outgoing = Outgoing {
            lane: 0,
            ticket: 1,
            topic: Topic::parse(b"plant/7").unwrap(),
            payload: Bytes::from_static(b"{\"payload\": \"21\"}"),
            original: Bytes::from_static(b"21"),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: None,
            expires_at: None,
            publisher: Some(Box::new(Publisher {
                client_id: Some("pump-7".into()),
                user: None,
                published_at_millis: 1_795_311_000_123,
                taken_at_millis: 5_000,
            })),
            id: Arc::from("edge-1/1f/central/42"),
            path: Arc::from("edge-1"),
            is_repeated: false,
        };
        let facts = Facts::from(&outgoing);
        assert_eq!((facts.topic, facts.payload, facts.retain), ("plant/7", &b"21"[..], true));
        assert_eq!((facts.node, facts.id), (Some("edge-1"), Some("edge-1/1f/central/42")));
        assert_eq!((facts.client_id, facts.user), (Some("pump-7"), None));
        assert_eq!(facts.timestamp_millis, Some(1_795_311_000_123));
    }

    #[test]
    fn a_message_on_its_way_in_is_known_by_its_place() {
        let incoming = Incoming {
            lane: 0,
            ticket: 1,
            place: [
                ("topic", "plant.state"),
                ("key", "k"),
                ("user", "scada"),
                ("timestamp", "5"),
                ("id", "c-17"),
            ]
            .map(|(name, value)| (name, value.to_owned()))
            .into(),
            payload: Bytes::from_static(b"21"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_in: None,
            id: Some("edge-1/1f/central/42".into()),
            path: None,
        };
        let facts = Facts::from(&incoming);
        assert_eq!((facts.topic, facts.place("key"), facts.place("queue")), ("plant.state", Some("k"), None));
        assert_eq!((facts.payload, facts.id), (&b"21"[..], Some("edge-1/1f/central/42")));
        assert_eq!((facts.user, facts.timestamp_millis), (Some("scada"), Some(5)));
        let without_stable_id = Incoming { id: None, ..incoming };
        assert_eq!(Facts::from(&without_stable_id).id, Some("c-17"));
    }

    #[test]
    fn what_bridges_write_themselves_does_not_travel_in_an_envelope() {
        let user = [("site", "a"), (PATH_PROPERTY, "x;via=y"), (ID_PROPERTY, "z"), ("site", "b")];
        let user = user.map(|(name, value)| (name.into(), value.into())).into();
        let properties = Properties { user, ..Properties::default() };
        let facts = Facts { properties: Some(&properties), ..Facts::default() };
        assert_eq!(facts.travelling().collect::<Vec<_>>(), [("site", "a"), ("site", "b")]);
        assert_eq!(facts.property("site"), Some("a"));
    }
}
