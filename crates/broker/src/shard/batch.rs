//! Messages that are published together or not at all.
//!
//! Everything that one of them could be refused for is looked at first: topic, rights, room in the queues at home here, room for retained
//! state. Only then is anything done. The room is counted with what the batch itself adds, and by the same rule as for a single
//! message: one is refused when nobody would receive it. In named queues, wherever they are, the room is reserved. Other queues of other
//! workers are not asked, as for a single message: what they find full is counted there. Nothing of this worker comes in between; what another
//! worker fills there at the same moment is counted as dropped.

use super::Shard;
use super::deliver::refusal_label;
use super::giving_way::GivingWay;
use super::publication::Publication;
use super::retaining::check_retain;
use crate::group::Group;
use crate::queue::Queue;
use crate::queued::{Queued, needs_settling};
use crate::retained::Entries;
use crate::route::{Route, RouteEntry};
use crate::router::NotRetained;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_protocol::{Answer, Publish, Refusal};
use tidegate_storage::Urgency;

/// Which message of a batch is refused, counted from 0, and why.
pub(super) type Refused = (usize, Refusal);

/// A message of a batch, and the way that it will take.
struct Planned<'a> {
    publish: &'a Publish<'a>,
    route: Rc<Route>,
    /// The route to take instead, because it has changed until the message was retained.
    newer: Option<Route>,
    message: Arc<Message>,
    /// The named queue in which room is reserved for it.
    reserved: Option<NonZeroU64>,
    /// What retaining it means for the durable store.
    entries: Entries,
}

impl Planned<'_> {
    fn route(&self) -> &Route {
        self.newer.as_ref().unwrap_or(&self.route)
    }

    /// Reserves room in the named queue to which it goes, wherever that is. What could go straight to a consumer needs it as well.
    fn reserve_room(&mut self, queue: &Group) -> bool {
        let mut publication = Publication::kept(&self.message);
        let has_room = publication.reserve_room(queue);
        self.reserved = publication.reserved;
        has_room
    }

    /// It will not be published.
    fn give_up_room(&self) {
        let mut publication = Publication { reserved: self.reserved, ..Publication::kept(&self.message) };
        self.route.queue().into_iter().for_each(|queue| publication.give_up_room(queue));
    }
}

/// What a batch adds.
#[derive(Default)]
struct Additions {
    /// By the number of the queue.
    by_queue: HashMap<u64, Addition, RandomState>,
    /// Deliveries to the connection itself.
    to_itself: usize,
}

/// What a batch adds to one receiver.
#[derive(Clone, Copy, Default)]
struct Addition {
    /// What goes straight into the consumer's output, as long as nothing waits.
    sent: Amount,
    /// What has to wait in the queue.
    waiting: Amount,
}

/// Messages and their bytes.
#[derive(Clone, Copy, Default)]
struct Amount {
    messages: usize,
    bytes: usize,
}

impl Amount {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

impl Shard {
    /// Publishes all messages of a connection, or none of them.
    pub(super) fn publish_all(
        &mut self,
        slot: usize,
        batch: &[Publish<'_>],
        now: Instant,
    ) -> Result<Answer, Refused> {
        let planned = self.plan(slot, batch, now);
        let ready = planned.and_then(|mut planned| {
            let kept = self
                .check_room(slot, &mut planned)
                .and_then(|giving| self.keep_all(&mut planned, now).map(|()| giving));
            if kept.is_err() {
                planned.iter().for_each(Planned::give_up_room);
            }
            kept.map(|giving| (planned, giving))
        });
        let (ready, giving) = ready.inspect_err(|(_, refusal)| {
            self.metrics.count_dropped(refusal_label(*refusal), batch.len());
        })?;
        let (mut waits_for, protocol) = (Urgency::Lazy, self.slots.get(slot).map(|here| here.protocol));
        let awaits_forwards = |planned: &Planned<'_>| planned.route().demands.passage;
        let passage = ready.iter().any(awaits_forwards).then(|| self.begin_passage(slot)).flatten();
        for planned in &ready {
            protocol.into_iter().for_each(|protocol| self.note_received(protocol, planned.publish));
            let mut publication =
                Publication { reserved: planned.reserved, ..Publication::kept(&planned.message) };
            publication.passage = passage.as_ref().filter(|_| awaits_forwards(planned));
            if planned.message.retain {
                self.keep_retained(planned.route(), &mut publication, &planned.entries);
            }
            self.give_out(planned.route(), &mut publication, now);
            waits_for = waits_for.max(publication.waits_for);
        }
        self.give_way(giving);
        Ok(self.answer_behind(slot, waits_for, passage))
    }

    /// Checks topics and rights, and looks the routes up.
    fn plan<'a>(
        &mut self,
        slot: usize,
        batch: &'a [Publish<'a>],
        now: Instant,
    ) -> Result<Vec<Planned<'a>>, Refused> {
        let origin = self.slots.get(slot).map_or(0, |here| here.origin);
        let plan = |(at, publish): (usize, &'a Publish<'a>)| {
            let route = self.route_of(slot, publish.topic, now).map_err(|refusal| (at, refusal))?;
            let mut publication = Publication::live(publish, &route.topic, origin, now);
            if let Some(ttl) = route.policy.message_ttl {
                publication.live_at_most(ttl, now);
            }
            let publisher = if route.demands.publisher { self.publisher_at(slot, now) } else { None };
            publication.publisher = publisher.as_ref();
            let message = publication.message();
            Ok(Planned { publish, route, newer: None, message, reserved: None, entries: Entries::default() })
        };
        batch.iter().enumerate().map(plan).collect()
    }

    /// Whether each message would be received by somebody, where there is anybody for it. Returns what gives way for them in the store.
    fn check_room(&mut self, slot: usize, batch: &mut [Planned<'_>]) -> Result<GivingWay, Refused> {
        let (mut additions, mut giving) = (Additions::default(), GivingWay::default());
        for (at, planned) in batch.iter_mut().enumerate() {
            let route = planned.route.clone();
            let publication = Publication::kept(&planned.message);
            self.check_kept(&route, &publication, &mut giving).map_err(|refusal| (at, refusal))?;
            if let Some(queue) = route.queue() {
                match planned.reserve_room(queue) {
                    true => continue,
                    false => return Err((at, Refusal::QueueFull)),
                }
            }
            let (mut accepted, mut refused) = (route.elsewhere != 0 || route.ring.is_some(), false);
            for entry in &route.here {
                let mut takes = self.would_take(entry, planned, slot, &mut additions);
                if !takes {
                    self.conflate_full(entry);
                    takes = self.would_take(entry, planned, slot, &mut additions);
                }
                match takes {
                    true => accepted = true,
                    false => refused = true,
                }
            }
            if refused && !accepted {
                return Err((at, Refusal::QueueFull));
            }
        }
        Ok(giving)
    }

    /// Whether a receiver would take a message of a batch behind those before it; one that it is not for takes it as well.
    fn would_take(
        &self,
        entry: &RouteEntry,
        planned: &Planned<'_>,
        slot: usize,
        additions: &mut Additions,
    ) -> bool {
        let message = &planned.message;
        let Some(grant) = entry.grant_for(message.origin.0) else { return true };
        let queued = Queued::live(message.clone(), grant);
        let keeps = match &entry.shared {
            Some(shared) => shared.group.may_wait(queued.qos),
            None if entry.queue.address().consumer.is_some() => true,
            None => queued.qos > QoS::AtMostOnce && entry.queue.is_expecting(),
        };
        if !keeps {
            return true;
        }
        if self.is_consumed_by(slot, &entry.queue) {
            let has_room = additions.to_itself < self.room_for_itself(slot);
            additions.to_itself += usize::from(has_room);
            return has_room;
        }
        let (addition, weight) =
            (additions.by_queue.entry(entry.queue.id).or_default(), queued.weight_bytes());
        let waiting = addition.waiting;
        if waiting.messages == 0 && self.takes_directly(entry, queued.qos, addition.sent) {
            addition.sent.add(weight);
            return true;
        }
        let has_room = entry.queue.would_take(waiting.messages, waiting.bytes, queued.qos, weight);
        if has_room {
            addition.waiting.add(weight);
        }
        has_room
    }

    /// Whether the consumer of a queue is one of this connection, which handles its own deliveries behind its input.
    fn is_consumed_by(&self, slot: usize, queue: &Queue) -> bool {
        let address = queue.address();
        let key = address.consumer.filter(|_| address.worker == self.worker);
        let consumer = key.and_then(|key| self.consumers.get(key as usize));
        consumer.is_some_and(|consumer| consumer.slot == slot)
    }

    fn room_for_itself(&self, slot: usize) -> usize {
        let waiting = self.slots.get(slot).map_or(0, |here| here.deferred.len());
        self.limits.queued_messages.saturating_sub(waiting)
    }

    /// Whether a delivery would go straight into the output of its consumer, behind so many others of the batch.
    fn takes_directly(&self, entry: &RouteEntry, qos: QoS, sent: Amount) -> bool {
        let address = entry.queue.address();
        let Some(key) = address.consumer.filter(|_| address.worker == self.worker) else { return false };
        let Some(consumer) = self.consumers.get(key as usize) else { return false };
        let Some(here) = self.slots.get(consumer.slot) else { return false };
        let has_credit = !needs_settling(consumer.settlement, qos) || sent.messages < consumer.credit_left();
        !consumer.backlog
            && here.machine.is_some()
            && has_credit
            && here.output.len() + sent.bytes < self.limits.output_bytes
    }

    /// Retains what asks for it, and puts what has a ring into it; or nothing of both.
    fn keep_all(&mut self, batch: &mut [Planned<'_>], now: Instant) -> Result<(), Refused> {
        for (at, planned) in batch.iter().enumerate().filter(|(_, planned)| planned.message.retain) {
            let publication = Publication::kept(&planned.message);
            let checked = check_retain(&planned.route)
                .and_then(|()| self.check_retained(&planned.route, &publication, &planned.message));
            checked.map_err(|refusal| (at, refusal))?;
        }
        if !batch.iter().any(|planned| planned.message.retain || planned.route.ring.is_some()) {
            return Ok(());
        }
        loop {
            let messages: Vec<_> = batch.iter().map(|planned| (&planned.message, planned.route())).collect();
            match self.node.router.keep_all(&messages, self.author(), now) {
                Ok((entries, told)) => {
                    let retained = batch.iter_mut().filter(|planned| planned.message.retain);
                    retained.zip(entries).for_each(|(planned, entries)| planned.entries = entries);
                    told.iter().for_each(|(ring, watchers)| self.tell_watchers(Some(ring), *watchers));
                    return Ok(());
                }
                Err((at, NotRetained::Full)) => return Err((at, Refusal::RetainedFull)),
                Err((_, NotRetained::RouteIsOld)) => {
                    for planned in batch.iter_mut().filter(|planned| planned.message.retain) {
                        let topic = planned.route.topic.clone();
                        planned.newer = Some(self.node.router.route(topic, self.worker));
                    }
                }
            }
        }
    }
}
