//! The shared routing state: the subscription tree, its generation, the retained messages and the replay rings.
//!
//! Every change of the tree makes a new generation; workers keep the routes that they have looked up until then. How retained messages
//! and live ones join is told in `retaining`.

mod declaring;
mod following;
mod restoring;
mod retaining;

pub(crate) use declaring::{Joined, NotJoined};
pub(crate) use retaining::{NotRetained, Retained};

use crate::Limits;
use crate::access::{AccessRules, InForce, Rights, Rules};
use crate::group::{Group, GroupName};
use crate::queue::Queue;
use crate::queue_policy::QueuePolicies;
use crate::retained::RetainedMessages;
use crate::ring::Rings;
use crate::route::{Addressee, Binding, Demands, Route, RouteEntry, Subscription};
use crate::topic_policy::{TopicPolicies, TopicTerms};
use crate::tree::{SUBSCRIPTION_BYTES, SubscriptionTree};
use declaring::Ending;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tidegate_message::{QoS, Topic, TopicFilter};

/// The only routing state that workers share.
#[derive(Debug)]
pub(crate) struct Router {
    bindings: RwLock<Bindings>,
    /// Changed only with the bindings locked, so that a route's generation is never newer than the rules that it was made by.
    access: InForce,
    generation: AtomicU64,
    retained: RwLock<RetainedMessages>,
    /// Changed only with the bindings locked, so that a route's generation is never newer than its ring.
    pub(crate) rings: Rings,
    subscriptions_max: AtomicUsize,
    subscription_bytes_max: AtomicUsize,
    queues_max: AtomicUsize,
    /// Whether there is a store, so that routes say who may keep messages in it.
    keeps: bool,
    /// What holds for named queues. Locked before the bindings, so that no queue is made by policies that are just replaced.
    policies: RwLock<Arc<QueuePolicies>>,
    /// Changed only with the bindings locked, so that a route's generation is never newer than its policy.
    topics: RwLock<Arc<TopicTerms>>,
}

/// What leads to queues. A group stands in the tree once, whoever its members are.
#[derive(Debug)]
struct Bindings {
    tree: SubscriptionTree<Subscription>,
    groups: HashMap<GroupName, Arc<Group>, RandomState>,
    /// Members of all groups together.
    members: usize,
    /// How many of the groups are named queues.
    queues: usize,
    /// The named queues in the order in which they are looked at for one that may go; also some that have ended.
    queue_round: VecDeque<Arc<Group>>,
    /// Filters of consumers that follow a ring: they lead nowhere from here and count with the subscriptions.
    followed: usize,
    followed_bytes: usize,
    /// Named queues that have ended a moment ago.
    ending: HashMap<GroupName, Ending, RandomState>,
}

impl Bindings {
    /// How many subscriptions clients have made.
    fn len(&self) -> usize {
        self.tree.len() - self.groups.len() + self.members + self.followed
    }

    /// What subscriptions and members weigh in bytes.
    fn weight_bytes(&self) -> usize {
        self.tree.weight_bytes() + self.members * SUBSCRIPTION_BYTES + self.followed_bytes
    }

    /// Lets a member go. Returns whether the group has ended with it; nothing where it was no member.
    fn leave(&mut self, group: &Group, queue: &Queue) -> Option<bool> {
        let (was_member, is_empty) = group.leave(queue);
        self.members -= usize::from(was_member);
        let has_ended = is_empty && !group.is_named_queue();
        if has_ended && self.groups.remove(&group.name).is_some() {
            self.tree.remove(&group.name.filter, group.queue.id);
        }
        was_member.then_some(has_ended)
    }
}

/// A change of a queue's home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    /// What is routed with this generation goes to the new home.
    pub(crate) generation: u64,
    pub(crate) from: u8,
}

/// A filter that leads to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The generation with which that begins: what is routed with it or a later one is delivered like that.
    pub(crate) since: u64,
    /// Whether it was not asked for before, or otherwise.
    pub(crate) is_other: bool,
}

/// A limit of the subscriptions of all sessions is reached: their number or their bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManySubscriptions;

impl Router {
    pub(crate) fn new(limits: &Limits, keeps: bool) -> Router {
        Router {
            bindings: RwLock::new(Bindings {
                tree: SubscriptionTree::new(),
                groups: HashMap::default(),
                members: 0,
                queues: 0,
                queue_round: VecDeque::new(),
                followed: 0,
                followed_bytes: 0,
                ending: HashMap::default(),
            }),
            policies: RwLock::default(),
            topics: RwLock::default(),
            access: InForce::default(),
            generation: AtomicU64::new(1),
            retained: RwLock::new(RetainedMessages::new(limits)),
            rings: Rings::new(),
            subscriptions_max: limits.subscriptions.into(),
            subscription_bytes_max: limits.subscription_bytes.into(),
            queues_max: limits.queues.into(),
            keeps,
        }
    }

    /// Puts other limits in place of these. What stands already stays.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.subscriptions_max.store(limits.subscriptions, Ordering::Relaxed);
        self.subscription_bytes_max.store(limits.subscription_bytes, Ordering::Relaxed);
        self.queues_max.store(limits.queues, Ordering::Relaxed);
        self.retained.write().limit(limits);
    }

    /// The rules that count now; `None` where everything is allowed.
    pub(crate) fn rules(&self) -> Option<Rules> {
        self.access.rules()
    }

    /// What the owner of a queue may receive.
    pub(crate) fn rights(&self, queue: &Queue) -> Rights {
        self.access.rights(|| queue.identity())
    }

    /// Puts other rules in force. What stands is not looked at: [`Router::review`] does that for one queue.
    pub(crate) fn set_rules(&self, rules: Option<Arc<AccessRules>>) {
        let _bindings = self.bindings.write();
        let number = self.advance();
        self.access.replace(rules, number);
    }

    /// Puts other policies for topics in force.
    pub(crate) fn set_topics(&self, policies: TopicPolicies) {
        let _bindings = self.bindings.write();
        *self.topics.write() = Arc::new(TopicTerms::new(policies));
        self.advance();
    }

    /// The policies for topics that are in force.
    pub(crate) fn topic_terms(&self) -> Arc<TopicTerms> {
        self.topics.read().clone()
    }

    /// Judges the subscriptions of a queue by its present owner, those that it shares left out. Takes away those that may not be and
    /// returns their filters with their entries in the durable store.
    pub(crate) fn review(&self, queue: &Queue, rules: &Rules) -> Vec<(TopicFilter, Option<NonZeroU64>)> {
        let identity = queue.identity();
        let judge = |filter| (rules.subscription(identity.as_deref(), &filter), filter);
        let filters = queue.filters().own();
        let (allowed, lost): (Vec<_>, Vec<_>) =
            filters.into_iter().map(judge).partition(|(clearance, _)| clearance.is_some());
        let mut bindings = self.bindings.write();
        let mut is_narrower = false;
        for (clearance, filter) in allowed {
            let Some(known) = bindings.tree.get(&filter, queue.id).cloned() else { continue };
            let clearance = clearance.unwrap_or_default();
            is_narrower |= rules.have_cleared(known.clearance) && !rules.have_cleared(clearance);
            bindings.tree.insert(&filter, queue.id, Subscription { clearance, ..known });
        }
        let lost: Vec<TopicFilter> = lost.into_iter().map(|(_, filter)| filter).collect();
        for filter in &lost {
            is_narrower |= bindings.tree.remove(filter, queue.id).is_some();
        }
        if is_narrower {
            self.advance();
        }
        drop(bindings);
        queue.set_reviewed(rules.number());
        let mut filters = queue.filters();
        let take = |filter: TopicFilter| {
            let entry = filters.entry(&filter);
            filters.remove(&filter);
            (filter, entry)
        };
        lost.into_iter().map(take).collect()
    }

    /// Grows with every change; a route of an older generation must not be used.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Called with the tree locked for writing, so that a route's generation is never newer than what it was made from.
    fn advance(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether one more subscription fits, by number and by bytes.
    fn has_room(&self, bindings: &Bindings, filter: &TopicFilter) -> bool {
        let bytes = bindings.weight_bytes() + bindings.tree.weight_of(filter);
        bindings.len() < self.subscriptions_max.load(Ordering::Relaxed)
            && bytes <= self.subscription_bytes_max.load(Ordering::Relaxed)
    }

    /// Binds a filter to a queue, or changes what is granted there.
    pub(crate) fn subscribe(
        &self,
        filter: &TopicFilter,
        subscription: Subscription,
    ) -> Result<Bound, TooManySubscriptions> {
        let mut bindings = self.bindings.write();
        let known = bindings.tree.get(filter, subscription.queue.id);
        let (known_since, is_other) =
            known.map_or((None, true), |known| (Some(known.since), !known.asks_as(&subscription)));
        if known_since.is_none() && !self.has_room(&bindings, filter) {
            return Err(TooManySubscriptions);
        }
        let generation = self.advance();
        let since = known_since.unwrap_or(generation);
        bindings.tree.insert(filter, subscription.queue.id, Subscription { since, ..subscription });
        Ok(Bound { since: generation, is_other })
    }

    pub(crate) fn unsubscribe(&self, binding: Binding<'_>) {
        let mut bindings = self.bindings.write();
        if bindings.tree.remove(binding.filter, binding.queue.id).is_some() {
            self.advance();
        }
    }

    /// Removes a filter in favour of others that lead to the same queue. Those that select some of the same topics count from as early on as it did: what is
    /// under way and selected by both belongs to the queue whichever of the two is asked.
    pub(crate) fn replace(&self, binding: Binding<'_>, others: &[TopicFilter]) {
        let mut bindings = self.bindings.write();
        let key = binding.queue.id;
        let Some(Subscription { since, .. }) = bindings.tree.remove(binding.filter, key) else { return };
        for other in others.iter().filter(|other| other.overlaps(binding.filter)) {
            let known = bindings.tree.get(other, key).filter(|known| known.since > since).cloned();
            if let Some(known) = known {
                bindings.tree.insert(other, key, Subscription { since, ..known });
            }
        }
        self.advance();
    }

    /// Lets a member of a group go. Returns whether the group has ended with it.
    pub(crate) fn leave(&self, group: &Group, queue: &Queue) -> bool {
        let mut bindings = self.bindings.write();
        let ended = bindings.leave(group, queue);
        if ended.is_some() {
            self.advance();
        }
        ended.unwrap_or(false)
    }

    /// Removes all subscriptions of a queue that ends, in one generation. Returns the groups that have ended with it.
    pub(crate) fn forget(&self, queue: &Queue) -> Vec<Arc<Group>> {
        let (filters, shares) = queue.filters().take();
        if filters.is_empty() && shares.is_empty() {
            return Vec::new();
        }
        let mut bindings = self.bindings.write();
        filters.iter().for_each(|filter| drop(bindings.tree.remove(filter, queue.id)));
        let groups = shares.into_iter().map(|share| share.group);
        let ended = groups.filter(|group| bindings.leave(group, queue) == Some(true)).collect();
        self.advance();
        ended
    }

    /// Gives a queue another home and a consumer there. Where letters may be under way to the old home, says which one that was.
    pub(crate) fn move_home(&self, queue: &Queue, worker: u8, consumer: Option<u32>) -> Option<Moved> {
        let from = queue.address().worker;
        // What a group has for the queue is with the group, and no letter to its home.
        if from == worker || !queue.filters().has_own() {
            queue.set_consumer(worker, consumer);
            return None;
        }
        let _bindings = self.bindings.write();
        let generation = self.advance();
        queue.note_move(generation, from);
        queue.set_consumer(worker, consumer);
        Some(Moved { generation, from })
    }

    /// Looks a topic up for one worker.
    pub(crate) fn route(&self, topic: Topic, worker: u8) -> Route {
        let bindings = self.bindings.read();
        let generation = self.generation();
        let (mut here, mut elsewhere, mut kept_elsewhere) = (Vec::new(), 0, Vec::new());
        let (names_queue, mut demands) = (topic.queue_name().is_some(), Demands::default());
        let (ring, policy) = (self.rings.of_topic(&topic), self.topics.read().of(&topic));
        let mut addressee = if names_queue { Addressee::Queue(None) } else { Addressee::Subscribers };
        for entry in collect(&bindings.tree, &topic, generation, self.rules()) {
            if names_queue {
                addressee = Addressee::Queue(entry.shared.as_ref().map(|shared| shared.group.clone()));
            }
            demands.add(&entry, &policy);
            match entry.queue.address().worker {
                home if home == worker => here.push(entry),
                home => {
                    elsewhere |= 1 << home;
                    if self.keeps && entry.grant.qos > QoS::AtMostOnce {
                        kept_elsewhere.push((entry, home));
                    }
                }
            }
        }
        // Receivers that were made together lie together in memory.
        here.sort_unstable_by_key(|entry| entry.queue.id);
        Route { generation, topic, here, elsewhere, kept_elsewhere, addressee, ring, policy, demands }
    }

    /// All receivers of a topic that had subscribed by this generation, whatever their home.
    pub(crate) fn receivers(&self, topic: &Topic, generation: u64) -> Vec<RouteEntry> {
        let bindings = self.bindings.read();
        collect(&bindings.tree, topic, generation, self.rules()).collect()
    }

    /// All groups, by the numbers of their queues.
    pub(crate) fn groups_by_queue(&self) -> HashMap<u64, Arc<Group>, RandomState> {
        let bindings = self.bindings.read();
        bindings.groups.values().map(|group| (group.queue.id, group.clone())).collect()
    }

    /// How many subscriptions there are.
    pub(crate) fn subscription_count(&self) -> usize {
        self.bindings.read().len()
    }

    /// How many messages are retained, and their weight in bytes.
    pub(crate) fn retained_size(&self) -> (usize, usize) {
        self.retained.read().size()
    }
}

fn collect(
    tree: &SubscriptionTree<Subscription>,
    topic: &Topic,
    generation: u64,
    rules: Option<Rules>,
) -> impl Iterator<Item = RouteEntry> + use<> {
    let mut receivers: HashMap<u64, RouteEntry, RandomState> = HashMap::default();
    let kept_topic = rules.is_some().then(|| topic.clone());
    tree.for_each_match(topic, |key, subscription| {
        if subscription.since > generation
            || rules.as_ref().is_some_and(|rules| !subscription.lets_in(topic, rules))
        {
            return;
        }
        receivers
            .entry(key)
            .and_modify(|entry| entry.add(subscription))
            .or_insert_with(|| RouteEntry::new(subscription));
    });
    let leave_out = move |entry: &mut RouteEntry| match (&rules, &kept_topic) {
        (Some(rules), Some(topic)) => entry.leave_out_denied(topic, rules),
        _ => true,
    };
    receivers.into_values().filter_map(move |mut entry| leave_out(&mut entry).then_some(entry))
}

#[cfg(test)]
mod tests;
