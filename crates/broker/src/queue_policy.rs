//! What an operator lays down for named queues: how long and how much waits, how often it is delivered, and where it goes in the end.
//!
//! Policies are looked up by the queue's topic, when it is made and when they change. What they say is done in `shard/upkeep.rs` and
//! `shard/burying.rs`.

use crate::Overflow;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_message::{Topic, TopicFilter};

/// Deliveries of one message, where no policy says how many.
const DELIVERY_LIMIT: u32 = 20;
/// How long a queue stands that nobody uses, where no policy says it.
const EXPIRES: Duration = Duration::from_secs(5 * 60);

/// What happens when a named queue is full and one more message arrives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueOverflow {
    /// The message is refused, and its publisher is told.
    Reject,
    /// The message that has waited longest makes room for it.
    DropOldest,
}

/// What holds for the named queues that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePolicy {
    /// The queues, as filters of their topics (`$queue/orders/#`).
    pub queues: Vec<TopicFilter>,
    /// How long a message waits at the most; no longer than its own expiry where it has one.
    pub message_ttl: Option<Duration>,
    /// Messages that may wait in one queue; [`crate::Limits::queued_messages`] where nothing is said.
    pub max_messages: Option<usize>,
    /// Bytes that may wait in one queue, headers included; [`crate::Limits::queued_bytes`] where nothing is said.
    pub max_bytes: Option<usize>,
    /// What happens when the queue is full.
    pub overflow: QueueOverflow,
    /// Deliveries of one message that may come back; at least 1. What comes back after that many is dead.
    pub delivery_limit: u32,
    /// Where messages are published that have died in the queue: the topic of another queue, or any other one. They are dropped where there
    /// is nothing.
    pub dead_letter: Option<Topic>,
    /// How long a queue stands that is empty, has no consumer and is not used.
    pub expires: Duration,
}

impl Default for QueuePolicy {
    fn default() -> QueuePolicy {
        QueuePolicy {
            queues: Vec::new(),
            message_ttl: None,
            max_messages: None,
            max_bytes: None,
            overflow: QueueOverflow::Reject,
            delivery_limit: DELIVERY_LIMIT,
            dead_letter: None,
            expires: EXPIRES,
        }
    }
}

/// The policies; the first one that is about a queue counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueuePolicies(pub Vec<QueuePolicy>);

impl QueuePolicies {
    /// What holds for the queue of this topic.
    pub(crate) fn of(&self, topic: &Topic) -> QueuePolicy {
        let is_about = |policy: &&QueuePolicy| policy.queues.iter().any(|filter| filter.matches(topic));
        self.0.iter().find(is_about).cloned().unwrap_or_default()
    }
}

/// How much may wait in the queue of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// What happens beyond that.
    pub(crate) overflow: Overflow,
}

impl Bounds {
    pub(crate) fn drops_oldest(&self) -> bool {
        self.overflow == Overflow::DropOldest
    }
}

/// The policy in force for one queue, in a form that is read for each message without a lock.
#[derive(Debug)]
pub(crate) struct Terms {
    ttl_millis: AtomicU64,
    messages_max: AtomicUsize,
    bytes_max: AtomicUsize,
    drops_oldest: AtomicBool,
    delivery_limit: AtomicU32,
    expires_millis: AtomicU64,
    dead_letter: Mutex<Option<Topic>>,
}

/// What stands for a number that is not set.
const UNSET: u64 = u64::MAX;

impl Terms {
    pub(crate) fn new(policy: &QueuePolicy) -> Terms {
        let terms = Terms {
            ttl_millis: AtomicU64::new(0),
            messages_max: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(0),
            drops_oldest: AtomicBool::new(false),
            delivery_limit: AtomicU32::new(0),
            expires_millis: AtomicU64::new(0),
            dead_letter: Mutex::default(),
        };
        terms.replace(policy);
        terms
    }

    /// Puts another policy in force. What waits already keeps the time that it was given.
    pub(crate) fn replace(&self, policy: &QueuePolicy) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(UNSET - 1);
        self.ttl_millis.store(policy.message_ttl.map_or(UNSET, millis), Ordering::Relaxed);
        self.messages_max.store(policy.max_messages.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.bytes_max.store(policy.max_bytes.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.drops_oldest.store(policy.overflow == QueueOverflow::DropOldest, Ordering::Relaxed);
        self.delivery_limit.store(policy.delivery_limit, Ordering::Relaxed);
        self.expires_millis.store(millis(policy.expires), Ordering::Relaxed);
        *self.dead_letter.lock() = policy.dead_letter.clone();
    }

    pub(crate) fn message_ttl(&self) -> Option<Duration> {
        let millis = self.ttl_millis.load(Ordering::Relaxed);
        (millis != UNSET).then(|| Duration::from_millis(millis))
    }

    /// How much may wait, where queues without a policy may hold so much.
    pub(crate) fn bounds(&self, messages: usize, bytes: usize) -> Bounds {
        let or = |max: &AtomicUsize, default: usize| match max.load(Ordering::Relaxed) {
            usize::MAX => default,
            max => max,
        };
        Bounds {
            messages: or(&self.messages_max, messages),
            bytes: or(&self.bytes_max, bytes),
            overflow: match self.drops_oldest.load(Ordering::Relaxed) {
                true => Overflow::DropOldest,
                false => Overflow::DropNewest,
            },
        }
    }

    pub(crate) fn delivery_limit(&self) -> u32 {
        self.delivery_limit.load(Ordering::Relaxed)
    }

    pub(crate) fn expires(&self) -> Duration {
        Duration::from_millis(self.expires_millis.load(Ordering::Relaxed))
    }

    pub(crate) fn dead_letter(&self) -> Option<Topic> {
        self.dead_letter.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(queues: &[&str], delivery_limit: u32) -> QueuePolicy {
        let filter = |text: &&str| TopicFilter::parse(text.as_bytes()).unwrap();
        QueuePolicy { queues: queues.iter().map(filter).collect(), delivery_limit, ..QueuePolicy::default() }
    }

    #[test]
    fn the_first_policy_that_is_about_a_queue_counts() {
        let policies = QueuePolicies(vec![
            policy(&["$queue/a/+", "$queue/b"], 1),
            policy(&["$queue/a/#"], 2),
            policy(&["$queue/+"], 3),
        ]);
        for (topic, limit) in
            [("a/x", 1), ("b", 1), ("a", 2), ("a/x/y", 2), ("$c", 3), ("c", 3), ("c/d", DELIVERY_LIMIT)]
        {
            let topic = Topic::parse(format!("$queue/{topic}").as_bytes()).unwrap();
            assert_eq!(policies.of(&topic).delivery_limit, limit, "{topic}");
        }
    }

    #[test]
    fn what_a_policy_leaves_open_is_the_limit_of_all_queues() {
        let terms = Terms::new(&QueuePolicy { max_messages: Some(5), ..QueuePolicy::default() });
        assert_eq!(terms.bounds(10, 20), Bounds { messages: 5, bytes: 20, overflow: Overflow::DropNewest });
        assert_eq!((terms.message_ttl(), terms.expires()), (None, EXPIRES));
        let ttl = Some(Duration::from_millis(1500));
        terms.replace(&QueuePolicy { message_ttl: ttl, ..QueuePolicy::default() });
        assert_eq!((terms.message_ttl(), terms.bounds(10, 20).messages), (ttl, 10));
    }
}
