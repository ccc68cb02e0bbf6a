//! What outlives the process: the broker's side of the durable store.
//!
//! Each thing that is kept has one owner in the broker, which knows the number of its entry and changes it: a session its description,
//! a queue its messages, the retained store its own. What happens in one event goes into one change (`shard/keeping.rs`), so that after
//! a crash it has happened as a whole or not at all.

use crate::numbering::Numbering;
use crate::reading::Reading;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_storage::{Storage, StreamId};

/// The store, and the numbers of what is described in it.
#[derive(Debug)]
pub(crate) struct Keeper {
    storage: Arc<dyn Storage>,
    next_in_sessions: AtomicU64,
    next_in_retained: AtomicU64,
    next_in_queues: AtomicU64,
    pub(crate) reading: Reading,
    pub(crate) numbering: Arc<Numbering>,
}

impl Keeper {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Keeper {
        let next = |stream| {
            let last = storage.summary(stream).map_or(0, |summary| summary.last);
            AtomicU64::new(last + 1)
        };
        Keeper {
            next_in_sessions: next(StreamId::SESSIONS),
            next_in_retained: next(StreamId::RETAINED),
            next_in_queues: next(StreamId::QUEUES),
            reading: Reading::default(),
            numbering: Arc::new(Numbering::new(storage.clone())),
            storage,
        }
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// A number for an entry that describes a session or what belongs to one.
    pub(crate) fn next_in_sessions(&self) -> NonZeroU64 {
        // The first one is 1, and no process gives out all of them.
        NonZeroU64::new(self.next_in_sessions.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX)
    }

    /// A number for a retained message.
    pub(crate) fn next_in_retained(&self) -> u64 {
        self.next_in_retained.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for an entry that describes a named queue.
    pub(crate) fn next_in_queues(&self) -> u64 {
        self.next_in_queues.fetch_add(1, Ordering::Relaxed)
    }

    /// The lowest number that no queue of the store has: a queue's stream bears the number of the queue.
    pub(crate) fn first_free_id(&self) -> u64 {
        let last = self.storage.streams().last().map_or(0, |summary| summary.stream.0);
        (last + 1).max(StreamId::FIRST_QUEUE.0)
    }
}
