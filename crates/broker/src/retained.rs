//! The last message of each topic that asked to be kept.
//!
//! A plain single-threaded set, ordered by topic: a message costs little beside itself, and a search can stop anywhere and go
//! on later ([`Search`]), whatever was stored or removed meanwhile. Limits are checked before anything is stored; an expired
//! message is never found, and all of them are removed when room is needed.

mod search;

pub(crate) use search::Search;

use crate::Limits;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Topic};

/// What a retained message costs beside [`Message::weight_bytes`]: two reference counts each for the message and its topic, what
/// the allocator adds to three pieces of memory, and its place in a tree that is half full at the worst.
const PLACE_BYTES: usize = 2 * 16 + 3 * 12 + 2 * size_of::<Kept>();

/// All retained messages.
#[derive(Debug)]
pub(crate) struct RetainedMessages {
    messages: BTreeSet<Kept>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
    /// No message expires before this moment, so that a search for expired ones before it finds nothing.
    first_expiry: Option<Instant>,
    /// How many messages were cleared, without those that were taken back.
    clears: u64,
}

/// One retained message; compared by its topic alone.
#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    /// The generation of the route that it was distributed by. Whoever had subscribed by then has it as a live message, and whoever
    /// subscribes later finds it here: nobody needs both.
    generation: u64,
}

/// What a message has changed here, to be taken back where the message is refused after all.
#[derive(Debug)]
pub(crate) struct Change {
    before: Option<Kept>,
    /// How many messages had been cleared with it.
    clears: u64,
}

impl Kept {
    fn topic(&self) -> &str {
        self.message.topic.as_str()
    }

    fn weight_bytes(&self) -> usize {
        weight_bytes(&self.message)
    }
}

fn weight_bytes(message: &Message) -> usize {
    message.weight_bytes() + PLACE_BYTES
}

impl Borrow<str> for Kept {
    fn borrow(&self) -> &str {
        self.topic()
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Kept) -> Ordering {
        self.topic().cmp(other.topic())
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Kept) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.topic() == other.topic()
    }
}

impl Eq for Kept {}

/// The limits of retained messages are reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl RetainedMessages {
    pub(crate) fn new(limits: &Limits) -> RetainedMessages {
        RetainedMessages {
            messages: BTreeSet::new(),
            bytes: 0,
            count_max: limits.retained_messages,
            bytes_max: limits.retained_bytes,
            first_expiry: None,
            clears: 0,
        }
    }

    /// Puts other limits in place of these. What is retained already stays.
    pub(crate) fn limit(&mut self, limits: &Limits) {
        (self.count_max, self.bytes_max) = (limits.retained_messages, limits.retained_bytes);
    }

    /// How many messages are retained, and their weight in bytes with that of the set.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// Keeps a message, distributed by a route of this generation, in place of the topic's old one; an empty payload only removes the
    /// old one ([MQTT-3.3.1-6]).
    pub(crate) fn store(
        &mut self,
        message: &Arc<Message>,
        generation: u64,
        now: Instant,
    ) -> Result<Change, Full> {
        let before = if message.payload.is_empty() {
            self.clears += 1;
            self.remove(&message.topic)
        } else {
            if !self.has_room(message) {
                self.remove_expired(now);
                if !self.has_room(message) {
                    return Err(Full);
                }
            }
            self.keep(Kept { message: message.clone(), generation })
        };
        Ok(Change { before, clears: self.clears })
    }

    /// Puts back what stood in a message's place, unless something else has changed there since.
    pub(crate) fn take_back(&mut self, message: &Arc<Message>, change: Change) {
        let is_unchanged = match self.messages.get(message.topic.as_str()) {
            Some(kept) => Arc::ptr_eq(&kept.message, message),
            None => message.payload.is_empty() && self.clears == change.clears,
        };
        if is_unchanged {
            // A clear that is taken back was none, so that the one before it can be taken back as well.
            self.clears -= u64::from(message.payload.is_empty());
            self.remove(&message.topic);
            drop(change.before.and_then(|before| self.keep(before)));
        }
    }

    /// Puts a message into its topic's place. Returns what stood there.
    fn keep(&mut self, kept: Kept) -> Option<Kept> {
        self.first_expiry = earlier(self.first_expiry, kept.message.expires_at);
        self.bytes += kept.weight_bytes();
        let before = self.messages.replace(kept);
        self.bytes -= before.as_ref().map_or(0, Kept::weight_bytes);
        before
    }

    fn has_room(&self, message: &Message) -> bool {
        let fits = |count: usize, bytes: usize| {
            self.messages.len() - count < self.count_max
                && self.bytes - bytes + weight_bytes(message) <= self.bytes_max
        };
        let old = || self.messages.get(message.topic.as_str());
        fits(0, 0) || old().is_some_and(|old| fits(1, old.weight_bytes()))
    }

    fn remove(&mut self, topic: &Topic) -> Option<Kept> {
        let old = self.messages.take(topic.as_str());
        self.bytes -= old.as_ref().map_or(0, Kept::weight_bytes);
        old
    }

    /// Looks at every message, and so only when one may have expired: at the limit each message that finds no room asks.
    fn remove_expired(&mut self, now: Instant) {
        if self.first_expiry.is_none_or(|first| now < first) {
            return;
        }
        (self.first_expiry, self.bytes) = (None, 0);
        self.messages.retain(|kept| {
            let is_alive = !kept.message.is_expired(now);
            if is_alive {
                self.first_expiry = earlier(self.first_expiry, kept.message.expires_at);
                self.bytes += kept.weight_bytes();
            }
            is_alive
        });
    }
}

fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    left.into_iter().chain(right).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use tidegate_message::{Origin, QoS, TopicFilter};

    fn message(topic: &str, payload: &str, expires_at: Option<Instant>) -> Arc<Message> {
        Arc::new(Message {
            topic: Topic::parse(topic.as_bytes()).unwrap(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: None,
            expires_at,
            origin: Origin(0),
        })
    }

    fn matching(retained: &RetainedMessages, filter: &str, now: Instant) -> Vec<String> {
        let filter = TopicFilter::parse(filter.as_bytes()).unwrap();
        let found = retained.find(&mut retained.search(&filter, u64::MAX), usize::MAX, now);
        found.iter().map(|message| message.topic.to_string()).collect()
    }

    /// A batch that is refused at its end is undone from its end: several messages that it has cleared come back.
    #[test]
    fn clears_that_are_taken_back_restore_what_they_have_cleared() {
        let (mut retained, now) = (RetainedMessages::new(&Limits::default()), Instant::now());
        for topic in ["a", "b"] {
            retained.store(&message(topic, "1", None), 1, now).unwrap();
        }
        let clears = ["a", "b"].map(|topic| message(topic, "", None));
        let changes = clears.clone().map(|clear| retained.store(&clear, 1, now).unwrap());
        for (clear, change) in clears.iter().zip(changes).rev() {
            retained.take_back(clear, change);
        }
        assert_eq!(matching(&retained, "#", now), ["a", "b"]);
    }

    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.1.1/3.3.1-10] [MQTT-3.1.1/3.3.1-11]
    #[test]
    fn keeps_the_last_and_forgets_on_an_empty_payload() {
        let now = Instant::now();
        let mut retained = RetainedMessages::new(&Limits::default());
        for payload in ["1", "22"] {
            retained.store(&message("a/b", payload, None), 1, now).unwrap();
        }
        let filter = TopicFilter::parse(b"a/b").unwrap();
        assert_eq!(retained.find(&mut retained.search(&filter, u64::MAX), 9, now)[0].payload, "22");
        retained.store(&message("a/b", "", None), 1, now).unwrap();
        assert_eq!(retained.size(), (0, 0));
    }

    /// [MQTT-4.7.2-1] [MQTT-3.1.1/4.7.2-1]
    #[test]
    fn wildcards_select_as_in_the_subscription_tree() {
        let now = Instant::now();
        let mut retained = RetainedMessages::new(&Limits::default());
        for topic in ["a", "a/b", "a/b/c", "b", "$SYS/x"] {
            retained.store(&message(topic, "x", None), 1, now).unwrap();
        }
        assert_eq!(matching(&retained, "a/#", now), ["a", "a/b", "a/b/c"]);
        assert_eq!(matching(&retained, "+", now), ["a", "b"]);
        assert_eq!(matching(&retained, "#", now), ["a", "a/b", "a/b/c", "b"]);
        assert_eq!(matching(&retained, "$SYS/#", now), ["$SYS/x"]);
        assert_eq!(matching(&retained, "#/#", now), ["a", "a/b", "a/b/c", "b"]);
    }

    /// MQTT 5.0 section 3.3.2.3.3
    #[test]
    fn expired_messages_are_not_found_and_make_room() {
        let now = Instant::now();
        let limits = Limits { retained_messages: 1, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        retained.store(&message("a", "x", Some(now + Duration::from_secs(1))), 1, now).unwrap();
        assert_eq!(retained.store(&message("b", "x", None), 1, now).unwrap_err(), Full);
        let later = now + Duration::from_secs(2);
        assert!(matching(&retained, "#", later).is_empty());
        retained.store(&message("b", "x", None), 1, later).unwrap();
        assert_eq!(matching(&retained, "#", later), ["b"]);
    }

    /// MQTT 5.0 section 3.3.2.3.3: what expires later is still found when its time has come.
    #[test]
    fn room_is_made_each_time_something_has_expired() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let limits = Limits { retained_messages: 2, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        retained.store(&message("a", "x", Some(now + 2 * second)), 1, now).unwrap();
        retained.store(&message("b", "x", Some(now + second)), 1, now).unwrap();
        assert_eq!(retained.store(&message("c", "x", None), 1, now).unwrap_err(), Full);
        retained.store(&message("c", "x", None), 1, now + second).unwrap();
        assert_eq!(retained.store(&message("d", "x", None), 1, now + second).unwrap_err(), Full);
        retained.store(&message("d", "x", None), 1, now + 2 * second).unwrap();
        assert_eq!((retained.size().0, retained.first_expiry), (2, None));
    }

    /// Short messages cost more than their bytes, and the limit is one of memory.
    #[test]
    fn what_a_message_costs_beside_its_bytes_counts() {
        let now = Instant::now();
        let limits = Limits { retained_bytes: 100_000, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        let topic = |number: usize| format!("t/{number}");
        let kept = (0..1000)
            .take_while(|number| retained.store(&message(&topic(*number), "x", None), 1, now).is_ok());
        let least = size_of::<Message>() + 2 * 16 + 3 * 8 + size_of::<Kept>();
        assert!(kept.count() * least <= limits.retained_bytes);
        assert!(retained.size().1 <= limits.retained_bytes);
        retained.store(&message(&topic(0), "y", None), 1, now).unwrap();
    }

    #[test]
    fn replacing_at_the_limit_is_allowed() {
        let now = Instant::now();
        let limits = Limits { retained_messages: 1, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        retained.store(&message("a", "x", None), 1, now).unwrap();
        assert!(retained.store(&message("a", "y", None), 1, now).is_ok());
    }
}
