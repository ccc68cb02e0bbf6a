//! The gateway's side: a gateway in this process, a bridge, a device and a follower.

use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    Bridge, BridgeOptions, BridgeState, BridgeStatus, Connect, Delivered, Destination, Event, ForwardOptions,
    Incoming, Link, LinkProtocol, Misplaced, PROTOCOL, PaceOptions, Publishing, ReceiveOptions, RetryOptions,
};
use tidegate_bridge_rabbitmq::{RabbitMq, RabbitMqOptions};
use tidegate_broker::{Limits, QueuePolicies, TopicPolicies};
use tidegate_message::{QoS, TopicFilter};
use tidegate_net::{Inside, Running, Server, ServerOptions};
use tidegate_storage::{MemoryStorage, Storage};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Nothing here takes long on a quiet machine; a test that hangs should say so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a test with a gateway, on a runtime of its own as bridges have it.
pub(crate) fn with_gateway<F: Future<Output = ()>>(test: impl FnOnce(Inside) -> F) {
    let gateway = gateway();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(gateway.inside()));
    gateway.stop();
}

fn gateway() -> Running {
    let options = ServerOptions {
        workers: 2,
        limits: Limits::default(),
        connections_max: 0,
        shutdown_timeout: Duration::from_secs(5),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        storage: Some(Arc::new(MemoryStorage::new()) as Arc<dyn Storage>),
        skip_damaged: false,
        protocols: vec![PROTOCOL],
        listeners: Vec::new(),
    };
    Server::bind(options).unwrap().start().unwrap()
}

fn connect(inside: &Inside) -> Connect<DuplexStream> {
    let inside = inside.clone();
    Arc::new(move || inside.connect("bridge".into(), 0, Arc::new(LinkProtocol)))
}

/// A bridge that runs, with as many forwards (of the topics `out/#`) and receives (to `in/` and the routing key) as the options have.
pub(crate) struct AtWork {
    pub(crate) status: Arc<BridgeStatus>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AtWork {
    pub(crate) fn start(options: RabbitMqOptions, inside: &Inside) -> AtWork {
        let forwards = (0..options.forwards.len()).map(forward).collect();
        let receives = (0..options.receives.len()).map(receive).collect();
        let options = (bridge_options(forwards, receives), RabbitMq::new(options).unwrap());
        AtWork::start_with(options.0, options.1, inside)
    }

    fn start_with(options: BridgeOptions, upstream: RabbitMq, inside: &Inside) -> AtWork {
        let forwards = options.forwards.iter().map(|forward| forward.name.clone());
        let receives = options.receives.iter().map(|receive| receive.name.clone());
        let status =
            BridgeStatus::new(options.name.clone(), "rabbitmq", options.stalled_after, forwards, receives);
        let bridge = Bridge::new(options, Arc::new(upstream), status.clone(), connect(inside)).unwrap();
        let (stop, stopped) = watch::channel(false);
        AtWork { status, stop, task: tokio::spawn(bridge.run(stopped)) }
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("the bridge ends").unwrap();
    }

    /// Waits for a state, with sessions that miss nothing.
    pub(crate) async fn until(&self, state: BridgeState) {
        self.until_so(&format!("{state:?}"), |status| {
            let is_attached = status.forwards().iter().all(|forward| forward.is_attached());
            is_attached && status.state(Instant::now()) == state
        })
        .await;
    }

    /// Waits until something is so.
    pub(crate) async fn until_so(&self, what: &str, look: impl Fn(&BridgeStatus) -> bool) {
        let wait = async {
            while !look(&self.status) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let state = || self.status.state(Instant::now());
        let done = tokio::time::timeout(PATIENCE, wait).await;
        done.unwrap_or_else(|_| panic!("never {what}: {:?} {:?}", state(), self.status));
    }
}

fn bridge_options(forwards: Vec<ForwardOptions>, receives: Vec<ReceiveOptions>) -> BridgeOptions {
    BridgeOptions {
        name: "central".into(),
        node: "edge-1".into(),
        epoch: 7,
        forwards,
        receives,
        retry: RetryOptions { first: Duration::from_millis(20), longest: Duration::from_millis(500) },
        connect_timeout: Duration::from_secs(20),
        probe_after: Duration::from_millis(300),
        stalled_after: Duration::from_secs(3),
        fail_back_after: Duration::from_secs(60),
        hops_max: 8,
    }
}

fn forward(number: usize) -> ForwardOptions {
    ForwardOptions {
        name: format!("central.{number}"),
        filters: vec![(TopicFilter::parse(b"out/#").unwrap(), QoS::ExactlyOnce)],
        retained: false,
        in_flight_max: 200,
        in_flight_bytes_max: 1 << 20,
        drain: PaceOptions::default(),
        envelope: tidegate_bridge::Envelope::Raw,
        dead_letter: Some("dead/letters".to_owned()),
    }
}

fn receive(number: usize) -> ReceiveOptions {
    let destination = Arc::new(ByRoutingKey);
    ReceiveOptions { name: format!("central.in.{number}"), destination, qos_max: QoS::ExactlyOnce }
}

#[derive(Debug)]
struct ByRoutingKey;

impl Destination for ByRoutingKey {
    fn place(&self, incoming: &Incoming) -> Result<Publishing, Misplaced> {
        let place = incoming.place.iter().find(|(name, _)| *name == "routing_key");
        let (_, key) = place.ok_or_else(|| Misplaced("no routing key".to_owned()))?;
        Ok(Publishing {
            topic: Bytes::from(format!("in/{key}")),
            payload: incoming.payload.clone(),
            qos: incoming.qos,
            retain: false,
            properties: incoming.properties.clone(),
            expiry: None,
        })
    }
}

/// Publishes as a device would and waits for the acknowledgements.
pub(crate) async fn publish(inside: &Inside, messages: impl IntoIterator<Item = (String, String)>) {
    let mut link = Link::new(connect(inside)().unwrap());
    let mut count = 0;
    for (topic, payload) in messages {
        let publishing = Publishing {
            topic: Bytes::from(topic),
            payload: Bytes::from(payload),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expiry: None,
        };
        link.outbox.publish(count, publishing);
        count += 1;
    }
    link.outbox.flush().await.unwrap();
    for _ in 0..count {
        match tokio::time::timeout(PATIENCE, link.inbox.next()).await.unwrap().unwrap() {
            Event::Published { result, .. } => drop(result.unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

/// A link that follows a filter and takes everything.
pub(crate) struct Follower(Link<DuplexStream>);

impl Follower {
    pub(crate) async fn new(inside: &Inside, filter: &str) -> Follower {
        let mut link = Link::new(connect(inside)().unwrap());
        let filters = [(TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce)];
        link.attach("follower", 60_000, &filters, false, &mut Vec::new()).await.unwrap();
        Follower(link)
    }

    pub(crate) async fn next(&mut self) -> Delivered {
        match tokio::time::timeout(PATIENCE, self.0.inbox.next()).await.expect("a message comes").unwrap() {
            Event::Delivered(delivered) => *delivered,
            other => panic!("{other:?}"),
        }
    }
}

/// The first value of a user property.
pub(crate) fn property(delivered: &Delivered, name: &str) -> Option<String> {
    let user = &delivered.properties.as_ref()?.user;
    user.iter().find(|(key, _)| **key == *name).map(|(_, value)| value.to_string())
}
