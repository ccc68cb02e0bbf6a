//! What a queue takes and what its limits say to that: the oldest goes, or the newest does not come in.

use super::{NotTaken, Queue, Waiting};
use crate::queued::Queued;

impl Queue {
    /// Appends a delivery that was routed with this generation, unless a limit forbids it or the queue has ended. Returns the older
    /// ones that were dropped for it.
    pub(crate) fn push(&self, queued: Queued, generation: u64) -> Result<Vec<Queued>, NotTaken> {
        let weight = queued.weight_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(NotTaken::Ended);
        }
        let dropped = match self.has_room(waiting.len(), waiting.bytes, weight) {
            true => Vec::new(),
            false => self.make_room(&mut waiting, weight).ok_or(NotTaken::Full)?,
        };
        waiting.bytes += weight;
        self.total.add(weight);
        waiting.place(generation).push_back(queued);
        Ok(dropped)
    }

    /// Drops the oldest deliveries until one of this weight has room; returns them. Nothing where that is not wanted or cannot help.
    fn make_room(&self, waiting: &mut Waiting, weight: usize) -> Option<Vec<Queued>> {
        let (kept, kept_bytes) = waiting.kept();
        let can_help = kept < self.total.queue_messages_max()
            && kept_bytes + weight <= self.total.queue_bytes_max()
            && self.total.has_room((kept_bytes + weight).saturating_sub(waiting.bytes));
        if !self.total.drops_oldest() || !can_help {
            return None;
        }
        let mut dropped = Vec::new();
        while !self.has_room(waiting.len(), waiting.bytes, weight) {
            let Some(oldest) = waiting.pop_oldest(kept) else { break };
            let freed = oldest.weight_bytes();
            waiting.bytes -= freed;
            self.total.subtract(1, freed);
            dropped.push(oldest);
        }
        Some(dropped)
    }

    /// Whether a delivery of this weight would be taken behind so many others that are not here yet. Nobody minds what comes to a queue
    /// that has ended.
    pub(crate) fn would_take(&self, messages: usize, bytes: usize, weight: usize) -> bool {
        let waiting = self.waiting.lock();
        if waiting.has_ended {
            return true;
        }
        match self.total.drops_oldest() {
            // Those before it may have to go for it, but what comes again may not.
            true => {
                let (kept, kept_bytes) = waiting.kept();
                kept < self.total.queue_messages_max()
                    && kept_bytes + weight <= self.total.queue_bytes_max()
                    && self.total.has_room((kept_bytes + weight).saturating_sub(waiting.bytes))
            }
            false => {
                waiting.len() + messages < self.total.queue_messages_max()
                    && waiting.bytes + bytes + weight <= self.total.queue_bytes_max()
                    && self.total.has_room(bytes + weight)
            }
        }
    }

    fn has_room(&self, messages: usize, bytes: usize, weight: usize) -> bool {
        messages < self.total.queue_messages_max()
            && bytes + weight <= self.total.queue_bytes_max()
            && self.total.has_room(weight)
    }

    /// Inserts deliveries that have not been in a queue yet behind the first `count`, in their order, as far as the limits
    /// allow; returns those that found no room.
    pub(crate) fn insert_behind(
        &self,
        count: usize,
        deliveries: impl Iterator<Item = Queued>,
    ) -> Vec<Queued> {
        let mut waiting = self.waiting.lock();
        let (mut messages, mut dropped) = (waiting.len(), Vec::new());
        let count = count.min(waiting.deliveries.len());
        let mut behind = waiting.deliveries.split_off(count);
        for queued in deliveries {
            let weight = queued.weight_bytes();
            if !self.has_room(messages, waiting.bytes, weight) {
                dropped.push(queued);
                continue;
            }
            messages += 1;
            waiting.bytes += weight;
            self.total.add(weight);
            waiting.deliveries.push_back(queued);
        }
        waiting.deliveries.append(&mut behind);
        dropped
    }
}
