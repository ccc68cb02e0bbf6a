//! The policies for topics, as the broker takes them.

use crate::gateway::Refused;
use tidegate_broker::{DiskFull, TopicPolicies, TopicPolicy};
use tidegate_config::{Acknowledge, Config};
use tidegate_message::TopicFilter;
use tidegate_storage::Urgency;

/// The policies in their order.
pub(crate) fn topic_policies(config: &Config) -> Result<TopicPolicies, Refused> {
    config.topics.iter().map(policy).collect::<Result<_, _>>().map(TopicPolicies)
}

fn policy(written: &tidegate_config::TopicPolicy) -> Result<TopicPolicy, Refused> {
    let filters = written.topics.iter().map(|text| TopicFilter::parse_mqtt(text.as_bytes()));
    Ok(TopicPolicy {
        topics: filters.collect::<Result<_, _>>().map_err(Refused::Topics)?,
        acknowledge: match written.acknowledge {
            Acknowledge::Routed => Urgency::Lazy,
            Acknowledge::Written => Urgency::Written,
            Acknowledge::Synced | Acknowledge::Forwarded => Urgency::Synced,
        },
        awaits_forwards: written.acknowledge == Acknowledge::Forwarded,
        message_ttl: written.message_ttl.map(|ttl| ttl.duration()),
        disk_full: match written.disk_full {
            tidegate_config::DiskFull::Reject => DiskFull::Reject,
            tidegate_config::DiskFull::DropOldest => DiskFull::DropOldest,
            tidegate_config::DiskFull::KeepLast => DiskFull::KeepLast,
        },
    })
}
