//! Long queues as a worker meets them: it asks for what comes next before the window is empty, and takes in what was read.
//!
//! Asked is at the end of the event, behind the change that it has made, so that what is read has been written. The answer may come when
//! the queue has moved, or has ended; it is taken in by whoever gets it, under the queue's own lock, and its consumer is woken where it is
//! now.

use super::Shard;
use super::burying::Death;
use crate::entry::Entry;
use crate::group::Group;
use crate::queue::{Queue, TakenIn};
use crate::queued::Queued;
use crate::reading::{Asker, Found, FoundEntry, Question};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::Message;
use tidegate_protocol::{DeliveryTag, Outcome};
use tidegate_storage::StreamId;
use tidegate_storage::record::{DeliveryNote, MessageRecord};
use tracing::error;

impl Shard {
    /// Has the queue of a consumer, and those of its groups, read on where little of them is left in memory.
    pub(super) fn read_ahead_for(&mut self, key: usize) {
        // Who has no store is not to pay for it, however many groups a consumer is in.
        let Some(consumer) = self.consumers.get(key).filter(|_| self.node.keeper.is_some()) else { return };
        let groups = consumer.shares.groups().filter(|group| group.queue.has_tail());
        self.asking.extend(groups.map(|group| Asker::Group(group.clone())));
        if consumer.queue.has_tail() {
            self.asking.push(Asker::Own(consumer.queue.clone()));
        }
    }

    /// The same for the queue of a session that may be away.
    pub(super) fn read_ahead(&mut self, queue: &Arc<Queue>) {
        if queue.has_tail() && !self.has_asked_last(queue) {
            self.asking.push(Asker::Own(queue.clone()));
        }
    }

    /// The same for a group.
    pub(super) fn read_ahead_in(&mut self, group: &Arc<Group>) {
        if group.queue.has_tail() && !self.has_asked_last(&group.queue) {
            self.asking.push(Asker::Group(group.clone()));
        }
    }

    fn has_asked_last(&self, queue: &Arc<Queue>) -> bool {
        self.asking.last().is_some_and(|asker| Arc::ptr_eq(asker.queue(), queue))
    }

    /// Asks for what is wanted. Only when what this event has changed was handed over.
    pub(super) fn ask_for_more(&mut self) {
        let Some(keeper) = &self.node.keeper else { return };
        for asker in self.asking.drain(..) {
            if let Some(ask) = asker.queue().next_ask() {
                keeper.reading.ask(Question { asker, ask });
            }
        }
    }

    /// Takes in what was read for a queue.
    pub(super) fn take_found(&mut self, asker: Asker, found: Found, now: Instant) {
        let Some(now_millis) = self.node.keeper.as_ref().map(|keeper| keeper.storage().time_millis()) else {
            return;
        };
        let Found { ask, entries } = found;
        let (mut groups, router) = (None, &self.node.router);
        let mut group_of = |StreamId(queue)| -> Option<Arc<Group>> {
            // Looked up for all at once: hardly anything that is read was taken from one.
            groups.get_or_insert_with(|| router.groups_by_queue()).get(&queue).cloned()
        };
        let entries = entries
            .into_iter()
            .map(|entry| (entry.number, revive(&asker, entry, &mut group_of, (now, now_millis))));
        let taken = asker.queue().take_in(&ask, entries.collect());
        let is_fruitless = taken.is_fruitless;
        self.settle_damaged(asker.queue(), &taken);
        match &asker {
            Asker::Own(queue) => {
                self.settle_entries(&taken.given_up);
                self.metrics.count_dropped("queue_full", taken.given_up.len());
                self.wake_anywhere(queue);
            }
            Asker::Group(group) => {
                let given_up = group.note_taken_in(taken);
                self.bury(Death::Overflow, given_up);
                self.look_at_deadlines(group, now);
                self.offer(group);
            }
        }
        match is_fruitless {
            true => self.ask_again_later(asker),
            false => self.asking.push(asker),
        }
    }

    fn ask_again_later(&mut self, asker: Asker) {
        let Some(keeper) = &self.node.keeper else { return };
        if let Some(ask) = asker.queue().next_ask() {
            keeper.reading.ask_later(Question { asker, ask });
        }
    }

    /// A delivery of the process before is settled, accepted or rejected, that has not come again, because it waits behind what was taken into
    /// memory at the start: how far it had come its protocol knows. One on the disk only comes again where it was rejected.
    pub(super) fn settle_unseen(&mut self, key: usize, tag: DeliveryTag, outcome: Outcome) {
        let consumer = self.consumers.get_mut(key).filter(|consumer| consumer.is_durable());
        let (Some(consumer), Some(number)) = (consumer, NonZeroU64::new(tag.0)) else { return };
        let queue = consumer.queue.clone();
        match (queue.take_numbered(number), outcome) {
            (Some(queued), Outcome::Accepted) => self.accept_entry(&queued),
            (Some(queued), Outcome::GivenUp) => self.settle_entry(&queued),
            (Some(queued), _) => self.bury(Death::Rejected, vec![queued]),
            (None, Outcome::Accepted | Outcome::GivenUp) if queue.settle_on_disk(number.get()) => {
                let entry = Entry::recovered(StreamId(queue.id), number);
                match outcome {
                    Outcome::Accepted => self.keeping.accept(&entry),
                    _ => self.keeping.settle(&entry),
                }
                // What stood behind it may be next.
                self.wake_anywhere(&queue);
            }
            (None, _) => {}
        }
    }

    /// What cannot be read is settled, so that it is not met again.
    fn settle_damaged(&mut self, queue: &Queue, taken: &TakenIn) {
        let stream = StreamId(queue.id);
        for number in &taken.damaged {
            self.keeping.settle_number(stream, *number);
        }
        if taken.missing > 0 {
            error!(stream = stream.0, count = taken.missing, "messages are missing in the store");
        }
        self.metrics.count_dropped("damaged", taken.damaged.len() + taken.missing);
    }
}

/// A delivery as it was kept in the stream of somebody's queue; nothing where that cannot be read.
fn revive(
    asker: &Asker,
    entry: FoundEntry,
    group_of: &mut impl FnMut(StreamId) -> Option<Arc<Group>>,
    (now, now_millis): (Instant, u64),
) -> Option<Queued> {
    let (record, note) = entry.content?;
    let note = DeliveryNote::read(&note).ok()?;
    let number = NonZeroU64::new(entry.number)?;
    let message = Arc::new(message_of(record, now, now_millis));
    let entry = Some(Entry::recovered(StreamId(asker.queue().id), number));
    let queued = match asker {
        Asker::Group(_) => Queued::unassigned(message, number.get()),
        Asker::Own(_) => Queued {
            qos: note.qos,
            retain: note.retain,
            subscription_ids: note.subscription_ids.iter().copied().collect(),
            ..Queued::unassigned(message, 0)
        },
    };
    let queued = Queued { attempt: note.attempt, entry, ..queued };
    let taken = note.taken_from.and_then(|(from, place)| Some((group_of(from)?, place)));
    Some(match (asker, taken) {
        // It may have been under way to its session, which is the only one that may get it then ([MQTT-4.8.2-4]).
        (Asker::Own(_), Some((group, place))) => {
            let tag = Some(DeliveryTag(number.get()));
            Queued { group: Some(group), place, tag, redelivered: true, is_presumed: true, ..queued }
        }
        _ => queued,
    })
}

/// The message of a record. One that has expired meanwhile has a deadline that is now, so that whoever meets it sees to the rest.
fn message_of(record: MessageRecord, now: Instant, now_millis: u64) -> Message {
    match record.expires_at_millis {
        Some(at) if at <= now_millis => Message { expires_at: Some(now), ..record.message },
        left => {
            let left = left.map(|at| Duration::from_millis(at - now_millis));
            Message { expires_at: left.and_then(|left| now.checked_add(left)), ..record.message }
        }
    }
}
