//! The bytes of memory that all queues together may hold, and what counts with them.
//!
//! One budget for everything that waits for somebody: each holder takes what it needs and gives it back, and whoever would
//! exceed it is refused. What waits on the disk only is counted beside it and needs none of it.

use crate::{Limits, Overflow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Nothing was taken because a limit is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// The bytes in all queues together, and what counts with them: unsettled deliveries, retained messages on their way, wills. Also the
/// limits of each queue, in one place, so that all queues obey new ones at once.
#[derive(Debug)]
pub(crate) struct TotalBytes {
    bytes: AtomicUsize,
    bytes_max: AtomicUsize,
    messages: AtomicUsize,
    messages_on_disk: AtomicUsize,
    bytes_on_disk: AtomicUsize,
    /// Whether there is a disk on which messages can wait.
    has_disk: bool,
    queue_messages_max: AtomicUsize,
    queue_bytes_max: AtomicUsize,
    drops_oldest: AtomicBool,
    keeps_last: AtomicBool,
}

impl TotalBytes {
    pub(crate) fn new(limits: &Limits) -> TotalBytes {
        TotalBytes {
            bytes: AtomicUsize::new(0),
            bytes_max: limits.queued_bytes_total.into(),
            messages: AtomicUsize::new(0),
            messages_on_disk: AtomicUsize::new(0),
            bytes_on_disk: AtomicUsize::new(0),
            has_disk: false,
            queue_messages_max: limits.queued_messages.into(),
            queue_bytes_max: limits.queued_bytes.into(),
            drops_oldest: (limits.queue_overflow == Overflow::DropOldest).into(),
            keeps_last: (limits.queue_overflow == Overflow::KeepLast).into(),
        }
    }

    /// The same where messages can wait on a disk, or cannot.
    pub(crate) fn with_disk(self, has_disk: bool) -> TotalBytes {
        TotalBytes { has_disk, ..self }
    }

    /// Whether there is a disk on which messages can wait.
    pub(crate) fn has_disk(&self) -> bool {
        self.has_disk
    }

    /// Puts other limits in place of these. What waits already stays, and nothing is added above them.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.bytes_max.store(limits.queued_bytes_total, Ordering::Relaxed);
        self.queue_messages_max.store(limits.queued_messages, Ordering::Relaxed);
        self.queue_bytes_max.store(limits.queued_bytes, Ordering::Relaxed);
        self.drops_oldest.store(limits.queue_overflow == Overflow::DropOldest, Ordering::Relaxed);
        self.keeps_last.store(limits.queue_overflow == Overflow::KeepLast, Ordering::Relaxed);
    }

    /// The most messages that may wait in one queue.
    pub(crate) fn queue_messages_max(&self) -> usize {
        self.queue_messages_max.load(Ordering::Relaxed)
    }

    /// The most bytes that may wait in one queue.
    pub(crate) fn queue_bytes_max(&self) -> usize {
        self.queue_bytes_max.load(Ordering::Relaxed)
    }

    /// Whether a full queue makes room by dropping its oldest message.
    pub(crate) fn drops_oldest(&self) -> bool {
        self.drops_oldest.load(Ordering::Relaxed)
    }

    /// What a full queue does: which of its messages make room, if any.
    pub(crate) fn overflow(&self) -> Overflow {
        match (self.drops_oldest(), self.keeps_last.load(Ordering::Relaxed)) {
            (true, _) => Overflow::DropOldest,
            (false, true) => Overflow::KeepLast,
            (false, false) => Overflow::DropNewest,
        }
    }

    /// Messages and bytes in memory in all queues.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Messages that are on the disk only in all queues, and what they would weigh in memory.
    pub(crate) fn size_on_disk(&self) -> (usize, usize) {
        (self.messages_on_disk.load(Ordering::Relaxed), self.bytes_on_disk.load(Ordering::Relaxed))
    }

    /// Whether so many bytes more would fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.load(Ordering::Relaxed).saturating_add(bytes) <= self.bytes_max.load(Ordering::Relaxed)
    }

    /// Counts a delivery that waits.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// A queue has so many messages and bytes on the disk only that had so many before.
    pub(crate) fn change_on_disk(&self, before: (usize, usize), after: (usize, usize)) {
        // Wraps around for a moment where it becomes less, and ends where it should.
        self.messages_on_disk.fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes_on_disk.fetch_add(after.1.wrapping_sub(before.1), Ordering::Relaxed);
    }

    /// Takes deliveries off the count.
    pub(crate) fn subtract(&self, messages: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.messages.fetch_sub(messages, Ordering::Relaxed);
    }
}

/// Bytes that are held beside the queues but count with them; they are given back when this goes.
#[derive(Debug)]
pub(crate) struct Room {
    total: Arc<TotalBytes>,
    bytes: usize,
}

impl Room {
    /// Room that takes nothing yet.
    pub(crate) fn new(total: Arc<TotalBytes>) -> Room {
        Room { total, bytes: 0 }
    }

    /// What it takes now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more, unless the limit of all queues together forbids it.
    pub(crate) fn claim(&mut self, bytes: usize) -> Result<(), QueueFull> {
        match self.total.has_room(bytes) {
            true => {
                self.take(bytes);
                Ok(())
            }
            false => Err(QueueFull),
        }
    }

    /// Takes more for what was accepted before, so that no limit turns it away.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives some of it back.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.total.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
