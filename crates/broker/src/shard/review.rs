//! Looking at every connection again when the node's rules have changed: who may not stay is told and closed.
//!
//! A few connections a turn, because a look can cost a signature check, and those that stay must not feel it.

use super::{Shard, SlotKey};
use crate::queue::Queue;
use std::sync::Arc;
use std::time::Instant;

/// Connections that are looked at in one turn.
const CONNECTIONS_PER_TURN: usize = 16;

/// How far a look at all connections has come. Later ones are opened under the new rules.
#[derive(Debug)]
pub(super) struct Review {
    since: Instant,
    next_slot: usize,
    end_slot: usize,
    /// The queues of sessions that nobody holds; one worker looks after them.
    sessions: Vec<Arc<Queue>>,
}

impl Review {
    /// The moment from which on the next part is due.
    pub(super) fn since(&self) -> Instant {
        self.since
    }
}

impl Shard {
    /// Takes the node's rules over and begins to look at the connections; from the start where a look was under way.
    pub(super) fn take_rules_over(&mut self, now: Instant) {
        self.limits = self.node.limits();
        let end_slot = self.slots.iter().next_back().map_or(0, |(slot, _)| slot + 1);
        let sessions = match self.worker {
            0 => self.node.sessions.unheld(),
            _ => Vec::new(),
        };
        self.review = Some(Review { since: now, next_slot: 0, end_slot, sessions });
        self.upkeep.look_at_all(now);
        self.timer_moved = true;
    }

    /// Looks at a few more connections.
    pub(super) fn review_connections(&mut self, now: Instant) {
        let Some(review) = &mut self.review else { return };
        let slots = review.next_slot..review.end_slot.min(review.next_slot + CONNECTIONS_PER_TURN);
        review.next_slot = slots.end;
        let sessions = review.sessions.split_off(review.sessions.len().saturating_sub(CONNECTIONS_PER_TURN));
        if slots.end == review.end_slot && review.sessions.is_empty() {
            self.review = None;
        }
        slots.for_each(|slot| self.review_connection(slot, now));
        let unheld = |queue: &&Arc<Queue>| queue.address().consumer.is_none();
        sessions.iter().filter(unheld).for_each(|queue| self.review_session(queue, now));
    }

    /// Looks at one connection out of turn: one that was under way to being opened when the rules changed.
    pub fn review(&mut self, key: SlotKey, now: Instant) {
        if self.is_open(key) {
            self.review_connection(key.slot, now);
        }
    }

    fn review_connection(&mut self, slot: usize, now: Instant) {
        let Some(here) = self.slots.get(slot) else { return };
        let key = SlotKey { slot, connection: here.connection };
        let entrance = here.outlet.as_ref().map_or(Ok(None), |outlet| outlet.entrance());
        let objection = entrance.and_then(|entrance| self.review_admission(slot, entrance)).err();
        let objection = objection.or_else(|| self.review_rights(slot, now));
        if let Some(close) = objection.or_else(|| self.review_following(slot)) {
            self.close(key, &close, now);
        }
    }
}
