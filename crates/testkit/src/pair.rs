//! Several state machines on one real broker: the tests of layers 4 and 6.
//!
//! A [`World`] is a node with its shards on one thread, a clock that only the test moves, bells that set a flag, and a
//! [`Link`] per connection that plays the socket: it gathers what was sent and can be blocked, as by a peer that does not
//! read. Nothing happens by itself: mail is handled and outputs are flushed when the test says so, or all at once
//! by [`World::run`]. Any [`Connection`] can be connected; [`toy`] has one that does what a test tells it.
//! Outputs are byte streams; what travels in frames is not played here.

pub mod toy;
mod wire;

pub use wire::Link;

use self::wire::{Socket, Wire};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_broker::{
    Authenticator, Bell, Entrance, Fed, Limits, Node, NodeOptions, QueuePolicies, QueuePolicy,
    Reconfiguration, RecoveryError, RingOptions, Shard, TopicPolicies,
};
use tidegate_protocol::{Close, CloseReason, Connection, Output};
use tidegate_storage::Storage;

/// Turns in which one worker's timers come to rest, where no machine wants to be called again and again.
const TIMER_TURNS_MAX: usize = 10_000;

/// A node, its shards and their connections.
pub struct World {
    /// The time that every call passes on.
    pub now: Instant,
    node: Arc<Node>,
    shards: Vec<Shard>,
    bells: Vec<Arc<AtomicBool>>,
    links: Vec<Link>,
    /// Whether a test says when something is read for queues.
    holds_reads: bool,
}

/// A node whose bells set a flag, one for each worker.
pub fn node(
    workers: usize,
    limits: Limits,
    protocols: Vec<&'static str>,
) -> (Arc<Node>, Vec<Arc<AtomicBool>>) {
    node_on(workers, limits, protocols, None)
}

/// The same with a store, or without one.
fn node_on(
    workers: usize,
    limits: Limits,
    protocols: Vec<&'static str>,
    storage: Option<Arc<dyn Storage>>,
) -> (Arc<Node>, Vec<Arc<AtomicBool>>) {
    let options = |bells| NodeOptions { limits, protocols, ..options(bells, storage) };
    let (node, flags) = open(workers, Instant::now(), options);
    (node.expect("the store is sound"), flags)
}

/// What the clock on the wall says in tests.
pub const WALL_MILLIS: u64 = 1_795_311_000_123;

/// What a node begins with where a test says nothing else: the default limits, the toy's protocol and no policies.
pub fn options(bells: Vec<Bell>, storage: Option<Arc<dyn Storage>>) -> NodeOptions {
    NodeOptions {
        limits: Limits::default(),
        protocols: vec!["toy"],
        bells,
        authenticator: None,
        access: None,
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        storage,
        skip_damaged: false,
        wall_millis: || WALL_MILLIS,
        rings: Vec::new(),
    }
}

/// Opens a node, whatever its store holds.
fn open(
    workers: usize,
    now: Instant,
    options: impl FnOnce(Vec<Bell>) -> NodeOptions,
) -> (Result<Arc<Node>, RecoveryError>, Vec<Arc<AtomicBool>>) {
    let flags: Vec<Arc<AtomicBool>> = (0..workers).map(|_| Arc::default()).collect();
    let ring = |flag: &Arc<AtomicBool>| -> Bell {
        let flag = flag.clone();
        Box::new(move || flag.store(true, Ordering::Release))
    };
    let bells = flags.iter().map(ring).collect();
    (Node::open(options(bells), now), flags)
}

/// The default limits, and nothing that a file may lay down beside them.
fn nothing_else() -> Reconfiguration {
    Reconfiguration {
        limits: Limits::default(),
        authenticator: None,
        access: None,
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        rings: Vec::new(),
    }
}

impl World {
    /// A world with the default limits and one protocol.
    pub fn new(workers: usize) -> World {
        World::with_limits(workers, Limits::default())
    }

    /// A world with these limits and one protocol.
    pub fn with_limits(workers: usize, limits: Limits) -> World {
        World::with_protocols(workers, limits, vec!["toy"])
    }

    /// A world that counts by these protocols.
    pub fn with_protocols(workers: usize, limits: Limits, protocols: Vec<&'static str>) -> World {
        World::on(workers, limits, protocols, None)
    }

    /// A world with one protocol whose node keeps in this store what outlives it, and finds there what an earlier one has left.
    pub fn on_storage(workers: usize, limits: Limits, storage: Arc<dyn Storage>) -> World {
        World::on(workers, limits, vec!["toy"], Some(storage))
    }

    /// The same with these protocols: sessions of others stay in the store.
    pub fn on_storage_with_protocols(
        workers: usize,
        limits: Limits,
        protocols: Vec<&'static str>,
        storage: Arc<dyn Storage>,
    ) -> World {
        World::on(workers, limits, protocols, Some(storage))
    }

    fn on(
        workers: usize,
        limits: Limits,
        protocols: Vec<&'static str>,
        storage: Option<Arc<dyn Storage>>,
    ) -> World {
        let (node, bells) = node_on(workers, limits, protocols, storage);
        let shards = (0..workers).map(|worker| Shard::new(node.clone(), worker)).collect();
        World { now: Instant::now(), node, shards, bells, links: Vec::new(), holds_reads: false }
    }

    /// One worker alone, for a test with a thread for each: its number in here is 0, whatever it is in the node.
    pub fn of_one_worker(node: Arc<Node>, worker: usize, bell: Arc<AtomicBool>) -> World {
        let shards = vec![Shard::new(node.clone(), worker)];
        World { now: Instant::now(), node, shards, bells: vec![bell], links: Vec::new(), holds_reads: false }
    }

    /// What the workers share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Lets this one check credentials from now on, with the default limits.
    pub fn set_authenticator(&mut self, authenticator: Arc<dyn Authenticator>) {
        let (limits, authenticator) = (Limits::default(), Some(authenticator));
        self.reconfigure(Reconfiguration { limits, authenticator, ..nothing_else() });
    }

    /// Lets these policies hold for named queues from now on, with the default limits.
    pub fn set_queue_policies(&mut self, policies: Vec<QueuePolicy>) {
        self.set_queue_policies_within(Limits::default(), policies);
    }

    /// The same with other limits.
    pub fn set_queue_policies_within(&mut self, limits: Limits, policies: Vec<QueuePolicy>) {
        self.reconfigure(Reconfiguration { limits, queues: QueuePolicies(policies), ..nothing_else() });
    }

    /// Keeps the last messages of these topics from now on, with the default limits. One after the other has its own ring.
    pub fn set_rings(&mut self, rings: Vec<RingOptions>) {
        self.reconfigure(Reconfiguration { rings, ..nothing_else() });
    }

    /// Puts other rules in place, and lets every worker look at its connections.
    pub fn reconfigure(&mut self, rules: Reconfiguration) {
        self.node.reconfigure(rules);
        self.run();
        self.advance(Duration::ZERO);
    }

    /// One worker's half.
    pub fn shard(&mut self, worker: usize) -> &mut Shard {
        &mut self.shards[worker]
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shards.len()
    }

    /// Opens a connection of the protocol at this position on this worker, where anonymous clients are welcome.
    pub fn connect(&mut self, worker: usize, protocol: usize, machine: Box<dyn Connection>) -> Link {
        let entrance = Entrance { allow_anonymous: true, ..Entrance::default() };
        self.connect_through(worker, protocol, entrance, machine)
    }

    /// Opens a connection whose certificate names this user.
    pub fn connect_as(
        &mut self,
        worker: usize,
        protocol: usize,
        user: &str,
        machine: Box<dyn Connection>,
    ) -> Link {
        let certificate = tidegate_broker::Certificate::Named(user.into());
        let entrance = Entrance { certificate, ..Entrance::default() };
        self.connect_through(worker, protocol, entrance, machine)
    }

    /// Opens a connection that came like this.
    pub fn connect_through(
        &mut self,
        worker: usize,
        protocol: usize,
        entrance: Entrance,
        machine: Box<dyn Connection>,
    ) -> Link {
        let wire = Rc::<RefCell<Wire>>::default();
        let socket = Box::new(Socket(wire.clone()));
        let connection = self.node.next_id();
        let key = self.shards[worker].open(connection, protocol, entrance, machine, Output::stream(), socket);
        let link = Link { worker, key, wire };
        self.links.push(link.clone());
        link
    }

    /// The client sends bytes: they are fed as far as the connection takes them now, the rest when [`World::run`] may.
    pub fn send(&mut self, link: &Link, bytes: &[u8]) {
        self.arrive(link, bytes);
        self.feed(link);
    }

    /// Bytes of the client arrive, and wait until [`World::run`] reads them.
    pub fn arrive(&mut self, link: &Link, bytes: &[u8]) {
        link.wire.borrow_mut().unfed.extend_from_slice(bytes);
    }

    /// Feeds what the client has sent and the connection has not taken. Returns whether it took anything.
    pub fn feed(&mut self, link: &Link) -> bool {
        let (shard, now) = (&mut self.shards[link.worker], self.now);
        let (mut progress, mut wanted) = (false, 1);
        loop {
            let unfed = link.wire.borrow().unfed.clone();
            if unfed.len() < wanted || shard.is_waiting(link.key) || shard.is_stalled(link.key) {
                return progress;
            }
            let consumed = match shard.handle_bytes(link.key, &unfed, now) {
                Fed::Closed => {
                    link.wire.borrow_mut().unfed.clear();
                    return true;
                }
                Fed::Waiting { consumed } => consumed,
                Fed::Open { consumed, wanted: more, .. } => {
                    wanted = more;
                    consumed
                }
            };
            let mut wire = link.wire.borrow_mut();
            wire.unfed.drain(..consumed);
            wire.offered = wire.unfed.len();
            drop(wire);
            progress |= consumed > 0;
            if consumed == 0 {
                return progress;
            }
        }
    }

    /// One worker reads its mail, whether its bell has rung or not.
    pub fn handle_mail(&mut self, worker: usize) {
        self.bells[worker].store(false, Ordering::Release);
        self.shards[worker].handle_mail(self.now);
    }

    /// Whether a worker has been rung for and has not looked yet.
    pub fn has_mail(&self, worker: usize) -> bool {
        self.bells[worker].load(Ordering::Acquire)
    }

    /// The end of a worker's turn.
    pub fn flush_turn(&mut self, worker: usize) {
        self.shards[worker].flush_turn(self.now);
    }

    /// What queues want back from the store is read when [`World::read`] says so from now on, and not by itself.
    pub fn hold_reads(&mut self) {
        self.holds_reads = true;
    }

    /// Reads what queues want back from the store. Returns whether that was anything.
    pub fn read(&mut self) -> bool {
        self.node.read_for_queues()
    }

    /// Everything that can happen without the clients and without time: mail, flushing, feeding. Until nothing is left to do.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.run_once() {
                return;
            }
        }
        panic!("the workers never come to rest");
    }

    fn run_once(&mut self) -> bool {
        let mut progress = !self.holds_reads && self.read();
        for worker in 0..self.shards.len() {
            if self.has_mail(worker) {
                self.handle_mail(worker);
                progress = true;
            }
            if self.shards[worker].is_dirty() {
                self.flush_turn(worker);
                progress = true;
            }
        }
        self.links.retain(|link| !link.is_ended());
        for link in self.links.clone() {
            if std::mem::take(&mut link.wire.borrow_mut().resumed) || !link.wire.borrow().unfed.is_empty() {
                progress |= self.feed(&link);
            }
        }
        progress
    }

    /// Time passes; every timer that has run out is handled, then everything that follows.
    pub fn advance(&mut self, duration: Duration) {
        self.now += duration;
        self.node.retry_reads();
        for worker in 0..self.shards.len() {
            for _ in 0..TIMER_TURNS_MAX {
                if self.shards[worker].next_timer().is_some_and(|at| at <= self.now) {
                    self.shards[worker].handle_timers(self.now);
                }
            }
        }
        self.run();
    }

    /// The driver closes a connection: the peer is gone, the gateway stops, and so on.
    pub fn close(&mut self, link: &Link, reason: CloseReason) {
        self.shards[link.worker].close(link.key, &Close::from(reason), self.now);
    }

    /// The peer reads `bytes` more and then nothing.
    pub fn block_after(&mut self, link: &Link, bytes: usize) {
        link.wire.borrow_mut().room = Some(bytes);
        self.flush_what_was_left(link);
    }

    /// The peer reads nothing any more.
    pub fn block(&mut self, link: &Link) {
        self.block_after(link, 0);
    }

    /// The peer reads everything again.
    pub fn unblock(&mut self, link: &Link) {
        link.wire.borrow_mut().room = None;
        self.flush_what_was_left(link);
    }

    fn flush_what_was_left(&mut self, link: &Link) {
        let (room, has_left) = (link.wire.borrow().room, link.wire.borrow().has_left_something);
        if has_left && room != Some(0) {
            self.shards[link.worker].flush(link.key, self.now);
        }
    }

    /// Deliveries that did not happen, over all workers, for one reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        let of_worker = |metrics: &Arc<tidegate_broker::WorkerMetrics>| {
            metrics.dropped().get(reason).copied().unwrap_or_default()
        };
        self.node.metrics().iter().map(of_worker).sum()
    }

    /// Ends every connection and lets every session expire: what the node holds after it should be nothing.
    pub fn end_everything(&mut self, longest_expiry: Duration) {
        for worker in 0..self.shards.len() {
            self.shards[worker].close_all(CloseReason::ServerShutdown, self.now);
        }
        self.run();
        self.advance(longest_expiry);
        self.links.clear();
    }
}
