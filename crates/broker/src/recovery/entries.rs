//! Reading a whole stream: in portions, and past what is damaged where that is allowed.

use super::{Recovery, RecoveryError};
use tidegate_storage::{Damaged, Entry, ReadError, ReadMax, StreamId};
use tracing::error;

/// What is read at a time.
const PORTION: ReadMax = ReadMax { entries: 1024, bytes: 1 << 20 };

impl Recovery<'_> {
    /// Hands every entry of a stream to `take`, the lowest number first.
    pub(crate) fn for_each_entry(
        &mut self,
        stream: StreamId,
        mut take: impl FnMut(&mut Self, &Entry) -> Result<(), Damaged>,
    ) -> Result<(), RecoveryError> {
        let mut from = 0;
        loop {
            let entries = match self.keeper.storage().read(stream, from, PORTION) {
                Ok(entries) => entries,
                Err(ReadError::Damaged { number, .. }) => {
                    self.note_damaged(stream, number)?;
                    from = number.saturating_add(1);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(last) = entries.last() else { return Ok(()) };
            from = last.number.saturating_add(1);
            for entry in &entries {
                if take(self, entry).is_err() {
                    self.note_damaged(stream, entry.number)?;
                }
            }
        }
    }

    /// An entry cannot be read: an error, unless it may be left out.
    pub(crate) fn note_damaged(&mut self, stream: StreamId, number: u64) -> Result<(), RecoveryError> {
        if !self.skip_damaged {
            return Err(RecoveryError::Damaged { stream, number });
        }
        self.found.damaged += 1;
        error!(stream = stream.0, number, "an entry of the store is damaged and is left out");
        Ok(())
    }
}
