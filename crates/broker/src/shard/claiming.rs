//! Who keeps a message, and the entries that are written for them.
//!
//! The publisher's worker writes the message once, for all receivers that keep it. A home that finds no entry for a receiver that keeps it,
//! because it has become durable since or because the delivery has another origin than a publication, writes its own.
//!
//! Where there is no store all of this is a look at whether there is one: what each message comes by is small enough to be part of its
//! caller, and what only a store needs is kept out of it (`#[inline(never)]`).

use super::Shard;
use super::keeping::NewEntry;
use super::publication::Publication;
use crate::entry::{Claims, Entry};
use crate::group::Group;
use crate::queue::Queue;
use crate::queued::Queued;
use crate::route::{Addressee, Grant, Route, RouteEntry};
use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_storage::record::DeliveryNote;
use tidegate_storage::{StreamId, Urgency};

impl RouteEntry {
    /// Whether a message is kept here.
    pub(super) fn keeps(&self, publication: &Publication<'_>) -> bool {
        self.note(publication).is_some()
    }

    /// The note under which a message is kept here; nothing where it is not.
    fn note(&self, publication: &Publication<'_>) -> Option<DeliveryNote<&[u32]>> {
        let note = |qos, retain, subscription_ids| DeliveryNote {
            qos,
            retain,
            subscription_ids,
            attempt: 1,
            taken_from: None,
        };
        if let Some(shared) = &self.shared {
            let is_kept = shared.group.keeps(publication.qos, &shared.members);
            return is_kept.then(|| note(publication.qos, publication.retain, &[][..]));
        }
        let grant = self.grant_for(publication.origin)?;
        let qos = publication.qos.min(grant.qos);
        let is_kept = qos > QoS::AtMostOnce && self.queue.survives();
        is_kept.then(|| note(qos, publication.retain && grant.retain_as_published, &grant.subscription_ids))
    }
}

impl Route {
    /// Whether somebody on it keeps a message.
    #[inline(never)]
    fn keeps(&self, publication: &Publication<'_>) -> bool {
        self.receivers_known().any(|(receiver, _)| receiver.keeps(publication))
    }
}

impl Publication<'_> {
    /// Takes the entry that was written for a queue.
    fn claim(&mut self, queue: &Queue) -> Option<Entry> {
        self.claims.as_mut()?.take(queue.id)
    }
}

impl Queued {
    /// What is noted of it in the store.
    fn note(&self) -> DeliveryNote<&[u32]> {
        DeliveryNote {
            qos: self.qos,
            retain: self.retain,
            subscription_ids: &self.subscription_ids,
            attempt: self.attempt,
            taken_from: self.group.as_ref().map(|group| (StreamId(group.queue.id), self.place)),
        }
    }
}

impl Shard {
    /// Whether somebody on its route keeps a message.
    #[inline]
    pub(super) fn is_kept(&self, route: &Route, publication: &Publication<'_>) -> bool {
        self.node.keeper.is_some() && publication.qos > QoS::AtMostOnce && route.keeps(publication)
    }

    /// Writes a message once, for everybody on its route who keeps it and for those to come where it is retained.
    #[inline]
    pub(super) fn write_claims(&mut self, route: &Route, publication: &mut Publication<'_>, now: Instant) {
        if self.node.keeper.is_some() {
            self.write_once(route, publication, now);
        }
    }

    #[inline(never)]
    fn write_once(&mut self, route: &Route, publication: &mut Publication<'_>, now: Instant) {
        if let Addressee::Queue(Some(group)) = &route.addressee {
            self.describe(group, now);
        }
        if self.node.keeper.is_none() {
            return;
        }
        self.replace_on_disk(route, publication);
        let Shard { node, keeping, worker, .. } = self;
        let Some(keeper) = &node.keeper else { return };
        keeping.start();
        let retained = publication.retained.take().map(|number| (StreamId::RETAINED, number, 0..0));
        let mut entries: SmallVec<[NewEntry; 4]> = retained.into_iter().collect();
        let is_kept = publication.qos > QoS::AtMostOnce;
        for (receiver, home) in route.receivers_known().filter(|_| is_kept) {
            let Some(note) = receiver.note(publication) else { continue };
            let Some(number) = receiver.queue.take_number() else { continue };
            receiver.queue.note_entry();
            entries.push((StreamId(receiver.queue.id), number, keeping.note(&note)));
            if let Some(passage) = publication.passage.filter(|_| receiver.is_forward()) {
                passage.watch(StreamId(receiver.queue.id), number.get());
            }
            let claims = publication.claims.get_or_insert_with(|| Claims::of_change(keeping.place()));
            claims.add(receiver.queue.id, number, home.unwrap_or(*worker));
        }
        if entries.is_empty() {
            return;
        }
        keeping.append(&entries, publication.parts(), &**keeper.storage(), now);
        if publication.claims.is_none() {
            return;
        }
        let acknowledge = route.policy.acknowledge;
        publication.waits_for = publication.waits_for.max(acknowledge);
        // Who receives at level 2 waits for the disk, whether the publisher does or not.
        let urgency = if publication.qos == QoS::ExactlyOnce { Urgency::Synced } else { acknowledge };
        keeping.urgency = keeping.urgency.max(urgency);
    }

    /// Settles what was written for receivers that did not get the message after all.
    #[inline]
    pub(super) fn settle_unused(&mut self, publication: &mut Publication<'_>) {
        if let Some(claims) = &publication.claims {
            self.settle_claims(claims);
        }
    }

    #[inline(never)]
    pub(super) fn settle_claims(&mut self, claims: &Claims) {
        claims.left().for_each(|entry| self.keeping.settle(&entry));
    }

    /// The entry of a message in the queue of one receiver, which is written where that has not been done; nothing where the queue keeps
    /// nothing.
    #[inline]
    pub(super) fn entry_for(
        &mut self,
        queue: &Queue,
        grant: &Grant,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Option<Entry> {
        self.node.keeper.as_ref()?;
        self.find_or_write_entry(queue, grant, publication, now)
    }

    #[inline(never)]
    fn find_or_write_entry(
        &mut self,
        queue: &Queue,
        grant: &Grant,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Option<Entry> {
        if let Some(entry) = publication.claim(queue) {
            return Some(entry);
        }
        let qos = publication.qos.min(grant.qos);
        if qos == QoS::AtMostOnce || !queue.survives() {
            return None;
        }
        let queued = Queued::live(publication.message(), grant);
        self.write_entry(queue, &queued.note(), &queued.message, now)
    }

    /// Gives a message its place in the order of a group, and its entry there where the group keeps it.
    pub(super) fn enter(
        &mut self,
        group: &Arc<Group>,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Queued {
        let entry = self.group_entry(group, publication, now);
        group.enter(publication.message(), entry)
    }

    /// The entry of a message in the queue of a group, as [`Shard::entry_for`].
    pub(super) fn group_entry(
        &mut self,
        group: &Group,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Option<Entry> {
        self.node.keeper.as_ref()?;
        if let Some(entry) = publication.claim(&group.queue) {
            return Some(entry);
        }
        if !group.keeps(publication.qos, &group.members()) {
            return None;
        }
        let queued = Queued::unassigned(publication.message(), 0);
        self.write_entry(&group.queue, &queued.note(), &queued.message, now)
    }

    fn write_entry(
        &mut self,
        queue: &Queue,
        note: &DeliveryNote<&[u32]>,
        message: &Message,
        now: Instant,
    ) -> Option<Entry> {
        let number = queue.take_number()?;
        self.write_numbered(queue, number, note, message, now)
    }

    fn write_numbered(
        &mut self,
        queue: &Queue,
        number: NonZeroU64,
        note: &DeliveryNote<&[u32]>,
        message: &Message,
        now: Instant,
    ) -> Option<Entry> {
        let Shard { node, keeping, .. } = self;
        let storage = node.keeper.as_ref()?.storage();
        queue.note_entry();
        keeping.start();
        let stream = StreamId(queue.id);
        let note_place = keeping.note(note);
        keeping.append(&[(stream, number, note_place)], message.into(), &**storage, now);
        // Who receives at level 2 waits for the disk.
        let urgency = if note.qos == QoS::ExactlyOnce { Urgency::Synced } else { Urgency::Lazy };
        keeping.urgency = keeping.urgency.max(urgency);
        Some(Entry { stream, number, change: Some(keeping.place()) })
    }

    /// Keeps a delivery of a session that has not been kept so far, under its tag where it has one.
    pub(super) fn keep_own(&mut self, queue: &Queue, queued: &mut Queued, now: Instant) {
        if self.node.keeper.is_none() || queued.entry.is_some() || queued.qos == QoS::AtMostOnce {
            return;
        }
        let number = queued.tag.and_then(|tag| NonZeroU64::new(tag.0)).or_else(|| queue.take_number());
        if let Some(number) = number {
            queued.entry = self.write_numbered(queue, number, &queued.note(), &queued.message, now);
        }
    }

    /// The same for several.
    pub(super) fn keep_all_own<'a>(
        &mut self,
        queue: &Queue,
        deliveries: impl IntoIterator<Item = &'a mut Queued>,
        now: Instant,
    ) {
        if self.node.keeper.is_some() {
            let own = deliveries.into_iter().filter(|queued| queued.group.is_none());
            own.for_each(|queued| self.keep_own(queue, queued, now));
        }
    }

    /// Whether a delivery of a group becomes its member's own before that sees it: what a session has at level 2 comes again to this
    /// session and nobody else ([MQTT-4.8.2-4]).
    pub(super) fn is_to_be_owned(&self, queue: &Queue, queued: &Queued) -> bool {
        let is_own = |entry: &Entry| entry.stream.0 == queue.id;
        queued.qos == QoS::ExactlyOnce
            && self.node.keeper.is_some()
            && queue.survives()
            && !queued.entry.as_ref().is_some_and(is_own)
    }

    /// Moves the entry of a delivery into the stream of another queue: in both or in none it never is.
    fn move_entry(&mut self, queue: &Queue, queued: &mut Queued, now: Instant) {
        let entry = self.write_entry(queue, &queued.note(), &queued.message, now);
        if let (Some(before), Some(entry)) = (&queued.entry, &entry) {
            let [before, now] = [before, entry].map(|entry| (entry.stream, entry.number.get()));
            self.node.passages.rename(before, now);
        }
        self.settle_entry(queued);
        queued.entry = entry;
    }

    /// Lets a delivery that a group has given to a consumer of this worker wait in the consumer's own queue until the disk has it.
    pub(super) fn own(&mut self, key: usize, mut queued: Queued, now: Instant) {
        let Some(queue) = self.consumers.get(key).map(|consumer| consumer.queue.clone()) else {
            return self.take_from_nobody(queued, now);
        };
        if self.is_to_be_owned(&queue, &queued) {
            self.move_entry(&queue, &mut queued, now);
        }
        if let Err(queued) = queue.append(queued) {
            self.take_from_nobody(queued, now);
        }
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.backlog = true;
        }
        self.list(key);
    }

    /// Who was to have a delivery is gone for good: a group gives it to somebody else.
    fn take_from_nobody(&mut self, queued: Queued, now: Instant) {
        match queued.group {
            Some(_) => self.give_back([queued], now),
            None => {
                self.settle_entry(&queued);
                self.metrics.count_dropped("session_ended", 1);
            }
        }
    }

    /// Notes what has become of deliveries that go back to their group: how often they were delivered, and that they are the group's again.
    pub(super) fn keep_returned(&mut self, group: &Group, deliveries: &mut [Queued], now: Instant) {
        if self.node.keeper.is_none() {
            return;
        }
        for queued in deliveries {
            let Some(entry) = queued.entry.clone() else { continue };
            let mut returned = Queued { group: None, qos: queued.message.qos, ..queued.clone() };
            if entry.stream.0 != group.queue.id {
                self.move_entry(&group.queue, &mut returned, now);
                queued.entry = returned.entry;
            } else if queued.attempt > 1 && self.check_describing().is_ok() {
                self.keeping.amend(&entry, &returned.note());
            }
        }
    }

    /// Keeps what a new subscription gets at level 2 of the retained messages, so that it comes once whatever happens.
    pub(super) fn keep_replayed(&mut self, key: usize, now: Instant) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let (queue, mut found) = (consumer.queue.clone(), consumer.replay.lend_found());
        for queued in found.iter_mut().filter(|queued| queued.qos == QoS::ExactlyOnce) {
            self.keep_own(&queue, queued, now);
        }
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.replay.return_found(found);
        }
    }
}
