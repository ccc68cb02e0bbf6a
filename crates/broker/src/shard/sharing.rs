//! Which member of a group receives, and what becomes of a member's deliveries when it leaves.
//!
//! The group's home gives each message to the next member that can take it now: straight into its output where the member is
//! on this worker, by an offer where it is on another one. Where nobody can, the message waits in the group's queue, and
//! every member that is there has been called: it looks when it has room again. So nothing waits while a member has room, and a slow
//! member slows nobody.

use super::Shard;
use super::burying::Death;
use super::deliver::{Accepted, make_room};
use super::publication::Publication;
use super::slot::Consumer;
use crate::access::Rights;
use crate::group::{Group, Member};
use crate::mailbox::Letter;
use crate::queue::{MemberLook, NotTaken, Popped, Queue, Taker};
use crate::queued::{Queued, needs_settling};
use crate::route::Shared;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::QoS;

/// How a member of a group stands as this worker sees it; with the key of its consumer where that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stance {
    /// It can take a delivery now.
    Ready(usize),
    /// It can when its own input, which this delivery belongs to, has been handled.
    AfterItsInput(usize),
    /// It has no room.
    Busy(usize),
    /// It is on another worker, and would take an offer.
    Elsewhere(u8),
    /// It is not there, or on another worker and without room.
    Away,
}

/// What became of an attempt to take what waits longest in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// One delivery.
    One,
    /// Nothing waits any more.
    Nothing,
    /// The consumer may not have it, or has no credit for it.
    NotPossible,
    /// The consumer is no member any more.
    NoMember,
}

impl Shard {
    /// Gives a message to one member of a group whose home is here.
    pub(super) fn deliver_shared(
        &mut self,
        shared: &Shared,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        let (group, members) = (&shared.group, &shared.members);
        if let Some(named) = group.named() {
            named.note_use(now);
            group.deadline(now).into_iter().for_each(|deadline| publication.expire_by(deadline));
        }
        // The direct way is closed while anything older waits, offered to somebody or not, so that order is kept.
        if group.waiting() > 0 {
            return self.keep_behind_others(shared, publication, now);
        }
        for (position, member) in in_turn(group, members) {
            let qos = publication.qos.min(member.grant.qos);
            match self.stance(&member.queue, qos) {
                Stance::Ready(key) => {
                    group.pass_turn(position);
                    publication.give_up_room(group);
                    self.send_to_member(key, &member.grant, group, publication, now);
                    return Accepted::Yes;
                }
                Stance::AfterItsInput(_) => {
                    group.pass_turn(position);
                    publication.give_up_room(group);
                    let queued = self.enter(group, publication, now).taken(group, &member.grant);
                    return self.defer(&member.queue, queued);
                }
                Stance::Elsewhere(worker) => {
                    group.pass_turn(position);
                    return self.keep_and_offer(group, &member.queue, worker, publication, now);
                }
                Stance::Busy(_) | Stance::Away => {}
            }
        }
        self.keep_in_group(group, publication, now)
    }

    /// Lets a message wait behind older ones. Where those are offered already, the member whose turn it is takes the oldest of them all, which is
    /// not this one, or gets an offer; so it comes after what it has got, and everybody has a turn.
    fn keep_behind_others(
        &mut self,
        shared: &Shared,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        let group = &shared.group;
        if group.unclaimed() > 0 || !group.may_wait(publication.qos) {
            return self.keep_in_group(group, publication, now);
        }
        let accepted = self.push_to_group(group, publication, now);
        if accepted == Accepted::No {
            return accepted;
        }
        for (position, member) in in_turn(group, &shared.members) {
            let is_served = match self.stance(&member.queue, QoS::AtMostOnce) {
                Stance::Ready(key) => self.take_front(key, group, now) == Taken::One,
                Stance::Elsewhere(worker) => {
                    self.offer_to(group, &member.queue, worker);
                    true
                }
                Stance::AfterItsInput(_) | Stance::Busy(_) | Stance::Away => false,
            };
            if is_served {
                group.pass_turn(position);
                break;
            }
        }
        self.offer(group);
        accepted
    }

    /// How a member stands that would receive at this level.
    fn stance(&mut self, queue: &Arc<Queue>, qos: QoS) -> Stance {
        let address = queue.address();
        let Some(key) = address.consumer.map(|key| key as usize) else { return Stance::Away };
        if address.worker != self.worker {
            return if queue.takes_offers() { Stance::Elsewhere(address.worker) } else { Stance::Away };
        }
        let consumer = self.consumers.get(key).filter(|consumer| Arc::ptr_eq(&consumer.queue, queue));
        let Some(consumer) = consumer else { return Stance::Away };
        let Some(slot) = self.slots.get_mut(consumer.slot) else { return Stance::Away };
        let needs_credit = needs_settling(consumer.settlement, qos);
        let has_credit = !needs_credit || consumer.has_credit();
        let credit_left = if needs_credit { consumer.credit_left() } else { usize::MAX };
        let limits = &self.limits;
        match slot.machine.is_some() {
            _ if consumer.backlog || !has_credit => Stance::Busy(key),
            // What is deferred already needs its credit as well: it must not have to go back behind what others were given meanwhile.
            false if slot.deferred.len() < limits.queued_messages.min(credit_left) => {
                Stance::AfterItsInput(key)
            }
            true if make_room(slot, &self.metrics, limits.output_bytes) => Stance::Ready(key),
            _ => Stance::Busy(key),
        }
    }

    /// Lets a message wait for a member of another worker, which is told.
    fn keep_and_offer(
        &mut self,
        group: &Arc<Group>,
        member: &Arc<Queue>,
        worker: u8,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        let accepted = self.push_to_group(group, publication, now);
        if accepted == Accepted::Yes {
            self.offer_to(group, member, worker);
        }
        accepted
    }

    /// Lets a message wait until a member can take it.
    fn keep_in_group(
        &mut self,
        group: &Arc<Group>,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        if !group.may_wait(publication.qos) {
            self.metrics.count_dropped("offline", 1);
            return Accepted::Yes;
        }
        let accepted = self.push_to_group(group, publication, now);
        self.offer(group);
        accepted
    }

    fn push_to_group(
        &mut self,
        group: &Arc<Group>,
        publication: &mut Publication<'_>,
        now: Instant,
    ) -> Accepted {
        let queued = self.enter(group, publication, now);
        let entry = queued.entry.clone();
        let pushed = group.push(queued, publication.take_claim(group));
        if let Some(entry) = entry.filter(|_| pushed.is_err()) {
            self.keeping.settle(&entry);
        }
        match pushed {
            Ok(dropped) => {
                if let Some(deadline) = publication.expires_at.filter(|_| group.is_named_queue()) {
                    self.expect_expiry(group, deadline);
                }
                let death = if group.is_named_queue() { Death::Overflow } else { self.giving_way() };
                self.bury(death, dropped);
                self.read_ahead_in(group);
                Accepted::Yes
            }
            // It was given up for another one since its route was looked up: it begins anew.
            Err(NotTaken::Ended) if group.is_named_queue() => {
                self.deliver_to_queue(publication, now);
                Accepted::Yes
            }
            Err(_) => {
                self.metrics.count_dropped("queue_full", 1);
                self.read_ahead_in(group);
                Accepted::No
            }
        }
    }

    fn offer_to(&mut self, group: &Arc<Group>, member: &Arc<Queue>, worker: u8) {
        group.note_offer();
        self.letter_to(worker, Letter::Offer { group: group.clone(), member: member.clone() });
    }

    /// Finds members for what waits in a group and has not been offered to anybody. Those without room are called: they look as
    /// soon as they have some. The members are asked for after the delivery is in the queue: who joins later looks there itself.
    pub(super) fn offer(&mut self, group: &Arc<Group>) {
        let members = group.members();
        if members.is_empty() && !group.is_named_queue() {
            // The group has ended since the route was looked up.
            return self.end_group(group);
        }
        for (_, member) in in_turn(group, &members) {
            if group.unclaimed() == 0 {
                return;
            }
            member.queue.call();
            match self.stance(&member.queue, QoS::AtMostOnce) {
                Stance::Ready(key) | Stance::AfterItsInput(key) | Stance::Busy(key) => self.look_again(key),
                Stance::Elsewhere(worker) => self.offer_to(group, &member.queue, worker),
                Stance::Away => {}
            }
        }
    }

    /// Lets a consumer of this worker look, as soon as it can, for what waits for it.
    pub(super) fn look_again(&mut self, key: usize) {
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.backlog = true;
            self.list(key);
        }
    }

    /// A group has offered what waits to a consumer of this worker: it takes one delivery, or somebody else is asked.
    pub(super) fn handle_offer(&mut self, group: &Arc<Group>, member: &Arc<Queue>, now: Instant) {
        group.note_offer_read();
        match self.stance(member, QoS::AtMostOnce) {
            Stance::Ready(key) => match self.take_front(key, group, now) {
                Taken::Nothing => return,
                Taken::NotPossible => self.decline(key),
                Taken::One | Taken::NoMember => {}
            },
            Stance::Busy(key) => self.decline(key),
            Stance::AfterItsInput(_) | Stance::Elsewhere(_) | Stance::Away => {}
        }
        if group.unclaimed() > 0 {
            self.offer(group);
        }
    }

    /// Gives the oldest of what waits in a group to a consumer of this worker that has room.
    fn take_front(&mut self, key: usize, group: &Arc<Group>, now: Instant) -> Taken {
        let Some(consumer) = self.consumers.get_mut(key) else { return Taken::NoMember };
        let Some(grant) = consumer.shares.grant_in(group) else { return Taken::NoMember };
        let rights = self.node.router.rights(&consumer.queue);
        if !group.is_open_to(&rights) {
            return Taken::NotPossible;
        }
        let (has_credit, settlement) = (consumer.has_credit(), consumer.settlement);
        let taker = self.keeping.taker(&consumer.queue, &self.node);
        let (popped, expired) = group.pop(grant, MemberLook { has_credit, settlement, taker, now });
        self.bury(Death::Expired, expired);
        self.read_ahead_in(group);
        match popped {
            Popped::Delivery(queued) => {
                self.encoded.start(false);
                match rights.include(&queued.message.topic) {
                    true => self.hand_over(key, queued, now),
                    false => {
                        self.settle_entry(&queued);
                        self.drop_denied(&rights, &queued.message.topic, now);
                    }
                }
                Taken::One
            }
            // It looks by itself in the next turn.
            Popped::NeedsCredit | Popped::Searching | Popped::Early => Taken::NotPossible,
            Popped::Held | Popped::Unsynced | Popped::Empty => Taken::Nothing,
        }
    }

    /// A consumer of this worker has no room for an offer: it gets no more until it has looked by itself.
    fn decline(&mut self, key: usize) {
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.stop_offers();
            consumer.queue.call();
        }
        self.look_again(key);
    }

    /// Gives back to their groups, each at its place, deliveries whose member has left or lost its connection. What was delivered as often as
    /// a named queue allows is dead.
    pub(super) fn give_back(&mut self, deliveries: impl IntoIterator<Item = Queued>, now: Instant) {
        let mut groups: HashMap<u64, (Arc<Group>, Vec<Queued>)> = HashMap::new();
        for queued in deliveries {
            if let Some(group) = queued.group.clone() {
                groups.entry(group.queue.id).or_insert_with(|| (group, Vec::new())).1.push(queued);
            }
        }
        for (group, deliveries) in groups.into_values() {
            let limit = group.named().map_or(u32::MAX, |named| named.terms.delivery_limit());
            let (mut living, dead): (Vec<_>, _) =
                deliveries.into_iter().partition(|queued| queued.attempt <= limit);
            self.bury(Death::DeliveryLimit, dead);
            self.keep_returned(&group, &mut living, now);
            self.put_back(group, living, now);
        }
    }

    fn put_back(&mut self, mut group: Arc<Group>, mut deliveries: Vec<Queued>, now: Instant) {
        // A named queue may have ended since they were taken from it: then it begins anew. Nobody else ends one.
        while let Err(homeless) = group.take_back(std::mem::take(&mut deliveries)) {
            deliveries = homeless;
            let Some(topic) = group.named().map(|named| named.topic.clone()) else {
                self.metrics.count_dropped("session_ended", deliveries.len());
                return self.settle_entries(&deliveries);
            };
            group = self.queue_anyway(&topic, now);
            self.keep_returned(&group, &mut deliveries, now);
        }
        self.look_at_deadlines(&group, now);
        self.offer(&group);
    }

    /// Throws away what waits in a shared subscription whose last member has left.
    pub(super) fn end_group(&mut self, group: &Group) {
        let (lost, on_disk) = group.clear();
        self.metrics.count_dropped("session_ended", lost.len() + on_disk);
        self.end_stream(&group.queue, &lost);
    }
}

/// The members with their positions, from the one whose turn it is.
fn in_turn<'a>(group: &Group, members: &'a [Member]) -> impl Iterator<Item = (usize, &'a Member)> {
    let (last, first) = members.split_at(group.turn().min(members.len()));
    (last.len()..).zip(first).chain((0..).zip(last))
}

/// Divides what a session holds when it loses its connection but lives on: what goes to other members, and what stays.
///
/// Everything else is taken up again by the client itself: what it may have under way at QoS 2 has to be ([MQTT-4.8.2-4]), what nobody
/// else is there for in a shared subscription may be (MQTT 5.0 section 4.8.2). A named queue reserves nothing else for who is away.
pub(super) fn divide(
    deliveries: impl IntoIterator<Item = Queued>,
    queue: &Queue,
) -> (Vec<Queued>, Vec<Queued>) {
    let mut known: HashMap<u64, bool> = HashMap::new();
    let mut is_wanted =
        |group: &Group| *known.entry(group.queue.id).or_insert_with(|| group.wants_back_from(queue));
    deliveries
        .into_iter()
        .partition(|queued| !queued.is_bound() && queued.group.as_ref().is_some_and(|group| is_wanted(group)))
}

/// The next delivery that a group has for a consumer. It looks only after it was called, and says first that it takes offers again.
/// What had expired goes to `dead`.
pub(super) fn next_shared(
    consumer: &mut Consumer,
    rights: &Rights,
    dead: &mut Vec<Queued>,
    (taker, now): (Taker<'_>, Instant),
) -> Popped {
    if consumer.shares.is_empty() {
        return Popped::Empty;
    }
    let has_credit = consumer.has_credit();
    match has_credit {
        true => consumer.take_offers(),
        false => consumer.stop_offers(),
    }
    if !consumer.queue.answer() {
        return Popped::Empty;
    }
    let settlement = consumer.settlement;
    for _ in 0..consumer.shares.len() {
        let Some(share) = consumer.shares.next() else { break };
        if !share.group.is_open_to(rights) {
            continue;
        }
        let look = MemberLook { has_credit, settlement, taker, now };
        let (popped, expired) = share.group.pop(&share.grant, look);
        dead.extend(expired);
        if let Popped::Delivery(_) | Popped::NeedsCredit | Popped::Searching | Popped::Early = popped {
            // There may be more.
            consumer.queue.call();
            return popped;
        }
    }
    Popped::Empty
}
