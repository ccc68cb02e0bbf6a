//! Retaining messages: in memory for the subscriptions to come, and in the durable store where there is one.

use super::Shard;
use super::publication::Publication;
use crate::reply;
use crate::retained::{Author, Change, Entries};
use crate::route::Route;
use crate::router::{NotRetained, Retained};
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_protocol::Refusal;
use tidegate_storage::{StreamId, Urgency};

impl Shard {
    /// Retains a message together with the route that it takes. Where there are other subscriptions by now than in the one that is known,
    /// the route is looked up again; somebody has subscribed each time that this repeats.
    pub(super) fn retain(
        &mut self,
        route: &Route,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Result<(Option<Route>, Option<Change>), Refusal> {
        check_retain(route)?;
        let (message, mut newer) = (publication.message(), None);
        self.check_store(kept_bytes(&message))?;
        loop {
            let route = newer.as_ref().unwrap_or(route);
            let ring = route.ring.as_deref();
            match self.node.router.retain(&message, route.generation, ring, self.author(), now) {
                Ok(Retained { change, entries, watchers }) => {
                    self.tell_watchers(ring, watchers);
                    self.write_retained(Some(&message), &entries, now);
                    publication.waits_for =
                        publication.waits_for.max(self.wait_for_retained(&message, route));
                    return Ok((newer, Some(change)));
                }
                Err(NotRetained::Full) => return Err(Refusal::RetainedFull),
                Err(NotRetained::RouteIsOld) => {
                    newer = Some(self.node.router.route(route.topic.clone(), self.worker));
                }
            }
        }
    }

    /// Undoes what a message has changed that nobody received in the end.
    pub(super) fn take_back_retained(&mut self, message: &Arc<Message>, change: Change, now: Instant) {
        let (restored, entries) = self.node.router.take_back(message, change, self.author());
        self.write_retained(restored.as_ref(), &entries, now);
    }

    pub(super) fn author(&self) -> Author<'_> {
        Author { worker: self.worker, keeper: self.node.keeper.as_ref() }
    }

    /// Tells the durable store what became of a message, and of what stood in its place.
    pub(super) fn write_retained(&mut self, message: Option<&Arc<Message>>, entries: &Entries, now: Instant) {
        if let Some((message, number)) = message.zip(entries.number) {
            if entries.is_entry {
                self.append_message(&[(StreamId::RETAINED, number.get(), b"")], message, now);
            }
            self.keeping.retained.push((message.topic.clone(), number));
        }
        for number in &entries.settled {
            self.keeping.change.settle(StreamId::RETAINED, number.get());
        }
    }

    /// What the publisher of a retained message waits for. Clearing waits as well, even where nothing is found: somebody else may just have
    /// cleared it, and what is not on the disk yet could come back.
    pub(super) fn wait_for_retained(&mut self, message: &Message, route: &Route) -> Urgency {
        if message.qos == QoS::AtMostOnce || self.node.keeper.is_none() {
            return Urgency::Lazy;
        }
        self.keeping.urgency = self.keeping.urgency.max(route.policy.acknowledge);
        route.policy.acknowledge
    }
}

/// What a retained message takes in the durable store; nothing where it clears.
pub(super) fn kept_bytes(message: &Message) -> Option<usize> {
    (!message.payload.is_empty()).then(|| message.weight_bytes())
}

/// Whether the topic of a route can have a retained message.
pub(super) fn check_retain(route: &Route) -> Result<(), Refusal> {
    match route.names_queue() {
        true => Err(Refusal::QueueRetain),
        false if reply::is_address(route.topic.as_str()) => Err(Refusal::ReplyRetain),
        false => Ok(()),
    }
}
