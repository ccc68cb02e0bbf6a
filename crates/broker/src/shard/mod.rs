//! One worker's half of the broker: its connections, its consumers, its caches.
//!
//! A shard belongs to one thread. The driver feeds it bytes, time and letters, and asks it to flush at the end of each turn;
//! everything else happens in here: the machine of a connection is run, what it publishes goes straight into the outputs of
//! the receivers on the same worker, and what has to wait goes into their queues. No socket, no clock, no runtime.

mod admission;
mod answers;
mod batch;
mod buffers;
mod burying;
mod claiming;
mod closing;
mod conflating;
pub(crate) mod cursor;
mod deliver;
mod describing;
mod escort;
mod following;
mod giving_way;
mod holding;
mod keeping;
mod lookup;
mod mailing;
pub(crate) mod parcel;
mod publication;
mod queues;
mod registering;
mod replay;
mod requests;
mod retaining;
mod review;
mod rights;
pub(crate) mod session;
mod shares;
mod sharing;
mod slot;
mod sweeping;
mod system;
mod throttle;
mod timers;
mod unsettled;
mod upkeep;
mod waiting;
mod windows;

pub use slot::Outlet;
pub use throttle::PublishLimits;

use crate::Limits;
use crate::access::DenialLog;
use crate::authenticator::Entrance;
use crate::mailbox::Letter;
use crate::metrics::WorkerMetrics;
use crate::node::Node;
use crate::reading::Asker;
use crate::route::Route;
use crate::route_cache::RouteCache;
use admission::Admission;
use answers::Answers;
use buffers::Buffers;
use burying::DeadLetter;
use foldhash::fast::RandomState;
use following::Audience;
use hashbrown::HashMap;
use keeping::Keeping;
use requests::Requests;
use review::Review;
use slab::Slab;
use slot::{Consumer, Slot};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use sweeping::Sweep;
use tidegate_protocol::{Connection, Context, Encoded, Output};
use upkeep::Upkeep;

/// Bytes that the routes of one worker may take.
const ROUTE_CACHE_BYTES: usize = 32 << 20;

/// Names a connection of this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotKey {
    slot: usize,
    connection: u64,
}

/// What became of bytes that were fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// The connection took this many bytes from the front; it wants to see at least `wanted` bytes next time.
    Open {
        /// Bytes that need not be fed again.
        consumed: usize,
        /// Bytes that must be there, counted from the first that was not consumed, before feeding makes sense.
        wanted: usize,
        /// Until when the connection must not be fed, because it sends more than it may.
        rests_until: Option<Instant>,
    },
    /// As `Open`, but an answer is awaited: feed nothing until the outlet or the shard says so through [`Shard::is_waiting`].
    Waiting {
        /// Bytes that need not be fed again.
        consumed: usize,
    },
    /// The connection has ended; its outlet has the last output.
    Closed,
}

/// One worker's half of the broker.
pub struct Shard {
    worker: u8,
    node: Arc<Node>,
    /// The node's, until a letter says that there are others.
    limits: Arc<Limits>,
    metrics: Arc<WorkerMetrics>,
    slots: Slab<Slot>,
    consumers: Slab<Consumer>,
    cache: RouteCache,
    /// The route of the message that came last from another worker.
    mailed: Option<Rc<Route>>,
    encoded: Encoded,
    dirty: Vec<usize>,
    /// Connections to be closed at the end of the event because a queue of theirs is full.
    overflowed: Vec<SlotKey>,
    /// Consumers that may have something to receive.
    listed: Vec<usize>,
    /// The consumers that have read everything of a ring, by the ring's number.
    audiences: HashMap<u64, Audience, RandomState>,
    /// Rings whose audiences may have something to receive.
    listed_audiences: Vec<u64>,
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    timer_moved: bool,
    /// Letters to the other workers, posted at the end of each event.
    outgoing: Vec<Vec<Letter>>,
    spare_letters: Vec<Letter>,
    buffers: Buffers,
    /// Connections that are still to be looked at after a reconfiguration.
    review: Option<Review>,
    denial_log: DenialLog,
    /// The named queues at home here.
    upkeep: Upkeep,
    /// The search for retained messages that have expired.
    sweep: Sweep,
    /// What has died in named queues in this event.
    dead_letters: Vec<DeadLetter>,
    /// What this event changes in the durable store.
    keeping: Keeping,
    /// Who waits until the store has it.
    answers: Answers,
    /// The queues of which this event has left so little in memory that more may have to be read.
    asking: Vec<Asker>,
}

impl Shard {
    /// The half of worker number `worker`, counted from 0 in the order of the node's bells.
    pub fn new(node: Arc<Node>, worker: usize) -> Shard {
        let metrics = node.metrics().get(worker).cloned();
        Shard {
            worker: u8::try_from(worker).unwrap_or(0),
            metrics: metrics.unwrap_or_else(|| Arc::new(WorkerMetrics::new(node.protocols().len()))),
            slots: Slab::new(),
            consumers: Slab::new(),
            cache: RouteCache::new(ROUTE_CACHE_BYTES),
            mailed: None,
            encoded: Encoded::default(),
            dirty: Vec::new(),
            overflowed: Vec::new(),
            listed: Vec::new(),
            audiences: HashMap::default(),
            listed_audiences: Vec::new(),
            timers: BinaryHeap::new(),
            timer_moved: false,
            outgoing: node.mailboxes.iter().map(|_| Vec::new()).collect(),
            spare_letters: Vec::new(),
            buffers: Buffers::default(),
            review: None,
            denial_log: DenialLog::default(),
            upkeep: Upkeep::default(),
            sweep: Sweep::default(),
            dead_letters: Vec::new(),
            keeping: Keeping::new(node.passages.clone()),
            answers: Answers::default(),
            asking: Vec::new(),
            limits: node.limits(),
            node,
        }
    }

    /// What this worker counts.
    pub fn metrics(&self) -> &Arc<WorkerMetrics> {
        &self.metrics
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.slots.len()
    }

    /// All open connections.
    pub fn connections(&self) -> Vec<SlotKey> {
        self.slots.iter().map(|(slot, open)| SlotKey { slot, connection: open.connection }).collect()
    }

    /// Takes a new connection in. `connection` is its number from [`Node::next_id`], `protocol` the position of its protocol
    /// in [`crate::NodeOptions::protocols`], `entrance` how it came.
    pub fn open(
        &mut self,
        connection: u64,
        protocol: usize,
        entrance: Entrance,
        machine: Box<dyn Connection>,
        output: Output,
        outlet: Box<dyn Outlet>,
    ) -> SlotKey {
        let slot = self.slots.insert(Slot {
            connection,
            protocol,
            machine: Some(machine),
            output,
            outlet: Some(outlet),
            consumers: Default::default(),
            claiming: None,
            unanswered: None,
            admission: Admission::Outside(Box::new(entrance)),
            origin: connection,
            reply_prefix: None,
            last_route: None,
            deferred: VecDeque::new(),
            is_overflowed: false,
            dirty: false,
            pace: None,
            starved: false,
            unsent_since: None,
            unsent_deliveries: 0,
            timer: None,
        });
        if let Some(counters) = self.metrics.protocols.get(protocol) {
            counters.opened.add(1);
            counters.open.add(1);
        }
        self.set_timer(slot);
        SlotKey { slot, connection }
    }

    fn is_open(&self, key: SlotKey) -> bool {
        self.slots.get(key.slot).is_some_and(|slot| slot.connection == key.connection)
    }

    /// Feeds bytes to a connection's machine.
    pub fn handle_bytes(&mut self, key: SlotKey, input: &[u8], now: Instant) -> Fed {
        if !self.is_open(key) {
            return Fed::Closed;
        }
        if self.is_waiting(key) {
            return Fed::Waiting { consumed: 0 };
        }
        let result =
            self.with_machine(key.slot, now, |machine, context| machine.handle_bytes(input, context));
        let consumed = match result {
            Some(Ok(consumed)) => consumed.min(input.len()),
            Some(Err(close)) => {
                self.close(key, &close, now);
                return Fed::Closed;
            }
            None => return Fed::Closed,
        };
        self.count_wire_in(key.slot, consumed);
        self.finish_event(Some(key.slot), now);
        match self.slots.get(key.slot).filter(|slot| slot.connection == key.connection) {
            None => Fed::Closed,
            Some(slot) if slot.awaits_answer() => Fed::Waiting { consumed },
            Some(slot) => {
                let wanted = slot.machine.as_ref().map_or(1, |machine| machine.bytes_wanted());
                Fed::Open { consumed, wanted: wanted.max(1), rests_until: slot.rests_until(now) }
            }
        }
    }

    fn count_wire_in(&self, slot: usize, bytes: usize) {
        let protocol = self.slots.get(slot).and_then(|slot| self.metrics.protocols.get(slot.protocol));
        if let Some(counters) = protocol {
            counters.wire_in_bytes.add(bytes as u64);
        }
    }

    /// Whether the connection waits for an answer and must not be fed.
    pub fn is_waiting(&self, key: SlotKey) -> bool {
        self.is_open(key) && self.slots.get(key.slot).is_some_and(Slot::awaits_answer)
    }

    /// Whether a connection has as much unsent output as it may: it should not be fed until some of it has been sent.
    pub fn is_stalled(&self, key: SlotKey) -> bool {
        let slot = self.slots.get(key.slot).filter(|slot| slot.connection == key.connection);
        slot.is_some_and(|slot| slot.output.len() >= self.limits.output_bytes)
    }

    /// Whether some other worker has so much mail that publishers of this one should pause.
    pub fn is_pressed(&self) -> bool {
        self.node.mailboxes.len() > 1 && self.node.mailboxes.iter().any(|mailbox| mailbox.is_pressed())
    }

    /// Handles the letters of the other workers.
    pub fn handle_mail(&mut self, now: Instant) {
        let empty = std::mem::take(&mut self.spare_letters);
        self.note_progress();
        let Some(mailbox) = self.node.mailboxes.get(usize::from(self.worker)) else { return };
        let mut letters = mailbox.take(empty);
        for letter in letters.drain(..) {
            self.handle_letter(letter, now);
        }
        self.spare_letters = letters;
        self.answers.look();
        self.finish_event(None, now);
    }

    fn handle_letter(&mut self, letter: Letter, now: Instant) {
        match letter {
            Letter::Deliver { message, generation, reserved, claims } => {
                self.deliver_mailed(&message, generation, reserved, claims, now);
            }
            Letter::Parcel(parcel) => self.deliver_parcel(&parcel, now),
            Letter::Wake(queue) => self.wake(&queue),
            Letter::RingHasMore(ring) => self.list_audience(ring),
            Letter::Offer { group, member } => self.handle_offer(&group, &member, now),
            Letter::Moved(queue, moved) => self.letter_to(moved.from, Letter::Passed(queue, moved)),
            Letter::Passed(queue, moved) => {
                queue.note_passed(moved.generation);
                self.wake_anywhere(&queue);
            }
            Letter::GiveUp { key, held_by, claimant } => self.give_up(&key, held_by, claimant, now),
            Letter::GivenUp { claimant } => self.claim_again(claimant, now),
            Letter::Authenticated { holder, answer } => self.note_checked(holder, answer, now),
            Letter::Found(asker, found) => self.take_found(asker, found, now),
            Letter::Looked(asker, looked) => self.take_looked(asker, &looked),
            Letter::LookAtAgenda => {
                self.timer_moved = true;
                self.begin_sweeping(now);
            }
            Letter::LookAtQueue(queue) => self.look_at_queue(&queue, now),
            Letter::QueueEnded(queue) => self.note_end(&queue),
            Letter::NothingUnderWay(queue) => self.node.router.note_nothing_under_way(&queue),
            Letter::Reconfigured => self.take_rules_over(now),
            Letter::Decided(holder) => self.answers.call(holder),
        }
    }

    /// Runs one method of a machine. The machine and its output are taken out of their slot meanwhile, so that what it
    /// asks for can use the whole shard.
    fn with_machine<R>(
        &mut self,
        slot: usize,
        now: Instant,
        run: impl FnOnce(&mut dyn Connection, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let here = self.slots.get_mut(slot)?;
        let mut machine = here.machine.take()?;
        let mut output = std::mem::take(&mut here.output);
        self.buffers.lend(&mut output);
        let mut requests = Requests::new(self, slot, now);
        let mut context = Context { now, output: &mut output, broker: &mut requests };
        let result = run(machine.as_mut(), &mut context);
        let here = self.slots.get_mut(slot)?;
        here.machine = Some(machine);
        here.output = output;
        Some(result)
    }

    /// What follows every event: deferred deliveries, queued ones, the dirty list, timers, the post, and what can be told to those who wait.
    fn finish_event(&mut self, slot: Option<usize>, now: Instant) {
        if let Some(slot) = slot {
            self.deliver_deferred(slot, now);
            self.set_timer(slot);
        }
        self.close_overflowed(now);
        self.deliver_waiting(now);
        if let Some(slot) = slot {
            self.mark_dirty(slot, now);
            if let Some(here) = self.slots.get_mut(slot).filter(|here| here.output.is_empty()) {
                self.buffers.take_back(&mut here.output);
            }
        }
        self.post_letters(now);
        self.answer_requests(now);
    }

    fn mark_dirty(&mut self, slot: usize, now: Instant) {
        if let Some(here) = self.slots.get_mut(slot).filter(|here| !here.dirty && !here.output.is_empty()) {
            here.dirty = true;
            here.unsent_since.get_or_insert(now);
            self.dirty.push(slot);
        }
    }

    fn post_letters(&mut self, now: Instant) {
        self.commit(now);
        self.tell_decided();
        self.ask_for_more();
        for (mailbox, letters) in self.node.mailboxes.iter().zip(&mut self.outgoing) {
            if !letters.is_empty() {
                mailbox.post(letters);
            }
        }
    }

    fn letter_to(&mut self, worker: u8, letter: Letter) {
        if let Some(letters) = self.outgoing.get_mut(usize::from(worker)) {
            letters.push(letter);
        }
    }

    /// Whether a flush is due at the end of this turn, or something waits for the next one: a consumer that has to search for more, or
    /// dead letters.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
            || !self.listed.is_empty()
            || !self.listed_audiences.is_empty()
            || !self.dead_letters.is_empty()
    }

    /// Sends what has gathered in the outputs: one write a connection. Consumers that were waiting for room get more,
    /// which leaves their connections dirty for the next turn.
    pub fn flush_turn(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            if self.slots.get(slot).is_some_and(|here| here.dirty) {
                self.flush_slot(slot, now);
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        self.deliver_waiting(now);
        self.post_letters(now);
        self.answer_requests(now);
    }

    /// Sends more of a connection's output after its outlet could not take all of it.
    pub fn flush(&mut self, key: SlotKey, now: Instant) {
        if self.is_open(key) {
            self.flush_slot(key.slot, now);
            self.deliver_waiting(now);
            self.post_letters(now);
            self.answer_requests(now);
        }
    }

    fn flush_slot(&mut self, slot: usize, now: Instant) {
        if self.slots.get(slot).is_some_and(|here| here.unsent_deliveries > 0) {
            // A machine may want a timeout for what it has been delivered; asked once a flush, and not for each message.
            self.set_timer(slot);
        }
        let Some(here) = self.slots.get_mut(slot) else { return };
        here.dirty = false;
        here.send(&self.metrics);
        if here.output.is_empty() {
            self.buffers.take_back(&mut here.output);
            let since = here.unsent_since.take();
            let deliveries = std::mem::take(&mut here.unsent_deliveries);
            if let (Some(since), 1..) = (since, deliveries) {
                self.metrics.latency.observe(now.saturating_duration_since(since), deliveries);
            }
        }
        if here.starved && here.output.len() < self.limits.output_bytes {
            here.starved = false;
            let consumers: Vec<usize> = here.consumers.iter().map(|(_, key)| *key).collect();
            consumers.into_iter().for_each(|key| self.list(key));
        }
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shard")
            .field("worker", &self.worker)
            .field("connections", &self.slots.len())
            .finish()
    }
}
