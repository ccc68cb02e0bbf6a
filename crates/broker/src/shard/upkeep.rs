//! What time does to named queues: messages expire, and queues that nobody uses go.
//!
//! Each worker looks after the queues that are at home here, whether anybody consumes them or not: each when something is due in it, a few
//! queues and a few messages a turn.

use super::Shard;
use super::burying::Death;
use super::registering::NOTE_INTERVAL;
use crate::group::Group;
use crate::mailbox::Letter;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Queues that are looked after in one turn.
const QUEUES_PER_TURN: usize = 32;

/// Messages of one queue that expire in one turn.
const EXPIRED_PER_TURN: usize = 256;

/// How soon a queue is looked at again because of its next message: many that expire one after the other are taken together.
const PAUSE: Duration = Duration::from_millis(50);

/// The queues at home on one worker, and when each is looked at next.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    queues: HashMap<u64, (Arc<Group>, Instant), RandomState>,
    agenda: BTreeSet<(Instant, u64)>,
}

impl Upkeep {
    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Has a queue looked at at this moment, unless it is sooner. Returns whether that is earlier than anything else.
    fn look_by(&mut self, group: &Arc<Group>, at: Instant) -> bool {
        let id = group.queue.id;
        match self.queues.get_mut(&id) {
            Some((_, before)) if *before <= at => return false,
            Some((_, before)) => {
                self.agenda.remove(&(*before, id));
                *before = at;
            }
            None => drop(self.queues.insert(id, (group.clone(), at))),
        }
        self.agenda.insert((at, id));
        self.agenda.first().is_some_and(|first| *first == (at, id))
    }

    /// Takes a queue out whose time has come.
    fn take_due(&mut self, now: Instant) -> Option<Arc<Group>> {
        let (at, id) = self.agenda.first().copied().filter(|(at, _)| *at <= now)?;
        self.agenda.remove(&(at, id));
        self.queues.remove(&id).map(|(group, _)| group)
    }

    /// A queue has ended.
    fn forget(&mut self, group: &Group) {
        if let Some((_, at)) = self.queues.remove(&group.queue.id) {
            self.agenda.remove(&(at, group.queue.id));
        }
    }

    /// Has all queues looked at, because other policies may hold.
    pub(super) fn look_at_all(&mut self, now: Instant) {
        self.agenda = self.queues.keys().map(|id| (now, *id)).collect();
        self.queues.values_mut().for_each(|(_, at)| *at = now);
    }
}

impl Shard {
    /// A named queue is used: its home looks after it from now on, if it does not already.
    pub(super) fn look_after(&mut self, group: &Arc<Group>, now: Instant) {
        let Some(named) = group.named() else { return };
        named.note_use(now);
        self.describe(group, now);
        let home = group.queue.address().worker;
        match home == self.worker {
            true => {
                let first = self.look_within(named.expires_at(now), now);
                self.timer_moved |= self.upkeep.look_by(group, first);
            }
            false => self.letter_to(home, Letter::LookAtQueue(group.clone())),
        }
    }

    /// Has the home of a queue look at it now, because something that expires has come back to it.
    pub(super) fn look_at_deadlines(&mut self, group: &Arc<Group>, now: Instant) {
        let Some(deadline) = group.queue.next_deadline().filter(|_| group.is_named_queue()) else { return };
        match group.queue.address().worker {
            home if home == self.worker => self.expect_expiry(group, deadline.max(now)),
            home => self.letter_to(home, Letter::LookAtQueue(group.clone())),
        }
    }

    /// Something in a queue at home here expires at this moment.
    pub(super) fn expect_expiry(&mut self, group: &Arc<Group>, deadline: Instant) {
        self.timer_moved |= self.upkeep.look_by(group, deadline);
    }

    /// Another worker asks to look at a queue at home here.
    pub(super) fn look_at_queue(&mut self, group: &Arc<Group>, now: Instant) {
        self.timer_moved |= self.upkeep.look_by(group, now);
    }

    /// Looks after the queues in which something is due.
    pub(super) fn keep_queues(&mut self, now: Instant) {
        let due: Vec<Arc<Group>> =
            std::iter::from_fn(|| self.upkeep.take_due(now)).take(QUEUES_PER_TURN).collect();
        for group in due {
            let expired = group.take_expired(EXPIRED_PER_TURN, now);
            let is_more_due = expired.len() == EXPIRED_PER_TURN;
            self.bury(Death::Expired, expired);
            self.read_ahead_in(&group);
            if let Some(next) = self.next_look(&group, is_more_due, now) {
                self.upkeep.look_by(&group, next);
            }
        }
    }

    /// When a queue has to be looked at again; nothing where it has ended.
    fn next_look(&mut self, group: &Arc<Group>, is_more_due: bool, now: Instant) -> Option<Instant> {
        let named = group.named().filter(|_| !group.queue.has_ended())?;
        if is_more_due {
            return Some(now);
        }
        let is_used = !group.members().is_empty() || !group.queue.is_empty();
        if is_used {
            named.note_use(now);
        }
        let expires_at = named.expires_at(now);
        if expires_at <= now && self.end_queue(group) {
            return None;
        }
        let deadline = group.queue.next_deadline().map(|deadline| deadline.max(now + PAUSE));
        let next = deadline.map_or(expires_at, |deadline| deadline.min(expires_at)).max(now + PAUSE);
        self.note_last_use(group, now);
        Some(self.look_within(next, now))
    }

    /// When a queue is looked at of which nothing is due before this: where there is a store, soon enough to note its last use there.
    fn look_within(&self, next: Instant, now: Instant) -> Instant {
        match self.node.keeper.is_some() {
            true => next.min(now + NOTE_INTERVAL),
            false => next,
        }
    }

    /// Ends a queue that is not used any more, and asks the other workers whether they have something under way to it.
    fn end_queue(&mut self, group: &Arc<Group>) -> bool {
        let others = self.outgoing.len().saturating_sub(1);
        let has_ended = self.node.router.end_queue(group, others);
        self.tell_of_end(Some(group).filter(|_| has_ended));
        has_ended
    }

    /// Tells every worker of a queue that has ended, wherever it was at home.
    pub(super) fn tell_of_end(&mut self, ended: Option<&Arc<Group>>) {
        let Some(group) = ended else { return };
        self.forget_description(group);
        for worker in (0..self.outgoing.len()).filter_map(|worker| u8::try_from(worker).ok()) {
            match worker == self.worker {
                true => self.note_end(group),
                false => self.letter_to(worker, Letter::QueueEnded(group.clone())),
            }
        }
    }

    /// A queue has ended: its home forgets it, and is told by the others that they have nothing under way to it any more.
    pub(super) fn note_end(&mut self, group: &Arc<Group>) {
        match group.queue.address().worker {
            home if home == self.worker => self.upkeep.forget(group),
            home => self.letter_to(home, Letter::NothingUnderWay(group.clone())),
        }
    }
}
