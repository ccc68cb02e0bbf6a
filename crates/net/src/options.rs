//! What a server is made from; all of it checked by whoever reads the configuration.

use crate::tls::{CertificateName, TlsMaterial};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_broker::{
    AccessRules, Authenticator, Limits, PublishLimits, QueuePolicies, RingOptions, TopicPolicies,
};
use tidegate_protocol::Protocol;
use tidegate_storage::Storage;

/// Everything about the gateway's client side.
pub struct ServerOptions {
    /// Worker threads, at least 1 and at most [`tidegate_broker::WORKERS_MAX`].
    pub workers: usize,
    /// The broker's limits.
    pub limits: Limits,
    /// Open connections of all listeners together. At the limit a new one is closed at once.
    pub connections_max: usize,
    /// How long queued bytes may take to leave when the gateway stops.
    pub shutdown_timeout: Duration,
    /// Who checks the credentials of clients; without it no name is proven but by a certificate.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// What clients may do; everything where there is nothing.
    pub access: Option<Arc<AccessRules>>,
    /// The replay rings.
    pub rings: Vec<RingOptions>,
    /// What holds for named queues.
    pub queues: QueuePolicies,
    /// What holds for topics.
    pub topics: TopicPolicies,
    /// What keeps everything that outlives the process; without it nothing does.
    pub storage: Option<Arc<dyn Storage>>,
    /// Whether what cannot be read there is left out at the start, instead of stopping it.
    pub skip_damaged: bool,
    /// The names of all registered protocols, for metrics.
    pub protocols: Vec<&'static str>,
    /// The listeners.
    pub listeners: Vec<ListenerOptions>,
}

/// One listener.
pub struct ListenerOptions {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Where it listens; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Whether connections are encrypted; where some are, the first byte of each tells.
    pub tls: Layer<Arc<TlsMaterial>>,
    /// Whether the protocol's bytes travel in WebSocket messages (RFC 6455); where some do, the first bytes of each connection tell.
    pub websocket: Layer<WebSocketOptions>,
    /// The protocols that are spoken here, at least one.
    pub protocols: Vec<ListenerProtocol>,
    /// Whether clients without credentials are welcome.
    pub allow_anonymous: bool,
    /// Which name of a client's certificate is its user. Without it a certificate lets its client in and gives it no user.
    pub client_identity: Option<CertificateName>,
    /// Open connections of this listener. At the limit a new one is closed at once.
    pub connections_max: usize,
    /// Connections that are accepted in a second, with a burst of one second; any number where nothing is set. What comes faster
    /// waits in the kernel's backlog.
    pub connection_rate: Option<u64>,
    /// How fast one client may publish.
    pub publish_limits: PublishLimits,
    /// How long a connection may take until its protocol's opening is complete, TLS and WebSocket included.
    pub connect_timeout: Duration,
}

/// A protocol with the options of one listener.
#[derive(Clone)]
pub struct ListenerProtocol {
    /// Its position in [`ServerOptions::protocols`].
    pub index: usize,
    /// The factory of its machines.
    pub protocol: Arc<dyn Protocol>,
}

/// Whether the connections of a listener have a layer, such as TLS, between the socket and the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer<T> {
    /// None has it.
    Never,
    /// Each client decides.
    Optional(T),
    /// Every one has it.
    Always(T),
}

impl<T> Layer<T> {
    /// What the layer is made with, where any connection has it.
    pub fn get(&self) -> Option<&T> {
        match self {
            Layer::Never => None,
            Layer::Optional(layer) | Layer::Always(layer) => Some(layer),
        }
    }

    /// The same choice with something else.
    pub fn map<U>(&self, change: impl FnOnce(&T) -> U) -> Layer<U> {
        match self {
            Layer::Never => Layer::Never,
            Layer::Optional(layer) => Layer::Optional(change(layer)),
            Layer::Always(layer) => Layer::Always(change(layer)),
        }
    }
}

/// What a WebSocket listener asks of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// The only path that is served; any, where there is none.
    pub path: Option<String>,
    /// The origins whose pages may connect; any, where there are none.
    pub origins: Vec<String>,
    /// The longest message in bytes.
    pub message_bytes_max: u64,
}
