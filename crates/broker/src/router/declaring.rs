//! How groups come to stand in the tree: shared subscriptions with their first member, named queues with their first member or message.

use super::{Bindings, Router};
use crate::group::{Group, GroupName, Member};
use crate::queue::Queue;
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

impl Bindings {
    /// The group of a name, which stands in the tree from now on.
    fn group(
        &mut self,
        name: &GroupName,
        generation: u64,
        new_queue: impl FnOnce() -> Arc<Queue>,
    ) -> Arc<Group> {
        let Bindings { tree, groups, queues, .. } = self;
        let make = || {
            let group = Arc::new(Group::new(name.clone(), new_queue()));
            tree.insert(&name.filter, group.queue.id, Subscription::of_group(&group, generation));
            *queues += usize::from(name.is_queue());
            group
        };
        groups.entry(name.clone()).or_insert_with(make).clone()
    }
}

impl Router {
    /// Takes a member into the group of this name, which begins with it in the queue that `new_queue` makes where there is none yet,
    /// or changes what is granted to a member.
    pub(crate) fn join(
        &self,
        name: &GroupName,
        member: Member,
        new_queue: impl FnOnce() -> Arc<Queue>,
    ) -> Result<Arc<Group>, NotJoined> {
        let mut bindings = self.bindings.write();
        let known = bindings.groups.get(name);
        let is_member = known.is_some_and(|group| group.has_member(&member.queue));
        if known.is_none() && name.is_queue() {
            self.check_queues(&bindings)?;
        }
        if !is_member && !self.has_room(&bindings, &name.filter) {
            return Err(NotJoined::SubscriptionsFull);
        }
        let group = bindings.group(name, self.advance(), new_queue);
        bindings.members += usize::from(group.join(member));
        Ok(group)
    }

    /// Makes the queue that a topic names, unless it exists.
    pub(crate) fn declare(
        &self,
        topic: &Topic,
        new_queue: impl FnOnce() -> Arc<Queue>,
    ) -> Result<(), NotJoined> {
        let name = GroupName::queue(&TopicFilter::from(topic));
        let mut bindings = self.bindings.write();
        if bindings.groups.contains_key(&name) {
            return Ok(());
        }
        self.check_queues(&bindings)?;
        let bytes = bindings.weight_bytes() + bindings.tree.weight_of(&name.filter);
        if bytes > self.subscription_bytes_max.load(Ordering::Relaxed) {
            return Err(NotJoined::SubscriptionsFull);
        }
        bindings.group(&name, self.advance(), new_queue);
        Ok(())
    }

    fn check_queues(&self, bindings: &Bindings) -> Result<(), NotJoined> {
        match bindings.queues < self.queues_max.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(NotJoined::TooManyQueues),
        }
    }
}
