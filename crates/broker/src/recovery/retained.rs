//! The retained messages come back.

use super::{Recovery, RecoveryError};
use crate::retained::Found;
use std::num::NonZeroU64;
use tidegate_storage::record::MessageRecord;
use tidegate_storage::{Damaged, Entry, StreamId};

impl Recovery<'_> {
    pub(super) fn recover_retained(&mut self) -> Result<(), RecoveryError> {
        self.for_each_entry(StreamId::RETAINED, Recovery::take_retained)?;
        self.found.retained = self.node.router.retained_size().0;
        Ok(())
    }

    fn take_retained(&mut self, entry: &Entry) -> Result<(), Damaged> {
        let number = NonZeroU64::new(entry.number).ok_or(Damaged)?;
        let record = MessageRecord::read(&entry.body)?;
        // What a connection or a session of this number has published is not another one's own (MQTT 5.0 section 3.8.3.1).
        self.note_id(record.message.origin.0);
        let (topic, is_clear) = (record.message.topic.clone(), record.message.payload.is_empty());
        let message = record.at(self.now, self.now_millis);
        self.found.retained_expired += usize::from(message.is_none() && !is_clear);
        let found = message.filter(|_| !is_clear).map_or(Found::Nothing(topic), Found::Message);
        for number in self.node.router.restore_retained(number, found).into_iter().flatten() {
            self.change.settle(StreamId::RETAINED, number.get());
        }
        Ok(())
    }
}
