//! What was changed among the retained messages, and not handed over to the durable store yet.
//!
//! Workers hand their changes over each at the end of its event, and so not always in the order in which they changed a topic here. The
//! higher number counts, and so a message that is replaced needs no care but that its own worker settles it. Clearing is no entry: where
//! another worker has still to hand over what is cleared, the clear is written as an entry, a tombstone, that stays until it has.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::num::NonZeroU64;
use tidegate_message::Topic;

/// What a worker has to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message.
    Message,
    /// A clear that only settles.
    Clear,
    /// A clear that is an entry.
    Tombstone,
}

/// Topics of which the store does not know the latest.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    topics: HashMap<Topic, Open, RandomState>,
}

#[derive(Debug, Default)]
struct Open {
    entries: SmallVec<[Entry; 1]>,
    /// Handed over, and needed as long as anything is under way.
    tombstones: Vec<NonZeroU64>,
}

#[derive(Debug)]
struct Entry {
    number: NonZeroU64,
    worker: u8,
    kind: Kind,
}

impl UnderWay {
    /// A worker will hand this over at the end of its event.
    pub(super) fn enter(&mut self, topic: &Topic, number: NonZeroU64, worker: u8, kind: Kind) {
        let open = self.topics.entry(topic.clone()).or_default();
        open.entries.push(Entry { number, worker, kind });
    }

    /// Whether another worker has something to hand over for this topic.
    pub(super) fn is_elsewhere(&self, topic: &Topic, worker: u8) -> bool {
        let open = self.topics.get(topic);
        open.is_some_and(|open| open.entries.iter().any(|entry| entry.worker != worker))
    }

    /// A message is replaced by what is entered next. Returns whether it is settled with that; otherwise the worker does it that has still to
    /// hand the message over.
    pub(super) fn withdraw(&mut self, topic: &Topic, number: NonZeroU64, worker: u8) -> bool {
        let Some(open) = self.topics.get_mut(topic) else { return true };
        let Some(at) = open.entries.iter().position(|entry| entry.number == number) else { return true };
        let is_own = open.entries.get(at).is_some_and(|entry| entry.worker == worker);
        if is_own {
            open.entries.swap_remove(at);
        }
        is_own
    }

    /// Something was handed over. Returns what is to be settled behind it, where `current` is the topic's message now.
    pub(super) fn finish(
        &mut self,
        topic: &Topic,
        number: NonZeroU64,
        current: Option<NonZeroU64>,
    ) -> Vec<NonZeroU64> {
        let mut settled = Vec::new();
        let Some(open) = self.topics.get_mut(topic) else { return settled };
        let Some(at) = open.entries.iter().position(|entry| entry.number == number) else { return settled };
        match open.entries.swap_remove(at).kind {
            Kind::Message if current != Some(number) => settled.push(number),
            Kind::Tombstone => open.tombstones.push(number),
            Kind::Message | Kind::Clear => {}
        }
        if open.entries.is_empty() {
            settled.append(&mut open.tombstones);
            self.topics.remove(topic);
        }
        settled
    }
}
