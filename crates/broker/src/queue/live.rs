//! Newer deliveries before older ones: what comes while its consumer keeps up goes before the backlog.
//!
//! ```text
//!                  credit ◄── live (memory) ◄── new deliveries
//!                                  │ longer than a window, or told to
//!                                  ▼
//!   credit, as asked for ◄── backlog (window ◄── tail)
//! ```
//!
//! Nothing of this is in the store: which entries there are, and under which numbers, does not depend on the order in which they are taken. So
//! whatever happens between two steps, nothing is lost and nothing has another name. Order is kept among what is live, and in the backlog.
//!
//! The live part is never longer than a window. Where it would be, its consumer does not keep up, and whatever waits in it is backlog from then on.

use super::window::WINDOW;
use super::{Look, Popped, Queue, Waiting, next_of};
use crate::queued::Queued;
use std::collections::VecDeque;

/// What goes before the backlog.
#[derive(Debug, Default)]
pub(super) struct Live {
    deliveries: VecDeque<Queued>,
    bytes: usize,
}

impl Live {
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// What it weighs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn into_deliveries(self) -> VecDeque<Queued> {
        self.deliveries
    }

    fn has_room(&self, weight: usize) -> bool {
        self.len() < WINDOW.entries && (self.len() == 0 || self.bytes + weight <= WINDOW.bytes)
    }
}

impl Waiting {
    /// What the backlog weighs in memory.
    pub(super) fn backlog_bytes(&self) -> usize {
        self.bytes - self.live.as_ref().map_or(0, |live| live.bytes())
    }
}

impl Queue {
    /// Everything that waits is backlog, and what comes from now on goes before it.
    pub(crate) fn overtake(&self) {
        let mut waiting = self.waiting.lock();
        self.put_live_behind(&mut waiting);
        waiting.live.get_or_insert_default();
    }

    /// Everything that waits and everything that comes is backlog.
    pub(crate) fn let_backlog_grow(&self) {
        let mut waiting = self.waiting.lock();
        self.put_live_behind(&mut waiting);
        waiting.live = None;
    }

    /// Whatever is live becomes backlog, behind all of it.
    pub(super) fn put_live_behind(&self, waiting: &mut Waiting) {
        let Some(live) = &mut waiting.live else { return };
        for queued in std::mem::take(&mut **live).into_deliveries() {
            self.forget(waiting, &queued);
            self.put_last(waiting, queued);
        }
    }

    /// Puts a new delivery where it belongs.
    pub(super) fn put_new(&self, waiting: &mut Waiting, queued: Queued) {
        if let Err(queued) = self.put_live(waiting, queued) {
            self.put_last(waiting, queued);
        }
    }

    /// Takes a new delivery before the backlog; gives it back where it belongs behind it.
    pub(super) fn put_live(&self, waiting: &mut Waiting, queued: Queued) -> Result<(), Queued> {
        let Some(live) = &waiting.live else { return Err(queued) };
        let weight = queued.weight_bytes();
        let has_room = live.has_room(weight) && self.total.has_room(weight);
        if !has_room {
            self.put_live_behind(waiting);
        }
        // Where all queues together have no memory left, the disk has it already.
        let Some(live) = waiting.live.as_deref_mut().filter(|_| has_room || self.total.has_room(weight))
        else {
            return Err(queued);
        };
        live.bytes += weight;
        live.deliveries.push_back(queued);
        waiting.bytes += weight;
        self.total.add(weight);
        Ok(())
    }

    /// Takes the next delivery that goes before the backlog; as [`Queue::pop`].
    pub(crate) fn pop_live(&self, look: Look, dead: &mut Vec<Queued>) -> Popped {
        let mut waiting = self.waiting.lock();
        loop {
            let Some(live) = waiting.live.as_deref_mut() else { return Popped::Empty };
            let (queued, is_dead) = match next_of(&mut live.deliveries, look) {
                Ok(next) => next,
                Err(Some(popped)) => return popped,
                Err(None) => return Popped::Empty,
            };
            live.bytes -= queued.weight_bytes();
            self.forget(&mut waiting, &queued);
            if !is_dead {
                return Popped::Delivery(queued);
            }
            dead.push(queued);
        }
    }
}

#[cfg(test)]
mod tests;
