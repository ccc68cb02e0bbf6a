//! What a consumer receives and settles.

use crate::Position;
use smallvec::SmallVec;
use std::time::Instant;
use tidegate_message::{Properties, Publisher, QoS, Topic};

/// The subscription identifiers of all subscriptions that matched (MQTT 5.0 section 3.3.2.3.8).
pub type SubscriptionIds = SmallVec<[u32; 1]>;

/// Names one unsettled delivery within its consumer; ascending in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryTag(pub u64);

impl DeliveryTag {
    /// So many tags in a row have different short identifiers (MQTT 5.0 section 2.2.1: 1 to 65,535), which repeat then. Whoever leaves tags out sees
    /// to it that what comes next does not have the identifiers of what is under way.
    pub const ROUND: u64 = 65_535;
}

/// One message on its way to one consumer; borrowed from the publisher's read buffer or from a queue.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The consumer, as the machine named it.
    pub consumer: crate::ConsumerId,
    /// Where the message was published.
    pub topic: &'a Topic,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// What it carries beside the payload; nothing when all of it is empty.
    pub properties: Option<&'a Properties>,
    /// The level of this delivery: the lower of what was published and what was subscribed.
    pub qos: QoS,
    /// Whether the consumer is to see it as a retained message.
    pub retain: bool,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Which delivery of the message this is: 1 for the first, more where a consumer had it before and left it unsettled or gave
    /// it back. To a shared receiver an earlier consumer may have been another one.
    pub attempt: u32,
    /// The moment after which the message is worth nothing; every egress writes the time that remains.
    pub expires_at: Option<Instant>,
    /// The time of this turn.
    pub now: Instant,
    /// The identifiers of the matching subscriptions, in no order.
    pub subscription_ids: &'a [u32],
    /// Present when the delivery must be settled.
    pub tag: Option<DeliveryTag>,
    /// Whether it is one of the backlog that its consumer has asked for ([`crate::Backlog`]).
    pub is_backlog: bool,
    /// Where it stands in a replay ring, for a consumer that follows one.
    pub position: Option<Position>,
    /// Who published it and when, where that was kept: for whoever wants it ([`crate::Attach::wants_publisher`]).
    pub publisher: Option<&'a Publisher>,
}

/// Why a machine does not send a delivery to its peer. Each is a reason label of the metric of dropped messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Larger than the peer said it accepts ([MQTT-3.1.2-24]).
    TooLargeForPeer,
    /// The protocol's in-flight numbers are used up although credit was left.
    NoIdentifierFree,
    /// The protocol cannot express the message.
    NotExpressible,
}

impl Refused {
    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Refused::TooLargeForPeer => "too_large_for_peer",
            Refused::NoIdentifierFree => "no_identifier_free",
            Refused::NotExpressible => "not_expressible",
        }
    }
}
