//! Bridges between a gateway without listeners and an upstream that misbehaves.

// A test may stop on the first surprise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod forwarding;
mod receiving;
mod toy;

use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    Bridge, BridgeOptions, BridgeState, BridgeStatus, Connect, Envelope, Event, ForwardOptions, Link,
    LinkProtocol, PROTOCOL, PaceOptions, Publishing, ReceiveOptions, RetryOptions, Upstream,
};
use tidegate_broker::{Limits, QueuePolicies, TopicPolicies};
use tidegate_message::{QoS, TopicFilter};
use tidegate_net::{Inside, Running, Server, ServerOptions};
use tidegate_storage::{MemoryStorage, Storage};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Nothing here takes long; a test that hangs should say so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with a store.
pub(crate) fn gateway(storage: Arc<MemoryStorage>) -> Running {
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
        storage: Some(storage as Arc<dyn Storage>),
        skip_damaged: false,
        protocols: vec![PROTOCOL],
        listeners: Vec::new(),
    };
    Server::bind(options).unwrap().start().unwrap()
}

pub(crate) fn connect(inside: &Inside) -> Connect<DuplexStream> {
    let inside = inside.clone();
    Arc::new(move || inside.connect("bridge".into(), 0, Arc::new(LinkProtocol)))
}

/// Options for tests: nothing waits for long.
pub(crate) fn options(forwards: Vec<ForwardOptions>, receives: Vec<ReceiveOptions>) -> BridgeOptions {
    BridgeOptions {
        name: "central".into(),
        node: "edge-1".into(),
        epoch: 7,
        forwards,
        receives,
        retry: RetryOptions { first: Duration::from_millis(5), longest: Duration::from_millis(50) },
        connect_timeout: Duration::from_secs(5),
        probe_after: Duration::from_millis(50),
        stalled_after: Duration::from_millis(200),
        fail_back_after: Duration::from_millis(100),
        hops_max: 8,
    }
}

pub(crate) fn forward(filter: &str) -> ForwardOptions {
    ForwardOptions {
        name: "central.0".to_owned(),
        filters: vec![(TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce)],
        retained: false,
        in_flight_max: 16,
        in_flight_bytes_max: 1 << 20,
        drain: PaceOptions::default(),
        envelope: Envelope::Raw,
        dead_letter: None,
    }
}

/// A bridge that runs.
pub(crate) struct AtWork {
    pub(crate) status: Arc<BridgeStatus>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AtWork {
    pub(crate) fn start(options: BridgeOptions, upstream: Arc<dyn Upstream>, inside: &Inside) -> AtWork {
        let forwards = options.forwards.iter().map(|forward| forward.name.clone());
        let receives = options.receives.iter().map(|receive| receive.name.clone());
        let status =
            BridgeStatus::new(options.name.clone(), "toy", options.stalled_after, forwards, receives);
        let bridge = Bridge::new(options, upstream, status.clone(), connect(inside)).unwrap();
        let (stop, stopped) = watch::channel(false);
        AtWork { status, stop, task: tokio::spawn(bridge.run(stopped)) }
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("the bridge ends").unwrap();
        assert_eq!(self.status.state(Instant::now()), BridgeState::Stopped);
    }

    /// Waits until nothing that is published is missed.
    pub(crate) async fn until_attached(&self) {
        while !self.status.forwards().iter().all(|forward| forward.is_attached()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for a state.
    pub(crate) async fn until(&self, state: BridgeState) {
        let wait = async {
            while self.status.state(Instant::now()) != state {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| {
            panic!("never {state:?}: {:?} {:?}", self.status.state(Instant::now()), self.status)
        });
    }
}

/// Publishes as a device would and waits for the acknowledgements.
pub(crate) async fn publish(inside: &Inside, messages: impl IntoIterator<Item = (&str, String)>) {
    let mut link = Link::new(connect(inside)().unwrap());
    let mut count = 0;
    for (topic, payload) in messages {
        let publishing = Publishing {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
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

/// A link that follows a filter.
pub(crate) async fn follower(inside: &Inside, filter: &str) -> Link<DuplexStream> {
    let mut link = Link::new(connect(inside)().unwrap());
    let filters = [(TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce)];
    link.attach("follower", 1000, &filters, false, &mut Vec::new()).await.unwrap();
    link
}

/// The next delivery to a follower.
pub(crate) async fn next(link: &mut Link<DuplexStream>) -> tidegate_bridge::Delivered {
    match tokio::time::timeout(PATIENCE, link.inbox.next()).await.expect("a message comes").unwrap() {
        Event::Delivered(delivered) => *delivered,
        other => panic!("{other:?}"),
    }
}

/// Runs a test with a gateway, on a runtime of its own as bridges have it.
pub(crate) fn with_gateway<F: Future<Output = ()>>(test: impl FnOnce(Inside) -> F) {
    let gateway = gateway(Arc::new(MemoryStorage::new()));
    run(test(gateway.inside()));
    gateway.stop();
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}
