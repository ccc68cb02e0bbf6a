//! What a shard does because time has passed: the timers of its machines, sessions that nobody holds, and a look at the connections that is
//! under way. One heap for all connections; what is due all at once is looked after in portions.

use super::review::Review;
use super::slot::Slot;
use super::{Shard, SlotKey};
use std::cmp::Reverse;
use std::time::Instant;
use tidegate_protocol::Connection;

/// Timers that may be kept beyond two a connection before those that nobody needs are thrown away.
const TIMERS_SPARE: usize = 256;

/// Sessions whose time has come that are looked after in one turn.
const SESSIONS_PER_TURN: usize = 64;

impl Shard {
    /// The moment at which [`Shard::handle_timers`] has something to do.
    pub fn next_timer(&self) -> Option<Instant> {
        let connections = self.timers.peek().map(|Reverse((at, ..))| *at);
        // One worker looks after the sessions that nobody holds.
        let agenda =
            || [self.node.sessions.next_due(), self.node.system.next_due()].into_iter().flatten().min();
        let sessions = if self.worker == 0 { agenda() } else { None };
        let review = self.review.as_ref().map(Review::since);
        let [queues, sweep, late] = [self.upkeep.next_due(), self.sweep.next_due(), self.keeping.next_due()];
        [connections, sessions, review, queues, sweep, late].into_iter().flatten().min()
    }

    /// Whether [`Shard::next_timer`] may have become earlier since the last call.
    pub fn take_timer_moved(&mut self) -> bool {
        std::mem::take(&mut self.timer_moved)
    }

    pub(super) fn set_timer(&mut self, slot: usize) {
        let Some(here) = self.slots.get_mut(slot) else { return };
        let wanted = here.machine.as_ref().and_then(|machine| machine.next_timeout());
        if let Some(at) = wanted.filter(|at| here.timer.is_none_or(|set| *at < set)) {
            here.timer = Some(at);
            self.timer_moved |= self.timers.peek().is_none_or(|Reverse((first, ..))| at < *first);
            self.timers.push(Reverse((at, slot, here.connection)));
        }
        if self.timers.len() > 2 * self.slots.len() + TIMERS_SPARE {
            // Most of them are of connections that are closed, or were moved earlier.
            let wanted = |(slot, here): (usize, &Slot)| Some(Reverse((here.timer?, slot, here.connection)));
            self.timers = self.slots.iter().filter_map(wanted).collect();
        }
    }

    /// Handles timers that have run out at `now`. Where [`Shard::next_timer`] is still not later, more is to be done in the next turn.
    pub fn handle_timers(&mut self, now: Instant) {
        // A machine that wants to be called again at once has to wait for the next call.
        for _ in 0..self.timers.len() {
            let Some(Reverse((at, slot, connection))) =
                self.timers.peek().copied().filter(|first| first.0.0 <= now)
            else {
                break;
            };
            self.timers.pop();
            if self
                .slots
                .get(slot)
                .is_some_and(|here| here.connection == connection && here.timer == Some(at))
            {
                self.handle_timer(SlotKey { slot, connection }, now);
            }
        }
        self.handle_agenda(now);
        self.keep_queues(now);
        self.sweep_retained(now);
        self.publish_system_topics(now);
        self.look_once_more(now);
        self.review_connections(now);
        self.finish_event(None, now);
    }

    /// Sessions that nobody holds; at most so many a turn that connections do not wait for an hour in which a fleet expires.
    fn handle_agenda(&mut self, now: Instant) {
        for _ in 0..SESSIONS_PER_TURN {
            let mut scribe = self.keeping.scribe(&self.node, now);
            let due = (self.worker == 0).then(|| self.node.sessions.take_due(now, scribe.as_mut())).flatten();
            let Some(due) = due else { return };
            self.metrics.sessions_expired.add(u64::from(due.ended.is_some()));
            self.handle_due(due, now);
        }
    }

    fn handle_timer(&mut self, key: SlotKey, now: Instant) {
        let Some(here) = self.slots.get_mut(key.slot) else { return };
        here.timer = None;
        let is_due = |machine: &dyn Connection| machine.next_timeout().is_some_and(|at| at <= now);
        if here.machine.as_deref().is_some_and(is_due)
            && let Some(at) = here.heard_at(now)
            && let Some(machine) = &mut here.machine
        {
            machine.handle_sign_of_life(at);
        }
        match self.with_machine(key.slot, now, |machine, context| machine.handle_timeout(context)) {
            Some(Err(close)) => self.close(key, &close, now),
            _ => self.finish_event(Some(key.slot), now),
        }
    }
}
