//! What had to wait: who is looked after next, and in which order a consumer receives what waits for it.
//!
//! A consumer with a backlog stands on a list until it has been pumped: after a settlement, a flush, an attachment, a letter.
//! Whether a new message may pass without waiting is decided in `deliver.rs`, and never here.

use super::Shard;
use super::burying::Death;
use super::deliver::{Accepted, NEWEST, make_room};
use super::following::{ReadOn, next_followed};
use super::sharing::next_shared;
use super::slot::Consumer;
use crate::access::Rights;
use crate::queue::{Look, Popped, Queue, Taker};
use crate::queued::Queued;
use crate::router::Router;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_protocol::Delivery;
use tidegate_storage::Lsn;

impl Shard {
    /// Keeps a delivery for a consumer of this worker until the input that has caused it is handled. One read can cause a thousand
    /// deliveries a frame, so what waits for the machine is bounded like a queue.
    pub(super) fn defer(&mut self, queue: &Arc<Queue>, queued: Queued) -> Accepted {
        let key = queue.address().consumer.map_or(usize::MAX, |key| key as usize);
        let Some(number) = self.consumers.get(key).map(|consumer| consumer.slot) else {
            return Accepted::Yes;
        };
        let Some(slot) = self.slots.get_mut(number) else { return Accepted::Yes };
        if slot.deferred.len() >= self.limits.queued_messages {
            self.metrics.count_dropped("queue_full", 1);
            let oldest = slot.deferred.iter().position(|(other, _)| Arc::ptr_eq(other, queue));
            let oldest = oldest.filter(|_| self.limits.queue_overflow == crate::Overflow::DropOldest);
            match oldest.and_then(|at| slot.deferred.remove(at)) {
                Some((_, oldest)) => self.settle_entry(&oldest),
                None => {
                    self.settle_entry(&queued);
                    self.note_overflow(queue);
                    return Accepted::No;
                }
            }
        }
        if let Some(slot) = self.slots.get_mut(number) {
            slot.deferred.push_back((queue.clone(), queued));
        }
        Accepted::Yes
    }

    /// Delivers what a connection's own input has caused for itself.
    pub(super) fn deliver_deferred(&mut self, slot: usize, now: Instant) {
        let Some(here) = self.slots.get_mut(slot) else { return };
        if here.deferred.is_empty() {
            return;
        }
        let deferred = std::mem::take(&mut here.deferred);
        self.encoded.start(false);
        let mut returned = Vec::new();
        for (queue, queued) in deferred {
            let key = queue.address().consumer.map_or(usize::MAX, |key| key as usize);
            let Some(consumer) =
                self.consumers.get_mut(key).filter(|consumer| Arc::ptr_eq(&consumer.queue, &queue))
            else {
                match queued.group {
                    Some(_) => returned.push(queued),
                    None => self.keep_offline(&queue, queued),
                }
                continue;
            };
            let may_send =
                !consumer.backlog && (!queued.needs_settling(consumer.settlement) || consumer.has_credit());
            let room = self
                .slots
                .get_mut(slot)
                .is_some_and(|here| make_room(here, &self.metrics, self.limits.output_bytes));
            if may_send && room {
                self.hand_over(key, queued, now);
            } else {
                consumer.backlog = true;
                match queued.group {
                    Some(_) => returned.push(queued),
                    None => drop(self.enqueue(&queue, queued, NEWEST)),
                }
                self.list(key);
            }
        }
        self.give_back(returned, now);
    }

    /// Puts a consumer on the list of those that may have something to receive.
    pub(super) fn list(&mut self, key: usize) {
        if let Some(consumer) =
            self.consumers.get_mut(key).filter(|consumer| consumer.backlog && !consumer.listed)
        {
            consumer.listed = true;
            self.listed.push(key);
        }
    }

    /// Another worker has put something into the queue of a consumer of this one.
    pub(super) fn wake(&mut self, queue: &Arc<Queue>) {
        let Some(key) = queue.address().consumer.map(|key| key as usize) else { return };
        if let Some(consumer) =
            self.consumers.get_mut(key).filter(|consumer| Arc::ptr_eq(&consumer.queue, queue))
        {
            consumer.backlog = true;
            self.list(key);
        }
    }

    /// Delivers what can be delivered now of what waits, and what has died meanwhile to where it goes.
    pub(super) fn deliver_waiting(&mut self, now: Instant) {
        self.pump_listed(now);
        if !self.dead_letters.is_empty() {
            self.publish_dead_letters(now);
            self.pump_listed(now);
        }
    }

    /// Lets every listed consumer receive what it can take now.
    fn pump_listed(&mut self, now: Instant) {
        self.serve_audiences(now);
        let mut later = Vec::new();
        while let Some(key) = self.listed.pop() {
            let Some(consumer) = self.consumers.get_mut(key) else { continue };
            // A connection that is closed in the middle of another one's input: that one's turn comes when its machine is back.
            if self.slots.get(consumer.slot).is_some_and(|slot| slot.machine.is_none()) {
                later.push(key);
                continue;
            }
            consumer.listed = false;
            let slot = consumer.slot;
            if self.pump(key, now) == Pumped::Searches {
                later.push(key);
            }
            self.set_timer(slot);
        }
        self.listed.append(&mut later);
    }

    /// Sends from the replay and the queue until nothing waits, the credit is used up or the output is full.
    fn pump(&mut self, key: usize, now: Instant) -> Pumped {
        let mut dead = Vec::new();
        let pumped = self.pump_living(key, &mut dead, now);
        self.read_ahead_for(key);
        self.bury(Death::Expired, dead);
        pumped
    }

    /// The same, and `dead` gets what has expired in its groups.
    fn pump_living(&mut self, key: usize, dead: &mut Vec<Queued>, now: Instant) -> Pumped {
        self.encoded.start(false);
        // What waited was routed by the rules of its time, so these are asked once more.
        let Some(consumer) = self.consumers.get(key) else { return Pumped::Done };
        let rights = self.node.router.rights(&consumer.queue);
        loop {
            let Some(consumer) = self.consumers.get_mut(key) else { return Pumped::Done };
            let Some(slot) = self.slots.get_mut(consumer.slot).filter(|slot| slot.machine.is_some()) else {
                return Pumped::Done;
            };
            if slot.output.len() >= self.limits.output_bytes {
                slot.starved = true;
                if !consumer.shares.is_empty() {
                    consumer.stop_offers();
                }
                consumer.hold_no_messages();
                return Pumped::Done;
            }
            let synced = self.node.keeper.as_ref().map(|_| self.keeping.synced);
            let taker = self.keeping.taker(&consumer.queue, &self.node);
            let view = View { router: &self.node.router, rights: &rights, synced, taker, now };
            let (next, expired) = next_waiting(consumer, view, dead);
            self.metrics.count_dropped("expired", expired);
            let popped = match next {
                Next::Popped(popped) => popped,
                Next::Live(queued) => {
                    match rights.include(&queued.message.topic) {
                        true => self.hand_over(key, Queued { is_backlog: false, ..queued }, now),
                        false => self.drop_without_right(&rights, &queued, now),
                    }
                    continue;
                }
                Next::Behind(queued) => {
                    self.own(key, queued, now);
                    continue;
                }
                Next::Unkept => {
                    self.keep_replayed(key, now);
                    continue;
                }
            };
            match popped {
                Popped::Delivery(queued) if rights.include(&queued.message.topic) => {
                    let is_backlog = self.consumers.get_mut(key).is_some_and(Consumer::take_from_backlog);
                    self.hand_over(key, Queued { is_backlog, ..queued }, now);
                }
                Popped::Delivery(queued) => self.drop_without_right(&rights, &queued, now),
                Popped::Unsynced if self.is_synced_by_now(key) => {}
                Popped::NeedsCredit | Popped::Held | Popped::Unsynced => {
                    let Some(consumer) = self.consumers.get_mut(key) else { return Pumped::Done };
                    consumer.hold_no_messages();
                    return Pumped::Done;
                }
                Popped::Early => {
                    self.look_later(key, now);
                    return Pumped::Done;
                }
                Popped::Searching => return self.search_later(key),
                Popped::Empty => match self.read_on(key, &rights) {
                    ReadOn::Found => {}
                    ReadOn::Searching => return self.search_later(key),
                    ReadOn::Nothing => {
                        self.note_nothing_waits(key);
                        return Pumped::Done;
                    }
                },
            }
        }
    }

    fn drop_without_right(&mut self, rights: &Rights, queued: &Queued, now: Instant) {
        self.settle_entry(queued);
        self.drop_denied(rights, &queued.message.topic, now);
    }

    fn search_later(&mut self, key: usize) -> Pumped {
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.listed = true;
        }
        Pumped::Searches
    }

    fn note_nothing_waits(&mut self, key: usize) {
        if let Some(consumer) = self.consumers.get_mut(key) {
            // Who asks for a backlog has a look for each delivery, because not everything that waits may come.
            consumer.backlog = consumer.arranges();
        }
    }

    /// Hands a delivery to the machine of its consumer, or lets it wait there until the disk has it.
    pub(super) fn hand_over(&mut self, key: usize, queued: Queued, now: Instant) {
        let Some(consumer) = self.consumers.get(key) else { return };
        let is_early = consumer.queue.survives()
            && (!queued.may_be_seen(self.keeping.synced) || self.is_to_be_owned(&consumer.queue, &queued));
        match is_early {
            true => self.own(key, queued, now),
            false => self.send_queued(key, queued, now),
        }
    }

    /// Hands a delivery that waited to the machine of its consumer.
    fn send_queued(&mut self, key: usize, queued: Queued, now: Instant) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Some(slot) = self.slots.get_mut(consumer.slot) else { return };
        let Some(machine) = slot.machine.as_deref_mut() else { return };
        self.buffers.lend(&mut slot.output);
        let message = queued.message.clone();
        let next_tag = || queued.tag.unwrap_or_else(|| consumer.next_tag(queued.entry.as_ref()));
        let tag = queued.needs_settling(consumer.settlement).then(next_tag);
        let delivery = Delivery {
            consumer: consumer.id,
            topic: &message.topic,
            payload: &message.payload,
            properties: message.properties.as_deref(),
            qos: queued.qos,
            retain: queued.retain,
            redelivered: queued.redelivered,
            attempt: queued.attempt,
            expires_at: message.expires_at,
            now,
            subscription_ids: &queued.subscription_ids.clone(),
            tag,
            is_backlog: queued.is_backlog,
            position: consumer.position(queued.position),
            publisher: message.publisher.as_deref(),
        };
        if let Err(refused) = machine.handle_delivery(&delivery, &mut self.encoded, &mut slot.output) {
            return self.bury(Death::Refused(refused), vec![queued]);
        }
        if delivery.position.is_some() {
            consumer.note_position_told();
        }
        let slot = consumer.slot;
        match tag {
            Some(tag) => {
                let keep = queued.group.is_some() || queued.entry.is_some() || consumer.keeps_unsettled();
                consumer.hold(tag, keep.then_some(queued));
            }
            // Sent is done.
            None => self.accept_entry(&queued),
        }
        self.metrics.redeliveries.add(u64::from(delivery.attempt > 1));
        self.note_sent(slot, delivery.qos, message.payload.len(), now);
    }
}

/// How pumping a consumer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    /// Something has to happen before there is more to send.
    Done,
    /// It goes on in the next turn: a long search must not hold up the other connections.
    Searches,
}

/// What a consumer that looks for its next delivery has to know.
#[derive(Clone, Copy)]
struct View<'a> {
    router: &'a Router,
    rights: &'a Rights,
    /// How far the disk has come; nothing where nothing is kept.
    synced: Option<Lsn>,
    /// What it is to its groups.
    taker: Taker<'a>,
    now: Instant,
}

/// What a consumer has found.
enum Next {
    Popped(Popped),
    /// A delivery that goes before the backlog.
    Live(Queued),
    /// A delivery of a group that has to wait in the consumer's own queue, behind what waits there for the disk.
    Behind(Queued),
    /// The next delivery has to be written into the store first.
    Unkept,
}

/// The next delivery of a consumer: what a resumed session has to repeat, retained messages for a new subscription, its queue, then what
/// waits in its groups, and then what it has read from the ring that it follows.
///
/// `dead` gets what had expired before it; returns also how many there were of what it follows.
fn next_waiting(consumer: &mut Consumer, view: View<'_>, dead: &mut Vec<Queued>) -> (Next, usize) {
    let View { rights, taker, now, .. } = view;
    let (has_credit, settlement) = (consumer.has_credit(), consumer.settlement);
    let look = Look { has_credit, settlement, synced: view.synced.unwrap_or_default(), now };
    if consumer.arranges() {
        match consumer.queue.pop_live(look, dead) {
            Popped::Delivery(queued) => return (Next::Live(queued), 0),
            Popped::Empty if consumer.may_take_from_backlog() => {}
            Popped::Empty => return (Next::Popped(Popped::Held), 0),
            other => return (Next::Popped(other), 0),
        }
    }
    if consumer.resuming > 0 {
        let before = dead.len();
        let popped = consumer.queue.pop(look, dead);
        let gone = dead.len() - before + usize::from(matches!(popped, Popped::Delivery(_)));
        consumer.resuming = consumer.resuming.saturating_sub(gone);
        return (Next::Popped(popped), 0);
    }
    if let Some(front) = consumer.released.first_entry() {
        return match front.get().needs_settling(consumer.settlement) && !has_credit {
            true => (Next::Popped(Popped::NeedsCredit), 0),
            false => (Next::Popped(Popped::Delivery(front.remove())), 0),
        };
    }
    if let Some(next) = next_replayed(consumer, view, dead) {
        return (next, 0);
    }
    match consumer.queue.pop(look, dead) {
        Popped::Empty => {}
        // Meanwhile it takes what it has credit for from its groups, so that the disk has many of them at a time.
        Popped::Unsynced if !consumer.shares.is_empty() && consumer.credit_left() > consumer.queue.len() => {
            return match next_shared(consumer, rights, dead, (taker, now)) {
                Popped::Delivery(queued) => (Next::Behind(queued), 0),
                _ => (Next::Popped(Popped::Unsynced), 0),
            };
        }
        other => return (Next::Popped(other), 0),
    }
    let (popped, expired) = match next_shared(consumer, rights, dead, (taker, now)) {
        Popped::Empty => next_followed(consumer, now),
        other => (other, 0),
    };
    (Next::Popped(popped), expired)
}

/// The next retained message on its way to a new subscription; nothing where there is none.
fn next_replayed(consumer: &mut Consumer, view: View<'_>, dead: &mut Vec<Queued>) -> Option<Next> {
    let View { router, rights, synced, now, .. } = view;
    let (has_credit, settlement) = (consumer.has_credit(), consumer.settlement);
    loop {
        while let Some(front) = consumer.replay.front() {
            let is_expired = front.message.is_expired(now);
            if !is_expired && front.needs_settling(settlement) && !has_credit {
                return Some(Next::Popped(Popped::NeedsCredit));
            }
            if let Some(synced) = synced.filter(|_| !is_expired && front.qos == QoS::ExactlyOnce) {
                match front.entry {
                    None if consumer.queue.survives() && consumer.queue.is_numbered() => {
                        return Some(Next::Unkept);
                    }
                    _ if !front.may_be_seen(synced) => return Some(Next::Popped(Popped::Unsynced)),
                    _ => {}
                }
            }
            match consumer.replay.pop_front() {
                Some(queued) if !is_expired => return Some(Next::Popped(Popped::Delivery(queued))),
                expired => dead.extend(expired),
            }
        }
        if !consumer.replay.search(router, rights, now) {
            return None;
        }
        if consumer.replay.front().is_none() && !consumer.replay.is_over() {
            return Some(Next::Popped(Popped::Searching));
        }
    }
}
