//! Messages whose publishers are told that they were taken only when they have left the gateway: when each forward that keeps them has settled them.
//!
//! A forward is a session that nothing but the disk bounds ([`tidegate_protocol::SessionLimits::Disk`]). What it has to pass on is known by its
//! entry in the store, wherever the delivery itself is: in a queue, on the disk only, or with the forward. So it is enough to hear of what becomes
//! of entries. What nobody waits for any more is forgotten here, however long it stays in the store.
//!
//! ```text
//! publish ──► Passage ── watch: one entry a forward ──► all settled as accepted ──► the publisher is told
//!                                                  └──► one was given up        ──► the publisher is told that
//! ```

use crate::sessions::Holder;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tidegate_storage::StreamId;

/// An entry of the store.
type Key = (StreamId, u64);

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Whoever it was for has it.
    Arrived,
    /// It was dropped, has expired, or was refused.
    GivenUp,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Somebody still has to settle it.
    UnderWay,
    /// Everybody has it.
    Arrived,
    /// Somebody has given it up.
    GivenUp,
}

/// All entries that somebody waits for; one for all workers.
#[derive(Debug, Default)]
pub(crate) struct Passages {
    entries: Mutex<BTreeMap<Key, Arc<State>>>,
    /// How many there are: looked at for every entry that is settled, so not behind the lock.
    count: AtomicUsize,
}

/// A request whose messages are on their way out. Forgotten when it is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    passages: Arc<Passages>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    caller: Holder,
    missing: AtomicUsize,
    is_given_up: AtomicBool,
    keys: Mutex<SmallVec<[Key; 1]>>,
}

impl Passages {
    /// Begins to wait for this connection.
    pub(crate) fn begin(self: &Arc<Passages>, caller: Holder) -> Passage {
        let (missing, is_given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        let state = State { caller, missing, is_given_up, keys: Mutex::default() };
        Passage { passages: self.clone(), state: Arc::new(state) }
    }

    /// Says what became of an entry. Returns who is to look at it, where that was waited for and is decided now.
    #[inline]
    pub(crate) fn note(&self, stream: StreamId, number: u64, fate: Fate) -> Option<Holder> {
        match self.count.load(Ordering::Acquire) {
            0 => None,
            _ => self.note_watched((stream, number), fate),
        }
    }

    #[inline(never)]
    fn note_watched(&self, key: Key, fate: Fate) -> Option<Holder> {
        let mut entries = self.entries.lock();
        let state = entries.remove(&key)?;
        self.count.store(entries.len(), Ordering::Release);
        state.note(fate)
    }

    /// A queue has ended, and everything in it is gone.
    pub(crate) fn note_ended(&self, stream: StreamId) -> Vec<Holder> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut entries = self.entries.lock();
        let gone: Vec<Key> = entries.range((stream, 0)..=(stream, u64::MAX)).map(|(key, _)| *key).collect();
        let states = gone.iter().filter_map(|key| entries.remove(key)).collect::<Vec<_>>();
        self.count.store(entries.len(), Ordering::Release);
        states.iter().filter_map(|state| state.note(Fate::GivenUp)).collect()
    }

    /// What was one entry is another one from now on.
    pub(crate) fn rename(&self, (stream, number): Key, other: Key) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut entries = self.entries.lock();
        if let Some(state) = entries.remove(&(stream, number)) {
            state.keys.lock().push(other);
            entries.insert(other, state);
        }
    }
}

impl State {
    /// Returns who waits, where that decides it: once.
    fn note(&self, fate: Fate) -> Option<Holder> {
        let is_last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        let was_given_up = match fate {
            Fate::Arrived => self.is_given_up.load(Ordering::Acquire),
            Fate::GivenUp => self.is_given_up.swap(true, Ordering::AcqRel),
        };
        (!was_given_up && (is_last || fate == Fate::GivenUp)).then_some(self.caller)
    }
}

impl Passage {
    /// An entry that has to arrive.
    pub(crate) fn watch(&self, stream: StreamId, number: u64) {
        let mut entries = self.passages.entries.lock();
        self.state.missing.fetch_add(1, Ordering::AcqRel);
        self.state.keys.lock().push((stream, number));
        entries.insert((stream, number), self.state.clone());
        self.passages.count.store(entries.len(), Ordering::Release);
    }

    /// Whether anything has to arrive, or had to.
    pub(crate) fn is_watching(&self) -> bool {
        !self.state.keys.lock().is_empty()
    }

    pub(crate) fn progress(&self) -> Progress {
        match (self.state.is_given_up.load(Ordering::Acquire), self.state.missing.load(Ordering::Acquire)) {
            (true, _) => Progress::GivenUp,
            (false, 0) => Progress::Arrived,
            (false, _) => Progress::UnderWay,
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.state.missing.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut entries = self.passages.entries.lock();
        for key in self.state.keys.lock().drain(..) {
            entries.remove(&key);
        }
        self.passages.count.store(entries.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(2000);
    const OTHER: StreamId = StreamId(2001);

    fn begin() -> (Arc<Passages>, Passage, Holder) {
        let passages = Arc::new(Passages::default());
        let caller = Holder { worker: 1, slot: 2, connection: 3 };
        let passage = passages.begin(caller);
        passage.watch(STREAM, 1);
        passage.watch(OTHER, 1);
        (passages, passage, caller)
    }

    #[test]
    fn it_has_arrived_when_everybody_has_it() {
        let (passages, passage, caller) = begin();
        assert_eq!(passages.note(STREAM, 2, Fate::GivenUp), None);
        assert_eq!(passages.note(STREAM, 1, Fate::Arrived), None);
        assert_eq!(passage.progress(), Progress::UnderWay);
        assert_eq!(passages.note(STREAM, 1, Fate::GivenUp), None, "it was settled before");
        assert_eq!(passages.note(OTHER, 1, Fate::Arrived), Some(caller));
        assert_eq!(passage.progress(), Progress::Arrived);
    }

    #[test]
    fn one_that_gives_it_up_decides_it_and_is_told_once() {
        let (passages, passage, caller) = begin();
        assert_eq!(passages.note_ended(OTHER), [caller]);
        assert_eq!(passage.progress(), Progress::GivenUp);
        assert_eq!(passages.note(STREAM, 1, Fate::Arrived), None);
        assert_eq!(passage.progress(), Progress::GivenUp);
    }

    #[test]
    fn it_is_followed_from_one_entry_to_another() {
        let (passages, passage, caller) = begin();
        passages.rename((STREAM, 1), (STREAM, 7));
        assert_eq!(passages.note(STREAM, 1, Fate::GivenUp), None);
        assert_eq!(passages.note(OTHER, 1, Fate::Arrived), None);
        assert_eq!(passages.note(STREAM, 7, Fate::Arrived), Some(caller));
        assert_eq!(passage.progress(), Progress::Arrived);
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let (passages, passage, _) = begin();
        passages.rename((STREAM, 1), (STREAM, 7));
        drop(passage);
        assert!(passages.entries.lock().is_empty());
        assert_eq!(passages.note(OTHER, 1, Fate::Arrived), None);
    }
}
