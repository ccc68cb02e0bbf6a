//! From a message to its receivers.
//!
//! The direct way: receiver on this worker, nothing waiting, credit left, room in its output: its machine encodes the message
//! from the publisher's read buffer into the receiver's output, and that is all. Every other way goes through the receiver's
//! queue, and the direct way stays closed until the queue is empty, so that order is kept.

use super::burying::Death;
use super::publication::{Publication, Source};
use super::rights::NOT_AUTHORIZED;
use super::slot::Slot;
use super::{Shard, SlotKey};
use crate::entry::Entry;
use crate::group::Group;
use crate::mailbox::Letter;
use crate::metrics::WorkerMetrics;
use crate::queue::{NotTaken, Queue};
use crate::queued::{Queued, needs_settling};
use crate::reply;
use crate::route::{Grant, Route, RouteEntry};
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_protocol::{Answer, Publish, Published, Refusal, Refused};

/// The generation of what a connection has sent to itself: nothing of its own can be older and still under way.
pub(super) const NEWEST: u64 = u64::MAX;

/// What became of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// It is with the receiver, or nobody has to have it.
    Yes,
    /// The receiver's queue is full.
    No,
}

impl Shard {
    /// Keeps the message for later subscribers if it asks for it or its topic has a ring, and gives it to every receiver.
    pub(super) fn distribute(
        &mut self,
        route: &Route,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Result<Published, Refusal> {
        if let Some(ttl) = route.policy.message_ttl {
            publication.live_at_most(ttl, now);
        }
        if publication.retain {
            return self.retain_and_give_out(route, publication, now);
        }
        self.append_to_ring(route, publication);
        match self.give_out(route, publication, now) {
            Accepted::Yes => Ok(Published { matched: route.is_matched(), answer: Answer::Now }),
            Accepted::No => Err(Refusal::QueueFull),
        }
    }

    /// Gives a message to every receiver of its route. Where there are any, one that takes it is enough.
    pub(super) fn give_out(
        &mut self,
        route: &Route,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        publication.generation = route.generation;
        // From the home of a queue the answer comes at once; from elsewhere the room has to be reserved, so that the limit holds.
        if route.elsewhere != 0
            && publication.reserved.is_none()
            && route.queue().is_some_and(|queue| !publication.reserve_room(queue))
        {
            self.metrics.count_dropped("queue_full", 1);
            return Accepted::No;
        }
        if let Some(deadline) = route.queue().and_then(|queue| queue.deadline(now)) {
            publication.expire_by(deadline);
        }
        self.write_claims(route, publication, now);
        self.encoded.start(route.here.len() > 1);
        let (mut accepted, mut refused) = (route.elsewhere != 0 || route.ring.is_some(), false);
        for entry in &route.here {
            match self.deliver_to(entry, publication, now) {
                Some(Accepted::Yes) => accepted = true,
                Some(Accepted::No) => refused = true,
                None => {}
            }
        }
        if route.elsewhere != 0 {
            self.mail(route, publication);
        }
        self.settle_unused(publication);
        if !route.is_matched() && reply::is_address(route.topic.as_str()) {
            self.metrics.count_dropped("no_receiver", 1);
        }
        if refused && !accepted { Accepted::No } else { Accepted::Yes }
    }

    /// Gives a message to one receiver; nothing where it is not for it.
    pub(super) fn deliver_to(
        &mut self,
        entry: &RouteEntry,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Option<Accepted> {
        if let Some(shared) = &entry.shared {
            return Some(self.deliver_shared(shared, publication, now));
        }
        let grant = entry.grant_for(publication.origin)?;
        Some(self.deliver(&entry.queue, grant, publication, now))
    }

    /// Gives a message to one queue whose home is here.
    fn deliver(
        &mut self,
        queue: &Arc<Queue>,
        grant: &Grant,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        let entry = self.entry_for(queue, grant, publication, now);
        let address = queue.address();
        if address.worker != self.worker {
            // It has moved since the route was looked up.
            let queued = Queued { entry, ..Queued::live(publication.message(), grant) };
            return self.enqueue_remotely(queue, queued, publication.generation);
        }
        let Some(key) = address.consumer.map(|key| key as usize) else {
            return self.deliver_offline(queue, grant, entry, publication);
        };
        let Some(consumer) =
            self.consumers.get_mut(key).filter(|consumer| Arc::ptr_eq(&consumer.queue, queue))
        else {
            return self.deliver_offline(queue, grant, entry, publication);
        };
        let Some(slot) = self.slots.get_mut(consumer.slot) else { return Accepted::Yes };
        if slot.machine.is_none() {
            return self.defer(queue, Queued { entry, ..Queued::live(publication.message(), grant) });
        }
        let qos = publication.qos.min(grant.qos);
        // The disk has to have it first.
        let is_early = qos == QoS::ExactlyOnce && entry.is_some();
        let needs_settling = needs_settling(consumer.settlement, qos);
        let may_send = !consumer.backlog && !is_early && (!needs_settling || consumer.has_credit());
        if !may_send || !make_room(slot, &self.metrics, self.limits.output_bytes) {
            slot.starved |= !is_early;
            consumer.backlog = true;
            let is_listed = is_early || consumer.arranges();
            let accepted = self.enqueue_live(queue, grant, entry, publication);
            if is_listed {
                self.list(key);
            }
            return accepted;
        }
        self.buffers.lend(&mut slot.output);
        let source = Source { group: None, entry: entry.as_ref() };
        let sent = publication.send(grant, source, consumer, slot, &mut self.encoded, now);
        let slot = consumer.slot;
        if let Some(entry) = &entry {
            self.keeping.note_sent(entry, sent.is_ok(), needs_settling);
        }
        self.note_live(slot, sent, publication, now);
        Accepted::Yes
    }

    /// The same to a member of a group whose consumer is here and has credit and room.
    pub(super) fn send_to_member(
        &mut self,
        key: usize,
        grant: &Grant,
        group: &Arc<Group>,
        publication: &mut Publication<'_>,
        now: Instant,
    ) {
        let entry = self.group_entry(group, publication, now);
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let qos = publication.qos.min(grant.qos);
        if qos == QoS::ExactlyOnce && self.node.keeper.is_some() && consumer.queue.survives() {
            let queued = group.enter(publication.message(), entry).taken(group, grant);
            return self.own(key, queued, now);
        }
        let needs_settling = needs_settling(consumer.settlement, qos);
        let Some(slot) = self.slots.get_mut(consumer.slot) else { return };
        self.buffers.lend(&mut slot.output);
        let source = Source { group: Some(group), entry: entry.as_ref() };
        let sent = publication.send(grant, source, consumer, slot, &mut self.encoded, now);
        let slot = consumer.slot;
        match sent {
            Err(refused) if group.is_named_queue() => {
                let queued = group.enter(publication.message(), entry).taken(group, grant);
                self.bury(Death::Refused(refused), vec![queued]);
            }
            sent => {
                if let Some(entry) = &entry {
                    self.keeping.note_sent(entry, sent.is_ok(), needs_settling);
                }
                self.note_live(slot, sent, publication, now);
            }
        }
    }

    #[inline]
    pub(super) fn note_live(
        &mut self,
        slot: usize,
        sent: Result<QoS, Refused>,
        publication: &Publication<'_>,
        now: Instant,
    ) {
        match sent {
            Ok(qos) => self.note_sent(slot, qos, publication.payload.len(), now),
            Err(refused) => self.metrics.count_dropped(refused.label(), 1),
        }
    }

    /// Counts what a connection of this protocol has published.
    #[inline]
    pub(super) fn note_received(&self, protocol: usize, publish: &Publish<'_>) {
        if let Some(counters) = self.metrics.protocols.get(protocol) {
            counters.received.at(publish.qos).add(1);
            counters.received_bytes.at(publish.qos).add(publish.payload.len() as u64);
        }
    }

    pub(super) fn note_sent(&mut self, slot: usize, qos: QoS, payload_bytes: usize, now: Instant) {
        let Some(here) = self.slots.get_mut(slot) else { return };
        here.unsent_deliveries += 1;
        if let Some(counters) = self.metrics.protocols.get(here.protocol) {
            counters.sent.at(qos).add(1);
            counters.sent_bytes.at(qos).add(payload_bytes as u64);
        }
        if !here.dirty {
            here.dirty = true;
            here.unsent_since.get_or_insert(now);
            self.dirty.push(slot);
        }
    }

    /// Nobody is there: a session that outlives its connection keeps what is above level 0 ([MQTT-4.5.0-1], [MQTT-3.1.1/3.1.2-5]).
    fn deliver_offline(
        &mut self,
        queue: &Arc<Queue>,
        grant: &Grant,
        entry: Option<Entry>,
        publication: &mut Publication<'_>,
    ) -> Accepted {
        let qos = publication.qos.min(grant.qos);
        if qos == QoS::AtMostOnce || !queue.is_expecting() {
            entry.iter().for_each(|entry| self.keeping.settle(entry));
            self.metrics.count_dropped("offline", 1);
            return Accepted::Yes;
        }
        let accepted = self.enqueue_live(queue, grant, entry, publication);
        self.wake_anywhere(queue);
        accepted
    }

    /// As [`Shard::deliver_offline`], for a delivery whose message is made already.
    pub(super) fn keep_offline(&mut self, queue: &Arc<Queue>, queued: Queued) {
        match queued.qos == QoS::AtMostOnce || !queue.is_expecting() {
            true => {
                self.settle_entry(&queued);
                self.metrics.count_dropped("offline", 1);
            }
            false => drop(self.enqueue_remotely(queue, queued, NEWEST)),
        }
    }

    /// Puts a delivery into a queue that has no consumer here. One that has just attached elsewhere may have looked into the queue
    /// already, so it is woken; the address is read after the push, and its consumer looks after it has been set.
    fn enqueue_remotely(&mut self, queue: &Arc<Queue>, queued: Queued, generation: u64) -> Accepted {
        let accepted = self.enqueue(queue, queued, generation);
        self.wake_anywhere(queue);
        accepted
    }

    /// Lets the consumer of a queue, if there is one, look into it, on whatever worker it is.
    pub(super) fn wake_anywhere(&mut self, queue: &Arc<Queue>) {
        let address = queue.address();
        if address.consumer.is_some() {
            self.letter_to(address.worker, Letter::Wake(queue.clone()));
        }
    }

    /// Puts the delivery of a live message into a queue; what only the disk is to have is not even made.
    fn enqueue_live(
        &mut self,
        queue: &Arc<Queue>,
        grant: &Grant,
        entry: Option<Entry>,
        publication: &mut Publication<'_>,
    ) -> Accepted {
        if let Some(entry) = &entry
            && queue.leave_on_disk(entry, publication.queued_bytes())
        {
            self.read_ahead(queue);
            return Accepted::Yes;
        }
        let queued = Queued { entry, ..Queued::live(publication.message(), grant) };
        self.enqueue(queue, queued, publication.generation)
    }

    pub(super) fn enqueue(&mut self, queue: &Arc<Queue>, queued: Queued, generation: u64) -> Accepted {
        let entry = queued.entry.clone();
        let pushed = queue.push(queued, generation);
        if let Some(entry) = entry.filter(|_| pushed.is_err()) {
            self.keeping.settle(&entry);
        }
        match pushed {
            Ok(dropped) => {
                self.metrics.count_dropped(self.giving_way().drop_label(), dropped.len());
                self.settle_entries(&dropped);
                self.read_ahead(queue);
                Accepted::Yes
            }
            Err(NotTaken::Ended) => {
                self.metrics.count_dropped("session_ended", 1);
                Accepted::Yes
            }
            Err(NotTaken::Full) => {
                self.metrics.count_dropped("queue_full", 1);
                self.note_overflow(queue);
                self.read_ahead(queue);
                Accepted::No
            }
        }
    }

    /// The key of the connection that is named, if it is still open.
    pub(super) fn key_of(&self, slot: usize, connection: u64) -> Option<SlotKey> {
        let key = SlotKey { slot, connection };
        self.is_open(key).then_some(key)
    }
}

/// Whether an output can take one more delivery; where it is full, its outlet is asked to send first.
#[inline]
pub(super) fn make_room(slot: &mut Slot, metrics: &WorkerMetrics, output_bytes: usize) -> bool {
    slot.output.len() < output_bytes || sends_enough(slot, metrics, output_bytes)
}

#[inline(never)]
fn sends_enough(slot: &mut Slot, metrics: &WorkerMetrics, output_bytes: usize) -> bool {
    slot.send(metrics);
    slot.output.len() < output_bytes
}

/// The word for a will that the broker itself could not publish.
pub(super) fn refusal_label(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::QueueFull => "queue_full",
        Refusal::RetainedFull => "retained_full",
        Refusal::StoreFull => "store_full",
        Refusal::StoreFailing => "store_failing",
        Refusal::InvalidTopic(_)
        | Refusal::TooManyLevels { .. }
        | Refusal::TopicTooLong { .. }
        | Refusal::InvalidQueueName => "topic_refused",
        Refusal::QueueRetain | Refusal::ReplyRetain => "retain_refused",
        Refusal::TooManyQueues { .. } | Refusal::SubscriptionsFull => "too_many_queues",
        Refusal::NotAuthorized | Refusal::ReservedTopic => NOT_AUTHORIZED,
        _ => Refused::NotExpressible.label(),
    }
}
