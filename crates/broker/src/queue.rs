//! The one delivery concept: ordered deliveries that wait for a consumer.
//!
//! A queue has a home, the worker that handles all its deliveries, attached or not; so what one publisher sends to one
//! queue arrives in order without a lock being held on the way. Behind the queue's own lock stand only the deliveries that
//! cannot go straight to the consumer: no credit, an output that is full, or nobody there.

mod address;
mod conflation;
mod giving;
mod grouped;
mod live;
mod members;
mod numbering;
mod numbers;
mod resuming;
mod tail;
mod taking;
mod window;

use crate::budget::{Room, TotalBytes};
use crate::filters::Filters;
use crate::numbering::Numbering;
use crate::queued::{Queued, needs_settling};
pub(crate) use address::Address;
pub(crate) use conflation::{Lens, Seen, Superseded};
pub(crate) use giving::{Depth, GivenWay, Oldest};
use grouped::Grouped;
pub(crate) use grouped::{Claim, Reserved};
use live::Live;
pub(crate) use members::{MemberLook, Taker};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
pub(crate) use tail::{Aim, Ask};
use tidegate_message::QoS;
use tidegate_protocol::{Identity, SessionLimits, Settlement};
use tidegate_storage::Lsn;
use window::Rest;
pub(crate) use window::TakenIn;

/// Changes of home that a queue remembers: more than a session can make while one letter waits to be read.
const MOVES_MAX: usize = 16;

/// A queue; shared by the routes that lead to it and by its home worker.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Unique while the process runs.
    pub(crate) id: u64,
    /// The origin of what its own connections publish: its number for a session, the connection's for another consumer.
    origin: AtomicU64,
    /// Whether it outlives its connection, so that deliveries are kept until they are settled.
    survives: AtomicBool,
    /// The number of its next entry in the store, which is the tag of its delivery as well; 0 where there is no store and consumers
    /// number what they deliver by themselves.
    next_number: AtomicU64,
    /// The number that its own are counted from where it is a group's, and 0 where it is a session's.
    first_place: AtomicU64,
    /// What remembers them over the end of the process, where there is a store.
    numbering: OnceLock<Arc<Numbering>>,
    /// Whether anything was written into its stream of the store.
    has_entries: AtomicBool,
    /// Whether nothing but the disk bounds what is kept of it.
    is_bounded_by_disk: AtomicBool,
    /// Whether its consumer is told who has published what it gets.
    wants_publisher: AtomicBool,
    /// What its consumer holds, messages and bytes, where that is told.
    held: (AtomicUsize, AtomicUsize),
    address: AtomicU64,
    /// Whose it is; also while nobody is attached. Nothing for a queue that belongs to no client.
    identity: Mutex<Option<Arc<Identity>>>,
    /// The number of the rules that its subscriptions were judged by, for its present owner.
    reviewed: AtomicU64,
    /// The generations of the last changes of home, and the home before each; ascending.
    moved: Mutex<Vec<(u64, u8)>>,
    filters: Mutex<Filters>,
    waiting: Mutex<Waiting>,
    /// Whether something of it is on the disk only.
    has_tail: AtomicBool,
    /// Whether its consumer, on another worker, would take what a group has for it.
    takes_offers: AtomicBool,
    /// Whether a group has something for which its consumer had no room.
    is_called: AtomicBool,
    total: Arc<TotalBytes>,
}

#[derive(Debug, Default)]
struct Waiting {
    deliveries: VecDeque<Queued>,
    /// What goes before all of these, where its consumer takes newer deliveries first.
    live: Option<Box<Live>>,
    /// The same in the queue of a group, which has nothing else.
    grouped: Option<Box<Grouped>>,
    /// What was sent to each new home while older deliveries may still be under way to the one before; oldest move first.
    held: VecDeque<Held>,
    /// What stands behind all of these, where the queue is long.
    rest: Option<Box<Rest>>,
    /// How often something of that was asked for.
    questions: u64,
    /// What is in memory weighs.
    bytes: usize,
    /// How many more come, or find no room, before it is looked again for what something newer has made worthless.
    attempts_left: usize,
    /// Whether nobody will ever consume it again.
    has_ended: bool,
}

/// Deliveries that wait until nothing older is under way to the former home.
#[derive(Debug)]
struct Held {
    /// The generation of the move.
    generation: u64,
    /// Workers that have not said yet that the former home has everything older from them.
    missing: usize,
    deliveries: VecDeque<Queued>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.in_memory() + self.on_disk().0
    }

    /// How many deliveries are in memory.
    fn in_memory(&self) -> usize {
        self.deliveries.len()
            + self.live.as_ref().map_or(0, |live| live.len())
            + self.rest.as_ref().map_or(0, |rest| rest.behind())
            + self.grouped.as_ref().map_or(0, |grouped| grouped.len())
            + self.held.iter().map(|held| held.deliveries.len()).sum::<usize>()
    }

    /// How many deliveries in front come again under their tags, and their bytes: the peer may have them, so they are not dropped
    /// ([MQTT-4.4.0-1]).
    fn kept(&self) -> (usize, usize) {
        let kept = self.deliveries.iter().take_while(|queued| queued.tag.is_some());
        kept.fold((0, 0), |(count, bytes), queued| (count + 1, bytes + queued.weight_bytes()))
    }

    /// Where a delivery has to wait that was routed with this generation, if it has to.
    fn held_since(&mut self, generation: u64) -> Option<&mut Held> {
        self.held.iter_mut().rev().find(|held| held.generation <= generation)
    }
}

/// Why a delivery was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// A limit forbids it.
    Full,
    /// The queue has ended since its route was looked up.
    Ended,
}

/// How a consumer looks for its next delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) has_credit: bool,
    pub(crate) settlement: Settlement,
    /// How far the disk has come.
    pub(crate) synced: Lsn,
    pub(crate) now: Instant,
}

/// What [`Queue::pop`] found.
#[derive(Debug)]
pub(crate) enum Popped {
    /// The next delivery.
    Delivery(Queued),
    /// The next delivery needs a credit.
    NeedsCredit,
    /// What waits has to wait for older deliveries.
    Held,
    /// The next delivery has to be on the disk first.
    Unsynced,
    /// What is next in a group is not in the store's hands yet, and could be there behind what becomes of it.
    Early,
    /// There may be something, but a part of what there is was searched without finding any.
    Searching,
    /// Nothing waits.
    Empty,
}

impl Queue {
    pub(crate) fn new(id: u64, home: u8, total: Arc<TotalBytes>) -> Queue {
        Queue {
            id,
            origin: AtomicU64::new(id),
            survives: AtomicBool::new(false),
            next_number: AtomicU64::new(0),
            first_place: AtomicU64::new(0),
            numbering: OnceLock::new(),
            has_entries: AtomicBool::new(false),
            is_bounded_by_disk: AtomicBool::new(false),
            wants_publisher: AtomicBool::new(false),
            held: Default::default(),
            address: AtomicU64::new(Address { worker: home, consumer: None }.pack()),
            identity: Mutex::default(),
            reviewed: AtomicU64::new(0),
            moved: Mutex::default(),
            filters: Mutex::default(),
            waiting: Mutex::default(),
            has_tail: AtomicBool::new(false),
            takes_offers: AtomicBool::new(true),
            is_called: AtomicBool::new(true),
            total,
        }
    }

    /// Room for what its consumer holds beside it.
    pub(crate) fn room(&self) -> Room {
        Room::new(self.total.clone())
    }

    /// The most bytes that may wait in it, and again be unsettled.
    pub(crate) fn bytes_max(&self) -> usize {
        self.total.queue_bytes_max()
    }

    /// The most deliveries that may wait in it.
    pub(crate) fn messages_max(&self) -> usize {
        self.total.queue_messages_max()
    }

    pub(crate) fn address(&self) -> Address {
        Address::unpack(self.address.load(Ordering::Acquire))
    }

    /// Whose it is: the client that is attached, or that was attached last.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.lock().clone()
    }

    /// Gives the queue to a client.
    pub(crate) fn set_identity(&self, identity: Arc<Identity>) {
        let mut owner = self.identity.lock();
        if owner.as_ref() != Some(&identity) {
            self.reviewed.store(0, Ordering::Relaxed);
        }
        *owner = Some(identity);
    }

    /// The origin of the messages that "no local" is about.
    pub(crate) fn origin(&self) -> u64 {
        self.origin.load(Ordering::Relaxed)
    }

    /// Gives the queue of a consumer the origin that its connection publishes with.
    pub(crate) fn set_origin(&self, origin: u64) {
        self.origin.store(origin, Ordering::Relaxed);
    }

    /// Says whether it outlives its connection. A consumer that is the last one says so after it was attached, so that
    /// [`Queue::is_expecting`] is true all the time.
    pub(crate) fn set_survives(&self, survives: bool) {
        self.survives.store(survives, Ordering::Release);
    }

    pub(crate) fn survives(&self) -> bool {
        self.survives.load(Ordering::Acquire)
    }

    /// What bounds the session that it belongs to.
    pub(crate) fn limits(&self) -> SessionLimits {
        match self.is_bounded_by_disk.load(Ordering::Relaxed) {
            true => SessionLimits::Disk,
            false => SessionLimits::Usual,
        }
    }

    /// Puts other limits in place of these. What waits already stays.
    pub(crate) fn set_limits(&self, limits: SessionLimits) {
        self.is_bounded_by_disk.store(limits == SessionLimits::Disk, Ordering::Relaxed);
    }

    /// Whether its consumer is told who has published what it gets.
    pub(crate) fn wants_publisher(&self) -> bool {
        self.wants_publisher.load(Ordering::Relaxed)
    }

    /// Says whether it is, in routes that are looked up from now on.
    pub(crate) fn set_wants_publisher(&self, wants_publisher: bool) {
        self.wants_publisher.store(wants_publisher, Ordering::Relaxed);
    }

    /// When the oldest message that waits in memory was published, by the clock and by the gateway's own time, where that is known.
    pub(crate) fn oldest_moments(&self) -> Option<(u64, u64)> {
        let waiting = self.waiting.lock();
        let publisher = waiting.deliveries.front()?.message.publisher.as_ref()?;
        Some((publisher.published_at_millis, publisher.taken_at_millis))
    }

    /// Messages and bytes that wait in it, in memory and on the disk.
    pub(crate) fn size(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.len(), waiting.all_bytes())
    }

    /// What its consumer holds beside it, messages and bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        let (messages, bytes) = &self.held;
        (messages.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn set_held(&self, messages: usize, bytes: usize) {
        self.held.0.store(messages, Ordering::Relaxed);
        self.held.1.store(bytes, Ordering::Relaxed);
    }

    /// Whether somebody is attached, or comes back for what is above level 0.
    pub(crate) fn is_expecting(&self) -> bool {
        self.survives() || self.address().consumer.is_some()
    }

    /// Attaches a consumer of the home worker, or none.
    pub(crate) fn set_consumer(&self, worker: u8, consumer: Option<u32>) {
        self.address.store(Address { worker, consumer }.pack(), Ordering::Release);
    }

    /// Remembers that the home changed with this generation of the router.
    pub(crate) fn note_move(&self, generation: u64, previous: u8) {
        let mut moved = self.moved.lock();
        if moved.len() == MOVES_MAX {
            moved.remove(0);
        }
        moved.push((generation, previous));
    }

    /// The worker that was the home when the router had this generation.
    pub(crate) fn home_at(&self, generation: u64) -> u8 {
        let moved = self.moved.lock();
        let next_move = moved.iter().find(|(moved_at, _)| generation < *moved_at);
        next_move.map_or_else(|| self.address().worker, |(_, previous)| *previous)
    }

    /// The filters that lead here.
    pub(crate) fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock()
    }

    /// Says whether its consumer would take what a group has for it. Said before the consumer looks, so that between the two
    /// of them, [`Queue::call`] then [`Queue::takes_offers`] here and this then [`Queue::answer`] there, one sees the other.
    pub(crate) fn set_takes_offers(&self, takes: bool) {
        self.takes_offers.store(takes, Ordering::SeqCst);
    }

    /// Whether its subscriptions were judged by these rules.
    pub(crate) fn is_reviewed(&self, rules: u64) -> bool {
        self.reviewed.load(Ordering::Relaxed) == rules
    }

    pub(crate) fn set_reviewed(&self, rules: u64) {
        self.reviewed.store(rules, Ordering::Relaxed);
    }

    pub(crate) fn takes_offers(&self) -> bool {
        self.takes_offers.load(Ordering::SeqCst)
    }

    /// A group has something for which its consumer had no room: it is to look when it has.
    pub(crate) fn call(&self) {
        self.is_called.store(true, Ordering::SeqCst);
    }

    /// Whether it has been called since the last answer.
    pub(crate) fn answer(&self) -> bool {
        self.is_called.load(Ordering::SeqCst) && self.is_called.swap(false, Ordering::SeqCst)
    }

    /// Holds back what is routed with this generation, that of a move, until [`Queue::note_passed`] was called `workers` times for it.
    pub(crate) fn hold(&self, generation: u64, workers: usize) {
        if workers > 0 {
            let held = Held { generation, missing: workers, deliveries: VecDeque::new() };
            self.waiting.lock().held.push_back(held);
        }
    }

    /// One more worker has nothing older under way than the move of this generation.
    pub(crate) fn note_passed(&self, generation: u64) {
        let mut waiting = self.waiting.lock();
        if let Some(held) = waiting.held.iter_mut().find(|held| held.generation == generation) {
            held.missing = held.missing.saturating_sub(1);
        }
        while waiting.held.front().is_some_and(|held| held.missing == 0) {
            for queued in waiting.held.pop_front().into_iter().flat_map(|held| held.deliveries) {
                self.forget(&mut waiting, &queued);
                self.put_new(&mut waiting, queued);
            }
        }
    }

    /// Puts deliveries back to the front, in their order. They were accepted before, so no limit turns them away.
    pub(crate) fn put_back(&self, deliveries: impl DoubleEndedIterator<Item = Queued>) {
        self.put_back_behind(0, deliveries);
    }

    /// As [`Queue::put_back`], but behind the first `count` deliveries.
    pub(crate) fn put_back_behind(&self, count: usize, deliveries: impl DoubleEndedIterator<Item = Queued>) {
        let mut waiting = self.waiting.lock();
        let count = count.min(waiting.deliveries.len());
        let first: Vec<Queued> = waiting.deliveries.drain(..count).collect();
        for queued in deliveries.rev() {
            let weight = queued.weight_bytes();
            waiting.bytes += weight;
            self.total.add(weight);
            waiting.deliveries.push_front(queued);
        }
        first.into_iter().rev().for_each(|queued| waiting.deliveries.push_front(queued));
    }

    /// Takes the next delivery that is still worth something; `dead` gets the expired ones before it.
    pub(crate) fn pop(&self, look: Look, dead: &mut Vec<Queued>) -> Popped {
        let mut waiting = self.waiting.lock();
        loop {
            let (queued, is_dead) = match next_of(&mut waiting.deliveries, look) {
                Ok(next) => next,
                Err(Some(popped)) => return popped,
                Err(None) if waiting.held.is_empty() && waiting.rest.is_none() => return Popped::Empty,
                Err(None) => return Popped::Held,
            };
            self.forget(&mut waiting, &queued);
            if !is_dead {
                return Popped::Delivery(queued);
            }
            dead.push(queued);
        }
    }

    /// Counts a delivery no more that was taken out of memory.
    fn forget(&self, waiting: &mut Waiting, queued: &Queued) {
        let weight = queued.weight_bytes();
        waiting.bytes -= weight;
        self.total.subtract(1, weight);
    }

    /// Takes everything out: what is in memory, in order, and how many there were on the disk only.
    pub(crate) fn take_all(&self) -> (VecDeque<Queued>, usize) {
        self.replace(Waiting::default())
    }

    /// The same for a queue that nobody will consume again. A route that was looked up before may still lead here, so it takes
    /// nothing any more.
    pub(crate) fn end(&self) -> (VecDeque<Queued>, usize) {
        self.replace(Waiting { has_ended: true, ..Waiting::default() })
    }

    fn replace(&self, mut next: Waiting) -> (VecDeque<Queued>, usize) {
        let mut waiting = self.waiting.lock();
        next.questions = waiting.questions;
        let mut waiting = std::mem::replace(&mut *waiting, next);
        self.has_tail.store(false, Ordering::Relaxed);
        self.total.subtract(waiting.in_memory(), waiting.bytes);
        let on_disk = waiting.on_disk();
        self.total.change_on_disk(on_disk, (0, 0));
        let live = waiting.live.take();
        while let Some(queued) = waiting.grouped.as_mut().and_then(|grouped| grouped.pop_first()) {
            waiting.deliveries.push_back(queued);
        }
        let behind = waiting.take_behind();
        waiting.deliveries.extend(behind);
        for held in &mut waiting.held {
            waiting.deliveries.append(&mut held.deliveries);
        }
        waiting.deliveries.extend(live.into_iter().flat_map(|live| live.into_deliveries()));
        (waiting.deliveries, on_disk.0)
    }
}

/// Takes the first of these that can be taken now, and says whether it has expired; what keeps it where it is, and nothing where there is none.
fn next_of(deliveries: &mut VecDeque<Queued>, look: Look) -> Result<(Queued, bool), Option<Popped>> {
    let Look { has_credit, settlement, synced, now } = look;
    let front = deliveries.front().ok_or(None)?;
    let is_dead = !must_come(front, settlement) && front.message.is_expired(now);
    if !is_dead && !has_credit && needs_settling(settlement, front.qos) {
        return Err(Some(Popped::NeedsCredit));
    }
    if !is_dead && !front.may_be_seen(synced) {
        return Err(Some(Popped::Unsynced));
    }
    deliveries.pop_front().map(|queued| (queued, is_dead)).ok_or(None)
}

/// Whether a delivery comes although its message has expired: the peer has a part of it, which must be repeated under its identifier
/// ([MQTT-4.4.0-1]). Where that is only presumed it comes if the peer would otherwise take another message for it.
fn must_come(queued: &Queued, settlement: Settlement) -> bool {
    let is_under_way = queued.tag.is_some() && settlement == Settlement::AboveAtMostOnce;
    is_under_way && (!queued.is_presumed || queued.qos == QoS::ExactlyOnce)
}

impl Drop for Queue {
    fn drop(&mut self) {
        let waiting = self.waiting.get_mut();
        self.total.subtract(waiting.in_memory(), waiting.bytes);
        self.total.change_on_disk(waiting.on_disk(), (0, 0));
    }
}

#[cfg(test)]
mod tests;
