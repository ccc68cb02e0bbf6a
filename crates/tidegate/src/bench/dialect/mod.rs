//! What a client says and hears, the same for all protocols.
//!
//! A dialect is bytes in and bytes out: it answers what the protocol wants answered, and tells what matters to a publisher or a
//! subscriber. It has no socket and no clock.

mod mqtt;
mod stomp;

use super::failure::Failure;
use super::plan::Plan;
use super::side::{Protocol, Side};
use mqtt::Mqtt;
use std::time::Duration;
use stomp::Stomp;

/// What a frame may weigh beside its payload, in bytes.
const FRAME_OVERHEAD_MAX: usize = 128 << 10;

/// What becomes of a client's subscriptions at the end of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// They end with it.
    Connection,
    /// They wait for the client.
    Durable,
}

/// One client's side of its protocol.
pub(crate) enum Dialect {
    /// MQTT 3.1.1 and 5.0.
    Mqtt(Mqtt),
    /// STOMP 1.2.
    Stomp(Stomp),
}

/// What a frame from the broker means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// The connection is accepted.
    Welcome(Welcome),
    /// The subscription stands.
    Subscribed,
    /// A message has been delivered; its payload. It has been acknowledged already.
    Message(&'a [u8]),
    /// A publication has been acknowledged.
    Settled,
    /// A publication has been refused.
    Refused,
    /// Nothing of interest.
    Nothing,
}

/// What the broker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Publications that may wait for their acknowledgement.
    pub(crate) in_flight_max: u32,
    /// How often the client has to give a sign of life; nothing where it need not.
    pub(crate) ping_every: Option<Duration>,
}

impl Dialect {
    /// The dialect of a side of the plan for the client of this name.
    pub(crate) fn new(plan: &Plan, side: &Side, client_id: String, lifetime: Lifetime) -> Dialect {
        match side.protocol {
            Protocol::Mqtt | Protocol::Mqtt5 => Dialect::Mqtt(Mqtt::new(plan, side, client_id, lifetime)),
            Protocol::Stomp => Dialect::Stomp(Stomp::new(plan, side, client_id, lifetime)),
        }
    }

    /// Appends the request for a connection.
    pub(crate) fn connect(&self, plan: &Plan, output: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.connect(plan, output),
            Dialect::Stomp(stomp) => stomp.connect(plan, output),
        }
    }

    /// Appends the request for a subscription.
    pub(crate) fn subscribe(&mut self, filter: &str, output: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.subscribe(filter, output),
            Dialect::Stomp(stomp) => stomp.subscribe(filter, output),
        }
    }

    /// Appends a message. Fewer than 65535 may be in flight, see [`Dialect::in_flight`].
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.publish(topic, payload, output),
            Dialect::Stomp(stomp) => stomp.publish(topic, payload, output),
        }
    }

    /// Appends what clears the retained message of a topic.
    pub(crate) fn clear(&self, topic: &str, output: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.clear(topic, output),
            Dialect::Stomp(stomp) => stomp.clear(topic, output),
        }
    }

    /// Messages that wait for their acknowledgement.
    pub(crate) fn in_flight(&self) -> u32 {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.in_flight(),
            Dialect::Stomp(stomp) => stomp.in_flight(),
        }
    }

    /// Appends what ends a durable subscription, where that is said before the goodbye; MQTT says it with another connection.
    pub(crate) fn unsubscribe(&self, output: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Dialect::Mqtt(_) => Ok(()),
            Dialect::Stomp(stomp) => stomp.unsubscribe(output),
        }
    }

    /// Appends a sign of life.
    pub(crate) fn ping(&self, output: &mut Vec<u8>) {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.ping(output),
            Dialect::Stomp(stomp) => stomp.ping(output),
        }
    }

    /// Appends the goodbye.
    pub(crate) fn disconnect(&self, output: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.disconnect(output),
            Dialect::Stomp(stomp) => stomp.disconnect(output),
        }
    }

    /// Reads the frame at the front of `input`, answers it, and says how many bytes it took; nothing where it is not complete.
    pub(crate) fn next<'a>(
        &mut self,
        input: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, Failure> {
        match self {
            Dialect::Mqtt(mqtt) => mqtt.next(input, output),
            Dialect::Stomp(stomp) => stomp.next(input, output),
        }
    }
}
