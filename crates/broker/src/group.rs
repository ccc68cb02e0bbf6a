//! Queues with several members, each message for one of them: shared subscriptions and named queues.
//!
//! A shared subscription is named by its share's name and its filter, and exists as long as it has members. A named queue is named by
//! the one topic that leads to it, is made by its first message or its first member, and keeps everything until a member takes it.
//!
//! Each stands in the subscription tree once. Its home is the worker on which it began, and stays there. That worker gives each message
//! to the next member that can take it (`shard/sharing.rs`); what nobody can take waits in the group's queue. A member on another worker
//! is offered what waits: it gets a letter, and takes the front of the queue when it reads it, so that nothing is under way that would
//! have to be called back.
//!
//! The members are kept as an immutable list that routes hold as well, so that choosing one takes no lock.

use crate::access::Rights;
use crate::entry::Entry;
pub(crate) use crate::named_queue::NamedQueue;
use crate::queue::{
    Claim, Depth, GivenWay, Lens, MemberLook, NotTaken, Oldest, Popped, Queue, Reserved, Superseded, TakenIn,
};
use crate::queue_policy::Bounds;
use crate::queued::Queued;
use crate::reading::Looked;
use crate::route::Grant;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic, TopicFilter};

/// Places begin above those of all queues that were made before, so that what comes back to a queue that has been made anew finds one.
const PLACES_PER_QUEUE: u32 = 32;

/// Names a group: the same share's name with another filter is another group (MQTT 5.0 section 4.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GroupName {
    /// Nothing for a named queue.
    share: Option<Arc<str>>,
    pub(crate) filter: TopicFilter,
}

impl GroupName {
    /// Of a shared subscription.
    pub(crate) fn shared(share: &str, filter: &TopicFilter) -> GroupName {
        GroupName { share: Some(Arc::from(share)), filter: filter.clone() }
    }

    /// Of the queue that an exact filter addresses.
    pub(crate) fn queue(filter: &TopicFilter) -> GroupName {
        GroupName { share: None, filter: filter.clone() }
    }

    /// The share's name; nothing for a named queue.
    pub(crate) fn share(&self) -> Option<&str> {
        self.share.as_deref()
    }

    /// Whether it is a named queue's.
    pub(crate) fn is_queue(&self) -> bool {
        self.share.is_none()
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

/// A group of members that share a queue.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    /// What a named queue is beside a group; nothing for a shared subscription.
    named: Option<NamedQueue>,
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
    pub(crate) fn new(name: GroupName, queue: Arc<Queue>, named: Option<NamedQueue>) -> Group {
        let [turn, waiting, offered] = std::array::from_fn(|_| AtomicUsize::new(0));
        let members = Mutex::default();
        queue.number_places_from((queue.id << PLACES_PER_QUEUE).max(1));
        Group { named, name, queue, members, turn, waiting, offered }
    }

    /// Whether it is a named queue, which keeps what it has for members that come later.
    pub(crate) fn is_named_queue(&self) -> bool {
        self.named.is_some()
    }

    /// What it is as a named queue, if it is one.
    pub(crate) fn named(&self) -> Option<&NamedQueue> {
        self.named.as_ref()
    }

    /// How much may wait.
    fn bounds(&self) -> Bounds {
        let default = self.queue.default_bounds();
        self.named.as_ref().map_or(default, |named| named.terms.bounds(default.messages, default.bytes))
    }

    /// When what comes in now expires by the policy of a named queue, whatever the message says.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.named.as_ref()?.terms.message_ttl().and_then(|ttl| now.checked_add(ttl))
    }

    /// Reserves room for a message of this level and weight that is on its way, from whatever worker.
    pub(crate) fn reserve_room(&self, qos: QoS, weight: usize) -> Reserved {
        self.queue.reserve_room(qos, weight, self.bounds())
    }

    /// Gives up such room for a message that will not wait here.
    pub(crate) fn give_up_room(&self, weight: usize) {
        self.queue.give_up_room(weight);
    }

    /// Whether a member with these rights may have all that waits. Who may not leaves a named queue's messages to the others; the
    /// messages of a shared subscription are of many topics, and each is asked about.
    pub(crate) fn is_open_to(&self, rights: &Rights) -> bool {
        self.named.as_ref().is_none_or(|named| rights.include(&named.topic))
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

    /// How many deliveries wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
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

    /// Gives a message its place in the group's order. One that is kept in the store has the number of its entry.
    pub(crate) fn enter(&self, message: Arc<Message>, entry: Option<Entry>) -> Queued {
        let number = entry.as_ref().map(|entry| entry.number).or_else(|| self.queue.take_number());
        Queued { entry, ..Queued::unassigned(message, number.map_or(0, NonZeroU64::get)) }
    }

    /// Appends a delivery, unless a limit forbids it and nothing was promised. Returns the older ones that were dropped for it.
    pub(crate) fn push(self: &Arc<Group>, queued: Queued, claim: Claim) -> Result<Vec<Queued>, NotTaken> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let pushed = self.queue.push_grouped(queued, self.bounds(), claim);
        self.subtract(pushed.as_ref().map_or(1, Vec::len));
        pushed.map(|dropped| self.mark(dropped))
    }

    /// Takes out up to `count` deliveries that have expired.
    pub(crate) fn take_expired(self: &Arc<Group>, count: usize, now: Instant) -> Vec<Queued> {
        let expired = self.queue.take_expired(count, now);
        self.subtract(expired.len());
        self.mark(expired)
    }

    /// Says of deliveries that leave the queue whose they were.
    fn mark(self: &Arc<Group>, deliveries: Vec<Queued>) -> Vec<Queued> {
        deliveries.into_iter().map(|queued| Queued { group: Some(self.clone()), ..queued }).collect()
    }

    /// Takes these out on a full disk, as far as they are still there.
    pub(crate) fn give_way(self: &Arc<Group>, oldest: &[Oldest]) -> GivenWay {
        let given = self.queue.give_way(oldest);
        self.subtract(given.len());
        GivenWay { deliveries: self.mark(given.deliveries), ..given }
    }

    /// How much of it may give way on a full disk: what becomes a dead letter has to be read before.
    pub(crate) fn depth(&self) -> Depth {
        match self.named().and_then(|named| named.terms.dead_letter()) {
            Some(_) => Depth::Window,
            None => Depth::Tail,
        }
    }

    /// Gives up what something newer of its topic has made worthless, as [`Queue::conflate`].
    pub(crate) fn conflate(&self, lens: Lens<'_>) -> Superseded {
        self.note_superseded(self.queue.conflate(lens))
    }

    /// Takes in what was looked at on the disk.
    pub(crate) fn take_in_look(&self, looked: &Looked, lens: Lens<'_>) -> Superseded {
        self.note_superseded(self.queue.take_in_look(&looked.ask, &looked.seen, lens))
    }

    /// Gives up what a message of this topic takes the place of.
    pub(crate) fn take_before(&self, topic: &Topic) -> Superseded {
        self.note_superseded(self.queue.take_before(topic))
    }

    fn note_superseded(&self, superseded: Superseded) -> Superseded {
        self.subtract(superseded.len());
        superseded
    }

    /// Takes deliveries that a member gives back, each at its old place; gives them back where the queue has ended.
    pub(crate) fn take_back(&self, deliveries: Vec<Queued>) -> Result<(), Vec<Queued>> {
        self.waiting.fetch_add(deliveries.len(), Ordering::SeqCst);
        let taken = self.queue.take_back(deliveries.into_iter().map(Queued::returned).collect());
        taken.inspect_err(|deliveries| self.subtract(deliveries.len()))
    }

    /// Takes the next delivery for a member with this grant; returns also those before it that have expired.
    pub(crate) fn pop(self: &Arc<Group>, grant: &Grant, look: MemberLook<'_>) -> (Popped, Vec<Queued>) {
        let (popped, expired) = self.queue.pop_for_member(grant.qos, look);
        self.subtract(expired.len());
        let expired = self.mark(expired);
        match popped {
            Popped::Delivery(queued) => {
                self.subtract(1);
                (Popped::Delivery(queued.taken(self, grant)), expired)
            }
            other => (other, expired),
        }
    }

    /// Throws everything away; returns what of that was in memory, and how many there were on the disk only.
    pub(crate) fn clear(&self) -> (VecDeque<Queued>, usize) {
        let (lost, on_disk) = self.queue.take_all();
        self.subtract(lost.len() + on_disk);
        (lost, on_disk)
    }

    /// An earlier process has left so many deliveries on the disk.
    pub(crate) fn note_left(&self, count: usize) {
        self.waiting.fetch_add(count, Ordering::SeqCst);
    }

    /// Something was read of what it has on the disk only. Returns what is to be thrown away.
    pub(crate) fn note_taken_in(self: &Arc<Group>, taken: TakenIn) -> Vec<Queued> {
        self.subtract(taken.given_up.len() + taken.damaged.len() + taken.missing);
        self.mark(taken.given_up)
    }

    fn subtract(&self, count: usize) {
        if count > 0 {
            self.waiting.fetch_sub(count, Ordering::SeqCst);
        }
    }
}

impl Group {
    /// Whether a message of this level may wait: in a named queue always, in another group where a member is there, or comes back for
    /// it ([MQTT-4.5.0-1], [MQTT-3.1.1/3.1.2-5]).
    pub(crate) fn may_wait(&self, qos: QoS) -> bool {
        let keeps = |member: &Member| match qos.min(member.grant.qos) {
            QoS::AtMostOnce => member.is_present(),
            _ => member.queue.is_expecting(),
        };
        self.is_named_queue() || self.members().iter().any(keeps)
    }

    /// Whether a message of this level is kept in the store: in a named queue, and where somebody comes back for it.
    pub(crate) fn keeps(&self, qos: QoS, members: &[Member]) -> bool {
        let comes_back = |member: &Member| member.grant.qos > QoS::AtMostOnce && member.queue.survives();
        qos > QoS::AtMostOnce && (self.is_named_queue() || members.iter().any(comes_back))
    }

    /// Whether what a member's lost connection left unsettled comes back although its session lives on: always to a named queue, to
    /// another group where somebody else is there.
    pub(crate) fn wants_back_from(&self, queue: &Queue) -> bool {
        self.is_named_queue() || self.has_others_present(queue)
    }
}
