//! The subscriptions of one connection: names given by the client, consumers given to the broker, and what waits for an ACK.

use crate::codec::{Command, push_decimal, push_header};
use crate::reason::Fault;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use tidegate_protocol::{ConsumerId, DeliveryTag, Settlement};

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

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// How its MESSAGE frames begin, up to the message's own number.
    pub(crate) frame_start: Box<[u8]>,
    ack_mode: AckMode,
    /// Ascending; the broker's credit bounds it.
    unsettled: VecDeque<DeliveryTag>,
}

/// All subscriptions of a connection. Consumers are numbered upwards and not used again, so that a late ACK is told from a wrong one.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    limit: usize,
    next_consumer: u32,
    by_consumer: HashMap<ConsumerId, Subscription, RandomState>,
    consumers: HashMap<Box<str>, ConsumerId, RandomState>,
}

impl AckMode {
    /// Reads the header; a missing one is `auto`.
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

impl Subscription {
    fn new(id: &str, ack_mode: AckMode) -> Subscription {
        let mut frame_start = Vec::new();
        frame_start.extend_from_slice(Command::Message.as_str().as_bytes());
        frame_start.push(b'\n');
        push_header(&mut frame_start, "subscription", id);
        frame_start.extend_from_slice(b"message-id:");
        Subscription { frame_start: frame_start.into(), ack_mode, unsettled: VecDeque::new() }
    }

    /// Remembers a delivery that an ACK or NACK will settle.
    pub(crate) fn note_unsettled(&mut self, tag: DeliveryTag) {
        self.unsettled.push_back(tag);
    }

    /// Calls `settle` for everything that an ACK or NACK of this delivery is about.
    fn settle(&mut self, tag: DeliveryTag, settle: impl FnMut(DeliveryTag)) -> Result<(), Fault> {
        let at = self.unsettled.binary_search(&tag).map_err(|_| Fault::UnknownAcknowledgement)?;
        match self.ack_mode {
            AckMode::Client => self.unsettled.drain(..=at).for_each(settle),
            AckMode::Auto | AckMode::ClientIndividual => {
                self.unsettled.remove(at).into_iter().for_each(settle)
            }
        }
        Ok(())
    }
}

impl Subscriptions {
    /// None yet, and never more than `limit`.
    pub(crate) fn new(limit: usize) -> Subscriptions {
        Subscriptions {
            limit,
            next_consumer: 0,
            by_consumer: HashMap::default(),
            consumers: HashMap::default(),
        }
    }

    /// Names a new subscription and the consumer for it ([STOMP-1.2/SUBSCRIBE id Header]).
    pub(crate) fn add(&mut self, id: &str, ack_mode: AckMode) -> Result<ConsumerId, Fault> {
        if self.consumers.contains_key(id) {
            return Err(Fault::DuplicateSubscription);
        }
        if self.consumers.len() >= self.limit {
            return Err(Fault::TooManySubscriptions { limit: self.limit });
        }
        let consumer = self.free_consumer();
        self.consumers.insert(id.into(), consumer);
        self.by_consumer.insert(consumer, Subscription::new(id, ack_mode));
        Ok(consumer)
    }

    /// Forgets a subscription; what it has not settled is the broker's again.
    pub(crate) fn remove(&mut self, id: &str) -> Result<ConsumerId, Fault> {
        let consumer = self.consumers.remove(id).ok_or(Fault::UnknownSubscription)?;
        self.by_consumer.remove(&consumer);
        Ok(consumer)
    }

    /// The subscription that the broker knows by this consumer.
    pub(crate) fn of_consumer(&mut self, consumer: ConsumerId) -> Option<&mut Subscription> {
        self.by_consumer.get_mut(&consumer)
    }

    /// Calls `settle` for everything that an ACK or NACK with this `id` is about. The id of a subscription that has ended
    /// is no fault, because the client may have sent it before it knew, and settles nothing.
    pub(crate) fn settle(
        &mut self,
        id: &str,
        mut settle: impl FnMut(ConsumerId, DeliveryTag),
    ) -> Result<(), Fault> {
        let (consumer, tag) = parse_ack_id(id).ok_or(Fault::UnknownAcknowledgement)?;
        match self.by_consumer.get_mut(&consumer) {
            Some(subscription) => subscription.settle(tag, |tag| settle(consumer, tag)),
            None if consumer.0 < self.next_consumer => Ok(()),
            None => Err(Fault::UnknownAcknowledgement),
        }
    }

    /// The next number that no living subscription has.
    fn free_consumer(&mut self) -> ConsumerId {
        loop {
            let consumer = ConsumerId(self.next_consumer);
            self.next_consumer = self.next_consumer.wrapping_add(1);
            if !self.by_consumer.contains_key(&consumer) {
                return consumer;
            }
        }
    }
}

/// Appends the `ack` header's value of a delivery: the consumer and the tag.
pub(crate) fn push_ack_id(buffer: &mut Vec<u8>, consumer: ConsumerId, tag: DeliveryTag) {
    push_decimal(buffer, u64::from(consumer.0));
    buffer.push(b'-');
    push_decimal(buffer, tag.0);
}

/// The consumer and the tag of an `ack` header's value.
fn parse_ack_id(id: &str) -> Option<(ConsumerId, DeliveryTag)> {
    let (consumer, tag) = id.split_once('-')?;
    Some((ConsumerId(consumer.parse().ok()?), DeliveryTag(tag.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(subscriptions: &mut Subscriptions, id: &str) -> Result<Vec<u64>, Fault> {
        let mut tags = Vec::new();
        subscriptions.settle(id, |_, tag| tags.push(tag.0)).map(|()| tags)
    }

    fn with_unsettled(ack_mode: AckMode) -> Subscriptions {
        let mut subscriptions = Subscriptions::new(1);
        let consumer = subscriptions.add("s", ack_mode).unwrap();
        let subscription = subscriptions.of_consumer(consumer).unwrap();
        [3, 5, 9, 10].into_iter().for_each(|tag| subscription.note_unsettled(DeliveryTag(tag)));
        subscriptions
    }

    /// [STOMP-1.2/SUBSCRIBE ack Header]
    #[test]
    fn client_acknowledges_everything_before_and_individual_one() {
        let mut cumulative = with_unsettled(AckMode::Client);
        assert_eq!(settled(&mut cumulative, "0-9"), Ok(vec![3, 5, 9]));
        assert_eq!(settled(&mut cumulative, "0-5"), Err(Fault::UnknownAcknowledgement));
        assert_eq!(settled(&mut cumulative, "0-10"), Ok(vec![10]));
        let mut individual = with_unsettled(AckMode::ClientIndividual);
        assert_eq!(settled(&mut individual, "0-9"), Ok(vec![9]));
        assert_eq!(settled(&mut individual, "0-3"), Ok(vec![3]));
        assert_eq!(settled(&mut individual, "0-4"), Err(Fault::UnknownAcknowledgement));
    }

    /// [STOMP-1.2/ACK]
    #[test]
    fn a_late_acknowledgement_is_told_from_a_wrong_one() {
        let mut subscriptions = with_unsettled(AckMode::Client);
        assert_eq!(subscriptions.remove("s"), Ok(ConsumerId(0)));
        assert_eq!(settled(&mut subscriptions, "0-9"), Ok(vec![]));
        for id in ["1-9", "", "-", "0", "x-1", "0-", "0-1-1", "99999999999-1"] {
            assert_eq!(settled(&mut subscriptions, id), Err(Fault::UnknownAcknowledgement), "{id:?}");
        }
    }

    #[test]
    fn ids_are_unique_and_limited() {
        let mut subscriptions = Subscriptions::new(2);
        assert_eq!(subscriptions.add("a", AckMode::Auto), Ok(ConsumerId(0)));
        assert_eq!(subscriptions.add("a", AckMode::Auto), Err(Fault::DuplicateSubscription));
        assert_eq!(subscriptions.add("b", AckMode::Auto), Ok(ConsumerId(1)));
        assert_eq!(subscriptions.add("c", AckMode::Auto), Err(Fault::TooManySubscriptions { limit: 2 }));
        assert_eq!(subscriptions.remove("a"), Ok(ConsumerId(0)));
        assert_eq!(subscriptions.remove("a"), Err(Fault::UnknownSubscription));
        assert_eq!(subscriptions.add("a", AckMode::Auto), Ok(ConsumerId(2)));
        assert!(subscriptions.of_consumer(ConsumerId(0)).is_none());
    }
}
