//! Waiting for a store to keep what was appended, on a thread that has nothing else to do.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use tidegate_storage::{Change, Lsn, Storage, Urgency};

/// The disk answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the disk does not keep it: see what it says of the folder's file system")]
pub struct NotKept;

/// Appends changes to a store and waits for the disk.
pub(crate) struct Appender<'s> {
    storage: &'s dyn Storage,
    rung: Arc<(Mutex<()>, Condvar)>,
}

impl<'s> Appender<'s> {
    /// Puts a bell of its own into the store, which nobody else uses.
    pub(crate) fn new(storage: &'s dyn Storage) -> Appender<'s> {
        let rung: Arc<(Mutex<()>, Condvar)> = Arc::default();
        let ring = rung.clone();
        storage.set_bell(Box::new(move || {
            // Taken so that a ring between a look at the progress and the sleep after it is not missed.
            drop(ring.0.lock());
            ring.1.notify_all();
        }));
        Appender { storage, rung }
    }

    /// Returns when the disk has the change.
    pub(crate) fn keep(&self, change: &mut Change) -> Result<(), NotKept> {
        let lsn = self.storage.append(change, Urgency::Synced);
        self.wait(lsn)
    }

    fn wait(&self, lsn: Lsn) -> Result<(), NotKept> {
        let mut guard = self.rung.0.lock();
        loop {
            let progress = self.storage.progress();
            if progress.synced >= lsn {
                return Ok(());
            }
            if progress.is_failing {
                return Err(NotKept);
            }
            self.rung.1.wait(&mut guard);
        }
    }
}
