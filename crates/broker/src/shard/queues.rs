//! Named queues as a worker meets them: made by their first message or their first subscription.
//!
//! What happens in a queue once it stands is the same as in any group (`sharing.rs`).

use super::Shard;
use crate::Limits;
use crate::group::GroupName;
use crate::route::Route;
use crate::router::NotJoined;
use std::rc::Rc;
use tidegate_message::Topic;
use tidegate_protocol::{Refusal, Subscribe};

impl Shard {
    /// Makes the queue that a topic names, here where it is missed first, and returns the route that leads there.
    pub(super) fn declare_queue(&mut self, topic: &Topic) -> Result<Rc<Route>, Refusal> {
        let (node, worker) = (&self.node, self.worker);
        let declared = node.router.declare(topic, || node.new_queue(worker));
        declared.map_err(|reason| refusal_of(reason, &self.limits))?;
        self.cached_route(topic.as_str().as_bytes(), self.node.router.generation())
    }

    /// The route of a topic for what the gateway itself publishes.
    pub(super) fn present_route(&mut self, topic: &Topic) -> Result<Rc<Route>, Refusal> {
        let route = Rc::new(self.node.router.route(topic.clone(), self.worker));
        if route.lacks_queue() { self.declare_queue(topic) } else { Ok(route) }
    }
}

/// The queue that a subscription is to, if it is to one.
pub(super) fn queue_of(subscribe: &Subscribe<'_>) -> Result<Option<GroupName>, Refusal> {
    match subscribe.filter.queue_name() {
        None => Ok(None),
        Some(_) if subscribe.share.is_some() => Err(Refusal::QueueInGroup),
        Some("") => Err(Refusal::InvalidQueueName),
        Some(_) if !subscribe.filter.is_exact() => Err(Refusal::InvalidQueueName),
        Some(_) if subscribe.no_local => Err(Refusal::QueueNoLocal),
        Some(_) => Ok(Some(GroupName::queue(subscribe.filter))),
    }
}

/// What a client is told that did not get into a group, or whose queue was not made.
pub(super) fn refusal_of(reason: NotJoined, limits: &Limits) -> Refusal {
    match reason {
        NotJoined::SubscriptionsFull => Refusal::SubscriptionsFull,
        NotJoined::TooManyQueues => Refusal::TooManyQueues { limit: limits.queues },
    }
}
