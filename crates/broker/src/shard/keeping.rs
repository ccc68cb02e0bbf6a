//! What an event changes in the durable store: gathered while the event is handled, handed over at its end.
//!
//! Handed over before letters are posted and before any output is sent, so that nobody hears of anything that could come in front of
//! it in the store.

use super::Shard;
use tidegate_storage::{Change, Lsn, Urgency};

/// What this event is to change.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) change: Change,
    /// The most that somebody waits for.
    pub(super) urgency: Urgency,
}

impl Shard {
    /// Hands over what this event has changed. Returns its place, where there was anything.
    pub(super) fn commit(&mut self) -> Option<Lsn> {
        if self.keeping.change.is_empty() {
            return None;
        }
        let urgency = std::mem::take(&mut self.keeping.urgency);
        let keeper = self.node.keeper.as_ref()?;
        Some(keeper.storage().append(&mut self.keeping.change, urgency))
    }
}
