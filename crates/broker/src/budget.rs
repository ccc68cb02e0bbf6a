//! The bytes that all queues together may hold, and what counts with them.
//!
//! One budget for everything that waits for somebody: each holder takes what it needs and gives it back, and whoever would
//! exceed it is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Nothing was taken because a limit is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// The bytes in all queues together, and what counts with them: unsettled deliveries, retained messages on their way, wills.
#[derive(Debug)]
pub(crate) struct TotalBytes {
    bytes: AtomicUsize,
    bytes_max: usize,
    messages: AtomicUsize,
}

impl TotalBytes {
    pub(crate) fn new(bytes_max: usize) -> TotalBytes {
        TotalBytes { bytes: AtomicUsize::new(0), bytes_max, messages: AtomicUsize::new(0) }
    }

    /// Messages and bytes in all queues.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Whether so many bytes more would fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.load(Ordering::Relaxed).saturating_add(bytes) <= self.bytes_max
    }

    /// Counts a delivery that waits.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
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
