//! What the auditor knows of one session.

use super::{StreamId, Tick};
use crate::stamp::Stamp;
use crate::world::{FilterId, TopicId};
use std::collections::{BTreeSet, HashMap};
use tidegate_message::QoS;

/// A message as a client received it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered<'a> {
    /// What its payload says.
    pub(crate) stamp: Stamp,
    /// The level of the delivery.
    pub(crate) qos: QoS,
    /// Whether `qos` must be the lower of the published and the subscribed level.
    pub(crate) checks_qos: bool,
    /// Whether it is marked as one that may have come before.
    pub(crate) dup: bool,
    /// Whether it is marked as a retained message.
    pub(crate) retain: bool,
    /// What the protocol calls the delivery: a packet identifier, a message-id.
    pub(crate) name: Option<&'a str>,
    /// Its subscription identifiers, where the protocol has them.
    pub(crate) identifiers: Option<&'a [u32]>,
}

/// What has become of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionState {
    /// The gateway has granted it.
    Granted,
    /// The client is about to give it up.
    Leaving,
    /// The gateway has ended it.
    Left,
}

/// One subscription from its request to its end; a session may subscribe the same filter again later.
#[derive(Debug)]
pub(super) struct Spell {
    qos: QoS,
    /// Whether its deliveries may carry its identifier, and whether they may come without.
    identified: (bool, bool),
    asked: Tick,
    granted: Option<Tick>,
    leaving: Option<Tick>,
    left: Option<Tick>,
}

impl Spell {
    pub(super) fn new(qos: QoS, is_identified: bool, asked: Tick) -> Spell {
        let identified = (is_identified, !is_identified);
        Spell { qos, identified, asked, granted: None, leaving: None, left: None }
    }

    /// Whether it stands for certain.
    fn stands(&self) -> bool {
        self.granted.is_some() && self.leaving.is_none()
    }
}

/// A subscription because of which a session may have been given a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Justification {
    pub(super) filter: FilterId,
    pub(super) qos: QoS,
    identified: (bool, bool),
}

impl Justification {
    /// The subscription identifier that clients give to a filter.
    pub(super) fn identifier(filter: FilterId) -> u32 {
        filter.0 as u32 + 1
    }

    /// Whether a delivery may carry these identifiers: all of them its subscriptions', none only where one had none.
    pub(super) fn allow(all: &[Justification], identifiers: &[u32]) -> bool {
        let may_name = |identifier: &u32| {
            all.iter().any(|one| one.identified.0 && Justification::identifier(one.filter) == *identifier)
        };
        match identifiers.is_empty() {
            true => all.iter().any(|one| one.identified.1),
            false => identifiers.iter().all(may_name),
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: String,
    /// Counts its connections.
    pub(super) connection: u32,
    spells: HashMap<FilterId, Vec<Spell>>,
    /// The newest message of each stream.
    newest: HashMap<StreamId, u32>,
    owed: HashMap<StreamId, BTreeSet<u32>>,
    owed_count: usize,
    /// For each request of a subscription the oldest retained message that may answer it.
    retained: HashMap<TopicId, Vec<u32>>,
    /// The oldest that may have answered any of them.
    retained_first: HashMap<TopicId, u32>,
}

impl Session {
    pub(super) fn new(name: String) -> Session {
        Session {
            name,
            connection: 0,
            spells: HashMap::new(),
            newest: HashMap::new(),
            owed: HashMap::new(),
            owed_count: 0,
            retained: HashMap::new(),
            retained_first: HashMap::new(),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("{} on its connection {}", self.name, self.connection + 1)
    }

    pub(super) fn owed_count(&self) -> usize {
        self.owed_count
    }

    pub(super) fn filters(&self) -> Vec<FilterId> {
        self.spells.keys().copied().collect()
    }

    pub(super) fn subscribe(&mut self, filter: FilterId, spell: Spell) {
        let spells = self.spells.entry(filter).or_default();
        // The same filter again, at the same level, continues the subscription.
        match spells.last_mut().filter(|last| last.leaving.is_none()) {
            Some(last) => {
                last.identified.0 |= spell.identified.0;
                last.identified.1 |= spell.identified.1;
            }
            None => spells.push(spell),
        }
    }

    pub(super) fn note(&mut self, filter: FilterId, state: SubscriptionState, now: Tick) {
        let Some(last) = self.spells.get_mut(&filter).and_then(|spells| spells.last_mut()) else { return };
        let moment = match state {
            SubscriptionState::Granted => &mut last.granted,
            SubscriptionState::Leaving => &mut last.leaving,
            SubscriptionState::Left => &mut last.left,
        };
        moment.get_or_insert(now);
    }

    /// Whether the session is subscribed for certain.
    pub(super) fn is_granted(&self, filter: FilterId) -> bool {
        self.spells.get(&filter).and_then(|spells| spells.last()).is_some_and(Spell::stands)
    }

    /// Whether the session was subscribed above QoS 0 for certain from before that tick until now.
    pub(super) fn was_granted(&self, filter: FilterId, before: Tick) -> bool {
        let last = self.spells.get(&filter).and_then(|spells| spells.last());
        last.is_some_and(|spell| {
            let granted = spell.granted.is_some_and(|granted| granted < before);
            granted && spell.leaving.is_none() && spell.qos > QoS::AtMostOnce
        })
    }

    /// The subscriptions of these filters that may have stood at some moment since that tick.
    pub(super) fn justifications(&self, filters: &[FilterId], since: Tick) -> Vec<Justification> {
        let spells = filters.iter().filter_map(|filter| Some((filter, self.spells.get(filter)?)));
        let each = spells.flat_map(|(filter, spells)| spells.iter().map(move |spell| (*filter, spell)));
        let may_have_stood = |spell: &Spell| spell.left.is_none_or(|left| left > since.max(spell.asked));
        let standing = each.filter(|(_, spell)| may_have_stood(spell));
        standing
            .map(|(filter, spell)| Justification { filter, qos: spell.qos, identified: spell.identified })
            .collect()
    }

    pub(super) fn subscription_count(&self) -> usize {
        let last = self.spells.values().filter_map(|spells| spells.last());
        last.filter(|spell| spell.stands()).count()
    }

    /// The session is owed a message, unless it has it. An error where a newer one of its stream has been received: the number of that.
    pub(super) fn owe(&mut self, stamp: Stamp, was_received: bool) -> Result<usize, u32> {
        if was_received {
            return Ok(0);
        }
        if let Some(newest) = self.newest.get(&stamp.stream).filter(|newest| **newest > stamp.sequence) {
            return Err(*newest);
        }
        let is_new = self.owed.entry(stamp.stream).or_default().insert(stamp.sequence);
        self.owed_count += usize::from(is_new);
        Ok(usize::from(is_new))
    }

    /// The session has received what it may have been owed. Returns how much is owed less.
    pub(super) fn settle(&mut self, stamp: Stamp) -> usize {
        let Some(owed) = self.owed.get_mut(&stamp.stream) else { return 0 };
        let was_owed = owed.remove(&stamp.sequence);
        if owed.is_empty() {
            self.owed.remove(&stamp.stream);
        }
        self.owed_count -= usize::from(was_owed);
        usize::from(was_owed)
    }

    /// A message is received for the first time. Returns an older one of its stream that is owed; an error where a newer one came
    /// before.
    pub(super) fn advance(&mut self, stamp: Stamp) -> Result<Option<u32>, u32> {
        let newest = self.newest.entry(stamp.stream).or_insert(0);
        if *newest > stamp.sequence {
            return Err(*newest);
        }
        *newest = stamp.sequence;
        let owed = self.owed.get(&stamp.stream).and_then(|owed| owed.first()).copied();
        Ok(owed.filter(|owed| *owed < stamp.sequence))
    }

    pub(super) fn expect_retained(&mut self, topics: &[TopicId], floor: impl Fn(TopicId) -> u32) {
        for topic in topics {
            let floor = floor(*topic);
            self.retained_first.entry(*topic).or_insert(floor);
            if floor > 0 {
                self.retained.entry(*topic).or_default().push(floor);
            }
        }
    }

    /// A retained message answers every request that it is new enough for. An error where it is too old for all of them: the number of
    /// the one that had replaced it.
    pub(super) fn receive_retained(&mut self, topic: TopicId, sequence: u32) -> Result<(), u32> {
        if let Some(floors) = self.retained.get_mut(&topic) {
            floors.retain(|floor| *floor > sequence);
            if floors.is_empty() {
                self.retained.remove(&topic);
            }
        }
        match self.retained_first.get(&topic) {
            Some(first) if *first > sequence => Err(*first),
            _ => Ok(()),
        }
    }

    /// What was retained and asked for on a connection that has ended may have been lost with it.
    pub(super) fn waive_retained(&mut self) {
        self.retained.clear();
    }

    pub(super) fn retained_owed(&self) -> usize {
        self.retained.values().map(Vec::len).sum()
    }

    /// What was owed and never came: messages, and topics whose retained message is missing.
    pub(super) fn lost(&self) -> Vec<(Option<Stamp>, Option<TopicId>)> {
        let owed = self.owed.iter().flat_map(|(stream, owed)| {
            owed.iter().map(|sequence| (Some(Stamp { stream: *stream, sequence: *sequence }), None))
        });
        owed.chain(self.retained.keys().map(|topic| (None, Some(*topic)))).collect()
    }
}
