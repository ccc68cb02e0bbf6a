//! The policies of named queues, as the broker takes them.

use tidegate_broker::{QueueOverflow, QueuePolicies, QueuePolicy};
use tidegate_config::{Config, NamedQueue, NamedQueueOverflow};
use tidegate_message::{Topic, TopicFilter};

/// The policies in their order.
pub(crate) fn queue_policies(config: &Config) -> QueuePolicies {
    QueuePolicies(config.queues.iter().map(policy).collect())
}

/// The texts were checked with the file; what could not be read is not there.
fn policy(written: &NamedQueue) -> QueuePolicy {
    let queue = |name: &String| TopicFilter::parse(format!("$queue/{name}").as_bytes()).ok();
    QueuePolicy {
        queues: written.names.iter().filter_map(queue).collect(),
        message_ttl: written.message_ttl.map(|ttl| ttl.duration()),
        max_messages: written.max_messages,
        max_bytes: written.max_bytes.map(|size| usize::try_from(size.bytes()).unwrap_or(usize::MAX)),
        overflow: match written.overflow {
            NamedQueueOverflow::Reject => QueueOverflow::Reject,
            NamedQueueOverflow::DropOldest => QueueOverflow::DropOldest,
        },
        delivery_limit: written.delivery_limit,
        dead_letter: written.dead_letter.as_ref().and_then(|text| Topic::parse(text.as_bytes()).ok()),
        expires: written.expires.duration(),
    }
}
