//! Every setting that exists: its name, type, range, default and meaning, declared once.
//!
//! The doc comments are what the user reads in the reference page. What can only be judged by looking at several settings
//! (two listeners on one port, a certificate and its key) is in `check`.

mod bridges;
mod declarations;
mod limits;
mod store;

pub use bridges::{
    Bridge, BridgeLogin, BridgeSasl, BridgeTls, Compression, Forward, ForwardKeep, ForwardOrder, PayloadForm,
    Persistence, Receive, ReceiveStart, SaslMechanism,
};
pub use declarations::{Argument, Declarations, DeclaredBinding, DeclaredExchange, DeclaredQueue};
pub(crate) use limits::PARTS_OF_MEMORY;
pub use limits::{Limits, QueueOverflow};
pub use store::{Acknowledge, DiskFull, Store, TopicPolicy};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use tidegate_message::{ByteSize, TimeSpan};

use crate::forms::{
    DEAD_LETTER, HOST_NAME, NOT_EMPTY, ORIGIN, PROTOCOL_NAME, QUEUE_PATTERN, RING_TOPICS, TOPIC_PATTERN,
    URL_PATH,
};
use crate::setting::Kind::{
    Address, Count, List, Name, Path, Paths, Protocols, Size, Switch, Table, Tables, Text, Time, Word,
};
use crate::setting::Presence::{Default, Optional, Required};
use crate::setting::{Kind, section};

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn time(min_milliseconds: u64, max_milliseconds: u64) -> Kind {
    Time {
        min: TimeSpan::from_milliseconds(min_milliseconds),
        max: TimeSpan::from_milliseconds(max_milliseconds),
    }
}

const fn size(min_bytes: u64, max_bytes: u64) -> Kind {
    Size { min: ByteSize::from_bytes(min_bytes), max: ByteSize::from_bytes(max_bytes) }
}

const fn count(min: u32, max: u32) -> Kind {
    Count { min, max }
}

section! {
    /// The whole configuration. These keys stand at the top of the file, before the first `[table]`.
    pub struct Config {
        /// The stable name of this gateway, which the log tells when it is ready.
        node: String = Name, Optional("the name of the machine, or `tidegate` where it has no usable one");
        /// The folder for what is kept over a restart ([guide](../guides/durable.md)). It is made where it is not there, but not the
        /// folders above it, and belongs to one gateway at a time.
        data_dir: Option<PathBuf> = Path, Optional("nothing is kept over a restart");
        /// Forwards of bridges that are gone while the gateway was stopped: what has waited for them is thrown away. The log names them at the start
        /// ([guide](../guides/bridges.md#changes)).
        forget_forwards: Vec<String> = List(NOT_EMPTY), Default("none");
        /// Worker threads. Each owns its connections; 0 means one per processor core that this process may use.
        workers: usize = count(0, 64), Default("0");
        /// How long queued bytes may still be sent to the clients when the gateway stops.
        shutdown_timeout: TimeSpan = time(0, 600 * SECOND), Default("10s");
        /// How often the gateway publishes what it knows of itself under `$SYS`, as far as somebody has subscribed it; `0s` is
        /// never. docs/reference/sys-topics.md lists the topics.
        sys_interval: TimeSpan = time(0, 3600 * SECOND), Default("10s");
        /// The ports on which clients connect. At least one is needed.
        listeners as "listener": Vec<Listener> = Tables(&Listener::SECTION), Default("");
        /// Health checks and metrics over HTTP.
        http: Option<Http> = Table(&Http::SECTION), Optional("no HTTP port is opened");
        /// What the gateway writes to its standard error.
        log: Log = Table(&Log::SECTION), Default("");
        /// Who clients are, and what they may do.
        access: Access = Table(&Access::SECTION), Default("");
        /// How the store keeps what is in `data_dir`.
        store: Store = Table(&Store::SECTION), Default("");
        /// What holds for messages by their topics.
        topics as "topic": Vec<TopicPolicy> = Tables(&TopicPolicy::SECTION), Default("");
        /// The last messages of some topics, for clients that come back.
        rings as "replay": Vec<Replay> = Tables(&Replay::SECTION), Default("");
        /// What holds for named queues.
        queues as "queue": Vec<NamedQueue> = Tables(&NamedQueue::SECTION), Default("");
        /// Other brokers to which messages go, and from which they come.
        bridges as "bridge": Vec<Bridge> = Tables(&Bridge::SECTION), Default("");
        /// What the gateway holds at most.
        limits: Limits = Table(&Limits::SECTION), Default("");
    }
}

section! {
    /// One port on which clients connect. Write one `[[listener]]` per port.
    pub struct Listener {
        /// The name of the listener in logs, metrics, environment variables and flags. Each name is used once.
        name: String = Name, Required;
        /// IP address and port: `127.0.0.1:1883`, `0.0.0.0:1883` for all IPv4 addresses, `[::]:1883` for all addresses.
        /// Host names are not looked up. Port 0 takes any free port, which the log then names.
        bind: SocketAddr = Address, Required;
        /// The protocols that clients may speak here. Several may share a port; the first bytes, or the WebSocket
        /// sub-protocol, tell them apart.
        protocols: Vec<String> = List(PROTOCOL_NAME), Required;
        /// How bytes travel: directly, in WebSocket messages, or either, as the first bytes of each connection tell. All can be combined
        /// with `tls`.
        transport: Transport = Word(&["tcp", "websocket", "any"]), Default("tcp");
        /// Encryption, and clients that prove who they are with a certificate.
        tls: Option<Tls> = Table(&Tls::SECTION), Optional("no encryption");
        /// Lets clients in that do not prove who they are. Without it a client needs a certificate (`tls.client_auth`) or a
        /// password (`access.password_file`). Whoever gives a password has to give the right one, here as well.
        allow_anonymous: bool = Switch, Default("false");
        /// Which WebSocket requests are taken. Only with `transport = "websocket"` or `"any"`.
        websocket: Option<WebSocket> = Table(&WebSocket::SECTION), Optional("any path and any origin");
        /// Connections on this listener at one time. The limit for all listeners together is `limits.connections`.
        max_connections: Option<usize> = count(1, 10_000_000), Optional("only the limit for all listeners counts");
        /// Connections that are accepted in a second, after as many at once. What comes faster is not refused: it waits in the
        /// system's queue of the port until its turn comes.
        connection_rate: Option<usize> = count(1, 1_000_000), Optional("no limit");
        /// Messages that one client may publish in a second, after as many at once. A client that is faster is not read from for as
        /// long as it takes: nothing is lost, its own socket fills up.
        publish_rate: Option<usize> = count(1, 10_000_000), Optional("no limit");
        /// Bytes of topics and payloads that one client may publish in a second, after as many at once. A larger message is taken whole
        /// and the client is not read from for as long as it takes.
        publish_bytes_rate: Option<ByteSize> = size(KIB, 1024 * GIB), Optional("no limit");
        /// Time from the accepted connection until the client has logged in, TLS and WebSocket handshakes included.
        connect_timeout: TimeSpan = time(100, 600 * SECOND), Default("10s");
        /// Options of one protocol on this listener, in a table that is named like the protocol: `mqtt = { … }`.
        options as "<protocol>": BTreeMap<String, toml::Table> = Protocols, Default("");
    }
}

/// How bytes travel between a client and a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The protocol's bytes directly in a TCP (or TLS) stream.
    Tcp,
    /// The protocol's bytes in WebSocket messages (RFC 6455), as browsers need it.
    WebSocket,
    /// As each client begins.
    Any,
}

impl Transport {
    /// The word that is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
            Self::Any => "any",
        }
    }
}

section! {
    /// TLS on a listener. All files are PEM; a relative path is relative to the folder of the configuration file.
    pub struct Tls {
        /// The certificate of the gateway, followed by its intermediate certificates.
        cert: PathBuf = Path, Required;
        /// The private key of `cert`.
        key: PathBuf = Path, Required;
        /// Lets clients in without TLS too, on the same port: the first byte of a connection tells. What such a client sends can be read on its
        /// way, passwords as well.
        optional: bool = Switch, Default("false");
        /// The authorities whose certificates clients may present. Needs `client_auth`.
        client_ca: Option<PathBuf> = Path, Optional("clients are not asked for a certificate");
        /// Whether a client must present a certificate or may. Needs `client_ca`.
        client_auth: Option<ClientAuth> = Word(&["required", "optional"]), Optional("clients are not asked for a certificate");
        /// Certificate revocation lists of these authorities. With any of them a client's certificate passes only where a list of the
        /// authority that signed it does not name it, up to the top of its chain: an authority without a list vouches for nobody. How old
        /// a list is does not matter. Needs `client_auth`.
        crl: Vec<PathBuf> = Paths, Default("");
        /// Which name of a client's certificate becomes its user: the common name of the subject, or a DNS name, e-mail address or
        /// URI of the subject alternative names. A certificate with several such names or none gives no user, and lets nobody in.
        client_identity: Option<ClientIdentity> = Word(&["cn", "san-dns", "san-email", "san-uri"]),
            Optional("a certificate lets its client in and gives it no user");
        /// Further certificates, chosen by the server name that the client asks for. Others get `cert`.
        sni: Vec<ServerName> = Tables(&ServerName::SECTION), Default("");
    }
}

/// What is demanded of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// No connection without a certificate that one of the authorities signed.
    Required,
    /// A certificate is checked if the client presents one.
    Optional,
}

/// Which name of a client's certificate becomes its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientIdentity {
    /// The common name of the subject.
    #[serde(rename = "cn")]
    CommonName,
    /// The DNS name among the subject alternative names.
    SanDns,
    /// The e-mail address among the subject alternative names.
    SanEmail,
    /// The URI among the subject alternative names.
    SanUri,
}

section! {
    /// A certificate for one server name.
    pub struct ServerName {
        /// The DNS name that the client asks for. With `*.` in front it stands for every name one label below; an exact
        /// entry wins.
        host: String = Text(HOST_NAME), Required;
        /// The certificate for this name, followed by its intermediate certificates.
        cert: PathBuf = Path, Required;
        /// The private key of that certificate.
        key: PathBuf = Path, Required;
    }
}

section! {
    /// Which WebSocket requests a listener takes.
    pub struct WebSocket {
        /// The only path that is accepted, for example `/mqtt`.
        path: Option<String> = Text(URL_PATH), Optional("any path");
        /// The origins from which browsers may connect, for example `["https://panel.example"]`. Clients that are no
        /// browsers send no origin and are not affected.
        origins: Vec<String> = List(ORIGIN), Default("");
    }
}

section! {
    /// Health checks (`/healthz`, `/readyz`), Prometheus metrics (`/metrics`) and what is in the store (`/store`, payloads as well). Without this table no HTTP port is opened.
    pub struct Http {
        /// IP address and port. Nothing here asks for a password: keep it on loopback or on a network that you trust.
        bind: SocketAddr = Address, Required;
    }
}

section! {
    /// The log, which goes to standard error.
    pub struct Log {
        /// The least important entries that are written.
        level: LogLevel = Word(&["error", "warn", "info", "debug", "trace"]), Default("info");
        /// Lines for people or JSON objects for machines.
        format: LogFormat = Word(&["text", "json"]), Default("text");
    }
}

/// How important a log entry must be to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data was lost or somebody must act.
    Error,
    /// Odd, but handled.
    Warn,
    /// One line per step in the life of a listener, connection or session.
    Info,
    /// For finding mistakes.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word that is written in the file, which is also the one `tracing` understands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per entry.
    Text,
    /// One JSON object per line.
    Json,
}

section! {
    /// Who clients are ([guide](../guides/users.md)), and what they may do ([guide](../guides/access.md)). Without any rule every
    /// client that is let in may publish and subscribe to everything.
    pub struct Access {
        /// The file with the users and what proves their passwords, which `tidegate passwd` writes.
        password_file: Option<PathBuf> = Path, Optional("no password is checked, and no user name is proven by one");
        /// The rules, asked in the order of the file.
        rules as "rule": Vec<AccessRule> = Tables(&AccessRule::SECTION), Default("");
    }
}

section! {
    /// One rule. For each action the first rule decides that fits action, client and topic; where none fits, the answer is no.
    /// [The guide](../guides/access.md) explains what that means for subscriptions.
    pub struct AccessRule {
        /// What the rule says.
        permission: Permission = Word(&["allow", "deny"]), Required;
        /// What the rule is about; `"subscribe"` is receiving as well.
        action: RuleAction = Word(&["publish", "subscribe", "all"]), Default("all");
        /// The topics, with `+` and `#` as in a subscription. `%u` stands for the user, `%c` for the client id, `%%` for a percent sign.
        topics: Vec<String> = List(TOPIC_PATTERN), Required;
        /// Only these users.
        users: Vec<String> = List(NOT_EMPTY), Default("");
        /// Only clients without a user; together with `users` they are meant as well.
        anonymous: bool = Switch, Default("false");
        /// Only clients with these ids.
        clients: Vec<String> = List(NOT_EMPTY), Default("");
        /// Only clients of these listeners.
        listeners: Vec<String> = List(NOT_EMPTY), Default("");
    }
}

/// What an access rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// The client may.
    Allow,
    /// The client may not.
    Deny,
}

/// What an access rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Publishing, wills included.
    Publish,
    /// Subscribing, and receiving what was subscribed to.
    Subscribe,
    /// Both.
    All,
}

section! {
    /// A ring with the last messages of some topics, from which STOMP subscriptions with `resume` go on after a page was reloaded or a
    /// connection was lost ([guide](../guides/browser-resume.md)). Such a subscription has to lie within the topics of one ring. Without any
    /// ring there are none. The first `[[replay]]` that has a topic keeps its messages.
    pub struct Replay {
        /// The topics, with `+` and `#` as in a subscription. Those that begin with `$` are in no ring.
        topics: Vec<String> = List(RING_TOPICS), Required;
        /// Messages that the ring holds; with one more the oldest goes.
        messages: usize = count(1, 100_000_000), Default("10000");
        /// Bytes that the ring holds, headers included; with more the oldest messages go. A larger message is missed by whoever
        /// resumes, and that is told.
        bytes: ByteSize = size(KIB, 1024 * GIB), Default("16MiB");
    }
}

section! {
    /// What holds for named queues, `$queue/…` ([guide](../guides/queues.md)). Write one `[[queue]]` per policy: the first one whose `names`
    /// fit a queue counts, and a queue that none fits has the defaults.
    pub struct NamedQueue {
        /// The queues by their names, what stands behind `$queue/`, with `+` and `#` as in a subscription.
        names: Vec<String> = List(QUEUE_PATTERN), Required;
        /// How long a message waits at the most, from its arrival. One with an expiry of its own may end sooner.
        message_ttl: Option<TimeSpan> = time(1, 3650 * DAY), Optional("as long as its own expiry says");
        /// Messages that may wait in one queue.
        max_messages: Option<usize> = count(1, 100_000_000), Optional("`limits.queued_messages`");
        /// Bytes that may wait in one queue, headers included.
        max_bytes: Option<ByteSize> = size(KIB, 1024 * GIB), Optional("`limits.queued_bytes`");
        /// What happens when one of them is reached: the arriving message is refused and its publisher told, or the message that has waited
        /// longest makes room for it.
        overflow: NamedQueueOverflow = Word(&["reject", "drop-oldest"]), Default("reject");
        /// How often a message is delivered that is not acknowledged. What comes back once more is dead.
        delivery_limit: u32 = count(1, 1_000_000), Default("20");
        /// Where dead messages are published, be they expired, rejected, delivered too often or dropped for newer ones: another queue
        /// (`$queue/dead`) or a topic.
        dead_letter: Option<String> = Text(DEAD_LETTER), Optional("they are dropped and counted");
        /// How long a queue stands in which nothing waits and that nobody consumes or uses.
        expires: TimeSpan = time(SECOND, 3650 * DAY), Default("5m");
    }
}

/// What happens when a named queue is full and one more message arrives for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedQueueOverflow {
    /// The arriving message is refused.
    Reject,
    /// The message that has waited longest is dropped.
    DropOldest,
}
