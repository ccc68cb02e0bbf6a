//! What is known of a message that crosses a bridge: what templates ask for and envelopes hold.
//!
//! One form for both directions. What is not known, or has no meaning where the message comes from, is `None`.

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
    /// Where it comes from at the upstream.
    pub place: Place<'a>,
}

/// Where at the upstream a message comes from, in the words of the upstream's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place<'a> {
    /// The routing key with which it was published.
    pub routing_key: Option<&'a str>,
    /// The exchange to which it was published; empty for the default exchange.
    pub exchange: Option<&'a str>,
    /// The queue from which it was taken.
    pub queue: Option<&'a str>,
    /// The key of the record.
    pub key: Option<&'a [u8]>,
    /// The partition of the record.
    pub partition: Option<i32>,
    /// The offset of the record within its partition.
    pub offset: Option<i64>,
}

impl<'a> Facts<'a> {
    /// The value of the first user property of this name.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        let pairs = self.properties.map_or(&[][..], |properties| &properties.user);
        pairs.iter().find(|(key, _)| **key == *name).map(|(_, value)| &**value)
    }

    /// The MIME type of the payload.
    pub fn content_type(&self) -> Option<&'a str> {
        self.properties?.content_type.as_deref()
    }
}
