//! That a named queue exists, in the durable store: written when it is made, settled when it ends, and the last use noted in between.

use super::Shard;
use crate::entry::Entry;
use crate::group::Group;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_storage::StreamId;
use tidegate_storage::record::{QueueNote, QueueRecord};

/// How often a queue is looked at to note its last use, which is how much of its time it may be given again by a restart.
pub(super) const NOTE_INTERVAL: Duration = Duration::from_secs(60);

impl Shard {
    /// Makes sure that the store knows of a named queue before anything that is kept there.
    pub(super) fn describe(&mut self, group: &Arc<Group>, now: Instant) {
        let (Some(keeper), Some(named)) = (&self.node.keeper, group.named()) else { return };
        let is_being_described = || self.keeping.described.iter().any(|known| Arc::ptr_eq(known, group));
        if named.description.is_handed_over() || is_being_described() {
            return;
        }
        let Some(number) = NonZeroU64::new(keeper.next_in_queues()) else { return };
        let used_at_millis = millis_before(keeper.storage().time_millis(), named.idle(now));
        let (mut body, mut note) = (Vec::new(), Vec::new());
        QueueRecord { queue: group.queue.id, topic: named.topic.clone() }.write(&mut body);
        QueueNote { used_at_millis }.write(&mut note);
        let entry = Entry { stream: StreamId::QUEUES, number, change: Some(self.keeping.place()) };
        named.description.add(entry, used_at_millis);
        self.keeping.change.append(&[(StreamId::QUEUES, number.get(), &note)], &body);
        self.keeping.described.push(group.clone());
    }

    /// Notes when a queue was used last.
    pub(super) fn note_last_use(&mut self, group: &Group, now: Instant) {
        let (Some(keeper), Some(named)) = (&self.node.keeper, group.named()) else { return };
        if keeper.storage().is_overfull() {
            return;
        }
        let used_at_millis = millis_before(keeper.storage().time_millis(), named.idle(now));
        let mut note = Vec::new();
        QueueNote { used_at_millis }.write(&mut note);
        for entry in named.description.note_use(used_at_millis) {
            self.keeping.change.amend(entry.stream, entry.number.get(), &note);
        }
    }

    /// A queue has ended: nothing of it is left in the store.
    pub(super) fn forget_description(&mut self, group: &Group) {
        let Some(named) = group.named().filter(|_| self.node.keeper.is_some()) else { return };
        // Another worker may be about to describe it as well.
        named.description.take().iter().for_each(|entry| self.keeping.settle(entry));
        self.keeping.end(StreamId(group.queue.id));
    }
}

fn millis_before(now_millis: u64, time: Duration) -> u64 {
    now_millis.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
