//! The auditor: told by every client what it asked for, sent and received, it says what should not have happened.
//!
//! It is a plain structure without sockets and clock. Every call is one tick; what a client *asked for* and what it *knows to be
//! granted* are two different ticks, and in between anything may be true. So each rule is one-sided:
//!
//! - a message is **owed** to a session only if its subscription stood, for certain, before the message was sent and until it was
//!   acknowledged;
//! - a message is **justified** if a subscription may have stood at some moment after it was sent.
//!
//! Sessions are the unit: what a session is owed is owed to whatever connection resumes it, and vanishes with the session.
//! A round is audited as a whole and then forgotten, so memory is bounded by what one round publishes.

mod groups;
mod publication;
mod session;
#[cfg(test)]
mod tests;

use crate::stamp::Stamp;
use crate::violations::{Kind, Violations};
use crate::world::{FilterId, Region, TopicId, World};
use groups::Groups;
use publication::Publication;
pub(crate) use session::{Delivered, SubscriptionState};
use session::{Justification, Session, Spell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use tidegate_message::QoS;

/// One client's messages on one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub u32);

/// A session of one client, from its first connection to its end; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub u32);

/// A moment: the number of calls before it.
pub(crate) type Tick = u64;

#[derive(Debug)]
struct Stream {
    client: usize,
    topic: TopicId,
    /// The sequence number that was given out last.
    last: u32,
    /// The newest retained message that the gateway has acknowledged.
    retained: u32,
}

/// What was counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Publications by their level.
    pub(crate) published: [u64; 3],
    /// Publications that were sent again after a reconnect.
    pub(crate) published_again: u64,
    /// Acknowledged publications.
    pub(crate) acknowledged: u64,
    /// Deliveries by their level.
    pub(crate) delivered: [u64; 3],
    /// Deliveries that came again, marked so.
    pub(crate) redelivered: u64,
    /// Retained messages that new subscriptions were given.
    pub(crate) retained: u64,
    /// Deliveries that were owed to a session, and arrived.
    pub(crate) kept: u64,
    /// Deliveries that were owed to a session that has ended.
    pub(crate) waived: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Auditor {
    world: Rc<World>,
    tick: Tick,
    streams: Vec<Stream>,
    by_client: HashMap<(usize, TopicId), StreamId>,
    publications: HashMap<Stamp, Publication>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: u32,
    /// The sessions that ever asked for a filter, by filter.
    subscribers: Vec<BTreeSet<SessionId>>,
    groups: Groups,
    owed: usize,
    tally: Tally,
    violations: Violations,
}

impl Auditor {
    /// Knows of nothing yet.
    pub(crate) fn new(world: Rc<World>, violations: Violations) -> Auditor {
        let filters = world.filter_count();
        Auditor {
            world,
            tick: 0,
            streams: Vec::new(),
            by_client: HashMap::new(),
            publications: HashMap::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            subscribers: vec![BTreeSet::new(); filters],
            groups: Groups::default(),
            owed: 0,
            tally: Tally::default(),
            violations,
        }
    }

    fn now(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    /// A session begins; `name` is for people.
    pub(crate) fn session_begins(&mut self, name: String) -> SessionId {
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.insert(id, Session::new(name));
        id
    }

    /// A session's connection has ended; what it had not acknowledged may come again or go to others.
    pub(crate) fn connection_ends(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.connection += 1;
            session.waive_retained();
        }
    }

    /// A session is about to end; nothing is owed to it any more.
    pub(crate) fn session_ends(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.owed -= session.owed_count();
        self.tally.waived += session.owed_count() as u64;
        let now = self.now();
        for filter in session.filters() {
            self.subscribers[filter.0].remove(&id);
            if self.world.filter(filter).is_shared {
                let publications = &self.publications;
                let qos = |stamp| publications.get(&stamp).map(|publication| publication.qos);
                let waived =
                    self.groups.end_member(filter, id, now, |stamp| qos(stamp) == Some(QoS::ExactlyOnce));
                self.owed -= waived;
                self.tally.waived += waived as u64;
            }
            self.dissolve_if_deserted(filter);
        }
    }

    /// The gateway knows that a session has ended: it has closed its connection, or begun another session under the same name.
    pub(crate) fn session_end_is_known(&mut self, id: SessionId) {
        let now = self.now();
        self.groups.confirm_end(id, now);
    }

    /// A subscription is about to be asked for, with [`Auditor::identifier`] where the protocol has identifiers.
    pub(crate) fn subscribing(&mut self, id: SessionId, filter: FilterId, qos: QoS, is_identified: bool) {
        let asked = self.now();
        self.subscribers[filter.0].insert(id);
        self.groups.note_member(filter);
        let (streams, by_client, world) = (&self.streams, &self.by_client, &self.world);
        // A state topic has one writer, so the newest acknowledged message of its stream is the oldest that may come.
        let floor = |topic| {
            let writer = world.state_writer(topic).and_then(|client| by_client.get(&(client, topic)));
            writer.map_or(0, |stream| streams[stream.0 as usize].retained)
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let topics = &world.filter(filter).topics;
        if topics.iter().any(|topic| world.region(*topic) == Region::State) {
            session.expect_retained(topics, floor);
        }
        session.subscribe(filter, Spell::new(qos, is_identified, asked));
    }

    /// The subscription identifier that belongs to a filter.
    pub(crate) fn identifier(filter: FilterId) -> u32 {
        Justification::identifier(filter)
    }

    /// The gateway has granted it.
    pub(crate) fn subscribed(&mut self, id: SessionId, filter: FilterId) {
        let now = self.now();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.note(filter, SubscriptionState::Granted, now);
        }
    }

    /// A subscription is about to be given up.
    pub(crate) fn unsubscribing(&mut self, id: SessionId, filter: FilterId) {
        let now = self.now();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.note(filter, SubscriptionState::Leaving, now);
        }
        self.dissolve_if_deserted(filter);
    }

    /// The gateway has ended it.
    pub(crate) fn unsubscribed(&mut self, id: SessionId, filter: FilterId) {
        let now = self.now();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.note(filter, SubscriptionState::Left, now);
        }
    }

    /// A group without a certain member may be gone, and with it what waited for it.
    fn dissolve_if_deserted(&mut self, filter: FilterId) {
        let sessions = self.subscribers[filter.0].iter().filter_map(|id| self.sessions.get(id));
        if self.world.filter(filter).is_shared
            && !sessions.into_iter().any(|session| session.is_granted(filter))
        {
            let waived = self.groups.dissolve(filter);
            self.owed -= waived;
            self.tally.waived += waived as u64;
        }
    }

    /// The next publication of a client on a topic, about to be sent. A will is one as well: its stamp is taken when the client
    /// connects, and it is [`Auditor::publishing`] only when the connection ends badly.
    pub(crate) fn next_stamp(&mut self, client: usize, topic: TopicId) -> Stamp {
        let streams = &mut self.streams;
        let stream = *self.by_client.entry((client, topic)).or_insert_with(|| {
            streams.push(Stream { client, topic, last: 0, retained: 0 });
            StreamId(streams.len() as u32 - 1)
        });
        let sequence = &mut streams[stream.0 as usize].last;
        *sequence += 1;
        Stamp { stream, sequence: *sequence }
    }

    /// A publication is about to be sent.
    pub(crate) fn publishing(&mut self, stamp: Stamp, qos: QoS, is_retained: bool) {
        let sent = self.now();
        self.tally.published[usize::from(qos.number())] += 1;
        self.publications.insert(stamp, Publication::new(qos, is_retained, sent));
    }

    /// A publication is about to be sent again, because the connection ended before its acknowledgement.
    pub(crate) fn publishing_again(&mut self, stamp: Stamp) {
        self.tally.published_again += 1;
        if let Some(publication) = self.publications.get_mut(&stamp) {
            publication.sends += 1;
        }
    }

    /// The gateway has acknowledged a publication: whoever has subscribed for certain is owed it from now on.
    pub(crate) fn acknowledged(&mut self, stamp: Stamp) {
        self.now();
        self.tally.acknowledged += 1;
        let stream = &mut self.streams[stamp.stream.0 as usize];
        let Some(publication) = self.publications.get(&stamp) else { return };
        if publication.is_retained {
            stream.retained = stream.retained.max(stamp.sequence);
        }
        if publication.qos == QoS::AtMostOnce {
            return;
        }
        let (world, sent) = (self.world.clone(), publication.sent);
        for filter in world.filters_of(stream.topic) {
            let sessions = self.subscribers[filter.0].iter().copied();
            let certain = sessions
                .filter(|id| self.sessions.get(id).is_some_and(|session| session.was_granted(*filter, sent)));
            let certain: Vec<SessionId> = certain.collect();
            match world.filter(*filter).is_shared {
                true if certain.is_empty() => {}
                true => self.owe_group(*filter, stamp),
                false => certain.into_iter().for_each(|id| self.owe(id, stamp)),
            }
        }
    }

    fn owe_group(&mut self, group: FilterId, stamp: Stamp) {
        if let Some(publication) = self.publications.get(&stamp) {
            self.owed += self.groups.owe(group, stamp, publication);
        }
    }

    fn owe(&mut self, id: SessionId, stamp: Stamp) {
        let (Some(session), Some(publication)) = (self.sessions.get_mut(&id), self.publications.get(&stamp))
        else {
            return;
        };
        match session.owe(stamp, publication.was_received_by(id)) {
            Ok(owed) => self.owed += owed,
            Err(newest) => {
                let (session, message) = (session.describe(), self.describe(stamp));
                self.violations.add(Kind::Skipped, || {
                    format!("{session} was never given {message}, but has number {newest} of its stream")
                });
            }
        }
    }

    /// What a session still has to receive.
    pub(crate) fn owed(&self) -> usize {
        self.owed + self.sessions.values().map(Session::retained_owed).sum::<usize>()
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Sessions that stand.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Subscriptions that stand.
    pub(crate) fn subscription_count(&self) -> usize {
        self.sessions.values().map(Session::subscription_count).sum()
    }

    /// Where violations are gathered.
    pub(crate) fn violations(&mut self) -> &mut Violations {
        &mut self.violations
    }

    /// The name of a publication for people.
    fn describe(&self, stamp: Stamp) -> String {
        let Some(stream) = self.streams.get(stamp.stream.0 as usize) else { return format!("{stamp:?}") };
        let topic = self.world.topic(stream.topic);
        let Some(publication) = self.publications.get(&stamp) else {
            return format!("number {} of client {} on {topic}", stamp.sequence, stream.client);
        };
        let (qos, sends, sent) = (publication.qos, publication.sends, publication.sent);
        format!(
            "number {} of client {} on {topic} (QoS {qos}, sent {sends} times, first at tick {sent})",
            stamp.sequence, stream.client
        )
    }

    /// A session has received a message.
    pub(crate) fn received(&mut self, id: SessionId, topic: &str, delivered: Delivered<'_>) {
        let now = self.now();
        let stamp = delivered.stamp;
        self.tally.delivered[usize::from(delivered.qos.number())] += 1;
        self.tally.redelivered += u64::from(delivered.dup);
        let known = self.streams.get(stamp.stream.0 as usize).map(|stream| stream.topic);
        let is_right_topic = known.is_some_and(|known| self.world.topic(known) == topic);
        let (Some(known), true, Some(publication)) = (known, is_right_topic, self.publications.get(&stamp))
        else {
            return self.accuse(id, Kind::Phantom, &delivered, now, "was never published (there)");
        };
        let Some(session) = self.sessions.get(&id) else { return };
        let filters = self.world.filters_of(known);
        let since = if delivered.retain { 0 } else { publication.sent };
        let justified = session.justifications(filters, since);
        if justified.is_empty() {
            return self.accuse(id, Kind::WrongReceiver, &delivered, now, "matches no subscription of it");
        }
        let levels = || justified.iter().map(|one| publication.qos.min(one.qos));
        if delivered.checks_qos && !levels().any(|qos| qos == delivered.qos) {
            let levels: Vec<QoS> = levels().collect();
            return self.accuse(id, Kind::WrongQoS, &delivered, now, &format!("is due at one of {levels:?}"));
        }
        if delivered.identifiers.is_some_and(|given| !Justification::allow(&justified, given)) {
            return self.accuse(id, Kind::WrongIdentifier, &delivered, now, "has other identifiers");
        }
        match (delivered.retain, self.world.region(known)) {
            (true, _) => self.received_retained(id, known, delivered, now),
            (false, Region::Work) => {
                let groups: Vec<FilterId> = justified.iter().map(|one| one.filter).collect();
                self.received_shared(id, &groups, delivered, now);
            }
            (false, _) => self.received_live(id, delivered, now),
        }
    }

    fn received_retained(&mut self, id: SessionId, topic: TopicId, delivered: Delivered<'_>, now: Tick) {
        self.tally.retained += 1;
        let publication = self.publications.get(&delivered.stamp);
        let Some(publication) = publication.filter(|publication| publication.is_retained) else {
            return self.accuse(id, Kind::WrongRetain, &delivered, now, "was not published as retained");
        };
        // A QoS 1 message that is sent again is a new one, and replaces even what was sent after its first copy.
        let sequence = if publication.sends_that_count() > 1 { u32::MAX } else { delivered.stamp.sequence };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Err(first) = session.receive_retained(topic, sequence) {
            let why = format!("had been replaced by number {first} before it subscribed");
            self.accuse(id, Kind::StaleRetained, &delivered, now, &why);
        }
    }

    fn received_live(&mut self, id: SessionId, delivered: Delivered<'_>, now: Tick) {
        let stamp = delivered.stamp;
        let (Some(session), Some(publication)) =
            (self.sessions.get_mut(&id), self.publications.get_mut(&stamp))
        else {
            return;
        };
        let earlier = publication.receive(id, session.connection, delivered.dup, now);
        let settled = session.settle(stamp);
        self.owed -= settled;
        self.tally.kept += settled as u64;
        if earlier.total > 0 {
            // A publisher that sends a QoS 1 message again makes a new message of it; the gateway may mark what it repeats itself.
            let is_allowed = match delivered.dup {
                true => delivered.qos == QoS::AtLeastOnce,
                false => earlier.fresh < publication.sends_that_count(),
            };
            if !is_allowed {
                let (connection, at) = earlier.last;
                let (times, connection) = (earlier.total, connection + 1);
                let what =
                    format!("had come {times} times before, at last at tick {at} on connection {connection}");
                self.accuse(id, Kind::Duplicate, &delivered, now, &what);
            }
            return;
        }
        let skipped = session.advance(stamp);
        match skipped {
            // The copy that was sent first may have come before the session subscribed.
            Err(_) if publication.sends_that_count() > 1 => {}
            Err(newest) => {
                let what = format!("comes after number {newest}");
                self.accuse(id, Kind::OutOfOrder, &delivered, now, &what);
            }
            Ok(Some(missing)) => {
                let owed = Stamp { sequence: missing, ..stamp };
                let what = format!("comes before {}, which is owed", self.describe(owed));
                self.accuse(id, Kind::Skipped, &delivered, now, &what);
            }
            Ok(None) => {}
        }
    }

    fn received_shared(&mut self, id: SessionId, groups: &[FilterId], delivered: Delivered<'_>, now: Tick) {
        let stamp = delivered.stamp;
        let (Some(session), Some(publication)) = (self.sessions.get(&id), self.publications.get_mut(&stamp))
        else {
            return;
        };
        publication.receive(id, session.connection, delivered.dup, now);
        let settled = self.groups.settle(groups, delivered.identifiers, stamp, publication);
        self.owed -= settled;
        self.tally.kept += settled as u64;
        let topic = self.streams[stamp.stream.0 as usize].topic;
        let groups = self.world.filters_of(topic).iter();
        let group_count = groups.filter(|group| self.groups.has_existed(**group)).count();
        let sessions = &self.sessions;
        let final_receipts = publication.final_receipts(|session, connection| {
            sessions.get(&session).is_some_and(|session| session.connection == connection)
        });
        if final_receipts > group_count * publication.sends_that_count() {
            self.accuse(id, Kind::Duplicate, &delivered, now, "went to too many members of its groups");
        }
    }

    fn accuse(&mut self, id: SessionId, kind: Kind, delivered: &Delivered<'_>, now: Tick, why: &str) {
        let message = self.describe(delivered.stamp);
        let session = self.sessions.get(&id).map_or_else(|| format!("{id:?}"), Session::describe);
        let Delivered { qos, dup, retain, identifiers, name, .. } = delivered;
        self.violations.add(kind, || {
            format!(
                "at tick {now} {session} received {message}, which {why}; delivered as {name:?} with QoS {qos}, dup {dup}, \
                 retain {retain}, identifiers {identifiers:?}"
            )
        });
    }

    /// The round ends: whatever is still owed is lost.
    pub(crate) fn finish_round(&mut self) {
        for (id, session) in &self.sessions {
            let lost = session.lost();
            for (stamp, topic) in lost {
                let message = stamp.map(|stamp| self.describe(stamp));
                let name = session.describe();
                self.violations.add(Kind::Lost, || match message {
                    Some(message) => format!("{name} ({id:?}) never received {message}"),
                    None => format!("{name} ({id:?}) never received what is retained on topic {topic:?}"),
                });
            }
        }
        for (filter, stamp) in self.groups.lost() {
            let (message, group) = (self.describe(stamp), &self.world.filter(filter).text);
            self.violations.add(Kind::Lost, || format!("no member of {group} ever received {message}"));
        }
    }

    /// Everybody has left: a new round begins with an empty gateway.
    pub(crate) fn forget_round(&mut self) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|id| self.session_ends(id));
        self.publications = HashMap::new();
        self.groups = Groups::default();
        self.owed = 0;
        self.streams.iter_mut().for_each(|stream| stream.retained = 0);
    }
}
