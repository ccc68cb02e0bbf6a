//! What an event changes in the durable store: gathered while the event is handled, handed over at its end.
//!
//! Handed over before letters are posted and before any output is sent, so that nobody hears of anything that could come in front of
//! it in the store.

use super::Shard;
use std::num::NonZeroU64;
use std::time::Instant;
use tidegate_message::{Message, Topic};
use tidegate_protocol::Refusal;
use tidegate_storage::record::MessageRecord;
use tidegate_storage::{Change, NoRoom, StreamId, Urgency};

/// Bytes that the place where records are written keeps for the next one.
const RECORD_BYTES: usize = 1 << 20;

/// What this event is to change.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) change: Change,
    /// The most that somebody waits for.
    pub(super) urgency: Urgency,
    /// The retained messages that it changes, and the numbers that they go by until it is handed over.
    pub(super) retained: Vec<(Topic, NonZeroU64)>,
    /// Where records are written.
    record: Vec<u8>,
}

impl Shard {
    /// Hands over what this event has changed; whoever waits for it waits for its place from now on. That of an event that has changed
    /// nothing is the last one.
    pub(super) fn commit(&mut self) {
        if self.keeping.change.is_empty() && !self.answers.are_fresh() {
            return;
        }
        let urgency = std::mem::take(&mut self.keeping.urgency);
        let Some(keeper) = &self.node.keeper else { return };
        let place = keeper.storage().append(&mut self.keeping.change, urgency);
        if !self.keeping.retained.is_empty() {
            self.node.router.note_handed_over(self.keeping.retained.drain(..), &**keeper.storage());
        }
        if self.answers.are_fresh() {
            self.place_requests(place);
        }
    }

    /// Whether the durable store, where there is one, takes what weighs this; nothing stands for what only gives room back.
    pub(super) fn check_store(&self, bytes: Option<usize>) -> Result<(), Refusal> {
        let Some(keeper) = &self.node.keeper else { return Ok(()) };
        match keeper.storage().room(bytes.unwrap_or(0)) {
            Err(NoRoom::Failing) => Err(Refusal::StoreFailing),
            Err(NoRoom::Full) if bytes.is_some() => Err(Refusal::StoreFull),
            Ok(()) | Err(NoRoom::Full) => Ok(()),
        }
    }

    /// Appends a message to these streams (stream, number, note): it is kept once, however many they are.
    pub(super) fn append_message(
        &mut self,
        claims: &[(StreamId, u64, &[u8])],
        message: &Message,
        now: Instant,
    ) {
        let Some(keeper) = &self.node.keeper else { return };
        let Keeping { change, record, .. } = &mut self.keeping;
        MessageRecord::write(message, now, keeper.storage().time_millis(), record);
        change.append(claims, record);
        record.clear();
        record.shrink_to(RECORD_BYTES);
    }
}
