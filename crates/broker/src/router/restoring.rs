//! What stood in the tree before a restart comes back: no limit turns it away.

use super::Router;
use crate::group::{Group, GroupName, Member};
use crate::queue::Queue;
use crate::route::Subscription;
use std::sync::Arc;
use tidegate_message::TopicFilter;

impl Router {
    /// What stands in the tree for a queue under a filter.
    pub(crate) fn subscription(&self, filter: &TopicFilter, queue: &Queue) -> Option<Subscription> {
        self.bindings.read().tree.get(filter, queue.id).cloned()
    }

    /// Binds a filter that was bound before.
    pub(crate) fn restore(&self, filter: &TopicFilter, subscription: Subscription) {
        let mut bindings = self.bindings.write();
        let since = self.advance();
        bindings.tree.insert(filter, subscription.queue.id, Subscription { since, ..subscription });
    }

    /// Takes a member in again; `queue` is that of the group, asked for where it does not stand yet.
    pub(crate) fn restore_member(
        &self,
        name: &GroupName,
        member: Member,
        queue: impl FnOnce() -> Arc<Queue>,
    ) -> Arc<Group> {
        let policies = self.policies.read();
        let mut bindings = self.bindings.write();
        let group = match bindings.groups.get(name) {
            Some(known) => known.clone(),
            None => {
                let queue = queue();
                bindings.group(name, self.advance(), queue.address().worker, &|_| queue.clone(), &policies)
            }
        };
        bindings.members += usize::from(group.join(member));
        group
    }
}
