//! What only the queue of a group does: its deliveries stand by their places, come back to them, and can be found by their deadlines.
//!
//! Each of these costs a search, so that a thousand deliveries that come back one by one, or expire in the middle of a hundred thousand, cost
//! no more than as many searches.

use super::{NotTaken, Popped, Queue, Waiting};
use crate::queue_policy::Bounds;
use crate::queued::{Queued, needs_settling};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_protocol::Settlement;

/// The deliveries of a group that wait, the oldest place first.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    by_place: BTreeMap<u64, Queued>,
    /// When which of them expires.
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Grouped {
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    fn insert(&mut self, queued: Queued) {
        if let Some(at) = queued.message.expires_at {
            self.deadlines.insert((at, queued.place));
        }
        self.by_place.insert(queued.place, queued);
    }

    fn remove(&mut self, place: u64) -> Option<Queued> {
        let queued = self.by_place.remove(&place)?;
        if let Some(at) = queued.message.expires_at {
            self.deadlines.remove(&(at, place));
        }
        Some(queued)
    }

    pub(super) fn pop_first(&mut self) -> Option<Queued> {
        let (place, _) = self.by_place.first_key_value()?;
        self.remove(*place)
    }
}

impl Waiting {
    /// What only a group's queue has; most queues are not, and do without the room.
    fn grouped(&mut self) -> &mut Grouped {
        self.grouped.get_or_insert_default()
    }

    fn fits(&self, weight: usize, bounds: Bounds) -> bool {
        self.len() < bounds.messages && self.bytes + weight <= bounds.bytes
    }
}

impl Queue {
    /// How much may wait here where nobody says anything else.
    pub(crate) fn default_bounds(&self) -> Bounds {
        Bounds {
            messages: self.total.queue_messages_max(),
            bytes: self.total.queue_bytes_max(),
            drops_oldest: self.total.drops_oldest(),
        }
    }

    /// Whether a delivery of this weight would be taken, behind so many others that are not here yet, without another one being dropped for it.
    pub(crate) fn has_room_for(&self, messages: usize, bytes: usize, weight: usize, bounds: Bounds) -> bool {
        let waiting = self.waiting.lock();
        waiting.len() + messages < bounds.messages
            && waiting.bytes + bytes + weight <= bounds.bytes
            && self.total.has_room(bytes + weight)
    }

    /// Appends a delivery to the queue of a group, unless the bounds forbid it or the queue has ended. Returns the older ones that were
    /// dropped for it.
    pub(crate) fn push_grouped(&self, queued: Queued, bounds: Bounds) -> Result<Vec<Queued>, NotTaken> {
        let weight = queued.weight_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(NotTaken::Ended);
        }
        let mut dropped = Vec::new();
        if !waiting.fits(weight, bounds) || !self.total.has_room(weight) {
            let can_help = bounds.drops_oldest
                && weight <= bounds.bytes
                && self.total.has_room(weight.saturating_sub(waiting.bytes));
            if !can_help {
                return Err(NotTaken::Full);
            }
            while !waiting.fits(weight, bounds) || !self.total.has_room(weight) {
                let Some(oldest) = waiting.grouped().pop_first() else { break };
                self.note_taken(&mut waiting, &oldest);
                dropped.push(oldest);
            }
        }
        self.put(&mut waiting, queued);
        Ok(dropped)
    }

    /// Takes deliveries that were accepted before, each at its place, so no limit turns them away; but where the queue has ended they
    /// come back.
    pub(crate) fn take_back(&self, deliveries: Vec<Queued>) -> Result<(), Vec<Queued>> {
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(deliveries);
        }
        deliveries.into_iter().for_each(|queued| self.put(&mut waiting, queued));
        Ok(())
    }

    /// Takes the next delivery for a member that receives at this level at the most; returns also what had expired before it.
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
            let Some((_, next)) = waiting.grouped().by_place.first_key_value() else {
                return (Popped::Empty, expired);
            };
            let is_expired = next.message.is_expired(now);
            if !is_expired && !has_credit && needs_settling(settlement, next.qos.min(level)) {
                return (Popped::NeedsCredit, expired);
            }
            let Some(queued) = waiting.grouped().pop_first() else { return (Popped::Empty, expired) };
            self.note_taken(&mut waiting, &queued);
            match is_expired {
                true => expired.push(queued),
                false => return (Popped::Delivery(queued), expired),
            }
        }
    }

    /// Takes out up to `count` deliveries that have expired.
    pub(crate) fn take_expired(&self, count: usize, now: Instant) -> Vec<Queued> {
        let mut waiting = self.waiting.lock();
        let mut expired = Vec::new();
        while let Some((at, place)) = waiting.grouped().deadlines.first().copied()
            && at <= now
            && expired.len() < count
        {
            let Some(queued) = waiting.grouped().remove(place) else { break };
            self.note_taken(&mut waiting, &queued);
            expired.push(queued);
        }
        expired
    }

    /// When the first delivery expires of those that wait in the queue of a group.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.lock().grouped().deadlines.first().map(|(at, _)| *at)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().len() == 0
    }

    /// Ends the queue where nothing waits in it; from then on it takes nothing. Returns whether it has ended.
    pub(crate) fn end_if_empty(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.has_ended |= waiting.len() == 0;
        waiting.has_ended
    }

    fn put(&self, waiting: &mut Waiting, queued: Queued) {
        let weight = queued.weight_bytes();
        waiting.bytes += weight;
        self.total.add(weight);
        waiting.grouped().insert(queued);
    }

    fn note_taken(&self, waiting: &mut Waiting, queued: &Queued) {
        let weight = queued.weight_bytes();
        waiting.bytes -= weight;
        self.total.subtract(1, weight);
    }
}
