//! What is kept of a delivery: which entry of the store it is, and what its publisher's worker has written for receivers elsewhere.
//!
//! The worker of the publisher writes a message once, with an entry for each receiver that keeps it, wherever that is at home: so what the
//! publisher is told depends on one worker's change only. The home of the receiver gets to know the number of its entry with the message.

use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_storage::{Lsn, StreamId};

/// Where a change stands in the order of all changes, which is known when it has been handed over.
#[derive(Debug, Clone)]
pub(crate) struct ChangePlace(Arc<AtomicU64>);

impl ChangePlace {
    /// That of a change which is not handed over yet; no storage comes that far.
    const NOT_YET: u64 = u64::MAX;

    pub(crate) fn new() -> ChangePlace {
        ChangePlace(Arc::new(AtomicU64::new(ChangePlace::NOT_YET)))
    }

    /// The change was handed over and got this place.
    pub(crate) fn set(&self, lsn: Lsn) {
        self.0.store(lsn.0, Ordering::Release);
    }

    /// Whether the change was handed over.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Acquire) != ChangePlace::NOT_YET
    }

    fn is_within(&self, synced: Lsn) -> bool {
        self.0.load(Ordering::Acquire) <= synced.0
    }

    pub(crate) fn is(&self, other: &ChangePlace) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// One entry in the stream of a queue.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) stream: StreamId,
    pub(crate) number: NonZeroU64,
    /// The change that has appended it; nothing where that is long ago.
    pub(crate) change: Option<ChangePlace>,
}

impl Entry {
    /// One that was read from the store.
    pub(crate) fn recovered(stream: StreamId, number: NonZeroU64) -> Entry {
        Entry { stream, number, change: None }
    }

    /// Whether it is in the store's hands, or will be with the change of this place at the latest.
    pub(crate) fn is_before(&self, place: Option<&ChangePlace>) -> bool {
        let Some(change) = &self.change else { return true };
        change.is_known() || place.is_some_and(|place| place.is(change))
    }

    /// Whether the disk has it, as far as it has come.
    pub(crate) fn is_synced(&self, synced: Lsn) -> bool {
        self.change.as_ref().is_none_or(|change| change.is_within(synced))
    }
}

/// The entry that was written for one queue.
#[derive(Debug, Clone)]
struct Claim {
    queue: u64,
    number: NonZeroU64,
    /// The worker that was its home then, and sees to it that the entry is used or settled.
    home: u8,
}

/// The entries that were written for the receivers of one message, as far as they have not been used.
#[derive(Debug)]
pub(crate) struct Claims {
    change: ChangePlace,
    list: SmallVec<[Claim; 1]>,
}

impl Claims {
    /// None so far, of what this change appends.
    pub(crate) fn of_change(change: ChangePlace) -> Claims {
        Claims { change, list: SmallVec::new() }
    }

    pub(crate) fn add(&mut self, queue: u64, number: NonZeroU64, home: u8) {
        self.list.push(Claim { queue, number, home });
    }

    /// Whether an entry was written for this queue.
    pub(crate) fn has(&self, queue: u64) -> bool {
        self.list.iter().any(|claim| claim.queue == queue)
    }

    /// Takes the entry of a queue.
    pub(crate) fn take(&mut self, queue: u64) -> Option<Entry> {
        let at = self.list.iter().position(|claim| claim.queue == queue)?;
        let claim = self.list.swap_remove(at);
        Some(self.entry(&claim))
    }

    /// Takes those out that one worker sees to.
    pub(crate) fn take_of(&mut self, worker: u8) -> Claims {
        let (mine, others) = self.list.drain(..).partition(|claim| claim.home == worker);
        self.list = others;
        Claims { change: self.change.clone(), list: mine }
    }

    /// All entries that are left.
    pub(crate) fn left(&self) -> impl Iterator<Item = Entry> + '_ {
        self.list.iter().map(|claim| self.entry(claim))
    }

    fn entry(&self, claim: &Claim) -> Entry {
        Entry { stream: StreamId(claim.queue), number: claim.number, change: Some(self.change.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    #[test]
    fn each_claim_is_used_once_and_only_at_its_home() {
        let mut claims = Claims::of_change(ChangePlace::new());
        for (queue, home) in [(5, 0), (6, 1), (7, 0)] {
            claims.add(queue, number(queue * 10), home);
        }
        let mut foreign = claims.take_of(1);
        assert_eq!(foreign.take(5).map(|entry| entry.number), None);
        assert_eq!(foreign.take(6).map(|entry| entry.number), Some(number(60)));
        assert!(foreign.left().next().is_none() && claims.take(5).is_some() && claims.take(5).is_none());
        let left: Vec<_> = claims.left().map(|entry| entry.stream).collect();
        assert_eq!(left, [StreamId(7)]);
    }

    #[test]
    fn an_entry_is_on_the_disk_when_its_change_is() {
        let change = ChangePlace::new();
        let entry = Entry { stream: StreamId(5), number: number(1), change: Some(change.clone()) };
        assert!(!change.is_known() && !entry.is_synced(Lsn(u64::MAX - 1)));
        change.set(Lsn(7));
        assert!(change.is_known() && !entry.is_synced(Lsn(6)) && entry.is_synced(Lsn(7)));
    }
}
