//! A message as it is kept: retained, queued, or on its way to another worker.
//!
//! A message that is only passing through is never built as a [`Message`]: the broker routes it from the publisher's read
//! buffer. So a `Message` owns everything that it holds and never pins a read buffer.

use crate::{Properties, QoS, Topic};
use bytes::Bytes;
use std::time::Instant;

/// Who published a message: a number that is unique while the process runs. Used for "no local" (MQTT 5.0 section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin(pub u64);

/// Who published a message, and when: kept with messages of which a receiver wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// What the client calls itself, which nobody has proven; nothing where it has no name.
    pub client_id: Option<Box<str>>,
    /// As whom it was let in; an anonymous client is nobody.
    pub user: Option<Box<str>>,
    /// When the gateway took the message, in milliseconds since 1970 (UTC) by its own clock.
    pub published_at_millis: u64,
    /// The same moment in the time that the gateway keeps for itself, whatever is done to its clock: for how long something has waited.
    pub taken_at_millis: u64,
}

impl Publisher {
    /// What it weighs in memory, in bytes.
    pub fn weight_bytes(&self) -> usize {
        let texts = [&self.client_id, &self.user].into_iter().flatten();
        size_of::<Publisher>() + texts.map(|text| text.len()).sum::<usize>()
    }
}

/// One message; immutable, shared as `Arc<Message>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// The application's bytes.
    pub payload: Bytes,
    /// The level at which it was published; a delivery never has a higher one.
    pub qos: QoS,
    /// Whether the publisher asked to retain it.
    pub retain: bool,
    /// What it carries beside the payload; nothing when all of it is empty.
    pub properties: Option<Box<Properties>>,
    /// The moment after which it must not be delivered any more.
    pub expires_at: Option<Instant>,
    /// Who published it.
    pub origin: Origin,
    /// Who that was in words, where somebody wants to know.
    pub publisher: Option<Box<Publisher>>,
}

impl Message {
    /// What the message weighs in memory, in bytes: the figure that queue and retained limits count.
    #[inline]
    pub fn weight_bytes(&self) -> usize {
        let properties = self.properties.as_ref();
        size_of::<Message>()
            + self.topic.as_str().len()
            + self.payload.len()
            + properties.map_or(0, |properties| size_of::<Properties>() + properties.heap_bytes())
            + self.publisher.as_ref().map_or(0, |publisher| publisher.weight_bytes())
    }

    /// Whether the message has outlived its expiry at `now`.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|deadline| deadline <= now)
    }
}
