//! What a worker keeps for each connection and each consumer.

use super::admission::Admission;
use super::answers::{UNANSWERED_MAX, Unanswered};
use super::cursor::Cursor;
use super::replay::Replay;
use super::throttle::PublishPace;
use super::unsettled::Unsettled;
use crate::authenticator::Entrance;
use crate::entry::Entry;
use crate::metrics::WorkerMetrics;
use crate::queue::Queue;
use crate::queued::Queued;
use crate::route::Route;
use crate::sessions::SessionKey;
use crate::shard::shares::Shares;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tidegate_protocol::{
    Backlog, Close, Connection, ConsumerId, DeliveryTag, Output, Position, SessionLimits, Settlement,
};

/// The way out of a connection: what the driver puts behind an [`Output`].
pub trait Outlet {
    /// Sends as much as can be sent without waiting and takes it out of the output. When something is left, the outlet sees
    /// to it that [`crate::Shard::flush`] is called once more can be sent.
    fn flush(&mut self, output: &mut Output);

    /// The connection has its answer and can be fed again; called after [`crate::Fed::Waiting`].
    fn resume(&mut self);

    /// What the listener makes of the client now, asked once after each [`crate::Node::reconfigure`]: nothing where it is what it was
    /// when it was last asked, an error where the connection may not stay open whoever its client is.
    fn entrance(&self) -> Result<Option<Entrance>, Close> {
        Ok(None)
    }

    /// When the peer was heard of without the shard's having been told: `now` where something of it waits to be read. Asked before a
    /// machine is told that a moment has come that it waited for.
    fn heard_at(&self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }

    /// Takes the last output: after it nothing follows and the connection is closed for this reason. `client_id` is for the log.
    fn end(self: Box<Self>, output: Output, close: &Close, client_id: Option<&str>);
}

/// One connection.
pub(crate) struct Slot {
    pub(crate) connection: u64,
    /// Which of the node's protocols it speaks.
    pub(crate) protocol: usize,
    /// Away while one of its own methods runs.
    pub(crate) machine: Option<Box<dyn Connection>>,
    pub(crate) output: Output,
    pub(crate) outlet: Option<Box<dyn Outlet>>,
    /// Keys of its consumers, ascending by the machine's name for them.
    pub(crate) consumers: SmallVec<[(ConsumerId, usize); 1]>,
    /// Whether the answer to an attachment is still to come.
    pub(crate) claiming: Option<Box<crate::shard::session::PendingClaim>>,
    /// What it is still to be told of its requests; nothing where no request ever had to wait.
    pub(crate) unanswered: Option<Box<Unanswered>>,
    /// Who the client is.
    pub(crate) admission: Admission,
    /// What the connection publishes carries this origin.
    pub(crate) origin: u64,
    /// What its reply addresses begin with, once it has asked.
    pub(crate) reply_prefix: Option<Box<str>>,
    /// The route of the topic that it published to last.
    pub(crate) last_route: Option<Rc<Route>>,
    /// Deliveries to this connection that its own input caused; by queue, because the same input may end its consumer.
    pub(crate) deferred: VecDeque<(Arc<Queue>, Queued)>,
    /// Whether it is to be closed because a queue of it is full.
    pub(crate) is_overflowed: bool,
    pub(crate) dirty: bool,
    /// How fast it publishes, where that has a limit.
    pub(crate) pace: Option<Box<PublishPace>>,
    /// Whether a consumer waits for room in the output.
    pub(crate) starved: bool,
    /// Since when there is unsent output, and how many deliveries are in it.
    pub(crate) unsent_since: Option<Instant>,
    pub(crate) unsent_deliveries: u64,
    /// The moment for which a timer is set.
    pub(crate) timer: Option<Instant>,
}

impl Slot {
    /// Whether an answer is to come before the connection may be fed.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.claiming.is_some() || self.admission.is_being_checked() || self.is_owed_too_much()
    }

    /// Whether so many of its requests, or of its machine's words behind them, wait for the disk that no more are read.
    pub(super) fn is_owed_too_much(&self) -> bool {
        let held_back = || self.machine.as_ref().map_or(0, |machine| machine.held_back());
        self.unanswered
            .as_ref()
            .is_some_and(|unanswered| unanswered.are_too_many() || held_back() >= UNANSWERED_MAX)
    }

    /// When the peer was heard of beside what was handed in. While nothing is read from it, it cannot be blamed for silence.
    pub(crate) fn heard_at(&self, now: Instant) -> Option<Instant> {
        match self.is_owed_too_much() || self.rests_until(now).is_some() {
            true => Some(now),
            false => self.outlet.as_ref().and_then(|outlet| outlet.heard_at(now)),
        }
    }

    /// Lets the outlet send what it can, and counts it.
    pub(crate) fn send(&mut self, metrics: &WorkerMetrics) {
        let before = self.output.len();
        if let Some(outlet) = &mut self.outlet {
            outlet.flush(&mut self.output);
        }
        if let Some(counters) = metrics.protocols.get(self.protocol) {
            counters.wire_out_bytes.add((before - self.output.len().min(before)) as u64);
        }
    }

    pub(crate) fn consumer_key(&self, consumer: ConsumerId) -> Option<usize> {
        let at = self.consumers.binary_search_by_key(&consumer, |(id, _)| *id).ok()?;
        self.consumers.get(at).map(|(_, key)| *key)
    }

    pub(crate) fn add_consumer(&mut self, consumer: ConsumerId, key: usize) {
        match self.consumers.binary_search_by_key(&consumer, |(id, _)| *id) {
            Ok(_) => debug_assert!(false, "the consumer's name is in use"),
            Err(at) => self.consumers.insert(at, (consumer, key)),
        }
    }

    pub(crate) fn remove_consumer(&mut self, consumer: ConsumerId) -> Option<usize> {
        let at = self.consumers.binary_search_by_key(&consumer, |(id, _)| *id).ok()?;
        Some(self.consumers.remove(at).1)
    }
}

/// One connection's claim on a queue.
pub(crate) struct Consumer {
    pub(crate) slot: usize,
    pub(crate) id: ConsumerId,
    pub(crate) queue: Arc<Queue>,
    /// The session that the queue belongs to, which the connection holds; nothing for a queue that ends with the consumer.
    pub(crate) session: Option<SessionKey>,
    pub(crate) settlement: Settlement,
    credit: u32,
    unsettled: Unsettled,
    next_tag: u64,
    /// Whether something waits, so that nothing may go the direct way.
    pub(crate) backlog: bool,
    /// Retained messages on their way to a new subscription; they come before what waits in the queue.
    pub(crate) replay: Replay,
    /// Deliveries at the front of the queue that come again under their tags; they come before anything else.
    pub(crate) resuming: usize,
    /// Deliveries that were given back, in the order of their delivery; they come before what has not been delivered yet.
    pub(crate) released: BTreeMap<DeliveryTag, Queued>,
    /// Whether it stands on the list of consumers that may have something to receive.
    pub(crate) listed: bool,
    /// The groups that its queue is a member of.
    pub(crate) shares: Shares,
    /// Its place in the replay ring that it follows.
    pub(crate) cursor: Option<Box<Cursor>>,
    /// Whether its next delivery has to be on the disk first, and it is looked after when that has come further.
    pub(crate) awaits_disk: bool,
    /// Whether it takes no offers of groups until it has looked by itself.
    declines: bool,
    /// Whether its queue is told what it holds.
    is_asked_about: bool,
    /// How many deliveries of its backlog it has asked for that have not come; nothing where it takes everything in order.
    wanted_of_backlog: Option<u32>,
}

impl Consumer {
    /// Whether what it is has to outlive the process, where there is a store.
    pub(super) fn is_durable(&self) -> bool {
        self.session.is_some() && self.queue.survives()
    }

    /// Whether an unsettled delivery may come again, so that its message has to be kept.
    pub(super) fn keeps_unsettled(&self) -> bool {
        self.settlement == tidegate_protocol::Settlement::Always || self.queue.survives()
    }

    pub(crate) fn new(
        slot: usize,
        id: ConsumerId,
        queue: Arc<Queue>,
        settlement: Settlement,
        credit: u32,
    ) -> Consumer {
        let (unsettled, replay) = (Unsettled::new(queue.room()), Replay::new(queue.room()));
        let (resuming, last_tag) = queue.resuming();
        let (next_tag, credit) = (1, credit.max(1));
        let (backlog, listed, released) = (false, false, BTreeMap::new());
        let (shares, declines) = (Shares::of(&queue), false);
        let is_asked_about = queue.limits() == SessionLimits::Disk;
        // What a group has for it since before it came.
        queue.call();
        let mut consumer = Consumer {
            slot,
            id,
            queue,
            session: None,
            settlement,
            credit,
            unsettled,
            next_tag,
            backlog,
            replay,
            resuming,
            released,
            listed,
            shares,
            cursor: None,
            awaits_disk: false,
            declines,
            is_asked_about,
            wanted_of_backlog: None,
        };
        last_tag.into_iter().for_each(|tag| consumer.reserve_tags_after(tag));
        consumer
    }

    /// Whether one more delivery may be unsettled: by the peer's credit, and by the bytes that may be kept for it.
    pub(crate) fn has_credit(&self) -> bool {
        self.unsettled.len() < self.credit as usize && self.unsettled.bytes() < self.queue.bytes_max()
    }

    /// How many deliveries more may be unsettled.
    pub(crate) fn credit_left(&self) -> usize {
        match self.has_credit() {
            true => (self.credit as usize).saturating_sub(self.unsettled.len()),
            false => 0,
        }
    }

    /// Deliveries that come again keep their tags, so new tags begin above them.
    pub(crate) fn reserve_tags_after(&mut self, tag: DeliveryTag) {
        self.next_tag = self.next_tag.max(tag.0.saturating_add(1));
    }

    /// The tag of the next delivery. One that is kept in its own queue has the number of its entry, so that it comes again under the same tag
    /// after the end of the process; others have a number that no entry will get.
    #[inline]
    pub(crate) fn next_tag(&self, entry: Option<&Entry>) -> DeliveryTag {
        let entry = entry.filter(|entry| entry.stream.0 == self.queue.id);
        let number = entry.map(|entry| entry.number).or_else(|| self.queue.take_number());
        DeliveryTag(number.map_or(self.next_tag, NonZeroU64::get))
    }

    /// Where a delivery stands in the ring that it follows; nothing where it follows none.
    pub(crate) fn position(&self, position: Option<NonZeroU64>) -> Option<Position> {
        self.cursor.as_deref().map(|cursor| cursor.position(position))
    }

    /// A delivery was made that said where it stands.
    pub(crate) fn note_position_told(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.note_told();
        }
    }

    /// It cannot go on now, and what it has read from the ring it will read again.
    pub(crate) fn hold_no_messages(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.put_back();
        }
    }

    /// Remembers a delivery under its tag until it is settled; without the delivery itself where nothing could be done with it.
    pub(crate) fn hold(&mut self, tag: DeliveryTag, kept: Option<Queued>) {
        self.reserve_tags_after(tag);
        self.unsettled.push(tag, kept);
        self.tell_held();
    }

    /// Settles a tag; `None` where it is unknown.
    pub(crate) fn settle(&mut self, tag: DeliveryTag) -> Option<Option<Queued>> {
        let settled = self.unsettled.remove(tag)?;
        self.tell_held();
        self.backlog |= self.declines;
        Some(settled)
    }

    /// Has newer deliveries come before older ones, or asks for more of these.
    pub(crate) fn arrange(&mut self, backlog: Backlog) {
        let wanted = self.wanted_of_backlog.get_or_insert(0);
        match backlog {
            Backlog::Grows => self.queue.let_backlog_grow(),
            Backlog::Overtaken => self.queue.overtake(),
            Backlog::More(count) => *wanted = wanted.saturating_add(count),
            // Changes nothing about how it takes them.
            Backlog::LastValues => {}
        }
        self.backlog = true;
    }

    /// Whether it does not take everything in order.
    pub(crate) fn arranges(&self) -> bool {
        self.wanted_of_backlog.is_some()
    }

    /// Whether the next delivery of its backlog may come.
    pub(crate) fn may_take_from_backlog(&self) -> bool {
        self.wanted_of_backlog.is_none_or(|wanted| wanted > 0)
    }

    /// The next delivery of its backlog comes. Returns whether it has one.
    pub(crate) fn take_from_backlog(&mut self) -> bool {
        let Some(wanted) = &mut self.wanted_of_backlog else { return false };
        *wanted = wanted.saturating_sub(1);
        true
    }

    /// It takes offers of its groups.
    pub(crate) fn take_offers(&mut self) {
        self.declines = false;
        self.queue.set_takes_offers(true);
    }

    /// It takes no offers until it has looked by itself, which it does when something is settled.
    pub(crate) fn stop_offers(&mut self) {
        self.declines = true;
        self.queue.set_takes_offers(false);
    }

    /// Everything that it holds for its groups: unsettled deliveries, then those that it has given back itself.
    pub(crate) fn take_shared(&mut self) -> Vec<Queued> {
        let released = std::mem::take(&mut self.released).into_values();
        let held = self.take_unsettled().into_iter().chain(released);
        held.filter(|queued| queued.group.is_some()).collect()
    }

    /// Everything unsettled, in the order of delivery, marked as sent before.
    pub(crate) fn take_unsettled(&mut self) -> Vec<Queued> {
        let again = |(tag, queued): (DeliveryTag, Queued)| Queued {
            redelivered: true,
            is_presumed: false,
            tag: Some(tag),
            ..queued.once_more()
        };
        let unsettled = self.unsettled.take();
        self.tell_held();
        unsettled.into_iter().map(again).collect()
    }

    /// A delivery was given back, to be made again.
    pub(crate) fn release(&mut self, tag: DeliveryTag, queued: Queued) {
        self.released.insert(tag, queued);
        self.backlog = true;
        self.tell_held();
    }

    /// Tells its queue what it holds, where somebody may ask. Others spare the write: publishers elsewhere read the same lines of memory.
    fn tell_held(&self) {
        if self.is_asked_about {
            self.queue.set_held(self.unsettled.len() + self.released.len(), self.unsettled.bytes());
        }
    }
}
