//! The answer for one topic: who receives, and how.

use crate::access::{Clearance, Rules};
use crate::group::{Group, Member};
use crate::queue::Queue;
use crate::ring::Ring;
use crate::topic_policy::TopicPolicy;
use std::sync::Arc;
use tidegate_message::{QoS, Topic, TopicFilter};
use tidegate_protocol::{SessionLimits, SubscriptionIds};

/// What one subscription asks for.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// The queue of a consumer, or that of a group.
    pub(crate) queue: Arc<Queue>,
    pub(crate) group: Option<Arc<Group>>,
    pub(crate) qos_max: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_id: Option<u32>,
    /// Whether the rules have to be asked about each topic.
    pub(crate) clearance: Clearance,
    /// The generation with which it began: what was published before is not for it. Set by the router.
    pub(crate) since: u64,
}

impl Subscription {
    /// Whether a client has asked for the same in both.
    pub(crate) fn asks_as(&self, other: &Subscription) -> bool {
        let options =
            |of: &Subscription| (of.qos_max, of.no_local, of.retain_as_published, of.subscription_id);
        options(self) == options(other)
    }

    /// Whether its owner may receive the topic.
    pub(crate) fn lets_in(&self, topic: &Topic, rules: &Rules) -> bool {
        rules.have_cleared(self.clearance) || rules.may_receive(self.queue.identity().as_deref(), topic)
    }
}

/// How a queue receives one topic: all its matching subscriptions in one.
///
/// One delivery with the highest level and all identifiers, rather than one a subscription ([MQTT-3.3.4-2], [MQTT-3.3.4-3]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_ids: SubscriptionIds,
}

impl Subscription {
    /// What stands in the tree for a group; what its members were granted is theirs.
    pub(crate) fn of_group(group: &Arc<Group>, since: u64) -> Subscription {
        Subscription {
            queue: group.queue.clone(),
            group: Some(group.clone()),
            qos_max: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: true,
            subscription_id: None,
            clearance: Clearance::default(),
            since,
        }
    }
}

impl Grant {
    pub(crate) fn of(subscription: &Subscription) -> Grant {
        Grant {
            qos: subscription.qos_max,
            retain_as_published: subscription.retain_as_published,
            subscription_ids: subscription.subscription_id.into_iter().collect(),
        }
    }

    fn add(&mut self, subscription: &Subscription) {
        self.qos = self.qos.max(subscription.qos_max);
        self.retain_as_published |= subscription.retain_as_published;
        self.subscription_ids.extend(subscription.subscription_id);
    }
}

/// What a queue gets of its own session's messages (MQTT 5.0 section 3.8.3.1, No Local).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnMessages {
    /// The same as of others': no subscription forbids it.
    Same,
    /// None: every matching subscription forbids it.
    None,
    /// Those of the subscriptions that do not forbid it.
    Other(Box<Grant>),
}

/// A group and its members, as they were when the route was made.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) group: Arc<Group>,
    pub(crate) members: Arc<Vec<Member>>,
}

/// One receiver of a topic.
#[derive(Debug, Clone)]
pub(crate) struct RouteEntry {
    pub(crate) queue: Arc<Queue>,
    /// Present where the queue is that of a group, one of whose members receives.
    pub(crate) shared: Option<Shared>,
    pub(crate) grant: Grant,
    pub(crate) own: OwnMessages,
}

impl RouteEntry {
    pub(crate) fn new(subscription: &Subscription) -> RouteEntry {
        let own = if subscription.no_local { OwnMessages::None } else { OwnMessages::Same };
        let shared = |group: &Arc<Group>| Shared { group: group.clone(), members: group.members() };
        RouteEntry {
            queue: subscription.queue.clone(),
            shared: subscription.group.as_ref().map(shared),
            grant: Grant::of(subscription),
            own,
        }
    }

    /// Leaves out the members of a group that may not receive the topic. False where nobody is left.
    pub(crate) fn leave_out_denied(&mut self, topic: &Topic, rules: &Rules) -> bool {
        let Some(shared) = &mut self.shared else { return true };
        let may = |member: &Member| rules.may_receive(member.queue.identity().as_deref(), topic);
        if !shared.members.iter().all(may) {
            shared.members = Arc::new(shared.members.iter().filter(|member| may(member)).cloned().collect());
        }
        !shared.members.is_empty() || shared.group.is_named_queue()
    }

    /// Takes a further matching subscription of the same queue into account.
    pub(crate) fn add(&mut self, subscription: &Subscription) {
        self.own = match (std::mem::replace(&mut self.own, OwnMessages::Same), subscription.no_local) {
            (OwnMessages::Same, false) => OwnMessages::Same,
            (OwnMessages::Same, true) => OwnMessages::Other(Box::new(self.grant.clone())),
            (OwnMessages::None, true) => OwnMessages::None,
            (OwnMessages::None, false) => OwnMessages::Other(Box::new(Grant::of(subscription))),
            (OwnMessages::Other(grant), true) => OwnMessages::Other(grant),
            (OwnMessages::Other(mut grant), false) => {
                grant.add(subscription);
                OwnMessages::Other(grant)
            }
        };
        self.grant.add(subscription);
    }

    /// Whether it is told who has published what it gets, or one of the members is.
    pub(crate) fn wants_publisher(&self) -> bool {
        match &self.shared {
            Some(shared) => shared.members.iter().any(|member| member.queue.wants_publisher()),
            None => self.queue.wants_publisher(),
        }
    }

    /// Whether it passes on what it gets, or one of the members does.
    pub(crate) fn is_forward(&self) -> bool {
        let is_forward = |queue: &Queue| queue.limits() == SessionLimits::Disk;
        match &self.shared {
            Some(shared) => shared.members.iter().any(|member| is_forward(&member.queue)),
            None => is_forward(&self.queue),
        }
    }

    /// How the queue receives a message of this origin; nothing where it does not.
    pub(crate) fn grant_for(&self, origin: u64) -> Option<&Grant> {
        match &self.own {
            OwnMessages::Same => Some(&self.grant),
            _ if origin != self.queue.origin() => Some(&self.grant),
            OwnMessages::None => None,
            OwnMessages::Other(grant) => Some(grant),
        }
    }
}

/// The receivers of one topic as one worker sees them; immutable, so it can be kept until the generation changes.
#[derive(Debug)]
pub(crate) struct Route {
    /// The generation of the router that it was made from.
    pub(crate) generation: u64,
    pub(crate) topic: Topic,
    /// Receivers whose home is this worker.
    pub(crate) here: Vec<RouteEntry>,
    /// The other workers that are home to receivers, one bit each.
    pub(crate) elsewhere: u64,
    /// Those of the receivers there that may keep what they get in the store, with their homes.
    pub(crate) kept_elsewhere: Vec<(RouteEntry, u8)>,
    pub(crate) addressee: Addressee,
    /// The replay ring that keeps what is published to the topic.
    pub(crate) ring: Option<Arc<Ring>>,
    /// What holds for the topic.
    pub(crate) policy: Arc<TopicPolicy>,
    pub(crate) demands: Demands,
}

/// What goes along with a message on its route beside itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demands {
    /// A receiver is told who has published what it gets.
    pub(crate) publisher: bool,
    /// A receiver passes on what it gets, and publishers are told what became of their messages there.
    pub(crate) passage: bool,
}

impl Demands {
    #[inline]
    pub(crate) fn any(self) -> bool {
        self.publisher | self.passage
    }

    /// Takes a receiver into account. Whether publishers wait for those that pass on is left to the policy of the topic.
    pub(crate) fn add(&mut self, entry: &RouteEntry, policy: &TopicPolicy) {
        self.publisher |= entry.wants_publisher();
        self.passage |= policy.awaits_forwards && entry.is_forward();
    }
}

/// What a topic addresses.
#[derive(Debug)]
pub(crate) enum Addressee {
    /// Whoever has subscribed to it.
    Subscribers,
    /// A queue, where it exists.
    Queue(Option<Arc<Group>>),
}

impl Route {
    /// The receivers that may keep what they get, as far as anything is kept, with their homes where these are other workers; those at home
    /// here first.
    pub(crate) fn receivers_known(&self) -> impl Iterator<Item = (&RouteEntry, Option<u8>)> {
        let here = self.here.iter().map(|entry| (entry, None));
        here.chain(self.kept_elsewhere.iter().map(|(entry, home)| (entry, Some(*home))))
    }

    /// Whether anybody receives the topic.
    pub(crate) fn is_matched(&self) -> bool {
        !self.here.is_empty()
            || self.elsewhere != 0
            || self.ring.as_ref().is_some_and(|ring| ring.is_followed())
    }

    /// The queue that the topic names, where it exists.
    pub(crate) fn queue(&self) -> Option<&Group> {
        match &self.addressee {
            Addressee::Queue(queue) => queue.as_deref(),
            Addressee::Subscribers => None,
        }
    }

    /// Whether the topic names a queue.
    pub(crate) fn names_queue(&self) -> bool {
        matches!(self.addressee, Addressee::Queue(_))
    }

    /// Whether the queue that the topic names has to be made first.
    pub(crate) fn lacks_queue(&self) -> bool {
        matches!(self.addressee, Addressee::Queue(None))
    }
}

/// Names the subscription of one queue under one filter: what [`crate::Router`] is changed by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) filter: &'a TopicFilter,
    pub(crate) queue: &'a Arc<Queue>,
}
