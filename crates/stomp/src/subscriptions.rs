//! The subscriptions of one connection: names given by the client, consumers given to the broker, and what waits for an ACK.

use crate::codec::{Command, Version, push_decimal, push_header};
use crate::names::is_temporary;
use crate::reason::Fault;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use tidegate_protocol::{ConsumerId, DeliveryTag, Outcome, Settlement};

/// The `ack` header of a SUBSCRIBE ([STOMP-1.2/SUBSCRIBE ack Header]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckMode {
    /// Sent is done.
    Auto,
    /// An ACK counts for its message and all before it.
    Client,
    /// An ACK counts for its message only.
    ClientIndividual,
}

/// How the client calls a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// By its `id` header.
    Id(Box<str>),
    /// By its destination: 1.0 does not ask for an id ([STOMP-1.0/UNSUBSCRIBE]).
    Destination(Box<str>),
}

/// What a SUBSCRIBE asks for, as far as the machine has to know it later.
#[derive(Debug)]
pub(crate) struct Terms<'f> {
    /// How the client calls it.
    pub(crate) name: Name,
    /// Its destination as the client wrote it.
    pub(crate) destination: &'f str,
    /// What has to be acknowledged.
    pub(crate) ack_mode: AckMode,
    /// What a NACK means that does not say it.
    pub(crate) unwanted: Outcome,
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// How its MESSAGE frames begin, up to the message's own id.
    pub(crate) frame_start: Box<[u8]>,
    name: Name,
    /// For a client that may end it by its destination, and where it is a temporary queue.
    destination: Option<Box<str>>,
    ack_mode: AckMode,
    unwanted: Outcome,
    /// Ascending; the broker's credit bounds it.
    unsettled: VecDeque<DeliveryTag>,
}

/// How an ACK or NACK names its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference<'f> {
    /// The value of the header that names the delivery.
    pub(crate) id: &'f str,
    /// The subscription that it came by, where the version says so too.
    pub(crate) subscription: Option<&'f str>,
}

/// Deliveries that an ACK or NACK has taken out of what waits, and what is to become of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) consumer: ConsumerId,
    pub(crate) outcome: Outcome,
    pub(crate) tags: SmallVec<[DeliveryTag; 4]>,
}

/// All subscriptions of a connection. Consumers are numbered upwards and not used again, so that a late ACK is told from a wrong one.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    version: Version,
    limit: usize,
    next_consumer: u32,
    by_consumer: HashMap<ConsumerId, Subscription, RandomState>,
    consumers: HashMap<Name, ConsumerId, RandomState>,
    /// How many subscriptions there are to each temporary queue.
    temporary: HashMap<Box<str>, usize, RandomState>,
}

impl AckMode {
    /// Reads the header; a missing one is `auto`. 1.0 has no `client-individual`, but nothing else could be meant by it.
    pub(crate) fn parse(header: Option<&str>) -> Result<AckMode, Fault> {
        match header {
            None | Some("auto") => Ok(AckMode::Auto),
            Some("client") => Ok(AckMode::Client),
            Some("client-individual") => Ok(AckMode::ClientIndividual),
            Some(_) => {
                Err(Fault::InvalidHeader { name: "ack", expected: "`auto`, `client` or `client-individual`" })
            }
        }
    }

    /// What the broker has to know of it.
    pub(crate) fn settlement(self) -> Settlement {
        match self {
            AckMode::Auto => Settlement::Automatic,
            AckMode::Client | AckMode::ClientIndividual => Settlement::Always,
        }
    }
}

impl Name {
    fn id(&self) -> Option<&str> {
        match self {
            Name::Id(id) => Some(id),
            Name::Destination(_) => None,
        }
    }
}

impl Subscription {
    fn new(version: Version, terms: Terms<'_>) -> Subscription {
        let mut frame_start = Vec::new();
        frame_start.extend_from_slice(Command::Message.as_str().as_bytes());
        frame_start.push(b'\n');
        if let Some(id) = terms.name.id() {
            push_header(&mut frame_start, version, "subscription", id);
        }
        frame_start.extend_from_slice(b"message-id:");
        let keeps_destination = version == Version::V1_0 || is_temporary(terms.destination);
        Subscription {
            frame_start: frame_start.into(),
            name: terms.name,
            destination: keeps_destination.then(|| terms.destination.into()),
            ack_mode: terms.ack_mode,
            unwanted: terms.unwanted,
            unsettled: VecDeque::new(),
        }
    }

    /// Remembers a delivery that an ACK or NACK will settle.
    pub(crate) fn note_unsettled(&mut self, tag: DeliveryTag) {
        self.unsettled.push_back(tag);
    }

    /// Takes everything that an ACK or NACK of this delivery is about.
    fn take(&mut self, tag: DeliveryTag) -> Result<SmallVec<[DeliveryTag; 4]>, Fault> {
        // Most clients acknowledge in order.
        let at = match self.unsettled.front() {
            Some(oldest) if *oldest == tag => 0,
            _ => self.unsettled.binary_search(&tag).map_err(|_| Fault::UnknownAcknowledgement)?,
        };
        Ok(match self.ack_mode {
            AckMode::Client => self.unsettled.drain(..=at).collect(),
            AckMode::Auto | AckMode::ClientIndividual => self.unsettled.remove(at).into_iter().collect(),
        })
    }
}

impl Taken {
    /// What it takes to keep it, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        size_of::<Taken>() + self.tags.len() * size_of::<DeliveryTag>()
    }
}

impl Subscriptions {
    /// None yet, and never more than `limit`.
    pub(crate) fn new(version: Version, limit: usize) -> Subscriptions {
        Subscriptions {
            version,
            limit,
            next_consumer: 0,
            by_consumer: HashMap::default(),
            consumers: HashMap::default(),
            temporary: HashMap::default(),
        }
    }

    /// Names a new subscription and the consumer for it ([STOMP-1.2/SUBSCRIBE id Header]).
    pub(crate) fn add(&mut self, terms: Terms<'_>) -> Result<ConsumerId, Fault> {
        if self.consumers.contains_key(&terms.name) {
            return Err(Fault::DuplicateSubscription);
        }
        if self.consumers.len() >= self.limit {
            return Err(Fault::TooManySubscriptions { limit: self.limit });
        }
        let consumer = self.free_consumer();
        if is_temporary(terms.destination) {
            *self.temporary.entry(terms.destination.into()).or_default() += 1;
        }
        self.consumers.insert(terms.name.clone(), consumer);
        self.by_consumer.insert(consumer, Subscription::new(self.version, terms));
        Ok(consumer)
    }

    /// Forgets a subscription; what it has not settled is the broker's again.
    pub(crate) fn remove(&mut self, name: &Name) -> Result<ConsumerId, Fault> {
        let consumer = self.consumers.get(name).copied().or_else(|| self.by_destination(name));
        let consumer = consumer.ok_or(Fault::UnknownSubscription)?;
        if let Some(subscription) = self.by_consumer.remove(&consumer) {
            self.consumers.remove(&subscription.name);
            self.forget_temporary(subscription.destination.as_deref());
        }
        Ok(consumer)
    }

    fn forget_temporary(&mut self, destination: Option<&str>) {
        let Some(count) = destination.and_then(|destination| self.temporary.get_mut(destination)) else {
            return;
        };
        *count -= 1;
        if let (0, Some(destination)) = (*count, destination) {
            self.temporary.remove(destination);
        }
    }

    /// Whether there is a subscription to this temporary queue.
    pub(crate) fn has_temporary(&self, destination: &str) -> bool {
        self.temporary.contains_key(destination)
    }

    /// The oldest subscription with this destination: a client of 1.0 may name one by it that has an id.
    fn by_destination(&self, name: &Name) -> Option<ConsumerId> {
        let Name::Destination(wanted) = name else { return None };
        let found = self.by_consumer.iter().filter(|(_, known)| known.destination.as_ref() == Some(wanted));
        found.map(|(consumer, _)| *consumer).min()
    }

    /// The subscription that the broker knows by this consumer.
    pub(crate) fn of_consumer(&mut self, consumer: ConsumerId) -> Option<&mut Subscription> {
        self.by_consumer.get_mut(&consumer)
    }

    /// Takes everything that an ACK or NACK is about; `outcome` is what it says, nothing where that is the subscription's to say. The id of
    /// a subscription that has ended is no fault, because the client may have sent it before it knew, and takes nothing.
    pub(crate) fn take(
        &mut self,
        reference: Reference<'_>,
        outcome: Option<Outcome>,
    ) -> Result<Option<Taken>, Fault> {
        let (consumer, tag) = parse_ack_id(reference.id).ok_or(Fault::UnknownAcknowledgement)?;
        let Some(subscription) = self.by_consumer.get_mut(&consumer) else {
            return if consumer.0 < self.next_consumer {
                Ok(None)
            } else {
                Err(Fault::UnknownAcknowledgement)
            };
        };
        if reference.subscription.is_some_and(|id| subscription.name.id() != Some(id)) {
            return Err(Fault::UnknownAcknowledgement);
        }
        let outcome = outcome.unwrap_or(subscription.unwanted);
        subscription.take(tag).map(|tags| Some(Taken { consumer, outcome, tags }))
    }

    /// Whether the subscription of a consumer has not ended.
    pub(crate) fn has_consumer(&self, consumer: ConsumerId) -> bool {
        self.by_consumer.contains_key(&consumer)
    }

    /// Lets deliveries wait again that were taken; those of a subscription that has ended since are the broker's.
    pub(crate) fn put_back(&mut self, taken: &Taken) {
        if let Some(subscription) = self.by_consumer.get_mut(&taken.consumer) {
            subscription.unsettled.extend(&taken.tags);
            subscription.unsettled.make_contiguous().sort_unstable();
        }
    }

    /// The next number that no living subscription has.
    pub(crate) fn free_consumer(&mut self) -> ConsumerId {
        loop {
            let consumer = ConsumerId(self.next_consumer);
            self.next_consumer = self.next_consumer.wrapping_add(1);
            if !self.by_consumer.contains_key(&consumer) {
                return consumer;
            }
        }
    }
}

/// Appends what an ACK or NACK calls a delivery: the consumer and the tag, so that nothing has to be looked up.
pub(crate) fn push_ack_id(buffer: &mut Vec<u8>, consumer: ConsumerId, tag: DeliveryTag) {
    push_decimal(buffer, u64::from(consumer.0));
    buffer.push(b'-');
    push_decimal(buffer, tag.0);
}

/// The consumer and the tag of what an ACK or NACK says.
fn parse_ack_id(id: &str) -> Option<(ConsumerId, DeliveryTag)> {
    let dash = id.bytes().position(|byte| byte == b'-')?;
    let (consumer, tag) = (id.get(..dash)?, id.get(dash + 1..)?);
    Some((ConsumerId(consumer.parse().ok()?), DeliveryTag(tag.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(id: &str, ack_mode: AckMode) -> Terms<'static> {
        Terms { name: Name::Id(id.into()), destination: "/topic/a", ack_mode, unwanted: Outcome::Rejected }
    }

    fn taken(subscriptions: &mut Subscriptions, id: &str) -> Result<Vec<u64>, Fault> {
        let taken = subscriptions.take(Reference { id, subscription: None }, Some(Outcome::Accepted))?;
        Ok(taken.map_or_else(Vec::new, |taken| taken.tags.iter().map(|tag| tag.0).collect()))
    }

    fn with_unsettled(ack_mode: AckMode) -> Subscriptions {
        let mut subscriptions = Subscriptions::new(Version::V1_2, 1);
        let consumer = subscriptions.add(terms("s", ack_mode)).unwrap();
        let subscription = subscriptions.of_consumer(consumer).unwrap();
        [3, 5, 9, 10].into_iter().for_each(|tag| subscription.note_unsettled(DeliveryTag(tag)));
        subscriptions
    }

    /// [STOMP-1.2/SUBSCRIBE ack Header]
    #[test]
    fn client_acknowledges_everything_before_and_individual_one() {
        let mut cumulative = with_unsettled(AckMode::Client);
        assert_eq!(taken(&mut cumulative, "0-9"), Ok(vec![3, 5, 9]));
        assert_eq!(taken(&mut cumulative, "0-5"), Err(Fault::UnknownAcknowledgement));
        assert_eq!(taken(&mut cumulative, "0-10"), Ok(vec![10]));
        let mut individual = with_unsettled(AckMode::ClientIndividual);
        assert_eq!(taken(&mut individual, "0-9"), Ok(vec![9]));
        assert_eq!(taken(&mut individual, "0-3"), Ok(vec![3]));
        assert_eq!(taken(&mut individual, "0-4"), Err(Fault::UnknownAcknowledgement));
    }

    /// [STOMP-1.2/ACK]
    #[test]
    fn a_late_acknowledgement_is_told_from_a_wrong_one() {
        let mut subscriptions = with_unsettled(AckMode::Client);
        assert_eq!(subscriptions.remove(&Name::Id("s".into())), Ok(ConsumerId(0)));
        assert_eq!(taken(&mut subscriptions, "0-9"), Ok(vec![]));
        for id in ["1-9", "", "-", "0", "x-1", "0-", "0-1-1", "99999999999-1"] {
            assert_eq!(taken(&mut subscriptions, id), Err(Fault::UnknownAcknowledgement), "{id:?}");
        }
    }

    #[test]
    fn ids_are_unique_and_limited() {
        let mut subscriptions = Subscriptions::new(Version::V1_2, 2);
        let mut add = |id| subscriptions.add(terms(id, AckMode::Auto));
        assert_eq!(add("a"), Ok(ConsumerId(0)));
        assert_eq!(add("a"), Err(Fault::DuplicateSubscription));
        assert_eq!(add("b"), Ok(ConsumerId(1)));
        assert_eq!(add("c"), Err(Fault::TooManySubscriptions { limit: 2 }));
        assert_eq!(subscriptions.remove(&Name::Id("a".into())), Ok(ConsumerId(0)));
        assert_eq!(subscriptions.remove(&Name::Id("a".into())), Err(Fault::UnknownSubscription));
        assert_eq!(subscriptions.add(terms("a", AckMode::Auto)), Ok(ConsumerId(2)));
        assert!(subscriptions.of_consumer(ConsumerId(0)).is_none());
    }

    /// [STOMP-1.0/UNSUBSCRIBE]: by destination also where there is an id; without an id first.
    #[test]
    fn a_destination_names_a_subscription_of_1_0() {
        let mut subscriptions = Subscriptions::new(Version::V1_0, 3);
        let destination = Name::Destination("/topic/a".into());
        let with_id = terms("a", AckMode::Auto);
        let without = Terms { name: destination.clone(), ..terms("", AckMode::Auto) };
        assert_eq!(subscriptions.add(with_id), Ok(ConsumerId(0)));
        assert_eq!(subscriptions.add(without), Ok(ConsumerId(1)));
        assert_eq!(subscriptions.remove(&destination), Ok(ConsumerId(1)));
        assert_eq!(subscriptions.remove(&destination), Ok(ConsumerId(0)));
        assert_eq!(subscriptions.remove(&destination), Err(Fault::UnknownSubscription));
        assert_eq!(subscriptions.add(terms("a", AckMode::Auto)), Ok(ConsumerId(2)));
    }
}
