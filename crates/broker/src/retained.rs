//! The last message of each topic that asked to be kept.
//!
//! A plain single-threaded tree of topic levels. Limits are checked before anything is stored; an expired message is
//! never found, and all of them are removed when room is needed.

use crate::Limits;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{FilterLevel, Message, Topic, TopicFilter};

const ROOT: usize = 0;
/// What a node costs: itself, its place among its parent's children, and its name twice. Topics of many levels that nobody else
/// uses can cost more in nodes than in messages.
const NODE_BYTES: usize = size_of::<Node>() + 2 * size_of::<(Box<str>, usize)>() + 32;

/// All retained messages.
#[derive(Debug)]
pub(crate) struct RetainedMessages {
    nodes: Slab<Node>,
    count: usize,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
    /// No message expires before this moment, so that a search for expired ones before it finds nothing.
    first_expiry: Option<Instant>,
}

#[derive(Debug, Default)]
struct Node {
    parent: usize,
    name: Box<str>,
    children: HashMap<Box<str>, usize, RandomState>,
    message: Option<Arc<Message>>,
}

/// The limits of retained messages are reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl RetainedMessages {
    pub(crate) fn new(limits: &Limits) -> RetainedMessages {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        RetainedMessages {
            nodes,
            count: 0,
            bytes: 0,
            count_max: limits.retained_messages,
            bytes_max: limits.retained_bytes,
            first_expiry: None,
        }
    }

    /// Puts other limits in place of these. What is retained already stays.
    pub(crate) fn limit(&mut self, limits: &Limits) {
        (self.count_max, self.bytes_max) = (limits.retained_messages, limits.retained_bytes);
    }

    /// How many messages are retained, and their weight in bytes with that of the tree.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.count, self.bytes + self.node_bytes(0))
    }

    /// What the tree weighs in bytes when it has so many more nodes.
    fn node_bytes(&self, more: usize) -> usize {
        (self.nodes.len() - 1 + more) * NODE_BYTES
    }

    /// Keeps a message in place of the topic's old one; an empty payload only removes the old one ([MQTT-3.3.1-6]).
    pub(crate) fn store(&mut self, message: &Arc<Message>, now: Instant) -> Result<(), Full> {
        if message.payload.is_empty() {
            self.remove(&message.topic);
            return Ok(());
        }
        if !self.has_room(message) {
            self.remove_expired(now);
            if !self.has_room(message) {
                return Err(Full);
            }
        }
        self.first_expiry = earlier(self.first_expiry, message.expires_at);
        let at = self.node_for(&message.topic);
        if let Some(node) = self.nodes.get_mut(at) {
            let old = node.message.replace(message.clone());
            self.count += usize::from(old.is_none());
            self.bytes += message.weight_bytes();
            self.bytes -= old.map_or(0, |old| old.weight_bytes());
        }
        Ok(())
    }

    fn has_room(&self, message: &Message) -> bool {
        let old = self.find(&message.topic).and_then(|at| self.nodes.get(at)?.message.as_ref());
        let (old_count, old_bytes) = old.map_or((0, 0), |old| (1, old.weight_bytes()));
        let bytes = self.bytes - old_bytes + message.weight_bytes();
        self.count - old_count < self.count_max
            && bytes + self.node_bytes(self.missing_nodes(&message.topic)) <= self.bytes_max
    }

    /// How many nodes a topic needs that are not there yet.
    fn missing_nodes(&self, topic: &Topic) -> usize {
        let mut levels = topic.levels();
        let mut at = Some(ROOT);
        while let Some(level) = at.and_then(|_| levels.next()) {
            at = at.and_then(|at| self.nodes.get(at)?.children.get(level).copied());
            if at.is_none() {
                return 1 + levels.count();
            }
        }
        0
    }

    fn find(&self, topic: &Topic) -> Option<usize> {
        topic.levels().try_fold(ROOT, |at, level| self.nodes.get(at)?.children.get(level).copied())
    }

    fn node_for(&mut self, topic: &Topic) -> usize {
        let mut at = ROOT;
        for level in topic.levels() {
            at = match self.nodes.get(at).and_then(|node| node.children.get(level).copied()) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node { parent: at, name: level.into(), ..Node::default() });
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.children.insert(level.into(), child);
                    }
                    child
                }
            };
        }
        at
    }

    fn remove(&mut self, topic: &Topic) {
        let Some(at) = self.find(topic) else { return };
        if let Some(old) = self.nodes.get_mut(at).and_then(|node| node.message.take()) {
            self.count -= 1;
            self.bytes -= old.weight_bytes();
            self.prune(at);
        }
    }

    fn prune(&mut self, mut at: usize) {
        while at != ROOT
            && self.nodes.get(at).is_some_and(|node| node.message.is_none() && node.children.is_empty())
        {
            let node = self.nodes.remove(at);
            if let Some(parent) = self.nodes.get_mut(node.parent) {
                parent.children.remove(&node.name);
            }
            at = node.parent;
        }
    }

    /// Looks at every message, and so only when one may have expired: at the limit each message that finds no room asks.
    fn remove_expired(&mut self, now: Instant) {
        if self.first_expiry.is_none_or(|first| now < first) {
            return;
        }
        let messages = self.nodes.iter().filter_map(|(_, node)| node.message.as_ref());
        let expired: Vec<Topic> =
            messages.filter(|message| message.is_expired(now)).map(|message| message.topic.clone()).collect();
        expired.iter().for_each(|topic| self.remove(topic));
        let messages = self.nodes.iter().filter_map(|(_, node)| node.message.as_ref());
        self.first_expiry = messages.filter_map(|message| message.expires_at).min();
    }

    /// The messages whose topics the filter selects, expired ones left out.
    pub(crate) fn matching(&self, filter: &TopicFilter, now: Instant) -> Vec<Arc<Message>> {
        let levels: Vec<FilterLevel<'_>> = filter.levels().collect();
        let mut found = Vec::new();
        let mut waiting = vec![(ROOT, 0)];
        while let Some((at, depth)) = waiting.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            match levels.get(depth) {
                None => found.extend(node.message.iter().filter(|message| !message.is_expired(now)).cloned()),
                Some(FilterLevel::Name(name)) => {
                    waiting.extend(node.children.get(*name).map(|&child| (child, depth + 1)));
                }
                Some(FilterLevel::One) => waiting.extend(children(node, at).map(|child| (child, depth + 1))),
                Some(FilterLevel::Many) => {
                    waiting.push((at, depth + 1));
                    waiting.extend(children(node, at).map(|child| (child, depth)));
                }
            }
        }
        // `#` in the middle of a filter can reach a topic along several ways.
        if levels.iter().filter(|level| **level == FilterLevel::Many).count() > 1 {
            found.sort_by(|left, right| left.topic.cmp(&right.topic));
            found.dedup_by(|left, right| Arc::ptr_eq(left, right));
        }
        found
    }
}

fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    left.into_iter().chain(right).min()
}

/// The children that a wildcard sees: a wildcard at the front does not see reserved topics ([MQTT-4.7.2-1]).
fn children(node: &Node, at: usize) -> impl Iterator<Item = usize> {
    let visible = move |name: &str| at != ROOT || !name.starts_with('$');
    node.children.iter().filter(move |(name, _)| visible(name)).map(|(_, &child)| child)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use tidegate_message::{Origin, QoS};

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
        let mut topics: Vec<String> =
            retained.matching(&filter, now).iter().map(|message| message.topic.to_string()).collect();
        topics.sort();
        topics
    }

    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.1.1/3.3.1-10] [MQTT-3.1.1/3.3.1-11]
    #[test]
    fn keeps_the_last_and_forgets_on_an_empty_payload() {
        let now = Instant::now();
        let mut retained = RetainedMessages::new(&Limits::default());
        for payload in ["1", "22"] {
            retained.store(&message("a/b", payload, None), now).unwrap();
        }
        let filter = TopicFilter::parse(b"a/b").unwrap();
        assert_eq!(retained.matching(&filter, now)[0].payload, "22");
        retained.store(&message("a/b", "", None), now).unwrap();
        assert_eq!((retained.size(), retained.nodes.len()), ((0, 0), 1));
    }

    /// [MQTT-4.7.2-1] [MQTT-3.1.1/4.7.2-1]
    #[test]
    fn wildcards_select_as_in_the_subscription_tree() {
        let now = Instant::now();
        let mut retained = RetainedMessages::new(&Limits::default());
        for topic in ["a", "a/b", "a/b/c", "b", "$SYS/x"] {
            retained.store(&message(topic, "x", None), now).unwrap();
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
        retained.store(&message("a", "x", Some(now + Duration::from_secs(1))), now).unwrap();
        assert_eq!(retained.store(&message("b", "x", None), now), Err(Full));
        let later = now + Duration::from_secs(2);
        assert!(matching(&retained, "#", later).is_empty());
        retained.store(&message("b", "x", None), later).unwrap();
        assert_eq!(matching(&retained, "#", later), ["b"]);
    }

    /// MQTT 5.0 section 3.3.2.3.3: what expires later is still found when its time has come.
    #[test]
    fn room_is_made_each_time_something_has_expired() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let limits = Limits { retained_messages: 2, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        retained.store(&message("a", "x", Some(now + 2 * second)), now).unwrap();
        retained.store(&message("b", "x", Some(now + second)), now).unwrap();
        assert_eq!(retained.store(&message("c", "x", None), now), Err(Full));
        retained.store(&message("c", "x", None), now + second).unwrap();
        assert_eq!(retained.store(&message("d", "x", None), now + second), Err(Full));
        retained.store(&message("d", "x", None), now + 2 * second).unwrap();
        assert_eq!((retained.size().0, retained.first_expiry), (2, None));
    }

    /// A few bytes of topic can cost a hundred nodes; they count like the message.
    #[test]
    fn the_nodes_of_long_topics_count() {
        let now = Instant::now();
        let limits = Limits { retained_bytes: 100_000, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        let topic = |number: usize| format!("{number}/{}", "/".repeat(126));
        let kept =
            (0..1000).take_while(|number| retained.store(&message(&topic(*number), "x", None), now).is_ok());
        assert!(kept.count() * 127 * size_of::<Node>() <= limits.retained_bytes);
        assert!(retained.size().1 <= limits.retained_bytes);
        retained.store(&message(&topic(0), "y", None), now).unwrap();
    }

    #[test]
    fn replacing_at_the_limit_is_allowed() {
        let now = Instant::now();
        let limits = Limits { retained_messages: 1, ..Limits::default() };
        let mut retained = RetainedMessages::new(&limits);
        retained.store(&message("a", "x", None), now).unwrap();
        assert_eq!(retained.store(&message("a", "y", None), now), Ok(()));
    }
}
