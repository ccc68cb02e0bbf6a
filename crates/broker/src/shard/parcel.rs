//! Messages on their way to another worker, many in one piece of memory.
//!
//! A message for receivers at home elsewhere would cost an allocation, a reference count that two cores fight for, and a release on
//! another thread than its own. Small ones are copied one behind the other instead, with what the other worker needs to know of
//! each, and the topic once for a run of the same. Large ones travel as [`crate::mailbox::Letter::Deliver`].

use super::publication::Publication;
use std::num::NonZeroU64;
use std::time::Instant;
use tidegate_message::{Properties, QoS, Topic};
use tidegate_storage::Urgency;

/// A payload up to this size is copied rather than shared.
const PAYLOAD_MAX: usize = 2 << 10;
/// Above this a parcel is full, so that its reader gives memory back while it reads on.
const BYTES_FULL: usize = 64 << 10;

/// Small messages in the order in which they were published.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    topics: Vec<Topic>,
    /// All payloads, without anything between them.
    payloads: Vec<u8>,
    messages: Vec<Packed>,
    weight_bytes: usize,
}

/// One message without its payload.
#[derive(Debug)]
struct Packed {
    /// The place of its topic.
    topic: usize,
    payload_end: usize,
    properties: Option<Box<Properties>>,
    qos: QoS,
    retain: bool,
    expires_at: Option<Instant>,
    origin: u64,
    generation: u64,
    reserved: Option<NonZeroU64>,
}

impl Parcel {
    /// How many messages are in it.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// What it weighs in memory, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Whether a message should travel in a parcel: it is small, nothing is kept of it, and nobody has made one that can be shared, as is done
    /// where somebody wants to know who has published it.
    pub(super) fn suits(publication: &Publication<'_>) -> bool {
        let is_bare = publication.message.is_none() && publication.claims.is_none();
        publication.payload.len() <= PAYLOAD_MAX && is_bare
    }

    pub(super) fn is_full(&self) -> bool {
        self.weight_bytes >= BYTES_FULL
    }

    /// Copies a message into it.
    pub(super) fn push(&mut self, publication: &Publication<'_>) {
        if self.topics.last() != Some(publication.topic) {
            self.topics.push(publication.topic.clone());
            self.weight_bytes += size_of::<Topic>() + publication.topic.as_str().len();
        }
        let properties = publication.properties.cloned().map(Box::new);
        let properties_bytes =
            publication.properties.map_or(0, |properties| size_of::<Properties>() + properties.heap_bytes());
        self.weight_bytes += size_of::<Packed>() + publication.payload.len() + properties_bytes;
        self.payloads.extend_from_slice(publication.payload);
        self.messages.push(Packed {
            topic: self.topics.len() - 1,
            payload_end: self.payloads.len(),
            properties,
            qos: publication.qos,
            retain: publication.retain,
            expires_at: publication.expires_at,
            origin: publication.origin,
            generation: publication.generation,
            reserved: publication.reserved,
        });
    }

    /// The messages as they were put in.
    pub(super) fn publications(&self) -> impl Iterator<Item = Publication<'_>> {
        let starts = std::iter::once(0).chain(self.messages.iter().map(|packed| packed.payload_end));
        self.messages.iter().zip(starts).filter_map(|(packed, start)| {
            Some(Publication {
                topic: self.topics.get(packed.topic)?,
                payload: self.payloads.get(start..packed.payload_end)?,
                properties: packed.properties.as_deref(),
                qos: packed.qos,
                retain: packed.retain,
                expires_at: packed.expires_at,
                origin: packed.origin,
                generation: packed.generation,
                position: None,
                message: None,
                publisher: None,
                passage: None,
                is_promised: true,
                reserved: packed.reserved,
                claims: None,
                waits_for: Urgency::Lazy,
                retained: None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn topic(text: &str) -> Topic {
        Topic::parse(text.as_bytes()).unwrap()
    }

    fn publication<'a>(topic: &'a Topic, payload: &'a [u8], properties: &'a Properties) -> Publication<'a> {
        Publication {
            topic,
            payload,
            properties: Some(properties).filter(|properties| !properties.is_empty()),
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: Some(Instant::now() + Duration::from_secs(payload.len() as u64)),
            origin: 7,
            generation: payload.len() as u64,
            position: None,
            message: None,
            publisher: None,
            passage: None,
            is_promised: false,
            reserved: NonZeroU64::new(9),
            claims: None,
            waits_for: Urgency::Lazy,
            retained: None,
        }
    }

    #[test]
    fn what_is_taken_out_is_what_was_put_in() {
        let topics = ["a", "a", "b", "a"].map(topic);
        let payloads: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        let user = Properties { user: vec![("name".into(), "value".into())], ..Properties::default() };
        let properties = [Properties::default(), user.clone(), Properties::default(), user];
        let mut parcel = Parcel::default();
        for ((topic, payload), properties) in topics.iter().zip(payloads).zip(&properties) {
            let publication = publication(topic, payload, properties);
            assert!(Parcel::suits(&publication) && !parcel.is_full());
            parcel.push(&publication);
        }
        let out: Vec<_> = parcel.publications().collect();
        assert_eq!((out.len(), parcel.len(), parcel.topics.len()), (4, 4, 3));
        for (((out, topic), payload), properties) in out.iter().zip(&topics).zip(payloads).zip(&properties) {
            assert_eq!((out.topic, out.payload), (topic, payload));
            assert_eq!(out.properties.is_some(), !properties.is_empty());
            assert_eq!((out.qos, out.retain, out.origin), (QoS::AtLeastOnce, true, 7));
            assert_eq!(out.reserved, NonZeroU64::new(9));
            assert_eq!(out.generation, payload.len() as u64);
        }
    }

    /// What waits for another worker is bounded by its weight, so everything has to be in it.
    #[test]
    fn large_messages_do_not_travel_in_it_and_it_becomes_full() {
        let (topic, none) = (topic("a"), Properties::default());
        let large = vec![0; PAYLOAD_MAX + 1];
        assert!(!Parcel::suits(&publication(&topic, &large, &none)));
        let mut parcel = Parcel::default();
        while !parcel.is_full() {
            parcel.push(&publication(&topic, &large[1..], &none));
        }
        assert!(parcel.weight_bytes() >= BYTES_FULL && parcel.len() <= BYTES_FULL / PAYLOAD_MAX);
    }
}
