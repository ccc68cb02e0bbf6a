//! The last message of each topic that asked to be kept.
//!
//! A plain single-threaded set, ordered by topic: a message costs little beside itself, and a search can stop anywhere and go
//! on later ([`Search`]), whatever was stored or removed meanwhile. Limits are checked before anything is stored; an expired
//! message is never found, and all of them are removed when room is needed.
//!
//! Where there is a durable store, each message is an entry of it, under a number that is given out in here, so that of two messages of a
//! topic the one with the higher number is the newer one, wherever they were published.

mod expiring;
mod search;
mod under_way;

pub(crate) use expiring::Swept;
pub(crate) use search::Search;

use crate::Limits;
use crate::keeping::Keeper;
use smallvec::SmallVec;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{Message, Topic};
use under_way::{Kind, UnderWay};

/// What a retained message costs beside [`Message::weight_bytes`]: two reference counts each for the message and its topic, what
/// the allocator adds to three pieces of memory, and its place in a tree that is half full at the worst.
const PLACE_BYTES: usize = 2 * 16 + 3 * 12 + 2 * size_of::<Kept>();

/// All retained messages.
#[derive(Debug)]
pub(crate) struct RetainedMessages {
    messages: BTreeSet<Kept>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
    /// No message expires before this moment, so that a search for expired ones before it finds nothing.
    first_expiry: Option<Instant>,
    /// The same for what a search for expired messages has passed over, and for what was kept since it began.
    next_expiry: Option<Instant>,
    /// How many messages were cleared, without those that were taken back.
    clears: u64,
    /// What the durable store has not been told yet.
    under_way: UnderWay,
    /// Messages that have expired and are still in the durable store.
    expired: Vec<NonZeroU64>,
}

/// Who changes something here: a worker, with the durable store where there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author<'a> {
    pub(crate) worker: u8,
    pub(crate) keeper: Option<&'a Keeper>,
}

impl Author<'_> {
    /// The number of the next entry, where anything is kept. Asked for with the messages locked, so that later is higher.
    fn next_number(&self) -> Option<NonZeroU64> {
        self.keeper.and_then(|keeper| NonZeroU64::new(keeper.next_in_retained()))
    }
}

/// What the durable store has to be told, by whoever has made a change and in the same event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    /// What the change goes by until it is handed over ([`RetainedMessages::note_handed_over`]).
    pub(crate) number: Option<NonZeroU64>,
    /// Whether the message is an entry of this number. One that clears is where another worker may be about to hand over what it clears.
    pub(crate) is_entry: bool,
    /// What is settled.
    pub(crate) settled: SmallVec<[NonZeroU64; 1]>,
}

/// What an entry of the durable store says about a topic.
#[derive(Debug)]
pub(crate) enum Found {
    Message(Message),
    /// It was cleared, or its message has expired.
    Nothing(Topic),
}

/// One retained message; compared by its topic alone.
#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    /// Its entry in the durable store.
    number: Option<NonZeroU64>,
    /// The generation of the route that it was distributed by. Whoever had subscribed by then has it as a live message, and whoever
    /// subscribes later finds it here: nobody needs both.
    generation: u64,
}

/// What a message has changed here, to be taken back where the message is refused after all.
#[derive(Debug)]
pub(crate) struct Change {
    before: Option<Kept>,
    /// How many messages had been cleared with it.
    clears: u64,
    /// The number that it was given for the durable store.
    number: Option<NonZeroU64>,
}

impl Kept {
    fn topic(&self) -> &str {
        self.message.topic.as_str()
    }

    fn weight_bytes(&self) -> usize {
        weight_bytes(&self.message)
    }
}

fn weight_bytes(message: &Message) -> usize {
    message.weight_bytes() + PLACE_BYTES
}

impl Borrow<str> for Kept {
    fn borrow(&self) -> &str {
        self.topic()
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Kept) -> Ordering {
        self.topic().cmp(other.topic())
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Kept) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.topic() == other.topic()
    }
}

impl Eq for Kept {}

/// The limits of retained messages are reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl RetainedMessages {
    pub(crate) fn new(limits: &Limits) -> RetainedMessages {
        RetainedMessages {
            messages: BTreeSet::new(),
            bytes: 0,
            count_max: limits.retained_messages,
            bytes_max: limits.retained_bytes,
            first_expiry: None,
            next_expiry: None,
            clears: 0,
            under_way: UnderWay::default(),
            expired: Vec::new(),
        }
    }

    /// Puts other limits in place of these. What is retained already stays.
    pub(crate) fn limit(&mut self, limits: &Limits) {
        (self.count_max, self.bytes_max) = (limits.retained_messages, limits.retained_bytes);
    }

    /// How many messages are retained, and their weight in bytes with that of the set.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// Whether a topic has a message here.
    pub(crate) fn has(&self, topic: &Topic) -> bool {
        self.messages.contains(topic.as_str())
    }

    /// Keeps a message, distributed by a route of this generation, in place of the topic's old one; an empty payload only removes the
    /// old one ([MQTT-3.3.1-6]). [`RetainedMessages::entries`] says what the durable store has to be told, or
    /// [`RetainedMessages::take_back`] undoes it.
    pub(crate) fn store(
        &mut self,
        message: &Arc<Message>,
        generation: u64,
        author: Author<'_>,
        now: Instant,
    ) -> Result<Change, Full> {
        let number = author.next_number();
        let before = if message.payload.is_empty() {
            self.clears += 1;
            self.remove(&message.topic)
        } else {
            if !self.has_room(message) {
                self.remove_expired(now);
                if !self.has_room(message) {
                    return Err(Full);
                }
            }
            self.keep(Kept { message: message.clone(), number, generation })
        };
        Ok(Change { before, clears: self.clears, number })
    }

    /// Takes what was found in the durable store in, the lower numbers first. Every subscription finds it, because nobody had subscribed when it
    /// was distributed. Limits do not count, as for everything that was retained before they were in force. Returns what is to be settled
    /// of it and of an older one.
    pub(crate) fn restore(&mut self, number: NonZeroU64, found: Found) -> [Option<NonZeroU64>; 2] {
        let (before, gone) = match found {
            Found::Message(message) => {
                let kept = Kept { message: Arc::new(message), number: Some(number), generation: 0 };
                (self.keep(kept), None)
            }
            Found::Nothing(topic) => (self.remove(&topic), Some(number)),
        };
        [before.and_then(|before| before.number), gone]
    }

    /// What the durable store has to be told of a change. Asked for once, with the messages locked ever since.
    pub(crate) fn entries(&mut self, message: &Message, change: &Change, author: Author<'_>) -> Entries {
        let mut entries = Entries { settled: self.expired.drain(..).collect(), ..Entries::default() };
        let (topic, before) = (&message.topic, change.before.as_ref());
        let kind = match message.payload.is_empty() {
            false => Kind::Message,
            true if self.under_way.is_elsewhere(topic, author.worker) => Kind::Tombstone,
            true if before.is_some() => Kind::Clear,
            true => return entries,
        };
        let before = before.and_then(|before| before.number);
        let is_settled = |number: &NonZeroU64| self.under_way.withdraw(topic, *number, author.worker);
        entries.settled.extend(before.filter(is_settled));
        if let Some(number) = change.number {
            self.under_way.enter(topic, number, author.worker, kind);
            (entries.number, entries.is_entry) = (Some(number), kind != Kind::Clear);
        }
        entries
    }

    /// Undoes a change of which the durable store was told nothing, with the messages locked ever since.
    pub(crate) fn undo(&mut self, message: &Arc<Message>, change: Change) {
        if self.is_last_change(message, &change) {
            self.put_back(message, change.before);
        }
    }

    /// Puts back what stood in a message's place, unless something else has changed there since. Returns what was put back, and what the durable
    /// store has to be told.
    pub(crate) fn take_back(
        &mut self,
        message: &Arc<Message>,
        change: Change,
        author: Author<'_>,
    ) -> (Option<Arc<Message>>, Entries) {
        let mut entries = Entries::default();
        if !self.is_last_change(message, &change) {
            // What stood in its place is settled with it, and must not go before what stands there now is handed over: that settles it.
            return (None, entries);
        }
        if let Some(number) = change.number.filter(|_| !message.payload.is_empty()) {
            self.under_way.take_back(&message.topic, number);
            entries.settled.push(number);
        }
        // The store was told that it is gone: it gets another number there.
        let number = author.next_number();
        let before = change.before.map(|before| Kept { number, ..before });
        let restored = before.as_ref().map(|before| before.message.clone());
        if let Some(number) = number.filter(|_| restored.is_some()) {
            self.under_way.enter(&message.topic, number, author.worker, Kind::Message);
            (entries.number, entries.is_entry) = (Some(number), true);
        }
        self.put_back(message, before);
        (restored, entries)
    }

    /// Whether nothing has changed in a message's place since.
    fn is_last_change(&self, message: &Arc<Message>, change: &Change) -> bool {
        match self.messages.get(message.topic.as_str()) {
            Some(kept) => Arc::ptr_eq(&kept.message, message),
            None => message.payload.is_empty() && self.clears == change.clears,
        }
    }

    fn put_back(&mut self, message: &Message, before: Option<Kept>) {
        // A clear that is taken back was none, so that the one before it can be taken back as well.
        self.clears -= u64::from(message.payload.is_empty());
        self.remove(&message.topic);
        drop(before.and_then(|before| self.keep(before)));
    }

    /// A worker has handed over what it had to tell the store about this topic. Returns what is to be settled now.
    pub(crate) fn note_handed_over(&mut self, topic: &Topic, number: NonZeroU64) -> Vec<NonZeroU64> {
        self.under_way.finish(topic, number)
    }

    /// Puts a message into its topic's place. Returns what stood there.
    fn keep(&mut self, kept: Kept) -> Option<Kept> {
        self.first_expiry = earlier(self.first_expiry, kept.message.expires_at);
        self.next_expiry = earlier(self.next_expiry, kept.message.expires_at);
        self.bytes += kept.weight_bytes();
        let before = self.messages.replace(kept);
        self.bytes -= before.as_ref().map_or(0, Kept::weight_bytes);
        before
    }

    fn has_room(&self, message: &Message) -> bool {
        let fits = |count: usize, bytes: usize| {
            self.messages.len() - count < self.count_max
                && self.bytes - bytes + weight_bytes(message) <= self.bytes_max
        };
        let old = || self.messages.get(message.topic.as_str());
        fits(0, 0) || old().is_some_and(|old| fits(1, old.weight_bytes()))
    }

    fn remove(&mut self, topic: &Topic) -> Option<Kept> {
        let old = self.messages.take(topic.as_str());
        self.bytes -= old.as_ref().map_or(0, Kept::weight_bytes);
        old
    }
}

fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    left.into_iter().chain(right).min()
}

#[cfg(test)]
mod tests;
