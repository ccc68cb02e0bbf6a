//! Shared subscriptions: a queue with several members, each message for one of them.
//!
//! A group is named by its share's name and its filter, and stands in the subscription tree once. Its home is the worker on which
//! it began, and stays there. That worker gives each message to the next member that can take it (`shard/sharing.rs`); what
//! nobody can take waits in the group's queue. A member on another worker is offered what waits: it gets a letter, and takes
//! the front of the queue when it reads it, so that nothing is under way that would have to be called back.
//!
//! The members are kept as an immutable list that routes hold as well, so that choosing one takes no lock.

use crate::queue::{NotTaken, Popped, Queue};
use crate::queued::Queued;
use crate::route::Grant;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::Settlement;

/// What is given back to a group or pushed into it has no older generation to wait for: a group never moves.
const NEWEST: u64 = u64::MAX;

/// Names a group: the same share's name with another filter is another group (MQTT 5.0 section 4.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GroupName {
    share: Arc<str>,
    pub(crate) filter: TopicFilter,
}

impl GroupName {
    pub(crate) fn new(share: &str, filter: &TopicFilter) -> GroupName {
        GroupName { share: Arc::from(share), filter: filter.clone() }
    }
}

/// One member: its own queue, whose consumer receives, and what was granted to it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) queue: Arc<Queue>,
    pub(crate) grant: Grant,
}

impl Member {
    /// Whether a consumer is there, on whatever worker.
    pub(crate) fn is_present(&self) -> bool {
        self.queue.address().consumer.is_some()
    }
}

/// A group; it exists as long as it has members.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    /// What waits for a member; nobody consumes it as a whole.
    pub(crate) queue: Arc<Queue>,
    members: Mutex<Arc<Vec<Member>>>,
    /// The position of the member whose turn it is.
    turn: AtomicUsize,
    /// Deliveries that wait; never less than there are.
    waiting: AtomicUsize,
    /// Offers that have not been read, each for one delivery that waits.
    offered: AtomicUsize,
}

impl Group {
    /// A group without members, with the queue in which its deliveries wait.
    pub(crate) fn new(name: GroupName, queue: Arc<Queue>) -> Group {
        let [turn, waiting, offered] = std::array::from_fn(|_| AtomicUsize::new(0));
        Group { name, queue, members: Mutex::default(), turn, waiting, offered }
    }

    /// The members as they are now.
    pub(crate) fn members(&self) -> Arc<Vec<Member>> {
        self.members.lock().clone()
    }

    /// Whether this queue is a member's.
    pub(crate) fn has_member(&self, queue: &Queue) -> bool {
        self.members.lock().iter().any(|member| member.queue.id == queue.id)
    }

    /// Takes a member in, or changes what is granted to it. Returns whether it is new. Only by the router, under its lock.
    pub(crate) fn join(&self, member: Member) -> bool {
        let mut members = self.members.lock();
        let members = Arc::make_mut(&mut members);
        match members.iter_mut().find(|known| Arc::ptr_eq(&known.queue, &member.queue)) {
            Some(known) => {
                known.grant = member.grant;
                false
            }
            None => {
                members.push(member);
                true
            }
        }
    }

    /// Lets a member go. Returns whether it was one, and whether nobody is left. Only by the router, under its lock.
    pub(crate) fn leave(&self, queue: &Queue) -> (bool, bool) {
        let mut members = self.members.lock();
        let members = Arc::make_mut(&mut members);
        let at = members.iter().position(|member| member.queue.id == queue.id);
        at.into_iter().for_each(|at| drop(members.remove(at)));
        (at.is_some(), members.is_empty())
    }

    /// Whether a consumer of another member is there.
    pub(crate) fn has_others_present(&self, queue: &Queue) -> bool {
        self.members().iter().any(|member| member.queue.id != queue.id && member.is_present())
    }

    /// The position at which the search for the next member begins.
    pub(crate) fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// The member at this position has had its turn.
    pub(crate) fn pass_turn(&self, position: usize) {
        self.turn.store(position + 1, Ordering::Relaxed);
    }

    /// How many deliveries wait that no letter has offered to anybody.
    pub(crate) fn unclaimed(&self) -> usize {
        self.waiting.load(Ordering::SeqCst).saturating_sub(self.offered.load(Ordering::SeqCst))
    }

    /// One of them is offered to a member.
    pub(crate) fn note_offer(&self) {
        self.offered.fetch_add(1, Ordering::SeqCst);
    }

    /// A member has read an offer.
    pub(crate) fn note_offer_read(&self) {
        self.offered.fetch_sub(1, Ordering::SeqCst);
    }

    /// Appends a delivery, unless a limit forbids it. Returns how many older ones were dropped for it.
    pub(crate) fn push(&self, queued: Queued) -> Result<usize, NotTaken> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let pushed = self.queue.push(queued, NEWEST);
        self.subtract(*pushed.as_ref().unwrap_or(&1));
        pushed
    }

    /// Puts deliveries that a member gives back to the front, in their order.
    pub(crate) fn put_back(&self, deliveries: Vec<Queued>) {
        self.waiting.fetch_add(deliveries.len(), Ordering::SeqCst);
        self.queue.put_back(deliveries.into_iter().map(|queued| Queued::unassigned(queued.message)));
    }

    /// Takes the next delivery for a member with this grant; returns also how many expired ones it threw away.
    pub(crate) fn pop(
        self: &Arc<Group>,
        grant: &Grant,
        has_credit: bool,
        settlement: Settlement,
        now: Instant,
    ) -> (Popped, usize) {
        let (popped, expired) = self.queue.pop_at_most(grant.qos, has_credit, settlement, now);
        self.subtract(expired);
        match popped {
            Popped::Delivery(queued) => {
                self.subtract(1);
                (Popped::Delivery(queued.taken(self, grant)), expired)
            }
            other => (other, expired),
        }
    }

    /// Throws everything away; returns how many deliveries that were.
    pub(crate) fn clear(&self) -> usize {
        let count = self.queue.take_all().len();
        self.subtract(count);
        count
    }

    fn subtract(&self, count: usize) {
        if count > 0 {
            self.waiting.fetch_sub(count, Ordering::SeqCst);
        }
    }
}

/// Whether a message of this level may wait for one of these members: somebody is there, or comes back for it
/// ([MQTT-4.5.0-1], [MQTT-3.1.1/3.1.2-5]).
pub(crate) fn may_wait(members: &[Member], qos: QoS) -> bool {
    let keeps = |member: &Member| match qos.min(member.grant.qos) {
        QoS::AtMostOnce => member.is_present(),
        _ => member.queue.is_expecting(),
    };
    members.iter().any(keeps)
}
