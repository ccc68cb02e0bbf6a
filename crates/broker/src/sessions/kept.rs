//! What the durable store has of a session, and how it changes.
//!
//! Sessions that outlive their connection are kept from the moment at which they begin to do so until their end, wills of others as long as they may be
//! published. Everything is written into the change of the event in which it happens.

use super::{HeldWill, Session, SessionKey};
use crate::keeping::Keeper;
use std::num::NonZeroU64;
use std::time::Instant;
use tidegate_protocol::{SAVED_BYTES_MAX, SAVED_PIECES_MAX, Saved};
use tidegate_storage::record::{
    SavedPart, SavedRecord, SessionNote, SessionPhase, SessionRecord, WillRecord,
};
use tidegate_storage::{Change, StreamId};

/// The entries of a session.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its own.
    pub(super) entry: NonZeroU64,
    /// Those of what its protocol has saved, oldest piece first.
    pub(super) saved: Vec<NonZeroU64>,
    /// What these weigh.
    pub(super) saved_bytes: usize,
}

/// Writes what becomes of sessions.
pub(crate) struct Scribe<'a> {
    pub(crate) keeper: &'a Keeper,
    pub(crate) change: &'a mut Change,
    pub(crate) now: Instant,
}

impl Scribe<'_> {
    /// Settles an entry of the sessions' stream.
    pub(crate) fn settle(&mut self, entry: NonZeroU64) {
        self.change.settle(StreamId::SESSIONS, entry.get());
    }

    /// Appends an entry to the sessions' stream.
    pub(crate) fn append(&mut self, note: &[u8], body: &[u8]) -> NonZeroU64 {
        let number = self.keeper.next_in_sessions();
        self.change.append(&[(StreamId::SESSIONS, number.get(), note)], body);
        number
    }

    fn millis_at(&self, moment: Option<Instant>) -> Option<u64> {
        let left = moment?.saturating_duration_since(self.now).as_millis();
        self.keeper.storage().time_millis().checked_add(u64::try_from(left).ok()?)
    }

    /// Keeps a will until it is published or forgotten. `queue` is that of its session.
    fn keep_will(&mut self, queue: u64, will: &mut HeldWill) {
        let mut body = Vec::new();
        WillRecord::write_of(queue, &will.identity, &will.will, &mut body);
        will.entry = Some(self.append(&[], &body));
    }
}

impl HeldWill {
    /// Its entry in the durable store.
    pub(crate) fn entry(&self) -> Option<NonZeroU64> {
        self.entry
    }

    /// It is neither published nor held any more.
    pub(super) fn forget(self, scribe: Option<&mut Scribe<'_>>) {
        if let (Some(scribe), Some(entry)) = (scribe, self.entry) {
            scribe.settle(entry);
        }
    }
}

impl Session {
    fn note(&self, scribe: &Scribe<'_>) -> Vec<u8> {
        let mut note = Vec::new();
        // Only a queue that belongs to no client is without one.
        let Some(identity) = self.queue.identity() else { return note };
        let phase = match self.attached_by() {
            Some(_) => SessionPhase::Attached,
            None => SessionPhase::Detached {
                ends_at_millis: scribe.millis_at(self.ends_at),
                will_at_millis: scribe.millis_at(self.will_at),
            },
        };
        let (expiry, credit, settlement) = (self.expiry, self.credit, self.settlement);
        let (limits, wants_publisher) = (self.queue.limits(), self.queue.wants_publisher());
        SessionNote { identity, expiry, credit, settlement, limits, wants_publisher, phase }.write(&mut note);
        note
    }

    /// Keeps what has become of the session, where it outlives its connection or did before.
    pub(super) fn keep(&mut self, key: &SessionKey, scribe: &mut Scribe<'_>) {
        if self.kept.is_none() && self.expiry.is_zero() {
            return;
        }
        let note = self.note(scribe);
        match &self.kept {
            Some(kept) => scribe.change.amend(StreamId::SESSIONS, kept.entry.get(), &note),
            None => {
                // In front of the session, so that it never comes back without them.
                self.queue.note_numbers();
                let mut body = Vec::new();
                SessionRecord::write_of(key.protocol, &key.client_id, self.queue.id, &mut body);
                let entry = scribe.append(&note, &body);
                self.kept = Some(Box::new(Kept { entry, saved: Vec::new(), saved_bytes: 0 }));
            }
        }
    }

    /// The same when a connection has just got it: with its will.
    pub(super) fn keep_attached(&mut self, key: &SessionKey, scribe: &mut Scribe<'_>) {
        self.keep(key, scribe);
        if let Some(will) = &mut self.will {
            scribe.keep_will(self.queue.id, will);
        }
    }

    /// Keeps a piece of what its protocol has saved, as far as there may be more of them.
    pub(super) fn keep_saved(&mut self, saved: Saved<'_>, scribe: &mut Scribe<'_>) {
        let Some(kept) = &mut self.kept else { return };
        let (part, piece) = match saved {
            Saved::Whole(piece) => (SavedPart::Whole, piece),
            Saved::More(piece) => (SavedPart::More, piece),
        };
        if part == SavedPart::Whole {
            kept.saved_bytes = 0;
            kept.saved.drain(..).for_each(|entry| scribe.settle(entry));
        }
        let bytes = kept.saved_bytes + piece.len();
        let has_room = kept.saved.len() < SAVED_PIECES_MAX && bytes <= SAVED_BYTES_MAX;
        debug_assert!(has_room, "a machine writes the whole before its pieces are too many");
        if has_room && !piece.is_empty() {
            let mut body = Vec::new();
            SavedRecord::write_of(self.queue.id, part, piece, &mut body);
            kept.saved.push(scribe.append(&[], &body));
            kept.saved_bytes = bytes;
        }
    }

    /// The session ends: nothing of it is kept any more but its will.
    pub(super) fn forget(&mut self, scribe: Option<&mut Scribe<'_>>) {
        let (Some(scribe), Some(kept)) = (scribe, self.kept.take()) else { return };
        kept.saved.into_iter().chain([kept.entry]).for_each(|entry| scribe.settle(entry));
    }
}
