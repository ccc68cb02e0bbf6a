//! MQTT as the rest of the gateway sees it: the factory of its connections.

use crate::connect::Door;
use crate::connection::MqttConnection;
use crate::options::MqttOptions;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;
use tidegate_protocol::{Connection, MessageKind, Peer, Protocol, Recognition};

/// The name of the protocol in configuration, logs, metrics and sessions.
pub(crate) const PROTOCOL_NAME: &str = "mqtt";

/// MQTT 3.1, 3.1.1 and 5.0 on one listener.
#[derive(Debug)]
pub struct Mqtt {
    options: Arc<MqttOptions>,
    /// Drawn once: generated client identifiers must not meet those of an earlier run in a kept session, and a client that knows
    /// its own must not guess those of others.
    names: RandomState,
}

impl Mqtt {
    /// The protocol with a listener's options, which [`MqttOptions::validate`] has found right; what is out of range is brought to
    /// the nearest value in it.
    pub fn new(options: MqttOptions) -> Mqtt {
        Mqtt { options: Arc::new(options), names: RandomState::new() }
    }
}

impl Protocol for Mqtt {
    fn name(&self) -> &'static str {
        PROTOCOL_NAME
    }

    /// The first packet is CONNECT, whose first byte no other protocol here begins with ([MQTT-3.1.0-1]).
    fn recognise(&self, first: &[u8]) -> Recognition {
        match first.first() {
            Some(0x10) => Recognition::Yes,
            Some(_) => Recognition::No,
            None => Recognition::NeedMore,
        }
    }

    /// [MQTT-6.0.0-4]; the second one is what clients of MQTT 3.1 ask for. The CONNECT tells the version under either.
    fn websocket_subprotocols(&self) -> &'static [&'static str] {
        &["mqtt", "mqttv3.1"]
    }

    fn message_kind(&self) -> MessageKind {
        MessageKind::BinaryStream
    }

    fn open(&self, peer: &Peer, _now: Instant) -> Box<dyn Connection> {
        Box::new(MqttConnection::new(Door {
            options: Arc::clone(&self.options),
            connection_secret: self.names.hash_one(peer.connection),
            connection: peer.connection,
            deadline: peer.connect_deadline,
        }))
    }
}
