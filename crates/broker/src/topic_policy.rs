//! What an operator lays down for topics: what an acknowledgement promises, how long messages live, and what a full disk does.
//!
//! The policy of a topic stands in its route, so that it is looked up when the route is, and for no message.

use std::sync::Arc;
use std::time::Duration;
use tidegate_message::{Topic, TopicFilter};
use tidegate_storage::Urgency;

/// What happens to a message that has to be kept when the disk is full, or its limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFull {
    /// It is refused, and its publisher is told.
    Reject,
    /// What has waited longest in the queues that are to keep it makes room for it.
    DropOldest,
    /// Of what waits in the queues that are to keep it, only the newest message of each topic stays, as far as their policies say the same.
    KeepLast,
}

/// What holds for the topics that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPolicy {
    /// The topics.
    pub topics: Vec<TopicFilter>,
    /// What has become of a message that outlives the process when its publisher is told that it was taken; [`Urgency::Lazy`] where it is
    /// told as soon as the message is routed. Messages that nobody keeps are acknowledged at once.
    pub acknowledge: Urgency,
    /// Whether its publisher is told only when everybody who passes it on has done so as well: each session that nothing but the disk bounds
    /// ([`tidegate_protocol::SessionLimits::Disk`]) and that keeps it has accepted it.
    pub awaits_forwards: bool,
    /// How long a message lives at the most; no longer than its own expiry where it has one.
    pub message_ttl: Option<Duration>,
    /// What happens when the disk is full.
    pub disk_full: DiskFull,
}

impl Default for TopicPolicy {
    fn default() -> TopicPolicy {
        TopicPolicy {
            topics: Vec::new(),
            acknowledge: Urgency::Synced,
            awaits_forwards: false,
            message_ttl: None,
            disk_full: DiskFull::Reject,
        }
    }
}

/// The policies; the first one that is about a topic counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPolicies(pub Vec<TopicPolicy>);

/// The policies in force, as routes refer to them.
#[derive(Debug, Default)]
pub(crate) struct TopicTerms {
    policies: Vec<Arc<TopicPolicy>>,
    otherwise: Arc<TopicPolicy>,
}

impl TopicTerms {
    pub(crate) fn new(policies: TopicPolicies) -> TopicTerms {
        TopicTerms { policies: policies.0.into_iter().map(Arc::new).collect(), otherwise: Arc::default() }
    }

    /// What holds for a topic.
    pub(crate) fn of(&self, topic: &Topic) -> Arc<TopicPolicy> {
        self.policy(topic).clone()
    }

    /// Whether older messages of a topic give way to its newest one where there is no room.
    pub(crate) fn keeps_last(&self, topic: &Topic) -> bool {
        self.policy(topic).disk_full == DiskFull::KeepLast
    }

    fn policy(&self, topic: &Topic) -> &Arc<TopicPolicy> {
        let is_about = |policy: &&Arc<TopicPolicy>| policy.topics.iter().any(|filter| filter.matches(topic));
        self.policies.iter().find(is_about).unwrap_or(&self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(topics: &[&str], seconds: u64) -> TopicPolicy {
        let filter = |text: &&str| TopicFilter::parse(text.as_bytes()).unwrap();
        let message_ttl = Some(Duration::from_secs(seconds));
        TopicPolicy { topics: topics.iter().map(filter).collect(), message_ttl, ..TopicPolicy::default() }
    }

    #[test]
    fn the_first_policy_that_is_about_a_topic_counts() {
        let policies = vec![policy(&["a/+", "b"], 1), policy(&["a/#"], 2), policy(&["$queue/#"], 3)];
        let terms = TopicTerms::new(TopicPolicies(policies));
        for (topic, seconds) in
            [("a/x", Some(1)), ("b", Some(1)), ("a/x/y", Some(2)), ("$queue/a", Some(3)), ("c", None)]
        {
            let topic = Topic::parse(topic.as_bytes()).unwrap();
            assert_eq!(terms.of(&topic).message_ttl, seconds.map(Duration::from_secs), "{topic}");
        }
    }
}
