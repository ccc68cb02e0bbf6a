//! Which numbers the queues may have given, so that none is given for another delivery after a restart.
//!
//! The number of an entry is the tag of its delivery, and says the place in a group. A client that has seen a tag may say it again in the
//! next process: as an acknowledgement, or as the identifier of an exchange that it has not finished. What a queue still holds does not tell
//! how far it had come, because what is settled is gone. So the store has a note, one for all queues: none has given a number that
//! stands behind it. It is written many numbers ahead, and the numbers that nobody took of those are left out after a restart.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_storage::record::GivenNote;
use tidegate_storage::{Change, Storage, StreamId, Urgency};

/// How many numbers one note is good for. Far from a multiple of [`tidegate_protocol::DeliveryTag::ROUND`], so that a client that has not finished with an
/// identifier meets it again late, also where a process gives few numbers.
const NOTED_AT_ONCE: u64 = 90_000;

/// The next note is written while so many numbers are left, so that the disk has it before the first of the new ones is seen.
const LEFT_AT_LEAST: u64 = 1 << 14;

/// The number of the entry that has the note.
const ENTRY: u64 = 1;

/// What numbers are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    /// The queues of sessions.
    Sessions,
    /// The queues of groups, each from its first place.
    Groups,
}

/// What is noted, and what was found at the start.
#[derive(Debug)]
pub(crate) struct Numbering {
    storage: Arc<dyn Storage>,
    sessions: AtomicU64,
    groups: AtomicU64,
    /// What was found. Held while a note is handed over, so that the highest one is the last.
    found: Mutex<GivenNote>,
}

impl Numbering {
    /// Nothing is known to have been given.
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Numbering {
        let [sessions, groups] = [0, 0].map(AtomicU64::new);
        Numbering { storage, sessions, groups, found: Mutex::default() }
    }

    /// An earlier process has left this note.
    pub(crate) fn restore(&self, note: GivenNote) {
        *self.found.lock() = note;
        self.sessions.store(note.sessions, Ordering::Relaxed);
        self.groups.store(note.groups, Ordering::Relaxed);
    }

    /// The first number that no queue of an earlier process can have given.
    pub(crate) fn first(&self, series: Series) -> u64 {
        let found = self.found.lock();
        match series {
            Series::Sessions => found.sessions,
            Series::Groups => found.groups,
        }
    }

    /// A queue that is kept gives this number: a note says so already, or comes in front of everything that happens under it.
    #[inline]
    pub(crate) fn give(&self, series: Series, number: u64) {
        if number.saturating_add(LEFT_AT_LEAST) >= self.noted(series).load(Ordering::Acquire) {
            self.note(series, number);
        }
    }

    fn noted(&self, series: Series) -> &AtomicU64 {
        match series {
            Series::Sessions => &self.sessions,
            Series::Groups => &self.groups,
        }
    }

    #[cold]
    fn note(&self, series: Series, number: u64) {
        let _one_after_the_other = self.found.lock();
        let noted = self.noted(series);
        if number.saturating_add(LEFT_AT_LEAST) < noted.load(Ordering::Relaxed) {
            return;
        }
        let next = number.saturating_add(NOTED_AT_ONCE);
        let (sessions, groups) = match series {
            Series::Sessions => (next, self.groups.load(Ordering::Relaxed)),
            Series::Groups => (self.sessions.load(Ordering::Relaxed), next),
        };
        let (mut change, mut bytes) = (Change::default(), Vec::new());
        GivenNote { sessions, groups }.write(&mut bytes);
        change.append(&[(StreamId::GIVEN, ENTRY, &bytes)], &[]);
        self.storage.append(&mut change, Urgency::Synced);
        // Whoever reads this has the note in front of what it hands over itself.
        noted.store(next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_storage::{MemoryStorage, ReadMax};

    fn note(storage: &MemoryStorage) -> GivenNote {
        let entries = storage.read(StreamId::GIVEN, 0, ReadMax { entries: 9, bytes: 99 }).unwrap();
        assert_eq!(entries.len(), 1);
        GivenNote::read(&entries[0].note).unwrap()
    }

    #[test]
    fn a_note_stands_in_front_of_every_number_and_is_seldom_written() {
        let storage = Arc::new(MemoryStorage::new());
        let numbering = Numbering::new(storage.clone());
        for number in 1..=200_000 {
            numbering.give(Series::Sessions, number);
            assert!(note(&storage).sessions > number);
        }
        assert!(storage.urgencies().len() < 6);
        numbering.give(Series::Groups, 7);
        numbering.give(Series::Sessions, 3);
        let noted = note(&storage);
        assert!(noted.sessions > 200_000 && noted.groups > 7);
        let next = Numbering::new(storage.clone());
        next.restore(noted);
        assert_eq!(
            (next.first(Series::Sessions), next.first(Series::Groups)),
            (noted.sessions, noted.groups)
        );
        next.give(Series::Sessions, noted.sessions);
        assert_eq!(note(&storage).groups, noted.groups);
    }
}
