//! One side of a run, publishers or subscribers: what its connections speak, over what, and with whom.

use serde::Serialize;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// MQTT 3.1.1
    Mqtt,
    /// MQTT 5.0
    Mqtt5,
    /// STOMP 1.2
    Stomp,
}

/// What carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Plain TCP
    Tcp,
    /// WebSocket over plain TCP
    Websocket,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Side {
    /// Host and port as given.
    pub(crate) target: String,
    pub(crate) protocol: Protocol,
    pub(crate) transport: Transport,
}

impl Protocol {
    /// The WebSocket sub-protocol.
    pub(crate) fn subprotocol(self) -> &'static str {
        match self {
            Protocol::Mqtt | Protocol::Mqtt5 => "mqtt",
            Protocol::Stomp => "v12.stomp",
        }
    }
}

impl Side {
    /// A side that speaks this over that, with the target that was given, or this gateway's own with its default configuration.
    pub(crate) fn new(protocol: Protocol, transport: Transport, target: Option<String>) -> Side {
        let target = target.unwrap_or_else(|| default_target(protocol, transport).to_owned());
        Side { target, protocol, transport }
    }

    /// The target's name or address without the port.
    pub(crate) fn host(&self) -> &str {
        self.target.rsplit_once(':').map_or(&*self.target, |(host, _)| host)
    }
}

fn default_target(protocol: Protocol, transport: Transport) -> &'static str {
    match (protocol, transport) {
        (_, Transport::Websocket) => "127.0.0.1:8083",
        (Protocol::Mqtt | Protocol::Mqtt5, Transport::Tcp) => "127.0.0.1:1883",
        (Protocol::Stomp, Transport::Tcp) => "127.0.0.1:61613",
    }
}
