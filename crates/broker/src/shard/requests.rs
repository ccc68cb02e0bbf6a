//! The broker as one connection sees it.

use super::Shard;
use super::burying::Death;
use super::deliver::refusal_label;
use super::escort::Escort;
use super::giving_way::GivingWay;
use super::publication::Publication;
use super::queues::{queue_of, refusal_of};
use super::replay::Replayed;
use super::slot::Consumer;
use crate::filters::Share;
use crate::group::{GroupName, Member};
use crate::queue::Queue;
use crate::queued::Queued;
use crate::reply;
use crate::retained::Search;
use crate::route::{Binding, Grant, Subscription};
use crate::router::Joined;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{
    Answer, Attach, Attachment, Authenticate, Authentication, Backlog, Broker, Consume, ConsumerId,
    DeliveryTag, Detach, Follow, Following, Outcome, Publish, Published, Refusal, RetainedDelivery, Saved,
    Saving, Subscribe, Subscribed,
};
use tidegate_storage::Urgency;

pub(super) struct Requests<'a> {
    shard: &'a mut Shard,
    slot: usize,
    now: Instant,
}

impl<'a> Requests<'a> {
    pub(super) fn new(shard: &'a mut Shard, slot: usize, now: Instant) -> Requests<'a> {
        Requests { shard, slot, now }
    }

    fn consumer_key(&self, consumer: ConsumerId) -> Result<usize, Refusal> {
        let slot = self.shard.slots.get(self.slot).ok_or(Refusal::UnknownConsumer)?;
        slot.consumer_key(consumer).ok_or(Refusal::UnknownConsumer)
    }

    fn consumer(&mut self, consumer: ConsumerId) -> Result<(usize, &mut Consumer), Refusal> {
        let key = self.consumer_key(consumer)?;
        self.shard.consumers.get_mut(key).map(|consumer| (key, consumer)).ok_or(Refusal::UnknownConsumer)
    }

    /// When a change of this consumer's session may be acknowledged.
    fn answer_when_kept(&mut self, consumer: ConsumerId) -> Answer {
        match self.consumer(consumer).is_ok_and(|(_, consumer)| consumer.is_durable()) {
            true => self.shard.answer_after(self.slot, Urgency::Synced),
            false => Answer::Now,
        }
    }

    /// Takes a message off what the connection may publish, where that has a limit.
    #[inline]
    fn take_pace(&mut self, publish: &Publish<'_>) {
        if let Some(pace) = self.shard.slots.get_mut(self.slot).and_then(|slot| slot.pace.as_mut()) {
            pace.take(publish.topic.len() + publish.payload.len(), self.now);
        }
    }

    /// Whether it can be noted that this message was taken, where it must not be taken twice: also where nobody keeps the message.
    fn check_noting(&self, publish: &Publish<'_>) -> Result<(), Refusal> {
        if publish.qos < QoS::ExactlyOnce || self.shard.node.keeper.is_none() {
            return Ok(());
        }
        let slot = self.shard.slots.get(self.slot);
        let mut consumers = slot.into_iter().flat_map(|slot| &slot.consumers);
        let is_durable = |key: &usize| self.shard.consumers.get(*key).is_some_and(Consumer::is_durable);
        match consumers.any(|(_, key)| is_durable(key)) {
            true => self.shard.check_describing(),
            false => Ok(()),
        }
    }

    /// Counts a message that was refused. A full queue was counted where it was found full, once for each receiver.
    fn count(&self, refusal: Refusal) {
        if refusal != Refusal::QueueFull {
            self.shard.metrics.count_dropped(refusal_label(refusal), 1);
        }
    }

    /// Puts the retained messages that match in front of what the subscription will receive.
    fn replay_retained(
        &mut self,
        subscribe: &Subscribe<'_>,
        grant: &Grant,
        since: u64,
        is_new: bool,
    ) -> Result<(), Refusal> {
        let node = &self.shard.node;
        let search = node.router.search_retained(subscribe.filter, since, self.now);
        let made = node.system_messages(subscribe.filter, self.now);
        if search.is_none() && made.is_empty() {
            return Ok(());
        }
        let search = search.unwrap_or_else(|| Search::over(subscribe.filter));
        let searches_max = self.shard.limits.subscriptions_per_session;
        let (key, consumer) = self.consumer(subscribe.consumer)?;
        let given_up = if is_new { Vec::new() } else { consumer.replay.give_up(subscribe.filter) };
        let without_origin = subscribe.no_local.then(|| consumer.queue.origin());
        let replayed = Replayed::new(search, made, grant.clone(), without_origin);
        let pushed = consumer.replay.push(replayed, searches_max);
        consumer.backlog = true;
        self.shard.settle_entries(&given_up);
        pushed.map_err(|_| Refusal::QueueFull)?;
        self.shard.list(key);
        Ok(())
    }

    /// Makes the consumer's queue a member of a group. Retained messages are nobody's in particular, so none are sent
    /// (MQTT 5.0 section 3.8.4).
    fn join(&mut self, name: &GroupName, subscribe: &Subscribe<'_>) -> Result<Subscribed, Refusal> {
        let Shard { node, worker, limits, .. } = &*self.shard;
        let (node, worker, limits) = (node.clone(), *worker, limits.clone());
        let share_bytes = subscribe.share.map_or(0, str::len);
        let (bytes, limit) = (share_bytes + subscribe.filter.as_str().len(), limits.topic_bytes);
        if bytes > limit {
            return Err(Refusal::TopicTooLong { bytes, limit });
        }
        let (_, consumer) = self.consumer(subscribe.consumer)?;
        let limit = limits.subscriptions_per_session;
        let checked = consumer.queue.filters().check_share(name, limit);
        let is_new = checked.map_err(|_| Refusal::TooManySubscriptions { limit })?;
        let grant = Grant {
            qos: subscribe.qos_max,
            retain_as_published: subscribe.retain_as_published,
            subscription_ids: subscribe.subscription_id.into_iter().collect(),
        };
        let member = Member { queue: consumer.queue.clone(), grant: grant.clone() };
        let others = node.metrics().len().saturating_sub(1);
        let joined = node.router.join(name, member, worker, others, &|home| node.new_queue(home));
        let Joined { group, given_up } = joined.map_err(|reason| refusal_of(reason, &limits))?;
        let (joined, queue) = (group.clone(), consumer.queue.clone());
        let before = queue.filters().share(name).filter(|share| share.group.queue.id == group.queue.id);
        let (known, entry) = before.map_or((None, None), |before| (Some(before.grant), before.entry));
        let mut share = Share { group, grant, entry };
        if known.as_ref() != Some(&share.grant) || entry.is_none() {
            share = self.shard.keep_share(&queue, share);
        }
        queue.filters().set_share(share.clone());
        let (key, consumer) = self.consumer(subscribe.consumer)?;
        consumer.shares.set(share);
        // What waits there already.
        consumer.queue.call();
        consumer.backlog = true;
        self.shard.list(key);
        self.shard.look_after(&joined, self.now);
        self.shard.tell_of_end(given_up.as_ref());
        Ok(Subscribed { existed: !is_new, answer: self.answer_when_kept(subscribe.consumer) })
    }

    /// Takes a filter from a queue. Returns whether it was there.
    fn unbind(&mut self, queue: &Arc<Queue>, filter: &TopicFilter) -> bool {
        let entry = queue.filters().entry(filter);
        let existed = queue.filters().remove(filter);
        if existed {
            self.shard.node.router.unsubscribe(Binding { filter, queue });
            entry.into_iter().for_each(|entry| self.shard.settle_description(entry));
        }
        existed
    }

    /// Ends a membership. What the consumer has under way stays with it until it is settled or its connection ends ([MQTT-3.10.4-3]).
    fn leave(&mut self, key: usize, name: &GroupName) -> bool {
        let Some(consumer) = self.shard.consumers.get_mut(key) else { return false };
        let queue = consumer.queue.clone();
        let Some(Share { group, entry, .. }) = queue.filters().remove_share(name) else { return false };
        consumer.shares.remove(&group);
        entry.into_iter().for_each(|entry| self.shard.settle_description(entry));
        group.named().into_iter().for_each(|named| named.note_use(self.now));
        if self.shard.node.router.leave(&group, &queue) {
            self.shard.end_group(&group);
        }
        true
    }
}

impl Broker for Requests<'_> {
    fn authenticate(&mut self, authenticate: Authenticate<'_>) -> Authentication {
        self.shard.authenticate(self.slot, authenticate)
    }

    fn attach(&mut self, attach: Attach<'_>) -> Attachment {
        self.shard.attach(self.slot, attach, self.now)
    }

    fn detach(&mut self, detach: Detach) {
        self.shard.detach(self.slot, detach, self.now);
    }

    fn save(&mut self, consumer: ConsumerId, saved: Saved<'_>, saving: Saving) -> Answer {
        self.shard.save(self.slot, consumer, saved, saving, self.now)
    }

    fn consume(&mut self, consume: Consume) -> Result<(), Refusal> {
        if self.consumer_key(consume.consumer).is_ok() {
            return Err(Refusal::UnknownConsumer);
        }
        let identity = self.shard.identity(self.slot).ok_or(Refusal::NotAuthorized)?;
        let queue = self.shard.node.new_queue(self.shard.worker);
        queue.set_identity(identity);
        if let Some(slot) = self.shard.slots.get(self.slot) {
            queue.set_origin(slot.origin);
        }
        let consumer = Consumer::new(self.slot, consume.consumer, queue, consume.settlement, consume.credit);
        self.shard.install(self.slot, consumer);
        Ok(())
    }

    fn cancel(&mut self, consumer: ConsumerId) -> bool {
        let Ok((key, known)) = self.consumer(consumer) else { return false };
        if known.session.is_some() {
            return false;
        }
        if let Some(slot) = self.shard.slots.get_mut(self.slot) {
            slot.remove_consumer(consumer);
        }
        self.shard.remove_consumer(key, self.now);
        true
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<Subscribed, Refusal> {
        self.shard.check_size(subscribe.filter.as_str().as_bytes())?;
        let queue_name = queue_of(subscribe)?;
        let clearance = self.shard.check_subscribe(self.slot, subscribe, self.now)?;
        if queue_name.is_some() || self.consumer(subscribe.consumer)?.1.is_durable() {
            self.shard.check_describing()?;
        }
        if let Some(share) = subscribe.share {
            return self.join(&GroupName::shared(share, subscribe.filter), subscribe);
        }
        if let Some(name) = queue_name {
            return self.join(&name, subscribe);
        }
        let queue = self.consumer(subscribe.consumer)?.1.queue.clone();
        let limits = &self.shard.limits;
        let limit = limits.subscriptions_per_session;
        let is_new = queue
            .filters()
            .add(subscribe.filter, limit)
            .map_err(|_| Refusal::TooManySubscriptions { limit })?;
        let subscription = Subscription {
            queue: queue.clone(),
            group: None,
            qos_max: subscribe.qos_max,
            no_local: subscribe.no_local,
            retain_as_published: subscribe.retain_as_published,
            subscription_id: subscribe.subscription_id,
            clearance,
            since: 0,
        };
        let grant = Grant::of(&subscription);
        let Ok(bound) = self.shard.node.router.subscribe(subscribe.filter, subscription.clone()) else {
            if is_new {
                queue.filters().remove(subscribe.filter);
            }
            return Err(Refusal::SubscriptionsFull);
        };
        if bound.is_other {
            self.shard.keep_filter(subscribe.filter, &subscription);
        }
        let wants_retained = match subscribe.retained {
            RetainedDelivery::Always => true,
            RetainedDelivery::WhenNew => is_new,
            RetainedDelivery::Never => false,
        };
        if wants_retained {
            let replayed = self.replay_retained(subscribe, &grant, bound.since, is_new);
            replayed.inspect_err(|_| {
                if is_new {
                    self.unbind(&queue, subscribe.filter);
                }
            })?;
        }
        Ok(Subscribed { existed: !is_new, answer: self.answer_when_kept(subscribe.consumer) })
    }

    fn follow(&mut self, follow: &Follow<'_>) -> Result<Following, Refusal> {
        self.shard.follow(self.slot, follow, self.now)
    }

    fn unsubscribe(&mut self, id: ConsumerId, share: Option<&str>, filter: &TopicFilter) -> bool {
        let Ok((key, consumer)) = self.consumer(id) else { return false };
        if let Some(share) = share {
            return self.leave(key, &GroupName::shared(share, filter));
        }
        if filter.queue_name().is_some() {
            return self.leave(key, &GroupName::queue(filter));
        }
        let queue: Arc<_> = consumer.queue.clone();
        let existed = self.unbind(&queue, filter);
        if let (true, Ok((_, consumer))) = (existed, self.consumer(id)) {
            let given_up = consumer.replay.give_up(filter);
            self.shard.settle_entries(&given_up);
        }
        existed
    }

    fn keep_only(&mut self, id: ConsumerId, filters: &[TopicFilter]) {
        let Ok((key, consumer)) = self.consumer(id) else { return };
        let queue = consumer.queue.clone();
        let own = queue.filters().own();
        let shares = queue.filters().shares();
        for filter in own.iter().filter(|own| !filters.contains(own)) {
            // Before it is gone from the tree, whose filters that stay take its place for what is under way.
            self.shard.node.router.replace(Binding { filter, queue: &queue }, filters);
            self.unsubscribe(id, None, filter);
        }
        let stays = |name: &GroupName| name.is_queue() && filters.contains(&name.filter);
        for share in shares.iter().filter(|share| !stays(&share.group.name)) {
            self.leave(key, &share.group.name);
        }
    }

    fn reply_prefix(&mut self) -> Result<Box<str>, Refusal> {
        let slot = self.shard.slots.get_mut(self.slot).ok_or(Refusal::UnknownConsumer)?;
        match &slot.reply_prefix {
            Some(prefix) => Ok(prefix.clone()),
            None => Ok(slot.reply_prefix.insert(reply::new_prefix()?).clone()),
        }
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Result<Published, Refusal> {
        self.take_pace(publish);
        let route = self.shard.route_of(self.slot, publish.topic, self.now);
        let route = route.inspect_err(|error| self.count(*error))?;
        let Some(slot) = self.shard.slots.get(self.slot) else { return Err(Refusal::UnknownConsumer) };
        self.shard.note_received(slot.protocol, publish);
        let mut publication = Publication::live(publish, &route.topic, slot.origin, self.now);
        let escort = if route.demands.any() {
            self.shard.escort(self.slot, &route, publish.qos, self.now)
        } else {
            None
        };
        if let Some(escort) = &escort {
            publication.escort(escort, route.elsewhere != 0);
        }
        let mut giving = GivingWay::default();
        let outcome = self
            .check_noting(publish)
            .and_then(|()| self.shard.check_kept(&route, &publication, &mut giving));
        let outcome = outcome.and_then(|()| self.shard.distribute(&route, &mut publication, self.now));
        let published = outcome.inspect_err(|error| self.count(*error))?;
        self.shard.give_way(giving);
        let waits_for = publication.waits_for;
        let answer = match escort {
            None => self.shard.answer_after(self.slot, waits_for),
            Some(Escort { passage, .. }) => self.shard.answer_behind(self.slot, waits_for, passage),
        };
        Ok(Published { answer, ..published })
    }

    fn publish_all(&mut self, batch: &[Publish<'_>]) -> Result<Answer, (usize, Refusal)> {
        batch.iter().for_each(|publish| self.take_pace(publish));
        self.shard.publish_all(self.slot, batch, self.now)
    }

    fn slow_down(&mut self, time: Duration) {
        if let Some(slot) = self.shard.slots.get_mut(self.slot) {
            slot.rest(time, self.now);
        }
    }

    fn note_dropped(&mut self, reason: &'static str) {
        self.shard.metrics.count_dropped(reason, 1);
    }

    fn arrange(&mut self, consumer: ConsumerId, backlog: Backlog) {
        let Ok((key, consumer)) = self.consumer(consumer) else { return };
        if backlog == Backlog::LastValues {
            let queue = consumer.queue.clone();
            return self.shard.keep_last_values(queue);
        }
        consumer.arrange(backlog);
        self.shard.list(key);
    }

    fn settle(&mut self, consumer: ConsumerId, tag: DeliveryTag, outcome: Outcome) {
        let Ok((key, consumer)) = self.consumer(consumer) else { return };
        let kept = match consumer.settle(tag) {
            Some(kept) => kept,
            // The peer may answer a delivery of its last connection before it has come again; then it must not.
            None if outcome != Outcome::Released => {
                let Some(queued) = consumer.queue.take_resuming(tag, consumer.resuming) else {
                    return self.shard.settle_unseen(key, tag, outcome);
                };
                consumer.resuming -= 1;
                Some(queued)
            }
            None => return,
        };
        match (outcome, kept) {
            (Outcome::Accepted, Some(queued)) => self.shard.accept_entry(&queued),
            (Outcome::GivenUp, Some(queued)) => self.shard.settle_entry(&queued),
            (Outcome::Accepted | Outcome::GivenUp | Outcome::Released, None) => {}
            (Outcome::Rejected, Some(queued)) => self.shard.bury(Death::Rejected, vec![queued]),
            (Outcome::Rejected, None) => self.shard.metrics.count_dropped("rejected", 1),
            (Outcome::Released, Some(queued)) => {
                let queued = Queued { redelivered: true, tag: None, ..queued.once_more() };
                if queued.group.as_ref().is_some_and(|group| group.is_named_queue()) {
                    self.shard.give_back([queued], self.now);
                } else {
                    consumer.release(tag, queued);
                }
            }
        }
        self.shard.list(key);
    }
}
