//! A message on its way from its publisher to its receivers, in whatever memory it stands.
//!
//! What a client publishes is borrowed from the read buffer, what was kept from its [`Message`]; how it is delivered is the same.

use super::escort::Escort;
use super::slot::{Consumer, Slot};
use crate::entry::{Claims, Entry};
use crate::group::Group;
use crate::passage::Passage;
use crate::queue::{Claim, Reserved};
use crate::queued::{Queued, needs_settling};
use crate::route::Grant;
use bytes::Bytes;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{Message, Origin, Properties, Publisher, QoS, Topic};
use tidegate_protocol::{Delivery, Encoded, Publish, Refused};
use tidegate_storage::Urgency;
use tidegate_storage::record::MessageParts;

/// Whose a delivery is.
#[derive(Clone, Copy, Default)]
pub(super) struct Source<'a> {
    /// The group that has chosen the consumer; nothing where the delivery is the consumer's own.
    pub(super) group: Option<&'a Arc<Group>>,
    /// What was written of it into the store.
    pub(super) entry: Option<&'a Entry>,
}

/// A message on its way; a [`Message`] is made of it only where somebody has to keep it.
pub(super) struct Publication<'a> {
    pub(super) topic: &'a Topic,
    pub(super) payload: &'a [u8],
    pub(super) properties: Option<&'a Properties>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires_at: Option<Instant>,
    pub(super) origin: u64,
    /// The generation of the route that it takes.
    pub(super) generation: u64,
    /// Its position in a replay ring, where it was read from there.
    pub(super) position: Option<NonZeroU64>,
    pub(super) message: Option<Arc<Message>>,
    /// Who has published it, where somebody wants to know.
    pub(super) publisher: Option<&'a Publisher>,
    /// What its publisher waits for until it has left the gateway.
    pub(super) passage: Option<&'a Passage>,
    /// Whether its publisher has been told that it was taken: what comes from another worker.
    pub(super) is_promised: bool,
    /// The number of the named queue in which room is reserved for it.
    pub(super) reserved: Option<NonZeroU64>,
    /// The entries that were written for its receivers and are not used yet.
    pub(super) claims: Option<Claims>,
    /// What its publisher is told waits for: the most that was kept of it asks for.
    pub(super) waits_for: Urgency,
    /// The number under which it is retained in the durable store, while it is not written there.
    pub(super) retained: Option<NonZeroU64>,
}

impl<'a> Publication<'a> {
    pub(super) fn live(
        publish: &Publish<'a>,
        topic: &'a Topic,
        origin: u64,
        now: Instant,
    ) -> Publication<'a> {
        Publication {
            topic,
            payload: publish.payload,
            properties: publish.properties.filter(|properties| !properties.is_empty()),
            qos: publish.qos,
            retain: publish.retain,
            expires_at: publish.expiry.and_then(|expiry| now.checked_add(expiry)),
            origin,
            generation: 0,
            position: None,
            message: None,
            publisher: None,
            passage: None,
            is_promised: false,
            reserved: None,
            claims: None,
            waits_for: Urgency::Lazy,
            retained: None,
        }
    }

    pub(super) fn kept(message: &'a Arc<Message>) -> Publication<'a> {
        Publication {
            topic: &message.topic,
            payload: &message.payload,
            properties: message.properties.as_deref(),
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expires_at,
            origin: message.origin.0,
            generation: 0,
            position: None,
            message: Some(message.clone()),
            publisher: message.publisher.as_deref(),
            passage: None,
            is_promised: false,
            reserved: None,
            claims: None,
            waits_for: Urgency::Lazy,
            retained: None,
        }
    }

    /// Its topic's policy lets it live for so long from now on.
    pub(super) fn live_at_most(&mut self, ttl: Duration, now: Instant) {
        // What overflows is as good as never.
        now.checked_add(ttl).into_iter().for_each(|deadline| self.expire_by(deadline));
    }

    /// Shortens its lifetime, where it has a longer one, to what is left of it at this moment.
    pub(super) fn expire_by(&mut self, deadline: Instant) {
        if self.expires_at.is_some_and(|before| before <= deadline) {
            return;
        }
        self.expires_at = Some(deadline);
        if let Some(message) = self.message.take() {
            // A large payload is shared with the message that it was.
            self.message = Some(Arc::new(Message { expires_at: Some(deadline), ..Message::clone(&message) }));
        }
    }

    /// Reserves room in the named queue to which it goes. False where that is full; one that has just ended is made again by its home.
    pub(super) fn reserve_room(&mut self, queue: &Group) -> bool {
        let reserved = queue.reserve_room(self.qos, self.queued_bytes());
        if reserved == Reserved::Yes {
            self.reserved = NonZeroU64::new(queue.queue.id);
        }
        reserved != Reserved::Full
    }

    /// What it was promised by a group, which keeps that by taking it.
    pub(super) fn take_claim(&mut self, group: &Group) -> Claim {
        match self.reserved.take_if(|queue| queue.get() == group.queue.id) {
            Some(_) => Claim::Room,
            None if self.is_promised && group.is_named_queue() => Claim::Taken,
            None => Claim::None,
        }
    }

    /// It goes straight to a member of a group and needs no room there.
    pub(super) fn give_up_room(&mut self, group: &Group) {
        if self.reserved.is_some() && self.take_claim(group) == Claim::Room {
            group.give_up_room(self.queued_bytes());
        }
    }

    /// What it weighs as a delivery that waits.
    pub(super) fn queued_bytes(&self) -> usize {
        let properties = self.properties.map_or(0, |found| size_of::<Properties>() + found.heap_bytes());
        size_of::<Queued>()
            + size_of::<Message>()
            + self.topic.as_str().len()
            + self.payload.len()
            + properties
            + self.publisher.map_or(0, Publisher::weight_bytes)
    }

    /// About what it takes on the disk.
    pub(super) fn kept_bytes(&self) -> usize {
        /// Headers, numbers and lengths.
        const OVERHEAD_BYTES: usize = 48;
        let properties = self.properties.map_or(0, Properties::heap_bytes);
        OVERHEAD_BYTES
            + self.topic.as_str().len()
            + self.payload.len()
            + properties
            + self.publisher.map_or(0, Publisher::weight_bytes)
    }

    /// What the store gets of it.
    pub(super) fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
            expires_at: self.expires_at,
            origin: Origin(self.origin),
            publisher: self.publisher,
        }
    }

    /// The message as it can be kept: copied out of the read buffer, once.
    pub(super) fn message(&mut self) -> Arc<Message> {
        let make = || {
            Arc::new(Message {
                topic: self.topic.clone(),
                payload: Bytes::copy_from_slice(self.payload),
                qos: self.qos,
                retain: self.retain,
                properties: self.properties.cloned().map(Box::new),
                expires_at: self.expires_at,
                origin: Origin(self.origin),
                publisher: self.publisher.cloned().map(Box::new),
            })
        };
        self.message.get_or_insert_with(make).clone()
    }

    /// Gives it what goes along with it. Where somebody wants to know who has published it, what other workers have to get is made a message,
    /// which carries that.
    pub(super) fn escort(&mut self, escort: &'a Escort, goes_elsewhere: bool) {
        (self.publisher, self.passage) = (escort.publisher.as_ref(), escort.passage.as_ref());
        if goes_elsewhere && self.publisher.is_some() {
            self.message();
        }
    }

    /// Lets a consumer's machine encode it, and remembers what has to be settled. Returns the level of the delivery.
    #[inline]
    pub(super) fn send(
        &mut self,
        grant: &Grant,
        source: Source<'_>,
        consumer: &mut Consumer,
        slot: &mut Slot,
        encoded: &mut Encoded,
        now: Instant,
    ) -> Result<QoS, Refused> {
        let qos = self.qos.min(grant.qos);
        let Some(machine) = slot.machine.as_deref_mut() else { return Ok(qos) };
        let delivery = Delivery {
            consumer: consumer.id,
            topic: self.topic,
            payload: self.payload,
            properties: self.properties,
            qos,
            retain: self.retain && grant.retain_as_published,
            redelivered: false,
            attempt: 1,
            expires_at: self.expires_at,
            now,
            subscription_ids: &grant.subscription_ids,
            tag: needs_settling(consumer.settlement, qos).then(|| consumer.next_tag(source.entry)),
            is_backlog: false,
            position: consumer.position(self.position),
            publisher: self.publisher,
        };
        machine.handle_delivery(&delivery, encoded, &mut slot.output)?;
        if delivery.position.is_some() {
            consumer.note_position_told();
        }
        if let Some(tag) = delivery.tag {
            let kept = self.remembered(grant, source, consumer);
            consumer.hold(tag, kept);
        }
        Ok(qos)
    }

    /// The delivery as its consumer remembers it until it is settled; nothing where it never comes again.
    #[inline]
    fn remembered(&mut self, grant: &Grant, source: Source<'_>, consumer: &Consumer) -> Option<Queued> {
        let entry = source.entry;
        if source.group.is_none() && entry.is_none() && !consumer.keeps_unsettled() {
            return None;
        }
        let entry = entry.cloned();
        Some(match source.group {
            Some(group) => group.enter(self.message(), entry).taken(group, grant),
            None => Queued { position: self.position, entry, ..Queued::live(self.message(), grant) },
        })
    }
}
