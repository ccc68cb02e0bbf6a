//! What an event changes in the durable store: gathered while the event is handled, handed over at its end.
//!
//! Handed over before letters are posted and before any output is sent, so that nobody hears of anything that could come in front of
//! it in the store.

use super::Shard;
use crate::entry::{ChangePlace, Entry};
use crate::group::Group;
use crate::node::Node;
use crate::passage::{Fate, Passages};
use crate::queue::{Queue, Taker};
use crate::queued::Queued;
use crate::sessions::{Holder, Scribe, SessionKey};
use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{Message, Topic};
use tidegate_protocol::Refusal;
use tidegate_storage::record::{DeliveryNote, MessageParts, MessageRecord};
use tidegate_storage::{Change, Lsn, NoRoom, Storage, StreamId, Urgency};

/// Bytes that the place where records are written keeps for the next one.
const RECORD_BYTES: usize = 1 << 20;

/// How soon it is looked again whether what is to be settled has been appended, where nothing else happens on this worker.
const LATE_PAUSE: Duration = Duration::from_millis(20);

/// What this event is to change.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) change: Change,
    /// The most that somebody waits for.
    pub(super) urgency: Urgency,
    /// The retained messages that it changes, and the numbers that they go by until it is handed over.
    pub(super) retained: Vec<(Topic, NonZeroU64)>,
    /// Sessions that were given up: other workers may have them when the change is handed over.
    leaving: Vec<(SessionKey, Holder)>,
    /// The named queues that it describes.
    pub(super) described: Vec<Arc<Group>>,
    /// About what it frees for messages on a full disk.
    pub(super) freed_bytes: u64,
    /// Where records are written.
    record: Vec<u8>,
    /// The place that the change will have, where somebody wants to know it.
    place: Option<ChangePlace>,
    /// Settled before they were appended: what another worker has in its hands, which has not handed its change over yet.
    late: Vec<Entry>,
    /// When it is looked at these again.
    late_due: Option<Instant>,
    /// Consumers for which a group has what another worker has not handed over yet.
    early: Vec<usize>,
    /// When these look again.
    early_due: Option<Instant>,
    /// The consumers whose next delivery has to be on the disk first.
    pub(super) holding: Vec<usize>,
    /// What is known of how far the disk has come.
    pub(super) synced: Lsn,
    /// The notes of the entries that are being written.
    notes: Vec<u8>,
    passages: Arc<Passages>,
    /// Connections that wait for messages of which it is known now what became of them.
    pub(super) decided: Vec<Holder>,
}

/// One more entry with the same body: its stream, its number, and where its note stands.
pub(super) type NewEntry = (StreamId, NonZeroU64, Range<usize>);

impl Keeping {
    /// Nothing yet. What becomes of entries is told here.
    pub(super) fn new(passages: Arc<Passages>) -> Keeping {
        Keeping { passages, ..Keeping::default() }
    }

    /// The place that the change of this event will have.
    pub(super) fn place(&mut self) -> ChangePlace {
        self.place.get_or_insert_with(ChangePlace::new).clone()
    }

    /// Begins with the entries of one message.
    pub(super) fn start(&mut self) {
        self.notes.clear();
    }

    /// Writes the note of one of its entries.
    pub(super) fn note<Ids: AsRef<[u32]>>(&mut self, note: &DeliveryNote<Ids>) -> Range<usize> {
        let start = self.notes.len();
        note.write(&mut self.notes);
        start..self.notes.len()
    }

    /// Appends the entries of one message.
    pub(super) fn append(
        &mut self,
        entries: &[NewEntry],
        message: MessageParts<'_>,
        storage: &dyn Storage,
        now: Instant,
    ) {
        self.write_record(message, storage, now);
        let notes = &self.notes;
        let claims: SmallVec<[(StreamId, u64, &[u8]); 4]> = entries
            .iter()
            .map(|(stream, number, note)| {
                (*stream, number.get(), notes.get(note.clone()).unwrap_or_default())
            })
            .collect();
        self.change.append(&claims, &self.record);
    }

    fn write_record(&mut self, message: MessageParts<'_>, storage: &dyn Storage, now: Instant) {
        // Asked only where it is needed: it may cost a look at a clock.
        let now_millis = message.expires_at.map_or(0, |_| storage.time_millis());
        self.record.clear();
        self.record.shrink_to(RECORD_BYTES);
        MessageRecord::write(message, now, now_millis, &mut self.record);
    }

    /// Whether the entry is in the store's hands, or will be with this change at the latest.
    fn is_before_now(&self, entry: &Entry) -> bool {
        entry.is_before(self.place.as_ref())
    }

    /// Settles an entry whose receiver has the message.
    pub(super) fn accept(&mut self, entry: &Entry) {
        self.decide(entry.stream, entry.number.get(), Fate::Arrived);
        self.settle(entry);
    }

    /// Settles an entry: its delivery is done with, and where nobody has said that it arrived it was given up.
    pub(super) fn settle(&mut self, entry: &Entry) {
        self.decide(entry.stream, entry.number.get(), Fate::GivenUp);
        match self.is_before_now(entry) {
            true => self.change.settle(entry.stream, entry.number.get()),
            // Settled first and appended then it would stay for ever.
            false => self.late.push(entry.clone()),
        }
    }

    /// An entry was sent, or could not be. Where nobody is going to settle it, that is all that becomes of it.
    pub(super) fn note_sent(&mut self, entry: &Entry, is_sent: bool, needs_settling: bool) {
        match (is_sent, needs_settling) {
            (true, true) => {}
            (true, false) => self.accept(entry),
            (false, _) => self.settle(entry),
        }
    }

    /// Settles an entry that was read from the store, and gives it up.
    pub(super) fn settle_number(&mut self, stream: StreamId, number: u64) {
        self.decide(stream, number, Fate::GivenUp);
        self.change.settle(stream, number);
    }

    /// Ends a stream, and gives up what is left in it.
    pub(super) fn end(&mut self, stream: StreamId) {
        self.decided.extend(self.passages.note_ended(stream));
        self.change.end(stream);
    }

    fn decide(&mut self, stream: StreamId, number: u64, fate: Fate) {
        if let Some(holder) = self.passages.note(stream, number, fate)
            && self.decided.last() != Some(&holder)
        {
            self.decided.push(holder);
        }
    }

    /// Puts another note on an entry. What is in nobody's hands yet keeps the one that it has.
    pub(super) fn amend(&mut self, entry: &Entry, note: &DeliveryNote<&[u32]>) {
        if self.is_before_now(entry) {
            self.start();
            let place = self.note(note);
            let note = self.notes.get(place).unwrap_or_default();
            self.change.amend(entry.stream, entry.number.get(), note);
        }
    }

    /// Settles what could not be before because it was not appended. Returns whether it is to be looked at the rest at a moment that was not
    /// known before.
    fn settle_late(&mut self, now: Instant) -> bool {
        for entry in std::mem::take(&mut self.late) {
            self.settle(&entry);
        }
        let before = self.late_due.filter(|due| *due > now && !self.late.is_empty());
        self.late_due = before.or_else(|| (!self.late.is_empty()).then(|| now + LATE_PAUSE));
        before.is_none() && self.late_due.is_some()
    }

    /// When there is something to do although nothing happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.late_due.into_iter().chain(self.early_due).min()
    }

    /// What a consumer of this worker, which comes back or not, is to a group from which it takes.
    pub(super) fn taker(&self, queue: &Queue, node: &Node) -> Taker<'_> {
        match node.keeper.is_some() && queue.survives() {
            true => Taker::Owner(self.place.as_ref()),
            false => Taker::Passing,
        }
    }
}

impl Keeping {
    /// Who writes what becomes of sessions; nobody where there is no store.
    pub(super) fn scribe<'a>(&'a mut self, node: &'a Node, now: Instant) -> Option<Scribe<'a>> {
        let keeper = node.keeper.as_ref()?;
        Some(Scribe { keeper, change: &mut self.change, now })
    }

    /// A connection has given a session up in this event.
    pub(super) fn note_leaving(&mut self, key: &SessionKey, holder: Holder, node: &Node) {
        if node.keeper.is_some() {
            self.leaving.push((key.clone(), holder));
        }
    }
}

impl Shard {
    /// A consumer looks soon again for what its groups have: what was first there was not handed over yet.
    pub(super) fn look_later(&mut self, key: usize, now: Instant) {
        self.keeping.early.push(key);
        self.timer_moved |= self.keeping.early_due.is_none();
        self.keeping.early_due.get_or_insert(now + LATE_PAUSE);
    }

    /// Lets them look for whom it was too early.
    pub(super) fn look_once_more(&mut self, now: Instant) {
        if self.keeping.early_due.take_if(|due| *due <= now).is_some() {
            std::mem::take(&mut self.keeping.early).into_iter().for_each(|key| self.look_again(key));
        }
    }

    /// Settles a delivery that is thrown away for good.
    pub(super) fn settle_entry(&mut self, queued: &Queued) {
        if let Some(entry) = &queued.entry {
            self.keeping.settle(entry);
        }
    }

    /// Settles a delivery that its receiver has.
    pub(super) fn accept_entry(&mut self, queued: &Queued) {
        if let Some(entry) = &queued.entry {
            self.keeping.accept(entry);
        }
    }

    /// Settles deliveries that are thrown away for good.
    pub(super) fn settle_entries<'a>(&mut self, deliveries: impl IntoIterator<Item = &'a Queued>) {
        deliveries.into_iter().for_each(|queued| self.settle_entry(queued));
    }

    /// A queue has ended; these are the deliveries that go with it.
    pub(super) fn end_stream<'a>(&mut self, queue: &Queue, lost: impl IntoIterator<Item = &'a Queued>) {
        let stream = StreamId(queue.id);
        for entry in lost.into_iter().filter_map(|queued| queued.entry.as_ref()) {
            if entry.stream != stream || !self.keeping.is_before_now(entry) {
                self.keeping.settle(entry);
            }
        }
        if queue.has_entries() {
            self.keeping.end(stream);
        }
    }

    /// Hands over what this event has changed; whoever waits for it waits for its place from now on. That of an event that has changed
    /// nothing is the last one. Sessions that were given up may be had by other workers then.
    pub(super) fn commit(&mut self, now: Instant) {
        self.hand_change_over(now);
        for (key, holder) in self.keeping.leaving.drain(..) {
            self.node.sessions.free(&key, holder);
        }
    }

    fn hand_change_over(&mut self, now: Instant) {
        self.keeping.freed_bytes = 0;
        if !self.keeping.late.is_empty() {
            self.timer_moved |= self.keeping.settle_late(now);
        }
        if self.keeping.change.is_empty() && !self.answers.are_fresh() {
            return;
        }
        let urgency = std::mem::take(&mut self.keeping.urgency);
        let Some(keeper) = &self.node.keeper else { return };
        let place = keeper.storage().append(&mut self.keeping.change, urgency);
        if let Some(known) = self.keeping.place.take() {
            known.set(place);
        }
        if !self.keeping.retained.is_empty() {
            self.node.router.note_handed_over(self.keeping.retained.drain(..), &**keeper.storage());
        }
        if self.answers.are_fresh() {
            self.place_requests(place);
        }
        for group in self.keeping.described.drain(..) {
            group.named().into_iter().for_each(|named| named.description.note_handed_over());
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

    /// Whether the durable store, where there is one, takes more of what describes sessions and queues.
    pub(super) fn check_describing(&self) -> Result<(), Refusal> {
        match &self.node.keeper {
            Some(keeper) if keeper.storage().is_overfull() => Err(Refusal::StoreFailing),
            Some(_) | None => Ok(()),
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
        self.keeping.write_record(message.into(), &**keeper.storage(), now);
        self.keeping.change.append(claims, &self.keeping.record);
    }
}

#[cfg(test)]
mod tests;
