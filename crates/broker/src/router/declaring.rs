//! How groups come to stand in the tree, and how named queues go again.
//!
//! A shared subscription begins and ends with its members, a named queue begins with its first member or message and ends when it has
//! not been used for a while. Its home must not change while messages are under way to it: so a queue that ends is remembered with its
//! home until every other worker has said that it has sent everything that it had for it, and begins there again if it does before.

use super::{Bindings, Router};
use crate::group::{Group, GroupName, Member, NamedQueue};
use crate::queue::Queue;
use crate::queue_policy::QueuePolicies;
use crate::route::Subscription;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidegate_message::{Topic, TopicFilter};

/// Why a group was not joined or not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotJoined {
    /// The subscriptions of all sessions fill their limit, by number or by bytes.
    SubscriptionsFull,
    /// As many named queues exist as may.
    TooManyQueues,
}

/// A queue that has ended, to which messages may be under way.
#[derive(Debug)]
pub(super) struct Ending {
    /// The number of the queue.
    queue: u64,
    home: u8,
    /// Workers that have not said yet that they have nothing under way.
    missing: usize,
}

/// Queues that are looked at for one that may go when one too many would be made.
const LOOKS: usize = 256;

/// A group that was joined or made, and the queue that was given up for it.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) group: Arc<Group>,
    pub(crate) given_up: Option<Arc<Group>>,
}

/// Makes the queue of a new group at home on this worker.
pub(crate) type NewQueue<'a> = &'a dyn Fn(u8) -> Arc<Queue>;

impl Bindings {
    /// The group of a name, which stands in the tree from now on; at home on this worker where it is new.
    pub(super) fn group(
        &mut self,
        name: &GroupName,
        generation: u64,
        worker: u8,
        new_queue: NewQueue<'_>,
        policies: &QueuePolicies,
    ) -> Arc<Group> {
        let Bindings { tree, groups, queues, queue_round, ending, .. } = self;
        let make = || {
            let topic = if name.is_queue() { name.filter.exact_topic() } else { None };
            let named = topic.map(|topic| NamedQueue::new(topic.clone(), &policies.of(&topic)));
            let home = ending.get(name).map_or(worker, |ending| ending.home);
            let group = Arc::new(Group::new(name.clone(), new_queue(home), named));
            tree.insert(&name.filter, group.queue.id, Subscription::of_group(&group, generation));
            if name.is_queue() {
                *queues += 1;
                if queue_round.len() > 2 * *queues {
                    queue_round.retain(|known| !known.queue.has_ended());
                }
                queue_round.push_back(group.clone());
            }
            group
        };
        groups.entry(name.clone()).or_insert_with(make).clone()
    }

    /// Ends a queue without consumers in which nothing waits and to which nothing is under way. The next search goes on where this one stopped.
    fn end_unused_queue(&mut self) -> Option<Arc<Group>> {
        for _ in 0..LOOKS.min(self.queue_round.len()) {
            let group = self.queue_round.pop_front()?;
            if group.queue.has_ended() {
                continue;
            }
            if group.members().is_empty() && group.queue.end_if_unused() {
                return Some(group);
            }
            self.queue_round.push_back(group);
        }
        None
    }

    /// Forgets a queue that has ended, but for its home while one of `others` workers may have messages under way to it.
    fn take_out(&mut self, group: &Group, others: usize) {
        self.groups.remove(&group.name);
        self.tree.remove(&group.name.filter, group.queue.id);
        self.queues -= 1;
        if others > 0 {
            let home = group.queue.address().worker;
            let ending = Ending { queue: group.queue.id, home, missing: others };
            self.ending.insert(group.name.clone(), ending);
        }
    }
}

impl Router {
    /// Takes a member into the group of this name, which begins with it where there is none yet, or changes what is granted to a member.
    pub(crate) fn join(
        &self,
        name: &GroupName,
        member: Member,
        worker: u8,
        others: usize,
        new_queue: NewQueue<'_>,
    ) -> Result<Joined, NotJoined> {
        let policies = self.policies.read();
        let mut bindings = self.bindings.write();
        let known = bindings.groups.get(name);
        let is_member = known.is_some_and(|group| group.has_member(&member.queue));
        let is_new_queue = known.is_none() && name.is_queue();
        if !is_member && !self.has_room(&bindings, &name.filter) {
            return Err(NotJoined::SubscriptionsFull);
        }
        let given_up = if is_new_queue { self.make_room_for_queue(&mut bindings, others)? } else { None };
        let group = bindings.group(name, self.advance(), worker, new_queue, &policies);
        bindings.members += usize::from(group.join(member));
        Ok(Joined { group, given_up })
    }

    /// Makes the queue that a topic names, unless it exists or the limits forbid it.
    pub(crate) fn declare(
        &self,
        topic: &Topic,
        worker: u8,
        others: usize,
        new_queue: NewQueue<'_>,
    ) -> Result<Joined, NotJoined> {
        let (name, policies) = (GroupName::queue(&TopicFilter::from(topic)), self.policies.read());
        let mut bindings = self.bindings.write();
        let mut given_up = None;
        if !bindings.groups.contains_key(&name) {
            let bytes = bindings.weight_bytes() + bindings.tree.weight_of(&name.filter);
            if bytes > self.subscription_bytes_max.load(Ordering::Relaxed) {
                return Err(NotJoined::SubscriptionsFull);
            }
            given_up = self.make_room_for_queue(&mut bindings, others)?;
        }
        let group = self.make(&mut bindings, &name, worker, new_queue, &policies);
        Ok(Joined { group, given_up })
    }

    /// The same for what was accepted before: no limit turns it away.
    pub(crate) fn declare_anyway(&self, topic: &Topic, worker: u8, new_queue: NewQueue<'_>) -> Arc<Group> {
        let (name, policies) = (GroupName::queue(&TopicFilter::from(topic)), self.policies.read());
        self.make(&mut self.bindings.write(), &name, worker, new_queue, &policies)
    }

    fn make(
        &self,
        bindings: &mut Bindings,
        name: &GroupName,
        worker: u8,
        new_queue: NewQueue<'_>,
        policies: &QueuePolicies,
    ) -> Arc<Group> {
        if let Some(known) = bindings.groups.get(name) {
            return known.clone();
        }
        bindings.group(name, self.advance(), worker, new_queue, policies)
    }

    /// Makes sure that one more queue may be made: where there are as many as may be, an unused one goes for it and is returned.
    fn make_room_for_queue(
        &self,
        bindings: &mut Bindings,
        others: usize,
    ) -> Result<Option<Arc<Group>>, NotJoined> {
        let queues_max = self.queues_max.load(Ordering::Relaxed);
        if bindings.queues < queues_max {
            return Ok(None);
        }
        let given_up = bindings.end_unused_queue().ok_or(NotJoined::TooManyQueues)?;
        bindings.take_out(&given_up, others);
        self.advance();
        Ok(Some(given_up))
    }

    /// Ends a named queue that nobody consumes and in which nothing waits. `others` is how many workers may have messages under way to it.
    /// Returns whether it has ended.
    pub(crate) fn end_queue(&self, group: &Group, others: usize) -> bool {
        let mut bindings = self.bindings.write();
        let known = bindings.groups.get(&group.name);
        let is_current = known.is_some_and(|known| known.queue.id == group.queue.id);
        if !is_current || !group.members().is_empty() || !group.queue.end_if_empty() {
            return false;
        }
        bindings.take_out(group, others);
        self.advance();
        true
    }

    /// One more worker has nothing under way to a queue that has ended.
    pub(crate) fn note_nothing_under_way(&self, group: &Group) {
        let mut bindings = self.bindings.write();
        let ending = bindings.ending.get_mut(&group.name);
        let Some(ending) = ending.filter(|ending| ending.queue == group.queue.id) else { return };
        ending.missing = ending.missing.saturating_sub(1);
        if ending.missing == 0 {
            bindings.ending.remove(&group.name);
        }
    }

    /// Puts other policies in force, for the queues that exist as well.
    pub(crate) fn set_policies(&self, policies: QueuePolicies) {
        let policies = Arc::new(policies);
        let mut in_force = self.policies.write();
        let bindings = self.bindings.read();
        for named in bindings.groups.values().filter_map(|group| group.named()) {
            named.terms.replace(&policies.of(&named.topic));
        }
        *in_force = policies;
    }

    /// How many named queues there are, and how many messages wait in them.
    pub(crate) fn queues_size(&self) -> (usize, usize) {
        let bindings = self.bindings.read();
        let waiting = |group: &Arc<Group>| group.is_named_queue().then(|| group.waiting());
        (bindings.queues, bindings.groups.values().filter_map(waiting).sum())
    }
}
