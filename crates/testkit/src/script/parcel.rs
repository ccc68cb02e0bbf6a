//! A delivery that owns its parts.

use std::time::Instant;
use tidegate_message::{Properties, QoS, Topic};
use tidegate_protocol::{ConsumerId, Delivery, DeliveryTag, Position};

/// A delivery that a test builds piece by piece; at first QoS 0, without a tag, for consumer 0.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are those of Delivery, which says what they mean")]
pub struct Parcel {
    pub consumer: ConsumerId,
    pub topic: Topic,
    pub payload: Vec<u8>,
    pub properties: Option<Properties>,
    pub qos: QoS,
    pub retain: bool,
    pub redelivered: bool,
    pub attempt: u32,
    pub expires_at: Option<Instant>,
    pub subscription_ids: Vec<u32>,
    pub tag: Option<DeliveryTag>,
    pub position: Option<Position>,
}

/// A delivery of `payload` from `topic`, which must be a valid one.
pub fn parcel(topic: &str, payload: impl AsRef<[u8]>) -> Parcel {
    Parcel {
        consumer: ConsumerId(0),
        topic: Topic::parse(topic.as_bytes()).expect("a valid topic"),
        payload: payload.as_ref().to_vec(),
        properties: None,
        qos: QoS::AtMostOnce,
        retain: false,
        redelivered: false,
        attempt: 1,
        expires_at: None,
        subscription_ids: Vec::new(),
        tag: None,
        position: None,
    }
}

impl Parcel {
    /// Has to be settled under this tag.
    pub fn tagged(mut self, tag: u64) -> Parcel {
        self.tag = Some(DeliveryTag(tag));
        self
    }

    /// QoS 1 under this tag.
    pub fn at_least_once(mut self, tag: u64) -> Parcel {
        self.qos = QoS::AtLeastOnce;
        self.tagged(tag)
    }

    /// QoS 2 under this tag.
    pub fn exactly_once(mut self, tag: u64) -> Parcel {
        self.qos = QoS::ExactlyOnce;
        self.tagged(tag)
    }

    /// For this consumer.
    pub fn consumer(mut self, consumer: u32) -> Parcel {
        self.consumer = ConsumerId(consumer);
        self
    }

    /// As a retained message.
    pub fn retained(mut self) -> Parcel {
        self.retain = true;
        self
    }

    /// As one that may have been delivered before.
    pub fn redelivered(mut self) -> Parcel {
        self.redelivered = true;
        self
    }

    /// As this delivery of the message.
    pub fn attempt(mut self, attempt: u32) -> Parcel {
        self.attempt = attempt;
        self
    }

    /// Worth nothing after this moment.
    pub fn expires_at(mut self, deadline: Instant) -> Parcel {
        self.expires_at = Some(deadline);
        self
    }

    /// With these properties.
    pub fn properties(mut self, properties: Properties) -> Parcel {
        self.properties = Some(properties);
        self
    }

    /// From a replay ring.
    pub fn position(mut self, position: Position) -> Parcel {
        self.position = Some(position);
        self
    }

    /// Matched by subscriptions with these identifiers.
    pub fn subscription_ids(mut self, ids: &[u32]) -> Parcel {
        self.subscription_ids = ids.to_vec();
        self
    }

    /// The delivery as a machine sees it at `now`.
    pub fn delivery(&self, now: Instant) -> Delivery<'_> {
        Delivery {
            consumer: self.consumer,
            topic: &self.topic,
            payload: &self.payload,
            properties: self.properties.as_ref(),
            qos: self.qos,
            retain: self.retain,
            redelivered: self.redelivered,
            attempt: self.attempt,
            expires_at: self.expires_at,
            now,
            subscription_ids: &self.subscription_ids,
            tag: self.tag,
            is_backlog: false,
            position: self.position,
            publisher: None,
        }
    }
}
