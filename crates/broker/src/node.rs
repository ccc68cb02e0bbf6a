//! What all workers of one gateway share.

use crate::Limits;
use crate::access::AccessRules;
use crate::authenticator::Authenticator;
use crate::budget::TotalBytes;
use crate::keeping::Keeper;
use crate::mailbox::{Bell, Letter, Mailbox};
use crate::metrics::WorkerMetrics;
use crate::passage::Passages;
use crate::queue::Queue;
use crate::queue_policy::QueuePolicies;
use crate::recovery::Recovered;
use crate::ring::RingOptions;
use crate::router::Router;
use crate::sessions::Sessions;
use crate::system::System;
use crate::topic_policy::TopicPolicies;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tidegate_protocol::{Identity, Proof};
use tidegate_storage::Storage;

/// The most workers that a node can have: a route names them in the bits of one word.
pub const WORKERS_MAX: usize = 64;

/// What a node is made from.
pub struct NodeOptions {
    /// The broker's limits.
    pub limits: Limits,
    /// The protocols' names, for counting by protocol.
    pub protocols: Vec<&'static str>,
    /// One bell for each worker, at least one and at most [`WORKERS_MAX`]; more are left out.
    pub bells: Vec<Bell>,
    /// Who checks credentials. Without it no name is proven but by a certificate.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// What clients may do; everything where there is nothing.
    pub access: Option<Arc<AccessRules>>,
    /// The replay rings; the first that has a topic decides.
    pub rings: Vec<RingOptions>,
    /// What holds for named queues.
    pub queues: QueuePolicies,
    /// What holds for topics.
    pub topics: TopicPolicies,
    /// What keeps everything that outlives the process; without it nothing does.
    pub storage: Option<Arc<dyn Storage>>,
    /// Whether what cannot be read there is left out at the start, instead of stopping it.
    pub skip_damaged: bool,
    /// What the clock on the wall says, in milliseconds since 1970 (UTC): asked where somebody wants to know when a message was published.
    pub wall_millis: fn() -> u64,
}

/// What can change while a node runs.
#[derive(Debug)]
pub struct Reconfiguration {
    /// The broker's limits.
    pub limits: Limits,
    /// Who checks credentials from now on.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// What clients may do; everything where there is nothing.
    pub access: Option<Arc<AccessRules>>,
    /// The replay rings. One that has the same topics as before keeps what it holds.
    pub rings: Vec<RingOptions>,
    /// What holds for named queues.
    pub queues: QueuePolicies,
    /// What holds for topics.
    pub topics: TopicPolicies,
}

/// The shared half of the broker; each worker owns a [`crate::Shard`] beside it.
///
/// Lock order: a session shard, then the agenda of the sessions, the owner of a queue or who checks credentials; the policies of named
/// queues or a queue's filters, then the bindings, then a queue's move, the members of a group, what waits in a queue, where its dead
/// letters go, the owner of a queue, the access rules, the policies of topics or the list of rings; the retained messages or the list of
/// rings, then one ring; a session shard or the retained messages, then the store (its state, then its time); everything else alone.
#[derive(Debug)]
pub struct Node {
    limits: Mutex<Arc<Limits>>,
    pub(crate) router: Router,
    pub(crate) sessions: Sessions,
    pub(crate) system: System,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) total: Arc<TotalBytes>,
    /// The durable store, where there is one.
    pub(crate) keeper: Option<Keeper>,
    metrics: Vec<Arc<WorkerMetrics>>,
    protocols: Vec<&'static str>,
    next_id: AtomicU64,
    recovered: OnceLock<Recovered>,
    authenticator: RwLock<Option<Arc<dyn Authenticator>>>,
    pub(crate) wall_millis: fn() -> u64,
    /// Messages whose publishers are told when they have left the gateway.
    pub(crate) passages: Arc<Passages>,
    /// When the time began that stands for the store's, where there is none.
    began: OnceLock<Instant>,
}

impl Node {
    /// A node without sessions, subscriptions or messages. What is in its store is left there: [`Node::open`] reads it.
    pub fn new(options: NodeOptions) -> Arc<Node> {
        let mailboxes: Vec<Mailbox> = options.bells.into_iter().take(WORKERS_MAX).map(Mailbox::new).collect();
        let protocols = options.protocols.len();
        let router = Router::new(&options.limits, options.storage.is_some());
        router.set_rules(options.access);
        router.set_rings(&options.rings);
        router.set_policies(options.queues);
        router.set_topics(options.topics);
        let keeper = options.storage.map(Keeper::new);
        if let Some(keeper) = &keeper {
            let ringers: Vec<_> = mailboxes.iter().map(Mailbox::ringer).collect();
            keeper
                .storage()
                .set_bell(Box::new(move || ringers.iter().for_each(|ringer| ringer.note_progress())));
        }
        let first_id = keeper.as_ref().map_or(1, Keeper::first_free_id);
        Arc::new(Node {
            router,
            sessions: Sessions::new(&options.limits),
            system: System::default(),
            total: Arc::new(TotalBytes::new(&options.limits).with_disk(keeper.is_some())),
            metrics: mailboxes.iter().map(|_| Arc::new(WorkerMetrics::new(protocols))).collect(),
            mailboxes,
            protocols: options.protocols,
            limits: Mutex::new(Arc::new(options.limits)),
            next_id: AtomicU64::new(first_id),
            keeper,
            recovered: OnceLock::new(),
            authenticator: RwLock::new(options.authenticator),
            wall_millis: options.wall_millis,
            passages: Arc::default(),
            began: OnceLock::new(),
        })
    }

    /// Who checks credentials now.
    pub(crate) fn authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        self.authenticator.read().clone()
    }

    /// The time that messages of which somebody wants to know when they came are told in as well, in milliseconds: the store's own, which goes on
    /// over restarts and does not jump, and where there is no store the time since it was first asked for.
    pub fn time_millis(&self, now: Instant) -> u64 {
        let since = |began: Instant| now.saturating_duration_since(began).as_millis();
        match &self.keeper {
            Some(keeper) => keeper.storage().time_millis(),
            None => u64::try_from(since(*self.began.get_or_init(|| now))).unwrap_or(u64::MAX),
        }
    }

    /// Whether what a client was let in by still counts. Certificates and listeners are not looked at: they belong to the transport.
    pub(crate) fn is_current(&self, identity: &Identity) -> bool {
        match (identity.proof, &identity.user) {
            (Proof::Credentials(stamp), Some(user)) => {
                self.authenticator().is_some_and(|authenticator| authenticator.is_current(user, stamp))
            }
            _ => true,
        }
    }

    /// Posts one letter from outside of a turn.
    pub(crate) fn post(&self, worker: u8, letter: Letter) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(worker)) {
            mailbox.post(&mut vec![letter]);
        }
    }

    /// A number for a connection or a queue, unique while the process runs.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives no number below this one from now on.
    pub(crate) fn raise_next_id(&self, id: u64) {
        self.next_id.fetch_max(id, Ordering::Relaxed);
    }

    pub(crate) fn note_recovered(&self, found: Recovered) {
        // A node is opened once.
        let _ = self.recovered.set(found);
    }

    /// What was found in the store when the node was opened.
    pub fn recovered(&self) -> Recovered {
        self.recovered.get().copied().unwrap_or_default()
    }

    /// The limits as they are now; a shard keeps them until it is told of others.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.limits.lock().clone()
    }

    /// Puts other rules in place of the present ones, for everything that comes from now on, and has every shard look at its
    /// connections again: [`crate::Outlet::entrance`] says what their listeners make of them now, and no user may stay whose credentials
    /// are others. What is held already is held on.
    pub fn reconfigure(&self, rules: Reconfiguration) {
        self.total.limit(&rules.limits);
        self.router.limit(&rules.limits);
        self.sessions.limit(&rules.limits);
        self.router.set_rules(rules.access);
        self.router.set_rings(&rules.rings);
        self.router.set_policies(rules.queues);
        self.router.set_topics(rules.topics);
        *self.limits.lock() = Arc::new(rules.limits);
        *self.authenticator.write() = rules.authenticator;
        for mailbox in &self.mailboxes {
            mailbox.post(&mut vec![Letter::Reconfigured]);
        }
    }

    /// Has the worker that looks after what nobody holds see when something is due next.
    pub(crate) fn look_at_agenda(&self) {
        self.mailboxes.iter().take(1).for_each(|first| first.post(&mut vec![Letter::LookAtAgenda]));
    }

    pub(crate) fn new_queue(&self, home: u8) -> Arc<Queue> {
        let queue = Queue::new(self.next_id(), home, self.total.clone());
        if let Some(keeper) = &self.keeper {
            queue.remember_numbers(&keeper.numbering);
            queue.number_from(1);
        }
        Arc::new(queue)
    }

    /// What keeps everything that outlives the process, where anything does.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.keeper.as_ref().map(Keeper::storage)
    }

    /// What the workers count, one entry each.
    pub fn metrics(&self) -> &[Arc<WorkerMetrics>] {
        &self.metrics
    }

    /// The protocols' names in the order of [`WorkerMetrics::protocols`].
    pub fn protocols(&self) -> &[&'static str] {
        &self.protocols
    }

    /// What the node holds at this moment.
    pub fn gauges(&self) -> Gauges {
        let (retained_messages, retained_bytes) = self.router.retained_size();
        let (in_memory, queued_bytes) = self.total.size();
        let (queued_messages_on_disk, queued_bytes_on_disk) = self.total.size_on_disk();
        let (sessions, subscriptions) = (self.sessions.len(), self.router.subscription_count());
        let sessions_attached = self.sessions.attached();
        let rings = self.router.rings.sizes();
        let (named_queues, named_queue_messages) = self.router.queues_size();
        Gauges {
            sessions,
            sessions_attached,
            subscriptions,
            retained_messages,
            retained_bytes,
            queued_messages: in_memory + queued_messages_on_disk,
            queued_bytes,
            queued_messages_on_disk,
            queued_bytes_on_disk,
            replay_messages: rings.messages,
            replay_bytes: rings.bytes,
            named_queues,
            named_queue_messages,
        }
    }
}

/// What a node holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Sessions, attached or not.
    pub sessions: usize,
    /// Sessions that a connection holds.
    pub sessions_attached: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Their weight in bytes.
    pub retained_bytes: usize,
    /// Deliveries that wait in queues.
    pub queued_messages: usize,
    /// The weight in bytes of those that are in memory, where a message that waits in several queues counts in each, and with it that of
    /// unsettled deliveries and wills.
    pub queued_bytes: usize,
    /// Deliveries of those that wait that are on the disk only.
    pub queued_messages_on_disk: usize,
    /// What these would weigh in memory.
    pub queued_bytes_on_disk: usize,
    /// Messages in the replay rings.
    pub replay_messages: usize,
    /// Their weight in bytes.
    pub replay_bytes: usize,
    /// Named queues.
    pub named_queues: usize,
    /// Messages that wait in them.
    pub named_queue_messages: usize,
}
