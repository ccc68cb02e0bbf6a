//! What a named queue is beside a group: its policy, when it was used last, and its description in the durable store.

use crate::entry::Entry;
use crate::queue_policy::{QueuePolicy, Terms};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_message::Topic;

/// When a queue is looked at that expires later than a clock can say.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a named queue is beside a group.
#[derive(Debug)]
pub(crate) struct NamedQueue {
    /// The topic that leads to it.
    pub(crate) topic: Topic,
    /// The policy in force.
    pub(crate) terms: Terms,
    last_use: Mutex<Option<LastUse>>,
    pub(crate) description: Description,
}

/// When a queue was used last: by a publisher, or by a consumer that came or went.
#[derive(Debug, Clone, Copy)]
struct LastUse {
    at: Instant,
    /// How long before that moment it was: a clock need not go back to before the process began.
    idle: Duration,
}

/// The entries of a queue in the durable store. One, or some more where other workers had messages for it before it was known that the first
/// one is there: each of them makes sure that it is.
#[derive(Debug, Default)]
pub(crate) struct Description {
    entries: Mutex<SmallVec<[Entry; 1]>>,
    /// Whether one of them has been handed over to the store.
    is_handed_over: AtomicBool,
    /// The last use as it is noted there, in milliseconds of the store's time.
    used_at_millis: Mutex<u64>,
}

impl NamedQueue {
    pub(crate) fn new(topic: Topic, policy: &QueuePolicy) -> NamedQueue {
        let description = Description::default();
        NamedQueue { topic, terms: Terms::new(policy), last_use: Mutex::default(), description }
    }

    /// It is used at this moment.
    pub(crate) fn note_use(&self, now: Instant) {
        let mut last = self.last_use.lock();
        if last.is_none_or(|last| last.at <= now) {
            *last = Some(LastUse { at: now, idle: Duration::ZERO });
        }
    }

    /// It was used last by an earlier process, and for so long not.
    pub(crate) fn note_former_use(&self, now: Instant, idle: Duration) {
        self.last_use.lock().get_or_insert(LastUse { at: now, idle });
    }

    /// How long it has not been used.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        let last = *self.last_use.lock();
        last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last.at).saturating_add(last.idle))
    }

    /// When it has been unused for as long as its policy allows.
    pub(crate) fn expires_at(&self, now: Instant) -> Instant {
        let last = *self.last_use.lock().get_or_insert(LastUse { at: now, idle: Duration::ZERO });
        // What overflows is as good as never.
        last.at.checked_add(self.terms.expires().saturating_sub(last.idle)).unwrap_or(now + NEVER)
    }
}

impl Description {
    /// Whether the store has it, so that nothing in the queue can be there without it.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.is_handed_over.load(Ordering::Acquire)
    }

    /// The store has it now.
    pub(crate) fn note_handed_over(&self) {
        self.is_handed_over.store(true, Ordering::Release);
    }

    /// It is, or will be, this entry.
    pub(crate) fn add(&self, entry: Entry, used_at_millis: u64) {
        self.entries.lock().push(entry);
        *self.used_at_millis.lock() = used_at_millis;
    }

    /// The queue ends: the entries that are to be settled.
    pub(crate) fn take(&self) -> SmallVec<[Entry; 1]> {
        std::mem::take(&mut *self.entries.lock())
    }

    /// The entries on which a later use is to be noted; none where it is no later.
    pub(crate) fn note_use(&self, used_at_millis: u64) -> SmallVec<[Entry; 1]> {
        let mut before = self.used_at_millis.lock();
        if used_at_millis <= *before {
            return SmallVec::new();
        }
        *before = used_at_millis;
        self.entries.lock().clone()
    }
}
