//! Claiming sessions, giving them up, and what is due when nobody holds them.
//!
//! A session that is held on the same worker is given up at once. One that is held on another worker is asked for by letter:
//! that worker closes the connection, puts what was unsettled back into the queue, and answers; only then the claim is tried again.

use super::deliver::refusal_label;
use super::publication::Publication;
use super::queues::note_leaving;
use super::sharing::divide;
use super::slot::Consumer;
use super::{Shard, SlotKey};
use crate::budget::Room;
use crate::mailbox::Letter;
use crate::queue::Queue;
use crate::queued::Queued;
use crate::router::Moved;
use crate::sessions::{Claim, Claimed, Due, Ended, Farewell, HeldWill, Holder, SessionKey};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{Message, Origin};
use tidegate_protocol::{
    Answer, Attach, Attached, Attachment, Close, CloseReason, ConsumerId, Detach, Identity, Refusal, Reply,
    Saved, SavedState, Saving, WillAction,
};
use tidegate_storage::Urgency;
use tracing::debug;

/// A claim that waits for another worker.
#[derive(Debug)]
pub(crate) struct PendingClaim {
    claim: Claim,
    consumer: ConsumerId,
}

impl Shard {
    pub(super) fn attach(&mut self, slot: usize, mut attach: Attach<'_>, now: Instant) -> Attachment {
        let Some(here) = self.slots.get(slot) else { return Attachment::Refused(Refusal::UnknownConsumer) };
        let Some(identity) = here.admission.identity().cloned() else {
            return Attachment::Refused(Refusal::NotAuthorized);
        };
        let key = SessionKey::new(attach.protocol, attach.client_id);
        let is_known = here.consumer_key(attach.consumer).is_some() || self.holds(slot, &key);
        if is_known || here.claiming.is_some() {
            return Attachment::Refused(Refusal::UnknownConsumer);
        }
        let holder = Holder { worker: self.worker, slot, connection: here.connection };
        let (bytes, limit) = (attach.client_id.len(), self.limits.client_id_bytes);
        if bytes > limit {
            return Attachment::Refused(Refusal::ClientIdTooLong { bytes, limit });
        }
        if let Some(Err(refusal)) =
            attach.will.as_ref().map(|will| self.check_size(will.topic.as_str().as_bytes()))
        {
            return Attachment::Refused(refusal);
        }
        if let Some(Err(refusal)) = attach.will.as_ref().map(|will| self.check_will(&identity, will, now)) {
            return Attachment::Refused(refusal);
        }
        let is_kept = attach.will.is_some() || !attach.expiry.is_zero();
        if let Some(Err(refusal)) = is_kept.then(|| self.check_describing()) {
            return Attachment::Refused(refusal);
        }
        let hold = |will| HeldWill::new(will, identity.clone(), Room::new(self.node.total.clone()));
        let Ok(will) = attach.will.take().map(hold).transpose() else {
            return Attachment::Refused(Refusal::QueueFull);
        };
        let Attach { consumer, clean_start, expiry, credit, settlement, limits, wants_publisher, .. } =
            attach;
        let claim = Claim {
            key,
            holder,
            identity,
            clean_start,
            expiry,
            credit,
            settlement,
            will,
            limits,
            wants_publisher,
        };
        self.claim(PendingClaim { claim, consumer }, now)
    }

    /// Whether a consumer of the connection has this session.
    fn holds(&self, slot: usize, key: &SessionKey) -> bool {
        let session = |key: &usize| self.consumers.get(*key).and_then(|consumer| consumer.session.as_ref());
        let mut consumers = self.slots.get(slot).into_iter().flat_map(|here| &here.consumers);
        consumers.any(|(_, consumer)| session(consumer) == Some(key))
    }

    fn claim(&mut self, mut pending: PendingClaim, now: Instant) -> Attachment {
        loop {
            let Claim { holder, credit, settlement, .. } = pending.claim;
            let (key, node) = (pending.claim.key.clone(), &self.node);
            let is_current = |identity: &Identity| node.is_current(identity);
            let new_queue = || node.new_queue(holder.worker);
            let mut scribe = self.keeping.scribe(node, now);
            match node.sessions.claim(pending.claim, now, is_current, new_queue, scribe.as_mut()) {
                Claimed::Foreign => return Attachment::Refused(Refusal::NotAuthorized),
                Claimed::Full => {
                    return Attachment::Refused(Refusal::TooManySessions { limit: self.limits.sessions });
                }
                Claimed::Held { queue, present, saved, expiry, ended } => {
                    if let Some(ended) = ended {
                        self.finish_session(ended, now);
                    }
                    if present {
                        self.review_session(&queue, now);
                    }
                    self.share_origin(holder.slot, &queue);
                    let consumer = pending.consumer;
                    let mut consumer =
                        Consumer::new(holder.slot, consumer, queue.clone(), settlement, credit);
                    consumer.session = Some(key);
                    self.install(holder.slot, consumer);
                    let is_durable = self.node.keeper.is_some() && !expiry.is_zero();
                    // Not before: until the consumer is there, other workers keep for it what they have.
                    queue.set_survives(!expiry.is_zero());
                    return Attachment::Now(Attached { present, saved, expiry, is_durable });
                }
                Claimed::HeldBy(other, claim) => {
                    pending.claim = claim;
                    if other.worker != self.worker {
                        self.letter_to(
                            other.worker,
                            Letter::GiveUp { key, held_by: other, claimant: holder },
                        );
                        if let Some(here) = self.slots.get_mut(holder.slot) {
                            here.claiming = Some(Box::new(pending));
                        }
                        return Attachment::Later;
                    }
                    self.take_over(&key, other, now);
                }
            }
        }
    }

    /// Makes a consumer known to its slot and to everybody who delivers to its queue.
    pub(super) fn install(&mut self, slot: usize, mut consumer: Consumer) {
        consumer.backlog = true;
        let (queue, id) = (consumer.queue.clone(), consumer.id);
        let key = self.consumers.insert(consumer);
        if let Some(moved) = self.node.router.move_home(&queue, self.worker, u32::try_from(key).ok()) {
            self.hold_back(&queue, moved);
        }
        if let Some(here) = self.slots.get_mut(slot) {
            here.add_consumer(id, key);
        }
        self.list(key);
    }

    /// What was published before a move may still wait in the mail of the old home, and must not be overtaken by what
    /// comes straight here. So that waits until every worker has said, to the old home, that nothing older is under way.
    fn hold_back(&mut self, queue: &Arc<Queue>, moved: Moved) {
        let workers = self.outgoing.len();
        queue.hold(moved.generation, workers.saturating_sub(1));
        for worker in (0..workers).filter_map(|worker| u8::try_from(worker).ok()) {
            match worker {
                _ if worker == moved.from => {}
                _ if worker == self.worker => {
                    self.letter_to(moved.from, Letter::Passed(queue.clone(), moved));
                }
                _ => self.letter_to(worker, Letter::Moved(queue.clone(), moved)),
            }
        }
    }

    /// What a connection publishes carries the origin of its first session as soon as it has one, so that it is the same client's over
    /// several connections; a further one takes the same origin.
    fn share_origin(&mut self, slot: usize, queue: &Queue) {
        let Some(here) = self.slots.get(slot) else { return };
        let is_first = here.origin == here.connection;
        let origin = if is_first { queue.id } else { here.origin };
        self.set_origin(slot, origin);
        queue.set_origin(origin);
    }

    fn set_origin(&mut self, slot: usize, origin: u64) {
        let Some(here) = self.slots.get_mut(slot) else { return };
        here.origin = origin;
        for (_, key) in &here.consumers {
            if let Some(consumer) = self.consumers.get(*key) {
                consumer.queue.set_origin(origin);
            }
        }
    }

    /// Ends a connection of this worker because another one claims its session.
    fn take_over(&mut self, key: &SessionKey, held_by: Holder, now: Instant) {
        // It may have given this session up since it was asked for, and go on with others.
        let open = self.key_of(held_by.slot, held_by.connection).filter(|_| self.holds(held_by.slot, key));
        if let Some(open) = open {
            self.close(open, &Close::from(CloseReason::SessionTakenOver), now);
        }
        // A connection that is gone has released its session; if that failed, nobody else would.
        let due = self.release(key, held_by, Farewell::silent(), now);
        self.handle_due(due, now);
    }

    pub(super) fn give_up(&mut self, key: &SessionKey, held_by: Holder, claimant: Holder, now: Instant) {
        self.take_over(key, held_by, now);
        self.letter_to(claimant.worker, Letter::GivenUp { claimant });
    }

    /// The session that a connection of this worker waits for may be free now.
    pub(super) fn claim_again(&mut self, claimant: Holder, now: Instant) {
        let Some(open) = self.key_of(claimant.slot, claimant.connection) else { return };
        let Some(pending) = self.slots.get_mut(claimant.slot).and_then(|here| here.claiming.take()) else {
            return;
        };
        let consumer = pending.consumer;
        let reply = match self.claim(*pending, now) {
            Attachment::Later => return,
            Attachment::Now(attached) => Ok(attached),
            Attachment::Refused(refusal) => Err(refusal),
        };
        self.hand_reply(open, Reply::Attached(consumer, reply), now);
    }

    /// Gives a machine the answer that it waits for, and has its connection fed again.
    pub(super) fn hand_reply(&mut self, open: SlotKey, reply: Reply, now: Instant) {
        let handled =
            self.with_machine(open.slot, now, |machine, context| machine.handle_reply(reply, context));
        match handled {
            Some(Err(close)) => self.close(open, &close, now),
            _ => self.finish_event(Some(open.slot), now),
        }
        if let Some(outlet) = self.slots.get_mut(open.slot).and_then(|here| here.outlet.as_mut()) {
            outlet.resume();
        }
    }

    /// Keeps a piece of what the protocol of a session wants back.
    pub(super) fn save(
        &mut self,
        slot: usize,
        consumer: ConsumerId,
        saved: Saved<'_>,
        saving: Saving,
        now: Instant,
    ) -> Answer {
        let Some(here) = self.slots.get(slot) else { return Answer::Now };
        let holder = Holder { worker: self.worker, slot, connection: here.connection };
        let consumer = here.consumer_key(consumer).and_then(|key| self.consumers.get(key));
        let Some(consumer) = consumer else { return Answer::Now };
        let scribe = self.keeping.scribe(&self.node, now);
        if let (Some(session), Some(mut scribe)) = (&consumer.session, scribe) {
            self.node.sessions.save(session, holder, saved, &mut scribe);
        }
        match saving {
            Saving::Awaited if consumer.is_durable() => self.answer_after(slot, Urgency::Synced),
            Saving::Along | Saving::Awaited => Answer::Now,
        }
    }

    pub(super) fn detach(&mut self, slot: usize, detach: Detach, now: Instant) {
        let Some(here) = self.slots.get_mut(slot) else { return };
        let holder = Holder { worker: self.worker, slot, connection: here.connection };
        let Some(key) = here.consumer_key(detach.consumer) else { return };
        let Some(session) = self.consumers.get_mut(key).and_then(|consumer| consumer.session.take()) else {
            return;
        };
        here.remove_consumer(detach.consumer);
        let (mut began_to_survive, mut under_way) = (None, 0);
        if let Some(mut consumer) = self.consumers.try_remove(key) {
            let will_survive = detach.expiry.is_some_and(|expiry| !expiry.is_zero());
            began_to_survive = Some(consumer.queue.clone()).filter(|queue| will_survive && !queue.survives());
            let returned;
            (returned, under_way) = match consumer.queue.survives() {
                true => self.keep_for_session(&mut consumer, now),
                false => (self.leave_groups(&mut consumer), 0),
            };
            consumer.queue.set_consumer(self.worker, None);
            self.give_back(returned, now);
            if self.slots.get(slot).is_some_and(|here| here.origin == consumer.queue.id) {
                self.set_origin(slot, holder.connection);
            }
        }
        let Detach { will, expiry, saved, .. } = detach;
        let due = self.release(&session, holder, Farewell { will, expiry, saved, under_way }, now);
        began_to_survive.into_iter().for_each(|queue| self.keep_subscriptions(&queue));
        if self.worker != 0 {
            self.letter_to(0, Letter::LookAtAgenda);
        }
        self.timer_moved = true;
        self.handle_due(due, now);
    }

    fn release(&mut self, key: &SessionKey, holder: Holder, farewell: Farewell, now: Instant) -> Due {
        let mut scribe = self.keeping.scribe(&self.node, now);
        let due = self.node.sessions.release(key, holder, farewell, now, scribe.as_mut());
        self.keeping.note_leaving(key, holder, &self.node);
        due
    }

    /// Puts what a consumer holds back into its queue. What was in the queue before has its place there; retained messages on
    /// their way have not, so the limits hold for them: a client that subscribes and leaves again and again fills nothing.
    /// Returns what other members of its groups receive instead, and how many its client may have under way.
    fn keep_for_session(&mut self, consumer: &mut Consumer, now: Instant) -> (Vec<Queued>, usize) {
        if consumer.arranges() {
            consumer.queue.let_backlog_grow();
        }
        let released = std::mem::take(&mut consumer.released).into_values();
        let (mut returned, mut unsettled) = divide(consumer.take_unsettled(), &consumer.queue);
        let (more, mut released) = divide(released, &consumer.queue);
        returned.extend(more);
        if self.node.keeper.is_some() {
            // What it has taken and not seen, because the disk did not have it yet, is for whoever is there.
            returned.extend(consumer.queue.take_unseen_shared());
        }
        self.keep_all_own(&consumer.queue, unsettled.iter_mut().chain(&mut released), now);
        let in_front = unsettled.len() + consumer.resuming + released.len();
        consumer.queue.put_back_behind(consumer.resuming, released.into_iter());
        consumer.queue.put_back(unsettled.into_iter());
        let count = consumer.queue.messages_max();
        let rights = self.node.router.rights(&consumer.queue);
        let (mut replay, left_out) = consumer.replay.take(&self.node.router, &rights, count, now);
        self.keep_all_own(&consumer.queue, &mut replay, now);
        let dropped = consumer.queue.insert_behind(in_front, replay.into_iter());
        self.settle_entries(&dropped);
        self.metrics.count_dropped("queue_full", dropped.len() + left_out);
        (returned, in_front)
    }

    /// What a consumer that ends holds for its groups: all but what nobody else may get goes back to them.
    fn leave_groups(&mut self, consumer: &mut Consumer) -> Vec<Queued> {
        let (bound, returned): (Vec<_>, Vec<_>) =
            consumer.take_shared().into_iter().partition(Queued::goes_with_receiver);
        self.metrics.count_dropped("session_ended", bound.len());
        self.settle_entries(&bound);
        returned
    }

    /// What a connection still holds when its machine has handled its end.
    pub(super) fn release_everything(&mut self, slot: usize, now: Instant) {
        let consumers = self.slots.get(slot).map(|here| here.consumers.clone()).unwrap_or_default();
        for (consumer, key) in consumers {
            match self.consumers.get(key).is_some_and(|consumer| consumer.session.is_some()) {
                true => {
                    debug!(slot, "a machine ended without giving a session up");
                    let (will, expiry, saved) = (WillAction::Publish, None, SavedState::new());
                    self.detach(slot, Detach { consumer, will, expiry, saved }, now);
                }
                false => self.remove_consumer(key, now),
            }
        }
    }

    /// Ends a consumer together with its queue.
    pub(super) fn remove_consumer(&mut self, key: usize, now: Instant) {
        if let Some(mut consumer) = self.consumers.try_remove(key) {
            if let Some(cursor) = consumer.cursor.take() {
                self.stop_following(key, &cursor);
            }
            note_leaving(&consumer.queue, now);
            let returned = self.leave_groups(&mut consumer);
            consumer.queue.set_consumer(self.worker, None);
            let ended = self.node.router.forget(&consumer.queue);
            let (lost, _) = consumer.queue.end();
            self.give_back(returned, now);
            self.end_stream(&consumer.queue, &lost);
            ended.iter().for_each(|group| self.end_group(group));
        }
    }

    pub(super) fn handle_due(&mut self, due: Due, now: Instant) {
        if let Some((will, origin)) = due.will {
            self.publish_will(will, origin, now);
        }
        if let Some(ended) = due.ended {
            self.finish_session(ended, now);
        }
    }

    fn finish_session(&mut self, ended: Ended, now: Instant) {
        note_leaving(&ended.queue, now);
        let entries = ended.queue.filters().entries();
        entries.into_iter().for_each(|entry| self.settle_description(entry));
        let (groups, origin) = (self.node.router.forget(&ended.queue), Origin(ended.queue.id));
        let (in_memory, on_disk) = ended.queue.end();
        let (returned, lost): (Vec<_>, Vec<_>) =
            in_memory.into_iter().partition(|queued| !queued.goes_with_receiver());
        self.metrics.count_dropped("session_ended", lost.len() + on_disk);
        self.give_back(returned, now);
        self.end_stream(&ended.queue, &lost);
        groups.iter().for_each(|group| self.end_group(group));
        if let Some(will) = ended.will {
            self.publish_will(will, origin, now);
        }
    }

    /// [MQTT-3.1.2-8] [MQTT-3.1.1/3.1.2-8]
    fn publish_will(&mut self, held: HeldWill, origin: Origin, now: Instant) {
        held.entry().into_iter().for_each(|entry| self.settle_description(entry));
        if !self.may_publish_will(&held, now) {
            return;
        }
        let will = *held.will;
        let route = self.present_route(&will.topic, now);
        let is_wanted = route.as_ref().is_ok_and(|route| route.demands.publisher);
        let message = Arc::new(Message {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: will.properties,
            expires_at: will.expiry.and_then(|expiry: Duration| now.checked_add(expiry)),
            origin,
            publisher: is_wanted.then(|| Box::new(self.publisher(&held.identity, now))),
        });
        let outcome = route.and_then(|route| {
            let mut publication = Publication::kept(&message);
            self.distribute(&route, &mut publication, now)
        });
        if let Err(refusal) = outcome {
            self.metrics.count_dropped(refusal_label(refusal), 1);
        }
    }
}

impl SlotKey {
    /// The number of the connection, unique while the process runs.
    pub fn connection(self) -> u64 {
        self.connection
    }
}
