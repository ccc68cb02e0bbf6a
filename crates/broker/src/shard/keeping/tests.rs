//! What two workers do at the same moment, told step by step.

use super::*;
use crate::Limits;
use crate::node::NodeOptions;
use crate::queue_policy::QueuePolicies;
use crate::route::Grant;
use crate::topic_policy::TopicPolicies;
use tidegate_message::{Origin, QoS};
use tidegate_storage::MemoryStorage;

const STREAM: StreamId = StreamId(5000);

fn node_on(storage: &Arc<MemoryStorage>) -> Arc<Node> {
    Node::new(NodeOptions {
        limits: Limits::default(),
        protocols: vec!["toy"],
        bells: (0..2).map(|_| -> crate::Bell { Box::new(|| {}) }).collect(),
        authenticator: None,
        access: None,
        rings: Vec::new(),
        queues: QueuePolicies::default(),
        topics: TopicPolicies::default(),
        storage: Some(storage.clone()),
        skip_damaged: false,
        wall_millis: || 0,
    })
}

fn topic(text: &str) -> Topic {
    Topic::parse(text.as_bytes()).unwrap()
}

fn message(text: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: topic(text),
        payload: bytes::Bytes::from_static(b"x"),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: None,
        expires_at: None,
        origin: Origin(0),
        publisher: None,
    })
}

fn entries(storage: &MemoryStorage, stream: StreamId) -> usize {
    storage.summary(stream).map_or(0, |summary| summary.entries)
}

/// Appends an entry in an event of this worker that is not over.
fn begin_to_append(shard: &mut Shard) -> Entry {
    let number = NonZeroU64::MIN;
    shard.keeping.change.append(&[(STREAM, number.get(), b"")], b"body");
    Entry { stream: STREAM, number, change: Some(shard.keeping.place()) }
}

/// A worker that is done with what another one is still writing settles it later, although nothing happens any more.
#[test]
fn a_settlement_that_came_too_early_is_handed_over_by_an_idle_worker() {
    let storage = Arc::new(MemoryStorage::new());
    let node = node_on(&storage);
    let [mut writer, mut reader] = [0, 1].map(|worker| Shard::new(node.clone(), worker));
    let mut now = Instant::now();
    let entry = begin_to_append(&mut writer);
    reader.keeping.settle(&entry);
    reader.commit(now);
    for _ in 0..3 {
        assert!(reader.take_timer_moved(), "the driver is told to look");
        now = reader.next_timer().unwrap();
        reader.handle_timers(now);
    }
    writer.commit(now);
    assert_eq!(entries(&storage, STREAM), 1);
    reader.handle_timers(reader.next_timer().unwrap());
    assert_eq!((entries(&storage, STREAM), reader.next_timer()), (0, None));
}

/// A queue that ends while another worker describes it is not described for ever.
#[test]
fn a_queue_is_not_forgotten_before_it_is_described() {
    let storage = Arc::new(MemoryStorage::new());
    let node = node_on(&storage);
    let [mut writer, mut home] = [0, 1].map(|worker| Shard::new(node.clone(), worker));
    let now = Instant::now();
    let group = node.router.declare_anyway(&topic("$queue/jobs"), 1, &|home| node.new_queue(home));
    writer.describe(&group, now);
    home.forget_description(&group);
    home.commit(now);
    writer.commit(now);
    assert_eq!(entries(&storage, StreamId::QUEUES), 1);
    home.handle_timers(home.next_timer().unwrap());
    assert_eq!(entries(&storage, StreamId::QUEUES), 0);
}

/// What a group has given to a member that is gone for good waits for another one.
#[test]
fn a_group_takes_back_what_nobody_is_there_for() {
    let storage = Arc::new(MemoryStorage::new());
    let node = node_on(&storage);
    let mut shard = Shard::new(node.clone(), 0);
    let now = Instant::now();
    let group = node.router.declare_anyway(&topic("$queue/jobs"), 0, &|home| node.new_queue(home));
    let grant =
        Grant { qos: QoS::ExactlyOnce, retain_as_published: false, subscription_ids: Default::default() };
    let queued = group.enter(message("$queue/jobs"), None).taken(&group, &grant);
    shard.own(7, queued, now);
    assert_eq!(group.waiting(), 1);
}
