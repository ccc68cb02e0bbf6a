//! One simulated device: a machine with an MQTT 5 client, like thousands that come from elsewhere.
//!
//! ```text
//! connecting ──► connected: status `online`, description, readings; commands are answered
//!     ▲              │ cut, or the connection breaks: the socket goes without DISCONNECT, so the gateway publishes the will
//!     └── a while ◄──┘
//! ```

use super::command::Command;
use super::machine::Machine;
use super::random::Random;
use parking_lot::Mutex;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::warn;

/// What may wait to be sent. A reading that finds no room is left out; the next one is newer anyway.
const REQUESTS_MAX: usize = 64;

/// Acknowledged messages under way; rumqttc reserves memory for each.
const IN_FLIGHT_MAX: u16 = 16;

const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a device that lost its link is away.
const OUTAGE_SECONDS: (f64, f64) = (8.0, 20.0);

/// How long a device waits before it tries again after a connection that broke by itself.
const RETRY: Duration = Duration::from_secs(2);

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// Where a device stands in the plant.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) area: &'static str,
    /// Unique in its area: `press-07`.
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// A device, shared by its connection and by whoever paces the readings.
#[derive(Debug)]
pub(crate) struct Device {
    place: Place,
    machine: Mutex<Machine>,
    random: Mutex<Random>,
    /// The topics of the readings, in the order of the machine's metrics.
    reading_topics: Vec<String>,
    /// Since when the plant runs.
    started: Instant,
    /// Where messages go while there is a connection.
    client: Mutex<Option<AsyncClient>>,
    cut: Notify,
}

/// Why a connection ended.
enum End {
    Cut,
    Broken(ConnectionError),
}

/// Whether the device is about to lose its link because a command says so: only when its answer has arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cutting {
    No,
    Asked,
    Answered(u16),
}

impl Device {
    /// A device that is not connected yet.
    pub(crate) fn new(place: Place, machine: Machine, started: Instant, seed: u64) -> Device {
        let topic =
            |metric: &super::kind::Metric| format!("plant/{}/{}/{}", place.area, place.name, metric.name);
        let reading_topics = machine.metrics().iter().map(topic).collect();
        Device {
            place,
            machine: Mutex::new(machine),
            random: Mutex::new(Random::new(seed)),
            reading_topics,
            started,
            client: Mutex::new(None),
            cut: Notify::new(),
        }
    }

    /// How many things it measures.
    pub(crate) fn metrics(&self) -> usize {
        self.reading_topics.len()
    }

    /// Loses its connection as a pulled cable would; nothing happens to a device that has none.
    pub(crate) fn lose_link(&self) {
        self.cut.notify_waiters();
    }

    /// Publishes a reading of the metric of this number, if there is a connection with room.
    pub(crate) fn publish_reading(&self, number: usize) {
        let client = self.client.lock().clone();
        if let Some(client) = client {
            self.send_reading(&client, number);
        }
    }

    /// Connects again and again, until the task is dropped.
    pub(crate) async fn stay(self: Arc<Self>, gateway: SocketAddr) -> Infallible {
        loop {
            let (client, events) = AsyncClient::new(self.options(gateway), REQUESTS_MAX);
            let end = self.serve(&client, events).await;
            *self.client.lock() = None;
            let pause = match end {
                End::Cut => {
                    let (low, high) = OUTAGE_SECONDS;
                    Duration::from_secs_f64(self.random.lock().between(low, high))
                }
                End::Broken(error) => {
                    warn!(device = %self.client_id(), %error, "a simulated device lost its connection");
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    fn client_id(&self) -> String {
        format!("demo-{}-{}", self.place.area, self.place.name)
    }

    fn topic(&self, name: &str) -> String {
        format!("plant/{}/{}/{name}", self.place.area, self.place.name)
    }

    fn options(&self, gateway: SocketAddr) -> MqttOptions {
        let mut options = MqttOptions::new(self.client_id(), gateway.ip().to_string(), gateway.port());
        options.set_keep_alive(KEEP_ALIVE);
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
        options.set_last_will(LastWill::new(self.topic("status"), OFFLINE, QoS::AtLeastOnce, true, None));
        options
    }

    /// One connection from its first byte to its last. Returning drops the socket, without DISCONNECT.
    async fn serve(&self, client: &AsyncClient, mut events: EventLoop) -> End {
        let mut cutting = Cutting::No;
        loop {
            let event = tokio::select! {
                event = events.poll() => event,
                () = self.cut.notified() => return End::Cut,
            };
            match event {
                Ok(Event::Incoming(Packet::ConnAck(_))) => self.introduce(client),
                Ok(Event::Incoming(Packet::Publish(command))) => {
                    if self.obey(client, &command) == Command::CutLink {
                        cutting = Cutting::Asked;
                    }
                }
                // Readings have no packet identifier, so this is the answer.
                Ok(Event::Outgoing(Outgoing::Publish(id))) if cutting == Cutting::Asked && id != 0 => {
                    cutting = Cutting::Answered(id);
                }
                Ok(Event::Incoming(Packet::PubAck(ack))) if cutting == Cutting::Answered(ack.pkid) => {
                    return End::Cut;
                }
                Ok(_) => {}
                Err(error) => return End::Broken(error),
            }
        }
    }

    /// What a device says first. All of it is retained, so that whoever comes later knows it at once.
    fn introduce(&self, client: &AsyncClient) {
        let description = self.machine.lock().description(self.place.line).to_string();
        let _ = client.try_subscribe(self.topic("command"), QoS::AtLeastOnce);
        send(client, self.topic("info"), QoS::AtLeastOnce, true, description, json_content());
        send(
            client,
            self.topic("status"),
            QoS::AtLeastOnce,
            true,
            ONLINE.to_owned(),
            PublishProperties::default(),
        );
        for number in 0..self.metrics() {
            self.send_reading(client, number);
        }
        *self.client.lock() = Some(client.clone());
    }

    fn send_reading(&self, client: &AsyncClient, number: usize) {
        let mut machine = self.machine.lock();
        let value = machine.read(number, self.started.elapsed());
        let metric = machine.metrics().get(number);
        drop(machine);
        if let (Some(value), Some(metric), Some(topic)) = (value, metric, self.reading_topics.get(number)) {
            let reading = format!(
                "{{\"value\":{value:.2},\"unit\":\"{}\",\"at\":{}}}",
                metric.unit,
                milliseconds_since_1970()
            );
            send(client, topic.clone(), QoS::AtMostOnce, true, reading, json_content());
        }
    }

    /// MQTT 5.0 section 4.10: the answer goes where the command says, with the command's correlation data.
    fn obey(&self, client: &AsyncClient, publish: &Publish) -> Command {
        let command = Command::parse(&publish.payload);
        let answer = command.answer(&mut self.machine.lock());
        let asked = publish.properties.as_ref();
        match asked.and_then(|properties| properties.response_topic.clone()) {
            Some(topic) => {
                let correlation_data = asked.and_then(|properties| properties.correlation_data.clone());
                let properties = PublishProperties { correlation_data, ..json_content() };
                send(client, topic, QoS::AtLeastOnce, false, answer.to_string(), properties);
            }
            // Nobody waits for an answer, so there is nothing to wait for here either.
            None if command == Command::CutLink => self.cut.notify_one(),
            None => {}
        }
        command
    }
}

fn json_content() -> PublishProperties {
    PublishProperties { content_type: Some("application/json".to_owned()), ..PublishProperties::default() }
}

/// Hands a message to the connection. Where there is no room the link is too slow for what it is asked to carry, and the message is lost, as
/// on a real device with little memory.
fn send(
    client: &AsyncClient,
    topic: String,
    qos: QoS,
    retain: bool,
    payload: String,
    properties: PublishProperties,
) {
    let _ = client.try_publish_with_properties(topic, qos, retain, payload, properties);
}

fn milliseconds_since_1970() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
