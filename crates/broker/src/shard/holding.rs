//! Consumers whose next delivery has to be on the disk first, and the moment at which it is.

use super::Shard;

impl Shard {
    /// A consumer's next delivery has to be on the disk first. Returns whether it is there by now; if not, the consumer is looked after
    /// when the disk has come further.
    pub(super) fn is_synced_by_now(&mut self, key: usize) -> bool {
        let before = self.keeping.synced;
        self.ask_progress();
        if self.keeping.synced > before {
            return true;
        }
        self.ring_for_storage();
        // It may have come further between the question and the wish to be told.
        self.ask_progress();
        if self.keeping.synced > before {
            return true;
        }
        if let Some(consumer) = self.consumers.get_mut(key).filter(|consumer| !consumer.awaits_disk) {
            consumer.awaits_disk = true;
            self.keeping.holding.push(key);
        }
        false
    }

    fn ring_for_storage(&self) {
        if let Some(mailbox) = self.node.mailboxes.get(usize::from(self.worker)) {
            mailbox.ring_for_storage();
        }
    }

    fn ask_progress(&mut self) {
        if let Some(keeper) = &self.node.keeper {
            self.keeping.synced = keeper.storage().progress().synced;
        }
    }

    /// Looks after those who wait for the disk, where it has come further.
    pub(super) fn note_progress(&mut self) {
        if self.keeping.holding.is_empty() {
            return;
        }
        let before = self.keeping.synced;
        self.ring_for_storage();
        self.ask_progress();
        if self.keeping.synced == before {
            return;
        }
        for key in std::mem::take(&mut self.keeping.holding) {
            if let Some(consumer) = self.consumers.get_mut(key) {
                consumer.awaits_disk = false;
                self.list(key);
            }
        }
    }
}
