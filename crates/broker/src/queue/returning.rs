//! Deliveries that members give back to a group: each comes again at its place, before what nobody has had yet.
//!
//! They stand beside the others, by their places: whoever gives back a thousand, one by one and in any order, costs no more than as many
//! searches.

use super::{Popped, Queue, Waiting};
use crate::queued::{Queued, needs_settling};
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_protocol::Settlement;

impl Waiting {
    /// Whether the next delivery is one that was given back. A place is older the smaller it is.
    fn next_is_returned(&self) -> bool {
        let front = self.deliveries.front().map(|queued| queued.place);
        let returned = self.returned.first_key_value().map(|(place, _)| *place);
        returned.is_some_and(|returned| front.is_none_or(|front| returned < front))
    }

    fn next(&self) -> Option<&Queued> {
        match self.next_is_returned() {
            true => self.returned.first_key_value().map(|(_, queued)| queued),
            false => self.deliveries.front(),
        }
    }

    /// Takes the next delivery of a group out.
    pub(super) fn pop_next(&mut self) -> Option<Queued> {
        match self.next_is_returned() {
            true => self.returned.pop_first().map(|(_, queued)| queued),
            false => self.deliveries.pop_front(),
        }
    }
}

impl Queue {
    /// Takes deliveries back at their places. They were accepted before, so no limit turns them away; but where the queue has ended
    /// they come back.
    pub(crate) fn take_back(&self, deliveries: Vec<Queued>) -> Result<(), Vec<Queued>> {
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(deliveries);
        }
        for queued in deliveries {
            let weight = queued.weight_bytes();
            waiting.bytes += weight;
            self.total.add(weight);
            waiting.returned.insert(queued.place, queued);
        }
        Ok(())
    }

    /// Takes the next delivery of a group for a member that receives at this level at the most; returns also what had expired before it.
    pub(crate) fn pop_for_member(
        &self,
        level: QoS,
        has_credit: bool,
        settlement: Settlement,
        now: Instant,
    ) -> (Popped, Vec<Queued>) {
        let mut waiting = self.waiting.lock();
        let mut expired = Vec::new();
        loop {
            let Some(next) = waiting.next() else { return (Popped::Empty, expired) };
            let is_expired = next.message.is_expired(now);
            if !is_expired && !has_credit && needs_settling(settlement, next.qos.min(level)) {
                return (Popped::NeedsCredit, expired);
            }
            let Some(queued) = waiting.pop_next() else { return (Popped::Empty, expired) };
            let weight = queued.weight_bytes();
            waiting.bytes -= weight;
            self.total.subtract(1, weight);
            match is_expired {
                true => expired.push(queued),
                false => return (Popped::Delivery(queued), expired),
            }
        }
    }
}
