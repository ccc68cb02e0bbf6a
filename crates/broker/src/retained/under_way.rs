//! What was changed among the retained messages, and not handed over to the durable store yet.
//!
//! Workers hand their changes over each at the end of its event, and so not always in the order in which they changed a topic here. The
//! higher number counts, and so a message that is replaced needs no care but that whoever comes last settles it. Clearing is no entry: where
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
    /// A message that was taken back, and is settled where it is appended.
    Nothing,
}

/// Topics of which the store does not know the latest.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    topics: HashMap<Topic, Open, RandomState>,
}

#[derive(Debug, Default)]
struct Open {
    entries: SmallVec<[Entry; 1]>,
    /// The highest number that was handed over.
    newest: Option<NonZeroU64>,
    /// Messages that were handed over before anything newer was.
    messages: SmallVec<[NonZeroU64; 1]>,
    /// Tombstones that were handed over: needed as long as anything is under way.
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

    /// A message is replaced by what is entered next. Returns whether it is settled with that; otherwise the last of those does it who have still
    /// to hand over what they have.
    pub(super) fn withdraw(&mut self, topic: &Topic, number: NonZeroU64, worker: u8) -> bool {
        let Some(open) = self.topics.get_mut(topic) else { return true };
        let Some(at) = open.entries.iter().position(|entry| entry.number == number) else { return true };
        let is_own = open.entries.get(at).is_some_and(|entry| entry.worker == worker);
        if is_own {
            open.entries.swap_remove(at);
        }
        is_own
    }

    /// A message of this worker is taken back in the event in which it was entered.
    pub(super) fn take_back(&mut self, topic: &Topic, number: NonZeroU64) {
        let entries = self.topics.get_mut(topic).into_iter().flat_map(|open| &mut open.entries);
        entries.filter(|entry| entry.number == number).for_each(|entry| entry.kind = Kind::Nothing);
    }

    /// Something was handed over. Returns what is to be settled behind it: older messages, and what says that the topic was cleared where nothing
    /// older can come any more. A message that has to make way for one that is not handed over yet stays until then.
    pub(super) fn finish(&mut self, topic: &Topic, number: NonZeroU64) -> Vec<NonZeroU64> {
        let mut settled = Vec::new();
        let Some(open) = self.topics.get_mut(topic) else { return settled };
        let Some(at) = open.entries.iter().position(|entry| entry.number == number) else { return settled };
        let kind = open.entries.swap_remove(at).kind;
        match kind {
            Kind::Message => open.messages.push(number),
            Kind::Tombstone => open.tombstones.push(number),
            Kind::Clear | Kind::Nothing => {}
        }
        if kind != Kind::Nothing {
            open.newest = open.newest.max(Some(number));
        }
        let newest = open.newest;
        open.messages.retain(|message| {
            let is_newest = Some(*message) == newest;
            settled.extend((!is_newest).then_some(*message));
            is_newest
        });
        if open.entries.is_empty() {
            settled.append(&mut open.tombstones);
            self.topics.remove(topic);
        }
        settled
    }
}

#[cfg(test)]
mod tests;
