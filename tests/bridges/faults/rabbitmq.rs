//! RabbitMQ as the upstream of a bridge under audit, followed by lapin.

use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidegate_soak::{Arrival, Inbox, Letter, Outbox, Upstream};
use tidegate_testkit::servers;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long somebody waits before connecting again.
const A_MOMENT: Duration = Duration::from_millis(50);
/// How long RabbitMQ may take to answer while it is being restarted.
const PATIENCE: Duration = Duration::from_secs(10);
const PREFETCH: u16 = 500;
const PERSISTENT: u8 = 2;

/// RabbitMQ with durable queues, which loses nothing that it has confirmed.
pub(crate) struct RabbitMq {
    server: Mutex<servers::RabbitMq>,
    address: SocketAddr,
    vhost: String,
    uri: String,
    restarts: AtomicU64,
}

impl RabbitMq {
    pub(crate) fn start() -> RabbitMq {
        let server = servers::RabbitMq::start();
        let vhost = server.vhost();
        let uri = server.uri(&vhost);
        let (address, restarts) = (server.address(), AtomicU64::new(0));
        RabbitMq { address, vhost, uri, restarts, server: Mutex::new(server) }
    }
}

impl Upstream for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn bridge(&self, at: SocketAddr) -> String {
        let vhost = &self.vhost;
        format!(
            r##"
[[bridge]]
name = "central"
kind = "rabbitmq"
url = "amqp://guest:guest@{at}/{vhost}"
heartbeat = "2s"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "500ms"
stalled_after = "2s"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
exchange = "telemetry"

[[bridge.receive]]
name = "commands"
queue = "commands"
to = "commands/{{routing_key.slashed}}"

[[bridge.declare.exchange]]
name = "telemetry"

[[bridge.declare.queue]]
name = "inbox"

[[bridge.declare.binding]]
exchange = "telemetry"
queue = "inbox"
routing_key = "#"

[[bridge.declare.exchange]]
name = "commands"

[[bridge.declare.queue]]
name = "commands"

[[bridge.declare.binding]]
exchange = "commands"
queue = "commands"
routing_key = "#"
"##
        )
    }

    /// By turns with SIGKILL, and in the order in which it ends itself: queues are gone then before connections are.
    fn restart(&self) {
        let mut server = self.server.lock().expect("nobody panics with the server");
        match self.restarts.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => server.kill_and_restart(),
            _ => server.stop_and_restart(),
        }
    }

    fn inbox(&self) -> Box<dyn Inbox> {
        Box::new(Follower { runtime: runtime(), uri: self.uri.clone(), open: None })
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        Box::new(Publisher { runtime: runtime(), uri: self.uri.clone(), open: None })
    }
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a thread can have a runtime")
}

async fn connect(uri: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Consumes what the bridge has forwarded.
struct Follower {
    runtime: Runtime,
    uri: String,
    open: Option<(Connection, Consumer)>,
}

impl Follower {
    /// Fails as well where the bridge has not made the queue yet.
    fn connect(&mut self) -> Option<(Connection, Consumer)> {
        let consuming = async {
            let (connection, channel) = connect(&self.uri).await?;
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let (options, tag) = (BasicConsumeOptions::default(), ShortString::default());
            let consumer = channel.basic_consume("inbox".into(), tag, options, FieldTable::default()).await?;
            Ok::<_, lapin::Error>((connection, consumer))
        };
        self.runtime.block_on(async { timeout(PATIENCE, consuming).await }).ok()?.ok()
    }
}

impl Inbox for Follower {
    fn next(&mut self, patience: Duration) -> Option<Arrival> {
        let Some((connection, mut consumer)) = self.open.take().or_else(|| self.connect()) else {
            std::thread::sleep(A_MOMENT);
            return None;
        };
        let coming = poll_fn(|context| Pin::new(&mut consumer).poll_next(context));
        let delivery = match self.runtime.block_on(async { timeout(patience, coming).await }) {
            Ok(Some(Ok(delivery))) => Some(delivery),
            Ok(Some(Err(_)) | None) => return None,
            Err(_) => None,
        };
        self.open = Some((connection, consumer));
        let Delivery { data: payload, properties, redelivered: is_redelivered, acker, .. } = delivery?;
        // It has arrived, whether or not this gets through.
        let _ = self.runtime.block_on(acker.ack(BasicAckOptions::default()));
        let id = properties.message_id().as_ref().map(ShortString::to_string);
        Some(Arrival { payload, id, is_redelivered })
    }
}

/// Publishes what the bridge is to receive.
struct Publisher {
    runtime: Runtime,
    uri: String,
    open: Option<(Connection, Channel)>,
}

/// Whether each of them was confirmed.
async fn publish(channel: &Channel, letters: &[Letter<'_>]) -> lapin::Result<Vec<bool>> {
    // What no queue takes is confirmed as well, and comes back.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = Vec::new();
    for letter in letters {
        let key = letter.topic.trim_start_matches("commands/").replace('/', ".");
        let (exchange, properties) = ("commands".into(), properties(letter));
        let publishing = channel.basic_publish(exchange, key.into(), options, letter.payload, properties);
        confirms.push(publishing.await?);
    }
    let (mut taken, mut has_returned) = (Vec::new(), false);
    for confirm in confirms {
        // What was confirmed before the channel ended is confirmed.
        let confirmation = confirm.await.ok();
        taken.push(confirmation.as_ref().is_some_and(Confirmation::is_ack));
        has_returned |= confirmation.is_some_and(|confirmation| confirmation.take_message().is_some());
    }
    if has_returned {
        // The library does not tell which one it was.
        taken.clear();
    }
    Ok(taken)
}

fn properties(letter: &Letter<'_>) -> BasicProperties {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let Some(id) = letter.id else { return properties };
    let mut headers = FieldTable::default();
    headers.insert("tidegate-path".into(), AMQPValue::LongString("cloud".into()));
    properties.with_message_id(id.into()).with_headers(headers)
}

impl Outbox for Publisher {
    fn publish(&mut self, letter: &Letter<'_>) -> bool {
        self.publish_all(&[*letter]) == [true]
    }

    fn publish_all(&mut self, letters: &[Letter<'_>]) -> Vec<bool> {
        let open = self.open.take();
        let publishing = async {
            let open = match open {
                Some(open) => open,
                None => {
                    let (connection, channel) = connect(&self.uri).await?;
                    channel.confirm_select(ConfirmSelectOptions::default()).await?;
                    (connection, channel)
                }
            };
            let taken = publish(&open.1, letters).await?;
            Ok::<_, lapin::Error>((open, taken))
        };
        let mut taken = Vec::new();
        if let Ok(Ok(published)) = self.runtime.block_on(async { timeout(PATIENCE, publishing).await }) {
            (self.open, taken) = (Some(published.0), published.1);
        }
        taken.resize(letters.len(), false);
        taken
    }
}
