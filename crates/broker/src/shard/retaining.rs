//! Retaining messages: in memory for the subscriptions to come, and in the durable store where there is one.

use super::Shard;
use super::deliver::Accepted;
use super::publication::Publication;
use crate::reply;
use crate::retained::{Author, Change, Entries};
use crate::route::Route;
use crate::router::{NotRetained, Retained};
use crate::topic_policy::DiskFull;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic};
use tidegate_protocol::{Answer, Published, Refusal};
use tidegate_storage::StreamId;

impl Shard {
    /// Keeps a message for later subscribers and gives it to every receiver; both, or neither.
    pub(super) fn retain_and_give_out(
        &mut self,
        route: &Route,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Result<Published, Refusal> {
        let (newer, change) = self.retain(route, publication, now)?;
        let route = newer.as_ref().unwrap_or(route);
        match self.give_out(route, publication, now) {
            Accepted::Yes => Ok(Published { matched: route.is_matched(), answer: Answer::Now }),
            Accepted::No => {
                self.take_back_retained(&publication.message(), change, now);
                Err(Refusal::QueueFull)
            }
        }
    }

    /// Retains a message together with the route that it takes. Where there are other subscriptions by now than in the one that is known,
    /// the route is looked up again; somebody has subscribed each time that this repeats.
    fn retain(
        &mut self,
        route: &Route,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Result<(Option<Route>, Change), Refusal> {
        check_retain(route)?;
        let (message, mut newer) = (publication.message(), None);
        self.check_retained(route, publication, &message)?;
        loop {
            let route = newer.as_ref().unwrap_or(route);
            let ring = route.ring.as_deref();
            match self.node.router.retain(&message, route.generation, ring, self.author(), now) {
                Ok(Retained { change, entries, watchers }) => {
                    self.tell_watchers(ring, watchers);
                    self.keep_retained(route, publication, &entries);
                    return Ok((newer, change));
                }
                Err(NotRetained::Full) => return Err(Refusal::RetainedFull),
                Err(NotRetained::RouteIsOld) => {
                    newer = Some(self.node.router.route(route.topic.clone(), self.worker));
                }
            }
        }
    }

    /// Whether the store takes a message that is retained. Where others give way to it on a full disk, that is what the topic has
    /// retained before, or what those who keep the message besides have given up for it.
    pub(super) fn check_retained(
        &self,
        route: &Route,
        publication: &Publication<'_>,
        message: &Message,
    ) -> Result<(), Refusal> {
        let gives_way = || {
            route.policy.disk_full != DiskFull::Reject
                && (self.node.router.retains(&route.topic) || self.is_kept(route, publication))
        };
        match self.check_store(kept_bytes(message)) {
            Err(Refusal::StoreFull) if gives_way() => Ok(()),
            checked => checked,
        }
    }

    /// Undoes what a message has changed that nobody received in the end.
    pub(super) fn take_back_retained(&mut self, message: &Arc<Message>, change: Change, now: Instant) {
        let (restored, entries) = self.node.router.take_back(message, change, self.author());
        let restored = restored.as_ref().unwrap_or(message);
        if let Some(number) = self.note_retained(&message.topic, &entries) {
            self.append_message(&[(StreamId::RETAINED, number.get(), b"")], restored, now);
        }
    }

    /// Who this worker is to the retained messages.
    pub(super) fn author(&self) -> Author<'_> {
        Author { worker: self.worker, keeper: self.node.keeper.as_ref() }
    }

    /// Tells the durable store what has gone for a message. Returns the number under which this is to be appended, in the same event.
    fn note_retained(&mut self, topic: &Topic, entries: &Entries) -> Option<NonZeroU64> {
        for number in &entries.settled {
            self.keeping.change.settle(StreamId::RETAINED, number.get());
        }
        let number = entries.number?;
        self.keeping.retained.push((topic.clone(), number));
        entries.is_entry.then_some(number)
    }

    /// Has a retained message written together with what is written for its receivers, and lets its publisher wait for that. Clearing waits as
    /// well, even where nothing is found: somebody else may just have cleared it, and what is not on the disk yet could come back.
    pub(super) fn keep_retained(
        &mut self,
        route: &Route,
        publication: &mut Publication<'_>,
        entries: &Entries,
    ) {
        if self.node.keeper.is_none() {
            return;
        }
        publication.retained = self.note_retained(publication.topic, entries);
        if publication.qos > QoS::AtMostOnce {
            let acknowledge = route.policy.acknowledge;
            publication.waits_for = publication.waits_for.max(acknowledge);
            self.keeping.urgency = self.keeping.urgency.max(acknowledge);
        }
    }
}

/// What a retained message takes in the durable store; nothing where it clears.
fn kept_bytes(message: &Message) -> Option<usize> {
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
