//! What only the queue of a group does: its deliveries stand by their places, come back to them, and can be found by their deadlines.
//!
//! Each of these costs a search and hardly more, so that a thousand deliveries that come back one by one, or expire in the middle of a
//! hundred thousand, hold nobody up.

use super::{NotTaken, Queue, Waiting};
use crate::Overflow;
use crate::queue_policy::Bounds;
use crate::queued::Queued;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;
use tidegate_message::QoS;

/// Expired deliveries that one look for the next one takes out. More of them make it a search that goes on in the next turn.
pub(super) const EXPIRED_PER_LOOK: usize = 256;

/// Gaps that may stand between deliveries, beside as many as there are deliveries.
const GAPS_MAX: usize = 1024;

/// The deliveries of a group that wait, the oldest place first.
///
/// Nearly all of them come at the end and go at the front. What goes from the middle leaves a gap, and what comes back stood near the
/// front, so neither moves much.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    /// Ascending by place; the first one is no gap.
    entries: VecDeque<Entry>,
    count: usize,
    /// When which of them expires.
    deadlines: BTreeSet<(Instant, u64)>,
    /// Room that is reserved for messages on their way.
    reserved_messages: usize,
    reserved_bytes: usize,
}

/// Whether a queue keeps room for a message that is on its way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// It does, until the message has come or [`Queue::give_up_room`].
    Yes,
    /// Its bounds forbid it.
    Full,
    /// It has ended.
    Ended,
}

/// What a message was promised before it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    None,
    /// That it is taken: no limit turns it away.
    Taken,
    /// The same, and room is reserved for it.
    Room,
}

/// One place of a group's order.
#[derive(Debug)]
struct Entry {
    place: u64,
    /// Nothing where the delivery was taken out of the middle.
    queued: Option<Queued>,
}

impl Grouped {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// About how many stand before this place.
    pub(super) fn len_before(&self, place: u64) -> usize {
        self.entries.partition_point(|entry| entry.place < place).min(self.count)
    }

    /// The deliveries that stand before this place, in order.
    pub(super) fn before(&self, place: u64) -> impl Iterator<Item = &Queued> {
        let before = self.entries.iter().take_while(move |entry| entry.place < place);
        before.filter_map(|entry| entry.queued.as_ref())
    }

    /// Takes out the first delivery that is the one.
    pub(super) fn take_first(&mut self, is_it: impl Fn(&Queued) -> bool) -> Option<Queued> {
        let mut deliveries = self.entries.iter().filter_map(|entry| entry.queued.as_ref());
        let place = deliveries.find(|queued| is_it(queued))?.place;
        self.remove(place)
    }

    pub(super) fn first(&self) -> Option<&Queued> {
        self.entries.front()?.queued.as_ref()
    }

    fn insert(&mut self, queued: Queued) {
        let place = queued.place;
        if let Some(at) = queued.message.expires_at {
            self.deadlines.insert((at, place));
        }
        let entry = Entry { place, queued: Some(queued) };
        if self.entries.back().is_none_or(|last| last.place < place) {
            self.count += 1;
            return self.entries.push_back(entry);
        }
        match self.find(place) {
            Err(at) => {
                self.count += 1;
                self.entries.insert(at, entry);
            }
            Ok(at) => {
                if let Some(known) = self.entries.get_mut(at) {
                    self.count += usize::from(known.queued.is_none());
                    *known = entry;
                }
            }
        }
    }

    fn remove(&mut self, place: u64) -> Option<Queued> {
        let at = self.find(place).ok()?;
        if at == 0 {
            return self.pop_first();
        }
        let queued = self.entries.get_mut(at)?.queued.take()?;
        self.note_removed(&queued);
        if self.entries.len() > 2 * self.count + GAPS_MAX {
            self.entries.retain(|entry| entry.queued.is_some());
        }
        Some(queued)
    }

    pub(super) fn pop_first(&mut self) -> Option<Queued> {
        let queued = self.entries.pop_front()?.queued?;
        self.note_removed(&queued);
        while self.entries.front().is_some_and(|entry| entry.queued.is_none()) {
            self.entries.pop_front();
        }
        if self.count == 0 && self.entries.capacity() > GAPS_MAX {
            // A crowd is over, and its room with it.
            self.entries = VecDeque::new();
        }
        Some(queued)
    }

    /// The deliveries from the newest place on.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Queued> {
        self.entries.iter().rev().filter_map(|entry| entry.queued.as_ref())
    }

    /// Takes out what is meant of them, which are asked about from the newest place on.
    pub(super) fn take_out(&mut self, mut is_meant: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let meant = self.newest_first().filter(|queued| is_meant(queued));
        let places: Vec<u64> = meant.map(|queued| queued.place).collect();
        places.into_iter().rev().filter_map(|place| self.remove(place)).collect()
    }

    fn find(&self, place: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&place, |entry| entry.place)
    }

    fn note_removed(&mut self, queued: &Queued) {
        self.count -= 1;
        if let Some(at) = queued.message.expires_at {
            self.deadlines.remove(&(at, queued.place));
        }
    }
}

impl Waiting {
    /// What only a group's queue has; most queues are not, and do without the room.
    pub(super) fn grouped(&mut self) -> &mut Grouped {
        self.grouped.get_or_insert_default()
    }

    fn fits(&self, weight: usize, bounds: Bounds) -> bool {
        self.len() < bounds.messages && self.all_bytes() + weight <= bounds.bytes
    }

    /// The same behind what room is reserved for.
    fn fits_behind_reserved(&self, weight: usize, bounds: Bounds) -> bool {
        let reserved = |found: &Grouped| (found.reserved_messages, found.reserved_bytes);
        let (messages, bytes) = self.grouped.as_deref().map_or((0, 0), reserved);
        self.len() + messages < bounds.messages && self.all_bytes() + bytes + weight <= bounds.bytes
    }

    /// Whether the delivery that stands first in memory stands first of all.
    pub(super) fn is_front_in_memory(&mut self) -> bool {
        let tail = self.tail_first();
        let first = self.grouped().first().map(|queued| queued.place);
        tail.is_none_or(|tail| first.is_some_and(|first| first < tail))
    }

    fn give_up_room(&mut self, weight: usize) {
        let grouped = self.grouped();
        grouped.reserved_messages = grouped.reserved_messages.saturating_sub(1);
        grouped.reserved_bytes = grouped.reserved_bytes.saturating_sub(weight);
    }
}

impl Queue {
    /// How much may wait here where nobody says anything else.
    pub(crate) fn default_bounds(&self) -> Bounds {
        Bounds {
            messages: self.total.queue_messages_max(),
            bytes: self.total.queue_bytes_max(),
            overflow: self.total.overflow(),
        }
    }

    /// Reserves room for a message of this level and weight, so that it is taken when it comes, whatever came before it. Where the oldest
    /// makes room, only one that could never fit is refused.
    pub(crate) fn reserve_room(&self, qos: QoS, weight: usize, bounds: Bounds) -> Reserved {
        let can_stay_on_disk = self.total.has_disk() && qos > QoS::AtMostOnce;
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Reserved::Ended;
        }
        let fits = match bounds.drops_oldest() {
            true => weight <= bounds.bytes,
            false => {
                waiting.fits_behind_reserved(weight, bounds)
                    && (can_stay_on_disk || self.total.has_room(weight))
            }
        };
        if !fits {
            return Reserved::Full;
        }
        let grouped = waiting.grouped();
        grouped.reserved_messages += 1;
        grouped.reserved_bytes += weight;
        Reserved::Yes
    }

    /// Gives up the room of a message that does not come any more, or went straight to a consumer.
    pub(crate) fn give_up_room(&self, weight: usize) {
        self.waiting.lock().give_up_room(weight);
    }

    /// Appends a delivery to the queue of a group, unless the bounds forbid it or the queue has ended. Returns the older ones that were
    /// dropped for it.
    pub(crate) fn push_grouped(
        &self,
        queued: Queued,
        bounds: Bounds,
        claim: Claim,
    ) -> Result<Vec<Queued>, NotTaken> {
        let weight = queued.weight_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.has_ended {
            return Err(NotTaken::Ended);
        }
        waiting.note_attempt();
        if claim == Claim::Room {
            waiting.give_up_room(weight);
        }
        let fits = match bounds.drops_oldest() {
            true => waiting.fits(weight, bounds),
            false => waiting.fits_behind_reserved(weight, bounds),
        };
        let is_promised = claim != Claim::None && !bounds.drops_oldest();
        let memory = if queued.can_stay_on_disk() { 0 } else { weight };
        let mut dropped = Vec::new();
        if !is_promised && (!fits || !self.has_memory(memory)) {
            dropped = self.make_room_grouped(&mut waiting, &queued, memory, bounds).ok_or(NotTaken::Full)?;
        }
        if !self.keep_on_disk(&mut waiting, &queued) {
            self.put(&mut waiting, queued);
        }
        Ok(dropped)
    }

    /// Has others give way to a delivery, as the bounds say; nothing where that is not wanted or does not help.
    fn make_room_grouped(
        &self,
        waiting: &mut Waiting,
        queued: &Queued,
        memory: usize,
        bounds: Bounds,
    ) -> Option<Vec<Queued>> {
        let weight = queued.weight_bytes();
        match bounds.overflow {
            Overflow::DropOldest => {
                let can_help =
                    weight <= bounds.bytes && self.has_memory(memory.saturating_sub(waiting.bytes));
                can_help.then(|| self.drop_oldest_grouped(waiting, weight, memory, bounds))
            }
            Overflow::KeepLast => self.give_way_to(waiting, queued, |waiting, count, bytes| {
                let is_within = waiting.len() - count < bounds.messages
                    && waiting.all_bytes() - bytes + weight <= bounds.bytes;
                is_within && self.has_memory(memory.saturating_sub(bytes))
            }),
            Overflow::DropNewest | Overflow::Disconnect => None,
        }
    }

    /// Drops the oldest deliveries until one of this weight has room, and so much memory; returns those that were in memory.
    fn drop_oldest_grouped(
        &self,
        waiting: &mut Waiting,
        weight: usize,
        memory: usize,
        bounds: Bounds,
    ) -> Vec<Queued> {
        let mut dropped = Vec::new();
        loop {
            let fits = waiting.fits(weight, bounds);
            if fits && self.has_memory(memory) {
                return dropped;
            }
            if !fits && !waiting.is_front_in_memory() && self.give_up_on_disk(waiting) {
                continue;
            }
            let Some(oldest) = waiting.grouped().pop_first() else { return dropped };
            self.forget(waiting, &oldest);
            dropped.push(oldest);
        }
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

    /// Takes out up to `count` deliveries that have expired.
    pub(crate) fn take_expired(&self, count: usize, now: Instant) -> Vec<Queued> {
        let mut waiting = self.waiting.lock();
        let mut expired = Vec::new();
        while let Some((at, place)) = waiting.grouped().deadlines.first().copied()
            && at <= now
            && expired.len() < count
        {
            let Some(queued) = waiting.grouped().remove(place) else { break };
            self.forget(&mut waiting, &queued);
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

    /// Whether it takes nothing any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.waiting.lock().has_ended
    }

    /// Ends the queue where nothing waits in it and no room is reserved. Returns whether it has ended.
    pub(crate) fn end_if_unused(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let is_reserved = waiting.grouped.as_ref().is_some_and(|grouped| grouped.reserved_messages > 0);
        waiting.has_ended |= waiting.len() == 0 && waiting.rest.is_none() && !is_reserved;
        waiting.has_ended
    }

    /// Ends the queue where nothing waits in it; from then on it takes nothing. Returns whether it has ended.
    pub(crate) fn end_if_empty(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.has_ended |= waiting.len() == 0 && waiting.rest.is_none();
        waiting.has_ended
    }

    pub(super) fn put(&self, waiting: &mut Waiting, queued: Queued) {
        let weight = queued.weight_bytes();
        waiting.bytes += weight;
        self.total.add(weight);
        waiting.grouped().insert(queued);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;
    use tidegate_message::{Message, Origin, Topic};

    fn queued(place: u64, expires_at: Option<Instant>) -> Queued {
        let message = Message {
            topic: Topic::parse(b"q").unwrap(),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at,
            origin: Origin(0),
            publisher: None,
        };
        Queued::unassigned(Arc::new(message), place)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64),
        Remove(u64),
        PopFirst,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u64..60).prop_map(Step::Insert),
            (0_u64..60).prop_map(Step::Remove),
            Just(Step::PopFirst),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever comes, goes and comes back: it is an ordered map.
        #[test]
        fn behaves_as_a_map_by_place(steps in steps()) {
            let start = Instant::now();
            let (mut grouped, mut model) = (Grouped::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(place) => {
                        let expires_at = (place % 3 == 0).then(|| start + Duration::from_secs(place));
                        grouped.insert(queued(place, expires_at));
                        model.insert(place, expires_at);
                    }
                    Step::Remove(place) => {
                        let removed = grouped.remove(place).map(|queued| queued.place);
                        prop_assert_eq!(removed, model.remove(&place).map(|_| place));
                    }
                    Step::PopFirst => {
                        let popped = grouped.pop_first().map(|queued| queued.place);
                        prop_assert_eq!(popped, model.pop_first().map(|(place, _)| place));
                    }
                }
                prop_assert_eq!(grouped.len(), model.len());
                prop_assert_eq!(grouped.first().map(|queued| queued.place), model.keys().next().copied());
                let deadlines = model.values().flatten().count();
                prop_assert_eq!(grouped.deadlines.len(), deadlines);
            }
        }
    }

    #[test]
    fn gaps_behind_a_stuck_delivery_do_not_stretch_the_queue() {
        let mut grouped = Grouped::default();
        grouped.insert(queued(0, None));
        for place in 1..50_000 {
            grouped.insert(queued(place, None));
            assert!(grouped.remove(place).is_some());
        }
        assert!(grouped.len() == 1 && grouped.entries.len() <= GAPS_MAX + 3);
    }
}
