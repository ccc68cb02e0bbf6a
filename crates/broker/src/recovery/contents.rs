//! What waits in queues comes back: the first of a session's queue into memory, and everything else is left on the disk until it is its turn.

use super::{KnownQueue, LastConsumer, Recovery, RecoveryError};
use crate::entry::Entry;
use crate::group::Group;
use crate::queue::Queue;
use crate::queued::Queued;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use tidegate_protocol::{DeliveryTag, Settlement};
use tidegate_storage::record::{DeliveryNote, MessageRecord};
use tidegate_storage::{Damaged, ReadError, ReadMax, StreamId, StreamSummary};

/// What is read of one queue before the node begins, at the most: its memory is taken for every session at once.
const FIRST: ReadMax = ReadMax { entries: PRESUMED_MAX as usize, bytes: 1 << 20 };

/// Deliveries of one session that are taken for under way where nobody knows better.
pub(super) const PRESUMED_MAX: u32 = 4096;

/// The groups by the numbers of their queues.
type Groups = HashMap<u64, Arc<Group>, RandomState>;

impl Recovery<'_> {
    /// Finds what every known queue has in its stream.
    pub(super) fn recover_contents(&mut self) -> Result<(), RecoveryError> {
        let groups = self.node.router.groups_by_queue();
        for KnownQueue { queue, consumer } in self.queues.values().cloned().collect::<Vec<_>>() {
            let Some(summary) = self.keeper.storage().summary(StreamId(queue.id)) else { continue };
            self.found.messages += summary.entries;
            match groups.get(&queue.id) {
                Some(group) => {
                    leave_on_disk(&queue, &summary);
                    group.note_left(summary.entries);
                }
                None => {
                    let left = self.take_first(&queue, summary, consumer, &groups)?;
                    leave_on_disk(&queue, &left);
                }
            }
        }
        Ok(())
    }

    /// Reads the deliveries that may have been under way to the last consumer of a session's queue: they come again under their tags
    /// before everything else ([MQTT-4.4.0-1], [MQTT-3.1.1/4.4.0-1]). Returns what stands behind them.
    fn take_first(
        &mut self,
        queue: &Arc<Queue>,
        mut left: StreamSummary,
        consumer: Option<LastConsumer>,
        groups: &Groups,
    ) -> Result<StreamSummary, RecoveryError> {
        let settles = consumer.filter(|consumer| consumer.settlement != Settlement::Automatic);
        // More than it had credit for, where it was there to the last: what was settled in the last moment may be back, and stands in front of
        // what was under way. Who has answered one of them already answers it again before it comes, and then it must be found
        // ([MQTT-4.3.3-1]).
        let under_way = |consumer: LastConsumer| {
            let credit = usize::try_from(consumer.credit).unwrap_or(usize::MAX);
            if consumer.was_attached { credit.max(FIRST.entries) } else { credit }
        };
        let entries_max = settles.map_or(0, under_way);
        let (mut entries, mut bytes) = (0, 0);
        // Where the memory of all queues is used up, the rest has to wait on the disk like everything that was not under way.
        let total = self.node.total.clone();
        while entries < entries_max && bytes < FIRST.bytes && left.entries > 0 && total.has_room(0) {
            let max = ReadMax { entries: entries_max - entries, bytes: FIRST.bytes - bytes };
            let read = match self.keeper.storage().read(left.stream, left.first, max) {
                Ok(read) => read,
                Err(ReadError::Damaged { number, .. }) => {
                    self.note_damaged(left.stream, number)?;
                    (left.first, left.entries) = (number.saturating_add(1), left.entries - 1);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(last) = read.last() else { break };
            left.first = last.number.saturating_add(1);
            for entry in &read {
                let weight = entry.body.len() + entry.note.len();
                (entries, bytes) = (entries + 1, bytes + weight);
                left.entries = left.entries.saturating_sub(1);
                left.bytes = left.bytes.saturating_sub(weight as u64);
                match self.revive(left.stream, entry, groups) {
                    Ok(Some(queued)) => queue.restore(queued),
                    Ok(None) => {}
                    Err(Damaged) => self.note_damaged(left.stream, entry.number)?,
                }
            }
        }
        Ok(left)
    }

    /// A delivery as it was kept, which may have been under way; nothing where its message has expired.
    fn revive(
        &mut self,
        stream: StreamId,
        entry: &tidegate_storage::Entry,
        groups: &Groups,
    ) -> Result<Option<Queued>, Damaged> {
        let number = NonZeroU64::new(entry.number).ok_or(Damaged)?;
        let DeliveryNote { qos, retain, subscription_ids, attempt, taken_from } =
            DeliveryNote::read(&entry.note)?;
        let Some(message) = MessageRecord::read(&entry.body)?.at(self.now, self.now_millis) else {
            self.change.settle(stream, entry.number);
            self.found.messages_expired += 1;
            let metrics = self.node.metrics().first();
            metrics.into_iter().for_each(|metrics| metrics.count_dropped("expired", 1));
            return Ok(None);
        };
        let taken = taken_from.and_then(|(from, place)| Some((groups.get(&from.0)?.clone(), place)));
        let (group, place) = taken.map_or((None, 0), |(group, place)| (Some(group), place));
        let queued = Queued {
            qos,
            retain,
            subscription_ids: subscription_ids.into_iter().collect(),
            redelivered: true,
            is_presumed: true,
            tag: Some(DeliveryTag(entry.number)),
            group,
            attempt,
            entry: Some(Entry::recovered(stream, number)),
            ..Queued::unassigned(Arc::new(message), place)
        };
        Ok(Some(queued.once_more()))
    }
}

/// What is in the stream of a queue is read when it is its turn.
fn leave_on_disk(queue: &Queue, left: &StreamSummary) {
    if left.entries > 0 {
        let bytes = usize::try_from(left.bytes).unwrap_or(usize::MAX);
        let weight = bytes.saturating_add(left.entries.saturating_mul(size_of::<Queued>()));
        queue.keep_tail(left.first, left.last, left.entries as u64, weight);
    }
}
