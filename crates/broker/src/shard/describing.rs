//! What the durable store has of subscriptions: one entry for each, of the sessions that outlive their connection.

use super::Shard;
use crate::filters::Share;
use crate::queue::Queue;
use crate::reply;
use crate::route::Subscription;
use std::num::NonZeroU64;
use std::sync::Arc;
use tidegate_message::TopicFilter;
use tidegate_storage::StreamId;
use tidegate_storage::record::SubscriptionRecord;

impl Shard {
    /// Settles the entry of a subscription or a will.
    pub(super) fn settle_description(&mut self, entry: NonZeroU64) {
        self.keeping.change.settle(StreamId::SESSIONS, entry.get());
    }

    /// Keeps a subscription of a session that outlives its connection. Returns its entry, which takes the place of the one before.
    pub(super) fn keep_subscription(
        &mut self,
        queue: &Queue,
        before: Option<NonZeroU64>,
        record: impl FnOnce() -> SubscriptionRecord,
    ) -> Option<NonZeroU64> {
        let keeper = self.node.keeper.as_ref().filter(|_| queue.survives() || before.is_some())?;
        let mut body = Vec::new();
        record().write(&mut body);
        let entry = keeper.next_in_sessions();
        self.keeping.change.append(&[(StreamId::SESSIONS, entry.get(), &[])], &body);
        before.into_iter().for_each(|before| self.settle_description(before));
        Some(entry)
    }

    /// Keeps what a queue has subscribed on its own, or what has become of that.
    pub(super) fn keep_filter(&mut self, filter: &TopicFilter, subscription: &Subscription) {
        let queue = &subscription.queue;
        // A reply address ends with its connection.
        if self.node.keeper.is_none() || reply::concerns(filter) {
            return;
        }
        let before = queue.filters().entry(filter);
        let record = || SubscriptionRecord {
            queue: queue.id,
            share: None,
            group: None,
            filter: filter.clone(),
            qos_max: subscription.qos_max,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            subscription_id: subscription.subscription_id,
        };
        if let Some(entry) = self.keep_subscription(queue, before, record) {
            queue.filters().set_entry(filter, entry);
        }
    }

    /// Keeps a queue's membership in a group, or what has become of it. Returns the share with its entry.
    pub(super) fn keep_share(&mut self, queue: &Queue, share: Share) -> Share {
        let Share { group, grant, entry } = &share;
        let record = || SubscriptionRecord {
            queue: queue.id,
            share: group.name.share().map(Box::from),
            group: Some(group.queue.id),
            filter: group.name.filter.clone(),
            qos_max: grant.qos,
            no_local: false,
            retain_as_published: grant.retain_as_published,
            subscription_id: grant.subscription_ids.first().copied(),
        };
        let entry = self.keep_subscription(queue, *entry, record);
        Share { entry, ..share }
    }

    /// A session outlives its connection from now on: keeps everything that it has subscribed.
    pub(super) fn keep_subscriptions(&mut self, queue: &Arc<Queue>) {
        if self.node.keeper.is_none() || !queue.survives() {
            return;
        }
        let own = queue.filters().own();
        let shares = queue.filters().shares();
        for filter in own {
            let is_kept = queue.filters().entry(&filter).is_some();
            let subscription = self.node.router.subscription(&filter, queue).filter(|_| !is_kept);
            subscription.into_iter().for_each(|subscription| self.keep_filter(&filter, &subscription));
        }
        for share in shares.into_iter().filter(|share| share.entry.is_none()) {
            let share = self.keep_share(queue, share);
            queue.filters().set_share(share);
        }
    }
}
