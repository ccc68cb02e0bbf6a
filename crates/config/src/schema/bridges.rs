//! Bridges to other brokers: where they are, what goes there, and what comes from there.
//!
//! The keys of all kinds stand in one table each, so that a forward reads as one line of thought. Which of them a kind of upstream knows, and what
//! they mean, is told by the [registry](crate::Registry).

use std::collections::BTreeMap;
use std::path::PathBuf;

use tidegate_message::{ByteSize, TimeSpan};

use super::declarations::Declarations;
use super::{GIB, KIB, SECOND, count, size, time};
use crate::forms::{ANY, BRIDGE_FILTER, BRIDGE_URL, DEAD_LETTER, NOT_EMPTY, TEMPLATE};
use crate::setting::Kind::{Name, OneOrMore, Path, Switch, Table, Tables, Text, Texts, Word};
use crate::setting::Presence::{Default, Optional, Required};
use crate::setting::section;

section! {
    /// A bridge to another broker ([guide](../guides/bridges.md)). Write one `[[bridge]]` per upstream, and under each of them what goes there
    /// (`[[bridge.forward]]`) and what comes from there (`[[bridge.receive]]`).
    pub struct Bridge {
        /// The name of the bridge in logs, metrics and the ids of what it forwards. Each name is used once, and should stay the same.
        name: String = Name, Required;
        /// What the upstream speaks.
        kind: String = Text(NOT_EMPTY), Required;
        /// Where the upstream is, and as whom it is entered: `mqtts://user:secret@broker.example:8883`. Several addresses are tried in their order,
        /// and the first one again when it may be back. An address of Kafka names some servers of one cluster:
        /// `kafka://one.example:9092,two.example:9092`, or `kafka+tls://…`; its user stands in `sasl`.
        urls as "url": Vec<String> = OneOrMore(BRIDGE_URL), Required;
        /// A file with the password of the user in `url`, in place of one that stands there. The end of its first line ends it. A reload reads it anew. For
        /// MQTT and RabbitMQ.
        password_file: Option<PathBuf> = Path, Optional("the password in `url`, where there is one");
        /// Encryption, for the URLs that ask for it.
        tls: Option<BridgeTls> = Table(&BridgeTls::SECTION), Optional("the authorities of the system");
        /// As whom the gateway comes. For Kafka.
        sasl: Option<BridgeSasl> = Table(&BridgeSasl::SECTION), Optional("the gateway does not say who it is");
        /// What the gateway calls itself there.
        client_id: Option<String> = Text(NOT_EMPTY), Optional("the names of the node and of the bridge, with `-` between");
        /// The version of the upstream's protocol, where it has several. For MQTT.
        version: Option<String> = Text(NOT_EMPTY), Optional("the newest");
        /// What proves who the gateway is: user and password, or the certificate in `tls` (RabbitMQ's plugin `rabbitmq_auth_mechanism_ssl`). For RabbitMQ.
        login: BridgeLogin = Word(&["password", "certificate"]), Default("password");
        /// How long either side may be silent until the other one asks whether it is there, in whole seconds; `0s` leaves it to the upstream. For RabbitMQ.
        heartbeat: TimeSpan = time(0, 600 * SECOND), Default("10s");
        /// What is made there before it is used. What is there as described stays as it is. For RabbitMQ.
        declarations as "declare": Declarations = Table(&Declarations::SECTION), Default("");
        /// How batches are packed. For Kafka.
        compression: Compression = Word(&["none", "gzip", "snappy", "lz4", "zstd"]), Default("none");
        /// How long the gateway may be away or silent until its consumer group gives its partitions to another member. Kafka's servers allow 6 s to 30 min
        /// unless they are told otherwise. For Kafka.
        session_timeout: TimeSpan = time(SECOND, 300 * SECOND), Default("45s");
        /// How long an attempt to connect may take. For Kafka `301s` at most.
        connect_timeout: TimeSpan = time(100, 600 * SECOND), Default("10s");
        /// How long the upstream may say nothing until it is asked whether it is there.
        probe_after: TimeSpan = time(100, 3600 * SECOND), Default("10s");
        /// How long it may take to answer that until the connection is given up.
        stalled_after: TimeSpan = time(100, 3600 * SECOND), Default("20s");
        /// How long to wait before the second attempt; each further wait is twice as long.
        retry_first: TimeSpan = time(10, 3600 * SECOND), Default("500ms");
        /// The longest wait between two attempts.
        retry_longest: TimeSpan = time(10, 3600 * SECOND), Default("30s");
        /// How long a connection to another address than the first stands until the first one is tried again.
        fail_back_after: TimeSpan = time(SECOND, 24 * 3600 * SECOND), Default("5m");
        /// The most gateways that a message may have passed when it is forwarded.
        max_hops: u32 = count(1, 32), Default("8");
        /// What goes to the upstream.
        forwards as "forward": Vec<Forward> = Tables(&Forward::SECTION), Default("");
        /// What comes from there.
        receives as "receive": Vec<Receive> = Tables(&Receive::SECTION), Default("");
    }
}

section! {
    /// How a bridge knows its upstream, and proves itself to it. All files are PEM.
    pub struct BridgeTls {
        /// The authorities that may have signed the upstream's certificate.
        ca: Option<PathBuf> = Path, Optional("the authorities of the system");
        /// The certificate of the gateway, followed by its intermediate certificates. Needs `key`.
        cert: Option<PathBuf> = Path, Optional("the gateway shows none");
        /// The private key of `cert`.
        key: Option<PathBuf> = Path, Optional("the gateway shows no certificate");
    }
}

section! {
    /// As whom the gateway comes to Kafka.
    pub struct BridgeSasl {
        /// How the password is proved. `plain` sends it as it is, which needs an encrypted address, or one of this machine.
        mechanism: SaslMechanism = Word(&["plain", "scram-sha-256", "scram-sha-512"]), Default("scram-sha-512");
        /// Who.
        user: String = Text(NOT_EMPTY), Required;
        /// The password.
        password: Option<String> = Text(NOT_EMPTY), Optional("the one in `password_file`");
        /// A file with the password. The end of its first line ends it. A reload reads it anew.
        password_file: Option<PathBuf> = Path, Optional("the password in `password`");
    }
}

section! {
    /// Messages that go from here to the upstream. What a kind of upstream does not know is refused. Values in which templates may stand are
    /// explained in [a page of their own](templates.md).
    pub struct Forward {
        /// What names it in the ids of what it forwards. Another name forgets what waits, so it should stay the same. Where a bridge has several forwards
        /// each should have one: a number changes with the places.
        name: Option<String> = Name, Optional("its number among the forwards of its bridge, from 0");
        /// The topics, with `+` and `#` as in a subscription, or a named queue, `$queue/orders`. Where it is changed, what waits already is sent all the
        /// same.
        from: String = Text(BRIDGE_FILTER), Required;
        /// The highest level at which messages are taken and sent. What comes at level 0 is not kept over a restart or an outage.
        qos: u32 = count(0, 1), Default("1");
        /// Forwards the retained messages that match as well when the forward is new.
        retained: bool = Switch, Default("false");
        /// The topic there. A template. Kafka has no levels, and names of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-` only. For MQTT and Kafka.
        topic: Option<String> = Text(NOT_EMPTY), Optional("for MQTT: `{topic}`; needed for Kafka");
        /// The key, by which Kafka's partition is chosen as Java's clients do it: what has one key stays in order. A template. For Kafka.
        key: Option<String> = Text(TEMPLATE), Optional("the topic here");
        /// The number of the partition, in place of the key's choice. A template. For Kafka.
        partition: Option<String> = Text(TEMPLATE), Optional("the key chooses");
        /// The exchange, a template; `""` is the one that knows every queue by its name. For RabbitMQ.
        exchange: Option<String> = Text(ANY), Optional("needed for RabbitMQ");
        /// The routing key, a template; the levels of a topic stand with `.` between them. For RabbitMQ.
        routing_key: Option<String> = Text(ANY), Optional("for RabbitMQ: `{topic}`");
        /// Headers beside the user properties of a message. Where both have a name RabbitMQ gets this one, and Kafka this one behind the other. Templates. For
        /// RabbitMQ and Kafka.
        headers: BTreeMap<String, String> = Texts(TEMPLATE), Default("");
        /// Which messages RabbitMQ writes to its disk. With `by-qos` they are those that were published at QoS 1 or 2. For RabbitMQ.
        persistence: Persistence = Word(&["always", "by-qos", "never"]), Default("always");
        /// Refuses messages that no queue takes. Otherwise RabbitMQ drops them and calls them confirmed. For RabbitMQ.
        mandatory: bool = Switch, Default("true");
        /// Keeps the retain flag. For MQTT.
        retain: bool = Switch, Default("false");
        /// The payload as it is, or in an envelope ([page](envelopes.md)).
        payload: PayloadForm = Word(&["raw", "json", "json-nested", "cloudevents"]), Default("raw");
        /// The `source` of events. A template. For the payload `cloudevents`.
        event_source: Option<String> = Text(TEMPLATE), Optional("`/` and the name of the node");
        /// The `type` of events. A template. For the payload `cloudevents`.
        event_type: Option<String> = Text(TEMPLATE), Optional("`tidegate.message`");
        /// Messages that may be on their way without being confirmed.
        in_flight: u32 = count(1, 65_535), Default("1000");
        /// Bytes of them, about.
        in_flight_bytes: ByteSize = size(KIB, GIB), Default("8MiB");
        /// What is sent first after an outage: `strict` keeps the order of each topic, `live-first` lets what comes from then on overtake what has
        /// waited ([guide](../guides/bridges.md#newer-messages-first)). The latter needs `data_dir`, and topics rather than a queue.
        order: ForwardOrder = Word(&["strict", "live-first"]), Default("strict");
        /// Messages in a second at which what has waited during an outage is sent.
        drain_rate: Option<u32> = count(1, 100_000_000), Optional("no limit");
        /// Bytes in a second at which it is.
        drain_bytes_rate: Option<ByteSize> = size(KIB, 1024 * GIB), Optional("no limit");
        /// What is kept while messages wait: `all`, or of each topic the `last`, so that a backlog has as many messages as topics. The others are dropped and
        /// counted (`superseded`; [guide](../guides/bridges.md#only-the-last-values)). The latter needs `order = "strict"`, and topics rather than a queue.
        keep: ForwardKeep = Word(&["all", "last"]), Default("all");
        /// How long a message may have waited here when it is sent, since it was published; over restarts as well. What is older is dropped and counted
        /// (`max_age`), also while the upstream is away ([guide](../guides/bridges.md#what-is-too-old)).
        max_age: Option<TimeSpan> = time(SECOND, 366 * 24 * 3600 * SECOND), Optional("messages wait for as long as the disk has room");
        /// Where messages are published that the upstream refuses for good: another queue (`$queue/refused`) or a topic.
        dead_letter: Option<String> = Text(DEAD_LETTER), Optional("they are dropped and counted");
    }
}

section! {
    /// Messages that come from the upstream. They are acknowledged there when they are kept here.
    pub struct Receive {
        /// What names it in logs and metrics.
        name: Option<String> = Name, Optional("its number among the receives of its bridge, from 0");
        /// The topics there, with `+` and `#` as in a subscription. For MQTT.
        filter: Option<String> = Text(BRIDGE_FILTER), Optional("needed for MQTT");
        /// The queue. For RabbitMQ.
        queue: Option<String> = Text(NOT_EMPTY), Optional("needed for RabbitMQ");
        /// Messages that may be on their way here without being acknowledged. For RabbitMQ.
        prefetch: u16 = count(1, 2048), Default("500");
        /// Lets nobody else consume the queue, which keeps its order. For RabbitMQ.
        exclusive: bool = Switch, Default("false");
        /// The topics there, by their names. For Kafka.
        topics: Option<Vec<String>> = OneOrMore(NOT_EMPTY), Optional("needed for Kafka");
        /// The consumer group, which remembers how far the gateway has come. Two gateways in one group share what comes. For Kafka.
        group: Option<String> = Text(NOT_EMPTY), Optional("needed for Kafka");
        /// Where a group begins that has never been here. For Kafka.
        start: ReceiveStart = Word(&["earliest", "latest"]), Default("earliest");
        /// The topic here. A template; values from there cannot bring levels or wildcards along.
        to: String = Text(NOT_EMPTY), Required;
        /// The highest level at which messages are taken and published here.
        qos: u32 = count(0, 1), Default("1");
        /// Keeps the retain flag. For MQTT.
        retain: bool = Switch, Default("false");
        /// What the payload is: the message itself, or an envelope around it ([page](envelopes.md)).
        payload: PayloadForm = Word(&["raw", "json", "cloudevents"]), Default("raw");
    }
}

/// Which message is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardOrder {
    /// The one that has waited longest.
    Strict,
    /// What comes while the upstream is there.
    LiveFirst,
}

/// What is kept of a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardKeep {
    /// Every message.
    All,
    /// The newest of each topic.
    Last,
}

/// How a gateway proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BridgeLogin {
    /// By user and password.
    Password,
    /// By its certificate.
    Certificate,
}

/// Which messages an upstream writes to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// All of them.
    Always,
    /// Those of QoS 1 and 2.
    ByQos,
    /// None of them.
    Never,
}

/// How batches of messages are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Snappy.
    Snappy,
    /// By LZ4.
    Lz4,
    /// By Zstandard.
    Zstd,
}

/// How a password is proved by SASL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum SaslMechanism {
    /// It is sent as it is.
    #[serde(rename = "plain")]
    Plain,
    /// A proof of it is sent, by SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A proof of it is sent, by SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// Where a consumer group begins that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiveStart {
    /// At the oldest message that is there.
    Earliest,
    /// Behind the newest one.
    Latest,
}

/// What is sent as the payload of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadForm {
    /// The payload as it is.
    Raw,
    /// An object with the message and what is known of it.
    Json,
    /// The same, with a payload that is JSON as a part of the object.
    #[serde(rename = "json-nested")]
    JsonNested,
    /// A CloudEvent.
    CloudEvents,
}
