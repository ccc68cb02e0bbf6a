//! The named queues come back, with the policies of today. What waits in them is read with the contents of all queues.

use super::{Recovery, RecoveryError};
use crate::entry::Entry as KeptEntry;
use crate::mailbox::Letter;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::time::Duration;
use tidegate_message::Topic;
use tidegate_storage::record::{QueueNote, QueueRecord};
use tidegate_storage::{Damaged, Entry, StreamId};

/// One queue as it is described, by one entry or several.
struct Described {
    queue: u64,
    numbers: SmallVec<[NonZeroU64; 1]>,
    used_at_millis: u64,
}

type ByTopic = HashMap<Topic, Described, RandomState>;

impl Recovery<'_> {
    pub(super) fn recover_queues(&mut self) -> Result<(), RecoveryError> {
        let mut described = ByTopic::default();
        self.for_each_entry(StreamId::QUEUES, |recovery, entry| recovery.take_queue(entry, &mut described))?;
        self.found.queues = described.len();
        for (topic, described) in described {
            self.restore_queue(&topic, &described);
        }
        Ok(())
    }

    fn take_queue(&mut self, entry: &Entry, described: &mut ByTopic) -> Result<(), Damaged> {
        let number = NonZeroU64::new(entry.number).ok_or(Damaged)?;
        let QueueRecord { queue, topic } = QueueRecord::read(&entry.body)?;
        let QueueNote { used_at_millis } = QueueNote::read(&entry.note)?;
        if StreamId(queue) < StreamId::FIRST_QUEUE {
            return Err(Damaged);
        }
        self.note_id(queue);
        let fresh = || Described { queue, numbers: SmallVec::new(), used_at_millis };
        let known = described.entry(topic).or_insert_with(fresh);
        if queue < known.queue {
            self.change.settle(StreamId::QUEUES, number.get());
            return Ok(());
        }
        if queue > known.queue {
            // The other one had ended, which did not reach the store behind its beginning.
            let ended = std::mem::replace(known, fresh());
            ended.numbers.iter().for_each(|ended| self.change.settle(StreamId::QUEUES, ended.get()));
        }
        known.numbers.push(number);
        known.used_at_millis = known.used_at_millis.max(used_at_millis);
        Ok(())
    }

    fn restore_queue(&mut self, topic: &Topic, described: &Described) {
        let queue = self.queue(described.queue, None);
        let home = queue.address().worker;
        let group = self.node.router.declare_anyway(topic, home, &|_| queue.clone());
        if let Some(named) = group.named() {
            let idle = Duration::from_millis(self.now_millis.saturating_sub(described.used_at_millis));
            named.note_former_use(self.now, idle);
            for number in &described.numbers {
                let entry = KeptEntry::recovered(StreamId::QUEUES, *number);
                named.description.add(entry, described.used_at_millis);
            }
            named.description.note_handed_over();
        }
        // The worker is not there yet: it finds the letter when it is.
        self.node.post(home, Letter::LookAtQueue(group));
    }
}
