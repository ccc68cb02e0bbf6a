//! The numbers that earlier processes may have given are given by no queue any more.

use super::{Recovery, RecoveryError};
use tidegate_storage::StreamId;
use tidegate_storage::record::GivenNote;

impl Recovery<'_> {
    pub(super) fn recover_given(&mut self) -> Result<(), RecoveryError> {
        self.for_each_entry(StreamId::GIVEN, |recovery, entry| {
            recovery.keeper.numbering.restore(GivenNote::read(&entry.note)?);
            Ok(())
        })
    }

    /// Says in the store how far the queues may come now, before a client can see a number.
    pub(super) fn note_given(&self) {
        self.queues.values().for_each(|known| known.queue.note_numbers());
    }
}
