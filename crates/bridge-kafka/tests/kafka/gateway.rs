//! A gateway in this process with a bridge on it, and devices that publish.

use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    Bridge, BridgeOptions, BridgeState, BridgeStatus, Connect, Event, Form, ForwardOptions, Link,
    LinkProtocol, PROTOCOL, PaceOptions, Publishing, ReceiveOptions, RetryOptions, Template, Vocabulary,
};
use tidegate_bridge_kafka::{Compression, ForwardTarget, Kafka, KafkaOptions, Timeouts, Tls};
use tidegate_broker::{Limits, QueuePolicies, TopicPolicies};
use tidegate_message::{Properties, QoS, TopicFilter};
use tidegate_net::{Inside, Running, Server, ServerOptions};
use tidegate_protocol::Outcome;
use tidegate_storage::{MemoryStorage, Storage};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A busy machine is no bug; a test that hangs should say so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway with a store.
pub(crate) fn gateway(storage: Arc<MemoryStorage>) -> Running {
    let options = ServerOptions {
        workers: 1,
        limits: Limits::default(),
        connections_max: 0,
        shutdown_timeout: Duration::from_secs(5),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        storage: Some(storage as Arc<dyn Storage>),
        skip_damaged: false,
        protocols: vec![PROTOCOL],
        listeners: Vec::new(),
    };
    Server::bind(options).unwrap().start().unwrap()
}

/// Runs a test with a gateway, on a runtime of its own as bridges have it.
pub(crate) fn with_gateway<F: Future<Output = ()>>(test: impl FnOnce(Inside) -> F) {
    let gateway = gateway(Arc::new(MemoryStorage::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(gateway.inside()));
    gateway.stop();
}

pub(crate) fn template(text: &str) -> Template {
    Template::parse(text, &Vocabulary::FORWARD, Form::Text).unwrap()
}

/// Everything goes to one topic, by its topic here.
pub(crate) fn target(topic: &str) -> ForwardTarget {
    ForwardTarget { topic: template(topic), key: None, partition: None, headers: Vec::new() }
}

/// Options for tests: short pauses.
pub(crate) fn kafka(bootstrap: &str, forwards: Vec<ForwardTarget>) -> KafkaOptions {
    let timeouts = Timeouts {
        answer: Duration::from_secs(5),
        delivery: Duration::from_secs(10),
        session: Duration::from_secs(6),
    };
    let options = KafkaOptions {
        addresses: vec![format!("kafka://{bootstrap}").parse().unwrap()],
        client_id: "edge-1".to_owned(),
        tls: Tls::default(),
        sasl: None,
        compression: Compression::Lz4,
        forwards,
        receives: Vec::new(),
        timeouts,
    };
    assert_eq!(options.findings(), []);
    options
}

fn connect(inside: &Inside) -> Connect<DuplexStream> {
    let inside = inside.clone();
    Arc::new(move || inside.connect("bridge".into(), 0, Arc::new(LinkProtocol)))
}

/// One forward for each target of `plant/#`, with dead letters at `dead`.
pub(crate) fn forward() -> ForwardOptions {
    ForwardOptions {
        name: "central.0".to_owned(),
        filters: vec![(TopicFilter::parse(b"plant/#").unwrap(), QoS::ExactlyOnce)],
        retained: false,
        in_flight_max: 200,
        in_flight_bytes_max: 16 << 20,
        drain: PaceOptions::default(),
        envelope: tidegate_bridge::Envelope::Raw,
        dead_letter: Some("dead".to_owned()),
    }
}

/// A bridge that runs.
pub(crate) struct AtWork {
    pub(crate) status: Arc<BridgeStatus>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AtWork {
    pub(crate) fn start(kafka: KafkaOptions, receives: Vec<ReceiveOptions>, inside: &Inside) -> AtWork {
        AtWork::start_with(kafka, receives, inside, Duration::from_secs(3))
    }

    pub(crate) fn start_with(
        kafka: KafkaOptions,
        receives: Vec<ReceiveOptions>,
        inside: &Inside,
        stalled_after: Duration,
    ) -> AtWork {
        let forwards: Vec<_> = kafka.forwards.iter().map(|_| forward()).collect();
        let options = BridgeOptions {
            name: "central".into(),
            node: "edge-1".into(),
            epoch: 7,
            forwards,
            receives,
            retry: RetryOptions { first: Duration::from_millis(5), longest: Duration::from_millis(200) },
            connect_timeout: Duration::from_secs(10),
            probe_after: Duration::from_millis(500),
            stalled_after,
            fail_back_after: Duration::from_secs(1),
            hops_max: 8,
        };
        let forwards = options.forwards.iter().map(|forward| forward.name.clone());
        let receives = options.receives.iter().map(|receive| receive.name.clone());
        let status =
            BridgeStatus::new(options.name.clone(), "kafka", options.stalled_after, forwards, receives);
        let upstream = Arc::new(Kafka::new(kafka));
        let bridge = Bridge::new(options, upstream, status.clone(), connect(inside)).unwrap();
        let (stop, stopped) = watch::channel(false);
        AtWork { status, stop, task: tokio::spawn(bridge.run(stopped)) }
    }

    /// The bridge ends as a process that is killed does: in the midst of whatever it is doing.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("the bridge ends").unwrap();
        assert_eq!(self.status.state(Instant::now()), BridgeState::Stopped);
    }

    /// Waits until nothing that is published is missed.
    pub(crate) async fn until_attached(&self) {
        self.until("attached", |status| status.forwards().iter().all(|forward| forward.is_attached())).await;
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&BridgeStatus) -> bool) {
        let wait = async {
            while !is_so(&self.status) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await;
        in_time.unwrap_or_else(|_| panic!("never {what}: {:?}", self.status));
    }
}

/// Publishes as a device would and waits for the acknowledgements.
pub(crate) async fn publish(inside: &Inside, messages: impl IntoIterator<Item = (String, Bytes)>) {
    let mut link = Link::new(connect(inside)().unwrap());
    let mut count = 0;
    for (topic, payload) in messages {
        let user = vec![("site".into(), "a".into()), ("site".into(), "b".into())];
        let publishing = Publishing {
            topic: Bytes::from(topic),
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Some(Box::new(Properties { user, ..Properties::default() })),
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

/// Messages on a few topics in turn, numbered.
pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> Vec<(String, Bytes)> {
    numbers.map(|number| (format!("plant/{}", number % 7), Bytes::from(number.to_string()))).collect()
}

/// A link that follows a filter.
pub(crate) async fn follower(inside: &Inside, filter: &str) -> Link<DuplexStream> {
    let mut link = Link::new(connect(inside)().unwrap());
    let filters = [(TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce)];
    link.attach("follower", 1000, &filters, false, &mut Vec::new()).await.unwrap();
    link
}

/// The next delivery to a follower.
pub(crate) async fn next(link: &mut Link<DuplexStream>) -> tidegate_bridge::Delivered {
    loop {
        match tokio::time::timeout(PATIENCE, link.inbox.next()).await.expect("a message comes").unwrap() {
            Event::Delivered(delivered) => {
                link.outbox.settle(delivered.tag, Outcome::Accepted);
                link.outbox.flush().await.unwrap();
                return *delivered;
            }
            Event::Done => {}
            other => panic!("{other:?}"),
        }
    }
}
