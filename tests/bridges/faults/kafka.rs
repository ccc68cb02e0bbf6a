//! A server that speaks Kafka as the upstream of a bridge under audit.
//!
//! The audit reads by offset and not as a member of a group, so that each record comes to it once.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tidegate_soak::{Arrival, Inbox, Letter, Outbox, Upstream};
use tidegate_testkit::proxy::Proxy;
use tidegate_testkit::servers::{self, KafkaServer};

use crate::harness::{Program, python};

/// How long a server may take to answer while it is being restarted.
const PATIENCE: Duration = Duration::from_secs(120);
/// So many, with a stream's records in one of them.
const PARTITIONS: i32 = 3;
const ID_HEADER: &str = "tidegate-id";

/// A server with a topic for each direction.
pub(crate) struct Kafka {
    kind: KafkaServer,
    server: Mutex<servers::Kafka>,
    /// Where the audit comes to, past the link.
    address: SocketAddr,
    link: Option<Arc<Proxy>>,
    /// Held by whoever writes past the link, and by nobody while the server ends: noida goes on confirming for a moment when it has written what it
    /// keeps, and that is its own loss. The bridge cannot write then, since the way through which it comes ends first.
    quiet: Arc<RwLock<()>>,
    telemetry: String,
    commands: String,
}

impl Kafka {
    pub(crate) fn start(kind: KafkaServer) -> Kafka {
        let (server, link) = match kind.can_be_behind() {
            true => {
                let link = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
                let server = servers::Kafka::start_behind(kind, link.address());
                link.set_upstream(server.address());
                (server, Some(Arc::new(link)))
            }
            false => {
                println!(
                    "{kind:?} tells its clients its own address: nothing goes wrong on the link, and nobody restarts it"
                );
                (servers::Kafka::start(kind), None)
            }
        };
        let address = server.direct_address().expect("there is a way past the link");
        let [telemetry, commands] = ["telemetry", "commands"].map(servers::Kafka::topic);
        for topic in [&telemetry, &commands] {
            let arguments = ["topic", &address.to_string(), topic, &PARTITIONS.to_string()];
            Program::start(python("tests/clients/kafka_records.py").args(arguments)).succeed();
        }
        let (server, quiet) = (Mutex::new(server), Arc::default());
        Kafka { kind, server, address, link, quiet, telemetry, commands }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string()).set("reconnect.backoff.max.ms", "500");
        config
    }
}

impl Upstream for Kafka {
    fn name(&self) -> &'static str {
        match self.kind {
            KafkaServer::Noida => "kafka (noida)",
            KafkaServer::Tansu => "kafka (tansu)",
            KafkaServer::Apache => "kafka (apache)",
            KafkaServer::Given(_) => "kafka (given)",
        }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn link(&self) -> Option<Arc<Proxy>> {
        self.link.clone()
    }

    fn bridge(&self, at: SocketAddr) -> String {
        let Kafka { telemetry, commands, .. } = self;
        format!(
            r#"
[[bridge]]
name = "lake"
kind = "kafka"
url = "kafka://{at}"
session_timeout = "6s"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "300ms"
stalled_after = "900ms"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
topic = "{telemetry}"

[[bridge.receive]]
name = "commands"
topics = ["{commands}"]
group = "group-{commands}"
to = "commands/{{key}}"
"#
        )
    }

    fn rounds(&self) -> usize {
        3
    }

    /// The client library gets over the end of a connection by itself, so that only a silence has the bridge begin anew.
    fn fault_lasts_max(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn is_restarted(&self) -> bool {
        !matches!(self.kind, KafkaServer::Given(_))
    }

    fn restart(&self) {
        let _quiet = self.quiet.write().expect("nobody panics while writing");
        assert!(self.server.lock().expect("nobody panics with the server").restart(), "it keeps what it has");
    }

    fn inbox(&self) -> Box<dyn Inbox> {
        let mut config = self.client();
        config.set("group.id", "auditor").set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().expect("the settings are known");
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let added = partitions.add_partition_offset(&self.telemetry, partition, Offset::Beginning);
            added.expect("an offset can be asked for");
        }
        consumer.assign(&partitions).expect("partitions can be assigned");
        Box::new(Reader(consumer))
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", "0");
        config.set("message.timeout.ms", PATIENCE.as_millis().to_string());
        Box::new(Writer { config, topic: self.commands.clone(), quiet: self.quiet.clone(), open: None })
    }
}

struct Reader(BaseConsumer);

impl Inbox for Reader {
    /// What a consumer says beside records is that a server is away: it comes back by itself.
    fn next(&mut self, patience: Duration) -> Option<Arrival> {
        let record = self.0.poll(patience)?.ok()?;
        let is_id = |header: &Header<'_, &[u8]>| header.key == ID_HEADER;
        let id = record.headers().and_then(|headers| headers.iter().find(is_id));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Arrival {
            payload: record.payload().unwrap_or_default().to_vec(),
            id: id.and_then(|header| header.value).map(text),
            is_redelivered: false,
        })
    }
}

/// One record at a time, so that nothing is repeated behind something newer.
struct Writer {
    config: ClientConfig,
    topic: String,
    quiet: Arc<RwLock<()>>,
    open: Option<Open>,
}

struct Open {
    producer: ThreadedProducer<Confirming>,
    confirms: Receiver<bool>,
}

struct Confirming(Sender<bool>);

impl ClientContext for Confirming {}

impl ProducerContext for Confirming {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Nobody waits any more where the writer has given up.
        let _ = self.0.send(result.is_ok());
    }
}

impl Open {
    fn new(config: &ClientConfig) -> Result<Open, KafkaError> {
        let (sender, confirms) = channel();
        Ok(Open { producer: config.create_with_context(Confirming(sender))?, confirms })
    }

    fn send(&self, topic: &str, letter: &Letter<'_>) -> bool {
        // A key becomes one level there.
        let key = letter.topic.trim_start_matches("commands/").replace('/', ".");
        let mut record = BaseRecord::to(topic).key(&key).payload(letter.payload);
        if let Some(id) = letter.id {
            record = record.headers(OwnedHeaders::new().insert(Header { key: ID_HEADER, value: Some(id) }));
        }
        self.producer.send(record).is_ok() && self.confirms.recv_timeout(PATIENCE).unwrap_or_default()
    }
}

impl Outbox for Writer {
    fn publish(&mut self, letter: &Letter<'_>) -> bool {
        let _quiet = self.quiet.read().expect("nobody panics with the server");
        if self.open.is_none() {
            self.open = Some(Open::new(&self.config).expect("the settings are known"));
        }
        let is_confirmed = self.open.as_ref().is_some_and(|open| open.send(&self.topic, letter));
        if !is_confirmed {
            self.open = None;
        }
        is_confirmed
    }
}
