//! Named queues as a worker meets them: made by their first message or their first subscription.
//!
//! What happens in a queue once it stands is the same as in any group (`sharing.rs`); what time does to it is in `upkeep.rs`.

use super::Shard;
use super::publication::Publication;
use crate::Limits;
use crate::group::{Group, GroupName};
use crate::queue::Queue;
use crate::route::Route;
use crate::router::{Joined, NotJoined};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::Topic;
use tidegate_protocol::{Refusal, Subscribe};

impl Shard {
    /// Makes the queue that a topic names, here where it is missed first, and returns the route that leads there.
    pub(super) fn declare_queue(&mut self, topic: &Topic, now: Instant) -> Result<Rc<Route>, Refusal> {
        let node = self.node.clone();
        let others = self.outgoing.len().saturating_sub(1);
        let declared = node.router.declare(topic, self.worker, others, &|home| node.new_queue(home));
        let Joined { group, given_up } = declared.map_err(|reason| refusal_of(reason, &self.limits))?;
        self.look_after(&group, now);
        self.tell_of_end(given_up.as_ref());
        Ok(self.route_of_accepted(topic, node.router.generation()))
    }

    /// The queue that a topic names, made where it is missing: for what was accepted before.
    pub(super) fn queue_anyway(&mut self, topic: &Topic, now: Instant) -> Arc<Group> {
        let node = self.node.clone();
        let queue = node.router.declare_anyway(topic, self.worker, &|home| node.new_queue(home));
        self.look_after(&queue, now);
        queue
    }

    /// The route of a topic, to a queue that exists where it names one: for what was accepted before.
    pub(super) fn route_anyway(&mut self, topic: &Topic, now: Instant) -> Rc<Route> {
        let route = self.route_of_accepted(topic, self.node.router.generation());
        if !route.lacks_queue() {
            return route;
        }
        self.queue_anyway(topic, now);
        self.route_of_accepted(topic, self.node.router.generation())
    }

    /// The route of a topic for what the gateway publishes on somebody's behalf.
    pub(super) fn present_route(&mut self, topic: &Topic, now: Instant) -> Result<Rc<Route>, Refusal> {
        let route = Rc::new(self.node.router.route(topic.clone(), self.worker));
        if route.lacks_queue() { self.declare_queue(topic, now) } else { Ok(route) }
    }

    /// Delivers to a queue what another worker's client has published to it by a route of another generation: to the queue as it is now,
    /// because it may have ended meanwhile, and to nobody else, because one receiver is all that such a topic has.
    pub(super) fn deliver_to_queue(&mut self, publication: &mut Publication<'_>, now: Instant) {
        let route = self.route_anyway(publication.topic, now);
        publication.generation = route.generation;
        let claims = publication.claims.as_ref();
        let is_written =
            route.queue().is_some_and(|queue| claims.is_some_and(|claims| claims.has(queue.queue.id)));
        if !is_written {
            // The queue for which it was written is no more.
            let stale = publication.claims.take();
            self.write_claims(&route, publication, now);
            stale.iter().for_each(|stale| self.settle_claims(stale));
        }
        self.encoded.start(false);
        for entry in &route.here {
            self.deliver_to(entry, publication, now);
        }
        if route.elsewhere != 0 {
            self.mail(&route, publication);
        }
    }
}

/// A consumer leaves its groups: to the named queues among them that is a use.
pub(super) fn note_leaving(queue: &Queue, now: Instant) {
    let shares = queue.filters().shares();
    shares.iter().filter_map(|share| share.group.named()).for_each(|named| named.note_use(now));
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
