//! The end of a connection, from wherever it comes: its driver, its protocol, or a queue that is full.

use super::{Shard, SlotKey};
use crate::Overflow;
use crate::queue::Queue;
use std::time::Instant;
use tidegate_protocol::{Close, CloseReason, SessionLimits};

impl Shard {
    /// Closes a connection from outside of its protocol. Its machine writes its last words and gives up what it holds.
    pub fn close(&mut self, key: SlotKey, close: &Close, now: Instant) {
        if self.is_open(key) {
            self.end(key, close, now);
            self.finish_event(None, now);
        }
    }

    fn end(&mut self, key: SlotKey, close: &Close, now: Instant) {
        self.deliver_deferred(key.slot, now);
        let client_id = self.with_machine(key.slot, now, |machine, context| {
            // A machine may forget its client with its end.
            let client_id: Option<Box<str>> = machine.client_id().map(Box::from);
            machine.handle_close(close, context);
            client_id
        });
        let client_id = client_id.flatten();
        self.release_everything(key.slot, now);
        if let Some(mut slot) = self.slots.try_remove(key.slot) {
            if let Some(counters) = self.metrics.protocols.get(slot.protocol) {
                counters.open.subtract(1);
                counters.count_close(close.reason.label());
                counters.wire_out_bytes.add(slot.output.len() as u64);
            }
            if slot.output.is_empty() {
                self.buffers.take_back(&mut slot.output);
            }
            if let Some(outlet) = slot.outlet.take() {
                outlet.end(slot.output, close, client_id.as_deref());
            }
        }
    }

    /// Closes every connection for the same reason.
    pub fn close_all(&mut self, reason: CloseReason, now: Instant) {
        for key in self.connections() {
            self.close(key, &Close::from(reason), now);
        }
    }

    /// A queue had no room for a delivery: its connection, if it is on this worker, is closed where that is wanted. Not at once,
    /// because machines and shared encodings are in use.
    pub(super) fn note_overflow(&mut self, queue: &Queue) {
        let is_wanted =
            self.limits.queue_overflow == Overflow::Disconnect && queue.limits() == SessionLimits::Usual;
        if !is_wanted || queue.address().worker != self.worker {
            return;
        }
        let key = queue.address().consumer.map_or(usize::MAX, |key| key as usize);
        let Some(consumer) = self.consumers.get(key).filter(|consumer| consumer.queue.id == queue.id) else {
            return;
        };
        let number = consumer.slot;
        if let Some(slot) = self.slots.get_mut(number).filter(|slot| !slot.is_overflowed) {
            slot.is_overflowed = true;
            self.overflowed.push(SlotKey { slot: number, connection: slot.connection });
        }
    }

    /// Closes the connections whose queues are full. What their ends publish may fill further queues.
    pub(super) fn close_overflowed(&mut self, now: Instant) {
        let mut later = Vec::new();
        while let Some(key) = self.overflowed.pop() {
            if !self.is_open(key) {
                continue;
            }
            // In the middle of its own input: its turn comes when its machine is back.
            if self.slots.get(key.slot).is_some_and(|slot| slot.machine.is_none()) {
                later.push(key);
                continue;
            }
            let detail = "the client does not take what it has subscribed to, and its queue is full";
            self.end(key, &Close::new(CloseReason::QueueOverflow, detail), now);
        }
        self.overflowed = later;
    }
}
