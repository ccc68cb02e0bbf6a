//! The gateway: a store in memory, no port, and pipes into it.

use std::sync::Arc;
use std::time::Duration;
use tidegate_bridge::{Connect, LinkProtocol, PROTOCOL};
use tidegate_broker::{Limits, QueuePolicies, TopicPolicies};
use tidegate_net::{Inside, Running, Server, ServerOptions};
use tidegate_storage::{MemoryStorage, Storage};
use tokio::io::DuplexStream;

/// A gateway with this store.
pub fn gateway(storage: Arc<MemoryStorage>) -> Running {
    gateway_with_topics(storage, TopicPolicies::default())
}

/// The same with policies for topics.
pub fn gateway_with_topics(storage: Arc<MemoryStorage>, topics: TopicPolicies) -> Running {
    let options = ServerOptions {
        workers: 2,
        limits: Limits::default(),
        connections_max: 0,
        shutdown_timeout: Duration::from_secs(5),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics,
        storage: Some(storage as Arc<dyn Storage>),
        skip_damaged: false,
        protocols: vec![PROTOCOL],
        listeners: Vec::new(),
    };
    Server::bind(options).unwrap().start().unwrap()
}

/// How links get into it.
pub fn connect(inside: &Inside) -> Connect<DuplexStream> {
    let inside = inside.clone();
    Arc::new(move || inside.connect("bridge".into(), 0, Arc::new(LinkProtocol)))
}

/// Runs a test with a gateway, on a runtime of its own as bridges have it.
pub fn with_gateway<F: Future<Output = ()>>(test: impl FnOnce(Inside) -> F) {
    let gateway = gateway(Arc::new(MemoryStorage::new()));
    run(test(gateway.inside()));
    gateway.stop();
}

/// Runs a test that has gateways of its own.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}
