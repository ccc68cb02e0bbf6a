//! What a bridge to an MQTT broker is told.

use crate::MqttAddress;
use rustls::ClientConfig;
use std::fmt;
use std::sync::Arc;
use tidegate_bridge::Template;
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::codec::Version;

/// Bytes that reach no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// How the gateway is a client of another broker.
#[derive(Debug, Clone)]
pub struct MqttOptions {
    /// Where the broker is; at least one.
    pub addresses: Vec<MqttAddress>,
    /// How connections are encrypted; addresses that ask for it cannot be used without.
    pub tls: Option<Arc<ClientConfig>>,
    /// The version that is spoken.
    pub version: Version,
    /// What the gateway calls itself.
    pub client_id: String,
    /// The name of this node, for templates.
    pub node: Arc<str>,
    /// What becomes of what is forwarded, in the order of the bridge's forwards.
    pub forwards: Vec<Forwarded>,
    /// What is subscribed to, in the order of the bridge's receives.
    pub receives: Vec<Received>,
    /// The largest packet that is taken, in bytes.
    pub packet_bytes_max: usize,
}

/// Where forwarded messages go.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// Their topic there, of [`tidegate_bridge::Form::Topic`].
    pub topic: Template,
    /// Whether retained messages stay so.
    pub retain: bool,
}

/// What is received.
#[derive(Debug, Clone)]
pub struct Received {
    /// The topics there.
    pub filter: TopicFilter,
    /// The highest level at which they are delivered, 1 at the most.
    pub qos_max: QoS,
}
