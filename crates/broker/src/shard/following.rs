//! Consumers that follow a replay ring: how they begin, how they are served, how they end.
//!
//! Publishers know nothing of them. A ring tells each worker once, by letter, that there is more; the worker then serves its audience, the
//! consumers that have read everything so far, message by message, and encodes a message once for all of them. A consumer that cannot
//! take a message leaves the audience with its place and reads on by itself when it has credit and room again, a few messages a turn.

use super::Shard;
use super::cursor::Cursor;
use super::deliver::make_room;
use super::publication::{Publication, Source};
use super::replay::Replayed;
use crate::access::{Rights, Rules};
use crate::mailbox::Letter;
use crate::queue::Popped;
use crate::queued::needs_settling;
use crate::ring::Ring;
use crate::route::Route;
use crate::shard::slot::Consumer;
use crate::tree::SubscriptionTree;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use tidegate_protocol::{Close, CloseReason, Follow, Following, Refusal, Settlement, Start, StateDelivery};

/// Messages that are read from a ring at a time: its lock is held no longer than it takes to count so many references.
const READ_MAX: usize = 64;
/// Messages that one consumer which is behind looks at in a turn.
const LOOKED_AT_MAX: usize = 512;
/// Deliveries to an audience in a turn.
const SERVED_MAX: usize = 4096;

/// The consumers of this worker that have read everything of a ring.
#[derive(Debug)]
pub(super) struct Audience {
    ring: Arc<Ring>,
    /// Everything up to this position has been given to them.
    read_to: u64,
    /// Their keys, by their filters.
    members: SubscriptionTree<()>,
    /// Whether it stands on the list of those that have more to receive.
    is_listed: bool,
}

/// What became of one message for one member of an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    /// It has it, or is not to have it.
    Yes,
    /// It cannot take it now.
    Behind,
}

/// What reading on has given a consumer that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOn {
    /// Something to send.
    Found,
    /// Nothing yet, and it has looked at enough for one turn.
    Searching,
    /// Nothing more: it stands among the audience now.
    Nothing,
}

impl Shard {
    /// Lets a consumer follow a ring. The rights to the filter have been looked at.
    pub(super) fn follow(
        &mut self,
        slot: usize,
        follow: &Follow<'_>,
        now: Instant,
    ) -> Result<Following, Refusal> {
        self.check_size(follow.filter.as_str().as_bytes())?;
        let clearance = self.check_filter(slot, follow.filter, now)?;
        let here = self.slots.get(slot).ok_or(Refusal::UnknownConsumer)?;
        let key = here.consumer_key(follow.consumer).ok_or(Refusal::UnknownConsumer)?;
        let consumer = self.consumers.get_mut(key);
        let consumer = consumer.filter(|consumer| consumer.session.is_none() && consumer.cursor.is_none());
        let consumer = consumer.ok_or(Refusal::UnknownConsumer)?;
        let router = &self.node.router;
        let ring = router.rings.of_filter(follow.filter).ok_or(Refusal::NotInReplayRing)?;
        let known = follow.from.and_then(|text| router.rings.read_token(&ring, text));
        let (token, search) = match (known, follow.state) {
            (Some(token), _) => {
                let state =
                    token.state_before.map(|number| router.search_state_before(follow.filter, number));
                (token, state)
            }
            (None, StateDelivery::Retained) => router.begin_with_state(&ring, follow.filter, now),
            (None, StateDelivery::Nothing) => (router.begin_following(&ring), None),
        };
        let mut cursor = Cursor::new(ring, follow.filter, follow.qos_max, clearance, token);
        router.add_follower(&cursor.ring, follow.filter).map_err(|_| Refusal::SubscriptionsFull)?;
        if let Some(search) = search {
            let state = Replayed::new(search, Vec::new(), cursor.grant(), None);
            if consumer.replay.push(state, self.limits.subscriptions_per_session).is_err() {
                router.remove_follower(&cursor.ring, follow.filter);
                return Err(Refusal::QueueFull);
            }
        }
        let start = match (follow.from, known) {
            (None, _) => Start::Began,
            (Some(_), Some(_)) => Start::Continued,
            (Some(_), None) => {
                cursor.note_gap();
                Start::Gap
            }
        };
        self.metrics.resumes.at(start).add(1);
        consumer.cursor = Some(Box::new(cursor));
        consumer.backlog = true;
        self.list(key);
        Ok(Following { start, token })
    }

    /// A consumer that followed a ring ends.
    pub(super) fn stop_following(&mut self, key: usize, cursor: &Cursor) {
        self.leave_audience(key, cursor);
        self.node.router.remove_follower(&cursor.ring, &cursor.filter);
    }

    fn leave_audience(&mut self, key: usize, cursor: &Cursor) {
        let Some(audience) = self.audiences.get_mut(&cursor.ring.id) else { return };
        audience.members.remove(&cursor.filter, key as u64);
        if audience.members.len() == 0 {
            self.audiences.remove(&cursor.ring.id);
        }
    }

    /// Puts a message into the ring of its route, if that has one.
    pub(super) fn append_to_ring(&mut self, route: &Route, publication: &mut Publication<'_>) {
        if let Some(ring) = route.ring.as_deref() {
            let watchers = ring.append(&publication.message());
            self.tell_watchers(Some(ring), watchers);
        }
    }

    /// Tells the workers that wait for a ring's next message, one bit each.
    pub(super) fn tell_watchers(&mut self, ring: Option<&Ring>, watchers: u64) {
        let (Some(ring), mut workers) = (ring, watchers) else { return };
        while workers != 0 {
            let worker = workers.trailing_zeros() as u8;
            workers &= workers - 1;
            match worker == self.worker {
                true => self.list_audience(ring.id),
                false => self.letter_to(worker, Letter::RingHasMore(ring.id)),
            }
        }
    }

    /// Puts the audience of a ring on the list of those that have more to receive.
    pub(super) fn list_audience(&mut self, ring: u64) {
        if let Some(audience) = self.audiences.get_mut(&ring).filter(|audience| !audience.is_listed) {
            audience.is_listed = true;
            self.listed_audiences.push(ring);
        }
    }

    /// Serves every listed audience, as far as one turn goes.
    pub(super) fn serve_audiences(&mut self, now: Instant) {
        for ring in std::mem::take(&mut self.listed_audiences) {
            let Some(mut audience) = self.audiences.remove(&ring) else { continue };
            audience.is_listed = self.serve(&mut audience, now) == ReadOn::Searching;
            if audience.is_listed {
                self.listed_audiences.push(ring);
            }
            if audience.members.len() > 0 {
                self.audiences.insert(ring, audience);
            }
        }
    }

    /// Gives an audience what follows, until nothing does or the turn is over.
    fn serve(&mut self, audience: &mut Audience, now: Instant) -> ReadOn {
        let rules = self.node.router.rules();
        let (mut members, mut served) = (Vec::new(), 0);
        while served < SERVED_MAX {
            let read = audience.ring.read(audience.read_to, READ_MAX, self.worker);
            if read.is_overtaken {
                self.disperse(audience);
            }
            if read.is_overtaken || read.messages.is_empty() {
                return ReadOn::Nothing;
            }
            for (position, message) in (read.first..).map_while(NonZeroU64::new).zip(&read.messages) {
                audience.members.for_each_match(&message.topic, |key, ()| members.push(key as usize));
                self.encoded.start(members.len() > 1);
                let mut publication = Publication { position: Some(position), ..Publication::kept(message) };
                for key in members.drain(..) {
                    served += 1;
                    if self.serve_member(key, &mut publication, rules.as_ref(), now) == Served::Behind {
                        self.fall_behind(key, audience, position);
                    }
                }
                audience.read_to = position.get();
                if served >= SERVED_MAX {
                    break;
                }
            }
        }
        ReadOn::Searching
    }

    /// Gives a message to one member of an audience.
    fn serve_member(
        &mut self,
        key: usize,
        publication: &mut Publication<'_>,
        rules: Option<&Rules>,
        now: Instant,
    ) -> Served {
        let Some(consumer) = self.consumers.get_mut(key) else { return Served::Yes };
        let Some(cursor) = consumer.cursor.as_deref() else { return Served::Yes };
        // It has read further by itself before it joined the others.
        if publication.position.is_some_and(|position| position.get() <= cursor.read_to) {
            return Served::Yes;
        }
        let may_receive = |rules: &Rules| {
            rules.have_cleared(cursor.clearance)
                || rules.may_receive(consumer.queue.identity().as_deref(), publication.topic)
        };
        if !rules.is_none_or(may_receive) {
            return Served::Yes;
        }
        if publication.expires_at.is_some_and(|deadline| deadline <= now) {
            self.metrics.count_dropped("expired", 1);
            return Served::Yes;
        }
        let grant = cursor.grant();
        let Some(slot) = self.slots.get_mut(consumer.slot) else { return Served::Yes };
        let needs_settling = needs_settling(consumer.settlement, publication.qos.min(grant.qos));
        let may_send = !consumer.backlog && (!needs_settling || consumer.has_credit());
        if slot.machine.is_none() || !may_send || !make_room(slot, &self.metrics, self.limits.output_bytes) {
            slot.starved = true;
            return Served::Behind;
        }
        self.buffers.lend(&mut slot.output);
        let sent = publication.send(&grant, Source::default(), consumer, slot, &mut self.encoded, now);
        let slot = consumer.slot;
        self.note_live(slot, sent, publication, now);
        Served::Yes
    }

    /// A member of an audience goes on by itself, from the message that it could not take.
    fn fall_behind(&mut self, key: usize, audience: &mut Audience, position: NonZeroU64) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Some(cursor) = consumer.cursor.as_deref_mut() else { return };
        audience.members.remove(&cursor.filter, key as u64);
        (cursor.read_to, cursor.is_live) = (position.get() - 1, false);
        consumer.backlog = true;
        self.list(key);
    }

    /// The whole audience was overtaken: each member finds out by itself what is left for it.
    fn disperse(&mut self, audience: &mut Audience) {
        let mut keys = Vec::new();
        for (key, consumer) in &mut self.consumers {
            let cursor = consumer.cursor.as_deref_mut().filter(|cursor| cursor.is_live);
            let Some(cursor) = cursor.filter(|cursor| cursor.ring.id == audience.ring.id) else { continue };
            (cursor.read_to, cursor.is_live) = (cursor.read_to.max(audience.read_to), false);
            consumer.backlog = true;
            keys.push(key);
        }
        audience.members = SubscriptionTree::new();
        keys.into_iter().for_each(|key| self.list(key));
    }

    /// Lets a consumer that has sent everything it had read on. At the end of the ring it becomes one of the audience.
    pub(super) fn read_on(&mut self, key: usize, rights: &Rights) -> ReadOn {
        let Some(consumer) = self.consumers.get_mut(key) else { return ReadOn::Nothing };
        // No more than it can send: the rest would be read again.
        let count = match consumer.settlement {
            Settlement::Automatic => READ_MAX,
            _ => consumer.credit_left().clamp(1, READ_MAX),
        };
        let Some(cursor) = consumer.cursor.as_deref_mut().filter(|cursor| !cursor.is_live) else {
            return ReadOn::Nothing;
        };
        while cursor.looked_at < LOOKED_AT_MAX {
            let read = cursor.ring.read(cursor.read_to, count, self.worker);
            if read.is_overtaken {
                cursor.note_gap();
                self.metrics.replay_overruns.add(1);
            }
            if read.messages.is_empty() {
                (cursor.read_to, cursor.looked_at, cursor.is_live) = (read.first - 1, 0, true);
                self.join_audience(key);
                return ReadOn::Nothing;
            }
            cursor.take_in(read.messages, read.first, |message| rights.include(&message.topic));
            if cursor.front().is_some() {
                return ReadOn::Found;
            }
        }
        cursor.looked_at = 0;
        ReadOn::Searching
    }

    fn join_audience(&mut self, key: usize) {
        let Some(cursor) = self.consumers.get(key).and_then(|consumer| consumer.cursor.as_deref()) else {
            return;
        };
        let new = || Audience {
            ring: cursor.ring.clone(),
            read_to: cursor.read_to,
            members: SubscriptionTree::new(),
            is_listed: false,
        };
        let audience = self.audiences.entry(cursor.ring.id).or_insert_with(new);
        audience.members.insert(&cursor.filter, key as u64, ());
    }

    /// Looks after the consumers of a connection whose ring, or whose right to follow it, is gone after a reconfiguration. Where nothing
    /// is left for one of them the connection's end is due.
    pub(super) fn review_following(&mut self, slot: usize) -> Option<Close> {
        let keys: Vec<usize> = self.slots.get(slot)?.consumers.iter().map(|(_, key)| *key).collect();
        keys.into_iter().find_map(|key| self.review_cursor(key))
    }

    fn review_cursor(&mut self, key: usize) -> Option<Close> {
        let consumer = self.consumers.get_mut(key)?;
        let rings = &self.node.router.rings;
        let ring = consumer.cursor.as_deref()?.ring.clone();
        if rings.are_with(&ring) {
            return None;
        }
        let mut cursor = consumer.cursor.take()?;
        let other = rings.of_filter(&cursor.filter);
        self.leave_audience(key, &cursor);
        let Some(other) = other else {
            self.node.router.remove_follower(&cursor.ring, &cursor.filter);
            let detail = format!("no replay ring holds the topics of {:?} any more", cursor.filter.as_str());
            return Some(Close::new(CloseReason::ReplayEnded, detail));
        };
        cursor.ring.remove_follower();
        other.add_follower();
        let began = self.node.router.rings.token(&other, 0, None);
        cursor.move_to(other, began);
        cursor.is_live = false;
        let consumer = self.consumers.get_mut(key)?;
        (consumer.cursor, consumer.backlog) = (Some(cursor), true);
        self.list(key);
        None
    }
}

/// The next message that a consumer has read from the ring that it follows.
pub(super) fn next_followed(consumer: &mut Consumer, now: Instant) -> (Popped, usize) {
    let (settlement, has_credit) = (consumer.settlement, consumer.has_credit());
    let Some(cursor) = consumer.cursor.as_deref_mut() else { return (Popped::Empty, 0) };
    let mut expired = 0;
    while let Some(message) = cursor.front() {
        if message.is_expired(now) {
            cursor.skip();
            expired += 1;
            continue;
        }
        if needs_settling(settlement, message.qos.min(cursor.grant().qos)) && !has_credit {
            return (Popped::NeedsCredit, expired);
        }
        return (cursor.pop().map_or(Popped::Empty, Popped::Delivery), expired);
    }
    (Popped::Empty, expired)
}
