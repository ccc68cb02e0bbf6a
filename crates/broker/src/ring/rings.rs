//! Which rings there are, which topics belong to each, and what a token is worth.
//!
//! The first ring decides that has a topic, so a topic is in one ring at most. A filter can be followed where all of its topics are in the
//! same ring: one filter of the ring selects them all, and none of a ring in front of it selects any.

use super::{Ring, RingSize};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_message::{Topic, TopicFilter};
use tidegate_protocol::ResumeToken;

/// A replay ring as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingOptions {
    /// Which topics belong to it, unless a ring in front of it has them. `#` only at the end; nothing that begins with `$`.
    pub topics: Vec<TopicFilter>,
    /// Messages that it holds; with one more the oldest goes.
    pub messages_max: usize,
    /// Bytes that it holds, headers included; with more the oldest go.
    pub bytes_max: usize,
}

impl RingOptions {
    fn size(&self) -> RingSize {
        RingSize { messages_max: self.messages_max, bytes_max: self.bytes_max }
    }
}

/// All rings, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Rings {
    /// Random, so that a token of another run of the gateway is told from one of this.
    epoch: u64,
    next_id: AtomicU64,
    rings: parking_lot::RwLock<Vec<Configured>>,
}

/// What all rings hold together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RingSizes {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone)]
struct Configured {
    ring: Arc<Ring>,
    domain: Domain,
}

/// Which topics a ring has. Another domain is another ring: its messages of before say nothing about the topics that came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Domain {
    topics: Vec<TopicFilter>,
    /// What rings in front of it take away.
    without: Vec<TopicFilter>,
}

impl Rings {
    pub(crate) fn new() -> Rings {
        // Random keys without a dependency: the standard library makes them for its maps.
        let epoch = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Rings { epoch, next_id: AtomicU64::new(1), rings: parking_lot::RwLock::default() }
    }

    /// Puts other rings in place of these. A ring that has the same topics as before keeps what it holds.
    pub(crate) fn replace(&self, options: &[RingOptions]) {
        let mut rings = self.rings.write();
        let mut before = std::mem::take(&mut *rings);
        for (at, ring) in options.iter().enumerate() {
            let domain = Domain::new(ring, options.get(..at).unwrap_or_default());
            let known = before.iter().position(|known| known.domain == domain);
            let kept = known.map(|known| before.swap_remove(known).ring);
            if let Some(kept) = &kept {
                kept.resize(ring.size());
            }
            let new = || Arc::new(Ring::new(self.next_id.fetch_add(1, Ordering::Relaxed), ring.size()));
            rings.push(Configured { ring: kept.unwrap_or_else(new), domain });
        }
    }

    /// The ring that a topic belongs to.
    pub(crate) fn of_topic(&self, topic: &Topic) -> Option<Arc<Ring>> {
        if topic.is_reserved() {
            return None;
        }
        let rings = self.rings.read();
        let first = rings.iter().find(|configured| configured.domain.selects(topic));
        first.map(|configured| configured.ring.clone())
    }

    /// The ring that all topics of a filter belong to.
    pub(crate) fn of_filter(&self, filter: &TopicFilter) -> Option<Arc<Ring>> {
        let rings = self.rings.read();
        let covering = rings.iter().find(|configured| configured.domain.covers(filter));
        covering.map(|configured| configured.ring.clone())
    }

    /// Whether this ring is still one of them.
    pub(crate) fn are_with(&self, ring: &Arc<Ring>) -> bool {
        self.rings.read().iter().any(|configured| Arc::ptr_eq(&configured.ring, ring))
    }

    /// Names a place in a ring.
    pub(crate) fn token(&self, ring: &Ring, position: u64, state_before: Option<u64>) -> ResumeToken {
        ResumeToken { epoch: self.epoch, ring: ring.id, position, state_before }
    }

    /// What a client gave back, where it names a place in this ring behind which nothing is gone.
    pub(crate) fn read_token(&self, ring: &Ring, text: &str) -> Option<ResumeToken> {
        let token = ResumeToken::parse(text)?;
        let is_known = (token.epoch, token.ring) == (self.epoch, ring.id);
        (is_known && ring.has_everything_behind(token.position)).then_some(token)
    }

    /// What all rings hold together.
    pub(crate) fn sizes(&self) -> RingSizes {
        let rings = self.rings.read();
        rings.iter().map(|configured| configured.ring.len_and_bytes()).fold(
            RingSizes::default(),
            |sum, (messages, bytes)| RingSizes {
                messages: sum.messages + messages,
                bytes: sum.bytes + bytes,
            },
        )
    }
}

impl Domain {
    fn new(ring: &RingOptions, in_front: &[RingOptions]) -> Domain {
        let meets = |other: &&TopicFilter| ring.topics.iter().any(|filter| filter.overlaps(other));
        let without = in_front.iter().flat_map(|other| &other.topics).filter(meets).cloned().collect();
        Domain { topics: ring.topics.clone(), without }
    }

    fn selects(&self, topic: &Topic) -> bool {
        // What is in front was asked first.
        self.topics.iter().any(|filter| filter.matches(topic))
    }

    fn covers(&self, filter: &TopicFilter) -> bool {
        self.topics.iter().any(|own| own.covers(filter))
            && !self.without.iter().any(|other| other.overlaps(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidegate_message::{Message, Origin, QoS};

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.as_bytes()).unwrap()
    }

    fn options(topics: &[&str], messages_max: usize) -> RingOptions {
        let topics = topics.iter().map(|text| filter(text)).collect();
        RingOptions { topics, messages_max, bytes_max: 1 << 20 }
    }

    fn rings(options: &[RingOptions]) -> Rings {
        let rings = Rings::new();
        rings.replace(options);
        rings
    }

    fn topic(text: &str) -> Topic {
        Topic::parse(text.as_bytes()).unwrap()
    }

    fn ring_of(rings: &Rings, text: &str) -> Option<u64> {
        rings.of_topic(&topic(text)).map(|ring| ring.id)
    }

    fn followed(rings: &Rings, text: &str) -> Option<u64> {
        rings.of_filter(&filter(text)).map(|ring| ring.id)
    }

    fn append(ring: &Ring) {
        let message = Message {
            topic: topic("t"),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: None,
            origin: Origin(0),
            publisher: None,
        };
        ring.append(&Arc::new(message));
    }

    #[test]
    fn the_first_ring_that_has_a_topic_decides() {
        let rings = rings(&[options(&["plant/1/#"], 9), options(&["plant/#", "fleet/+"], 9)]);
        assert_eq!((ring_of(&rings, "plant/1/a"), ring_of(&rings, "plant/2/a")), (Some(1), Some(2)));
        assert_eq!((ring_of(&rings, "fleet/a"), ring_of(&rings, "fleet/a/b")), (Some(2), None));
        assert_eq!(ring_of(&rings, "other"), None);
    }

    #[test]
    fn the_gateways_own_topics_are_in_no_ring() {
        let rings = rings(&[options(&["#", "$SYS/#", "$queue/#"], 9)]);
        assert_eq!((ring_of(&rings, "$SYS/uptime"), ring_of(&rings, "$queue/a")), (None, None));
        assert_eq!(ring_of(&rings, "a"), Some(1));
    }

    #[test]
    fn a_filter_is_followed_where_one_ring_has_all_its_topics() {
        let rings = rings(&[options(&["plant/1/#"], 9), options(&["plant/#", "fleet/+"], 9)]);
        assert_eq!((followed(&rings, "plant/1/+"), followed(&rings, "plant/2/#")), (Some(1), Some(2)));
        assert_eq!(followed(&rings, "fleet/a"), Some(2));
        for text in ["plant/#", "plant/+/a", "#", "fleet/#", "+/a", "other", "$SYS/#"] {
            assert_eq!(followed(&rings, text), None, "{text}");
        }
    }

    #[test]
    fn a_ring_with_the_same_topics_stays_with_what_it_holds() {
        let rings = rings(&[options(&["a/#"], 9), options(&["b/#"], 9)]);
        let (first, second) =
            (rings.of_topic(&topic("a/x")).unwrap(), rings.of_topic(&topic("b/x")).unwrap());
        (0..5).for_each(|_| append(&second));
        rings.replace(&[options(&["b/#"], 3), options(&["c/#"], 9)]);
        assert!(!rings.are_with(&first) && rings.are_with(&second));
        assert_eq!(
            (ring_of(&rings, "b/x"), ring_of(&rings, "c/x"), ring_of(&rings, "a/x")),
            (Some(2), Some(3), None)
        );
        assert_eq!(rings.sizes().messages, 3);
        rings.replace(&[options(&["a/#"], 9)]);
        assert_eq!(ring_of(&rings, "a/x"), Some(4), "what was published meanwhile is in no ring");
    }

    #[test]
    fn a_ring_that_loses_topics_to_another_or_gets_some_is_another_ring() {
        let rings = rings(&[options(&["a/#"], 9)]);
        rings.replace(&[options(&["a/1"], 9), options(&["a/#"], 9)]);
        assert_eq!((ring_of(&rings, "a/1"), ring_of(&rings, "a/2")), (Some(2), Some(3)));
        rings.replace(&[options(&["b/1"], 9), options(&["a/1"], 9), options(&["a/#"], 9)]);
        assert_eq!((ring_of(&rings, "a/1"), ring_of(&rings, "a/2")), (Some(2), Some(3)));
        rings.replace(&[options(&["a/#"], 9)]);
        assert_eq!(ring_of(&rings, "a/2"), Some(5));
    }

    #[test]
    fn a_token_is_worth_something_while_everything_behind_it_is_there() {
        let rings = rings(&[options(&["a/#"], 2), options(&["b"], 2)]);
        let (ring, other) = (rings.of_topic(&topic("a/x")).unwrap(), rings.of_topic(&topic("b")).unwrap());
        let text = |position| rings.token(&ring, position, None).to_string();
        let at = |position| rings.read_token(&ring, &text(position)).map(|token| token.position);
        assert_eq!((at(0), at(1)), (Some(0), None), "a place that was never reached is forged");
        (0..3).for_each(|_| append(&ring));
        assert_eq!((at(0), at(1), at(3), at(4)), (None, Some(1), Some(3), None));
        assert_eq!(rings.read_token(&other, &text(0)), None);
        let elsewhere = ResumeToken { epoch: rings.epoch ^ 1, ..rings.token(&ring, 3, None) };
        assert_eq!(rings.read_token(&ring, &elsewhere.to_string()), None);
        assert_eq!(rings.read_token(&ring, "3"), None);
    }

    #[test]
    fn two_runs_have_two_epochs() {
        assert_ne!(Rings::new().epoch, Rings::new().epoch);
    }
}
