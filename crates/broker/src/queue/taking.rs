//! What a queue takes and what its limits say to that: the oldest goes, or the newest does not come in.

use super::{NotTaken, Queue, Waiting};
use crate::Overflow;
use crate::queued::Queued;
use tidegate_message::QoS;
use tidegate_protocol::SessionLimits;

impl Queue {
    /// Appends a delivery that was routed with this generation, unless a limit forbids it or the queue has ended. Returns the older
    /// ones that were dropped for it.
    pub(crate) fn push(&self, queued: Queued, generation: u64) -> Result<Vec<Queued>, NotTaken> {
        let weight = queued.weight_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(NotTaken::Ended);
        }
        waiting.note_attempt();
        let memory = if queued.can_stay_on_disk() { 0 } else { weight };
        let has_room = match self.limits() {
            SessionLimits::Usual => self.has_room(waiting.len(), waiting.all_bytes(), weight, memory),
            SessionLimits::Disk => self.has_room_beside_disk(&waiting, (0, 0), memory),
        };
        let dropped = match has_room {
            true => Vec::new(),
            false => self.make_room(&mut waiting, &queued, memory).ok_or(NotTaken::Full)?,
        };
        let put_live = match waiting.held_since(generation) {
            Some(_) => Err(queued),
            None => self.put_live(&mut waiting, queued),
        };
        let Err(queued) = put_live else { return Ok(dropped) };
        if self.keep_on_disk(&mut waiting, &queued) {
            return Ok(dropped);
        }
        waiting.bytes += weight;
        self.total.add(weight);
        match waiting.held_since(generation) {
            Some(held) => held.deliveries.push_back(queued),
            None => waiting.put_behind_window(queued),
        }
        Ok(dropped)
    }

    /// Whether a delivery of this weight that needs no memory would be taken without another one making room.
    pub(super) fn has_room_on_disk(&self, waiting: &Waiting, weight: usize) -> bool {
        match self.limits() {
            SessionLimits::Usual => self.is_within_limits(waiting.len(), waiting.all_bytes(), weight),
            SessionLimits::Disk => true,
        }
    }

    /// Drops the oldest deliveries until one of this weight has room, and so much memory; returns those that were in memory. Nothing where
    /// that is not wanted or cannot help.
    fn make_room(&self, waiting: &mut Waiting, queued: &Queued, memory: usize) -> Option<Vec<Queued>> {
        if self.limits() == SessionLimits::Disk {
            return None;
        }
        let weight = queued.weight_bytes();
        if self.total.overflow() == Overflow::KeepLast {
            return self.give_way_to(waiting, queued, |waiting, count, bytes| {
                let is_within =
                    self.is_within_limits(waiting.len() - count, waiting.all_bytes() - bytes, weight);
                is_within && self.has_memory(memory.saturating_sub(bytes))
            });
        }
        let (kept, kept_bytes) = waiting.kept();
        let can_help = kept < self.total.queue_messages_max()
            && kept_bytes + weight <= self.total.queue_bytes_max()
            && self.has_memory((kept_bytes + memory).saturating_sub(waiting.bytes));
        if !self.total.drops_oldest() || !can_help {
            return None;
        }
        let mut dropped = Vec::new();
        while !self.has_room(waiting.len(), waiting.all_bytes(), weight, memory) {
            let is_full = !self.is_within_limits(waiting.len(), waiting.all_bytes(), weight);
            let mut oldest = waiting.deliveries.remove(kept);
            if oldest.is_none() && is_full && self.give_up_on_disk(waiting) {
                continue;
            }
            oldest = oldest.or_else(|| waiting.pop_behind());
            oldest = oldest.or_else(|| waiting.held.iter_mut().find_map(|held| held.deliveries.pop_front()));
            let Some(oldest) = oldest else { break };
            self.forget(waiting, &oldest);
            dropped.push(oldest);
        }
        Some(dropped)
    }

    /// Whether a delivery of this level and weight would be taken behind so many others that are not here yet. Nobody minds what comes to a
    /// queue that has ended.
    pub(crate) fn would_take(&self, messages: usize, bytes: usize, qos: QoS, weight: usize) -> bool {
        let can_stay_on_disk = self.total.has_disk() && self.survives() && qos > QoS::AtMostOnce;
        let memory = |bytes: usize| if can_stay_on_disk { 0 } else { bytes };
        let waiting = self.waiting.lock();
        if waiting.has_ended {
            return true;
        }
        if self.limits() == SessionLimits::Disk {
            return self.has_room_beside_disk(&waiting, (messages, bytes), memory(weight));
        }
        match self.total.drops_oldest() {
            // Those before it may have to go for it, but what comes again may not.
            true => {
                let (kept, kept_bytes) = waiting.kept();
                kept < self.total.queue_messages_max()
                    && kept_bytes + weight <= self.total.queue_bytes_max()
                    && self.has_memory(memory(kept_bytes + weight).saturating_sub(waiting.bytes))
            }
            false => {
                self.is_within_limits(waiting.len() + messages, waiting.all_bytes() + bytes, weight)
                    && self.has_memory(memory(bytes + weight))
            }
        }
    }

    /// Whether so much memory is there behind so many others that are not here yet, in a queue that only the disk bounds: what is in memory only
    /// has the usual limits.
    fn has_room_beside_disk(&self, waiting: &Waiting, others: (usize, usize), memory: usize) -> bool {
        let (messages, bytes) = (waiting.in_memory() + others.0, waiting.bytes + others.1);
        memory == 0 || self.has_room(messages, bytes, memory, others.1 + memory)
    }

    fn has_room(&self, messages: usize, bytes: usize, weight: usize, memory: usize) -> bool {
        self.is_within_limits(messages, bytes, weight) && self.has_memory(memory)
    }

    fn is_within_limits(&self, messages: usize, bytes: usize, weight: usize) -> bool {
        messages < self.total.queue_messages_max() && bytes + weight <= self.total.queue_bytes_max()
    }

    /// Whether all queues together have so much memory; nothing at all is always there.
    pub(super) fn has_memory(&self, bytes: usize) -> bool {
        bytes == 0 || self.total.has_room(bytes)
    }

    /// Inserts deliveries that have not been in a queue yet behind the first `count`, in their order, as far as the limits
    /// allow; returns those that found no room.
    pub(crate) fn insert_behind(
        &self,
        count: usize,
        deliveries: impl Iterator<Item = Queued>,
    ) -> Vec<Queued> {
        let mut waiting = self.waiting.lock();
        let (mut messages, on_disk) = match self.limits() {
            SessionLimits::Usual => (waiting.len(), waiting.on_disk().1),
            SessionLimits::Disk => (waiting.in_memory(), 0),
        };
        let mut dropped = Vec::new();
        let count = count.min(waiting.deliveries.len());
        let mut behind = waiting.deliveries.split_off(count);
        for queued in deliveries {
            let weight = queued.weight_bytes();
            if !self.has_room(messages, waiting.bytes + on_disk, weight, weight) {
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
