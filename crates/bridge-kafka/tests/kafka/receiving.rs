//! From a cluster to here, and never an offset committed before what it stands behind is kept.

use crate::cluster::{until_committed, write};
use crate::gateway::{kafka, start, start_with};
use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_bridge::{Delivered, Destination, Incoming, Misplaced, Publishing, ReceiveOptions};
use tidegate_bridge_kafka::{KafkaOptions, ReceiveSource, Start};
use tidegate_bridging::{Follower, with_gateway};
use tidegate_message::QoS;

/// Each record goes to a topic that its key names; what has none has no place here.
#[derive(Debug)]
struct ByKey;

impl Destination for ByKey {
    fn place(&self, incoming: &Incoming) -> Result<Publishing, Misplaced> {
        let key = incoming.place.iter().find(|(name, _)| *name == "key");
        let (_, key) = key.ok_or_else(|| Misplaced("it has no key".to_owned()))?;
        Ok(Publishing {
            topic: Bytes::from(format!("commands/{key}")),
            payload: incoming.payload.clone(),
            qos: incoming.qos,
            retain: false,
            properties: incoming.properties.clone(),
            expiry: None,
        })
    }
}

pub(crate) fn receive() -> Vec<ReceiveOptions> {
    let name = "central.in".to_owned();
    vec![ReceiveOptions {
        session: Some(format!("{name}/received")),
        name,
        destination: Arc::new(ByKey),
        qos_max: QoS::AtLeastOnce,
    }]
}

pub(crate) fn source(bootstrap: &str, topic: &str) -> KafkaOptions {
    let source =
        ReceiveSource { topics: vec![topic.to_owned()], group: "edge-1".to_owned(), start: Start::Earliest };
    assert_eq!(source.findings(), []);
    KafkaOptions { receives: vec![source], ..kafka(bootstrap, Vec::new()) }
}

/// What has come, by its topic here.
#[derive(Default)]
pub(crate) struct Received {
    numbers: HashMap<String, Vec<usize>>,
    distinct: usize,
    pub(crate) duplicates: usize,
}

impl Received {
    pub(crate) async fn until(&mut self, follower: &mut Follower, distinct: usize) {
        while self.distinct < distinct {
            self.note(&follower.next().await);
        }
    }

    /// Whatever comes twice, what comes first comes in order.
    fn note(&mut self, delivered: &Delivered) {
        let number = std::str::from_utf8(&delivered.payload).unwrap().parse().unwrap();
        let numbers = self.numbers.entry(delivered.topic.as_str().to_owned()).or_default();
        if numbers.contains(&number) {
            self.duplicates += 1;
            return;
        }
        assert!(numbers.last().is_none_or(|last| *last < number), "{number} behind {:?}", numbers.last());
        numbers.push(number);
        self.distinct += 1;
    }
}

fn mock(partitions: i32) -> MockCluster<'static, rdkafka::producer::DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("commands", partitions, 1).unwrap();
    cluster
}

#[test]
fn records_come_in_order_and_their_offsets_are_committed() {
    let cluster = mock(3);
    let bootstrap = cluster.bootstrap_servers();
    // More than may be unsettled at a time.
    let count = 5000;
    write(&bootstrap, "commands", 0..count);
    with_gateway(async |inside| {
        let mut follower = Follower::new(&inside, "commands/#").await;
        let bridge = start(source(&bootstrap, "commands"), receive(), &inside);
        let mut received = Received::default();
        received.until(&mut follower, count).await;
        assert_eq!(received.duplicates, 0);
        until_committed(&bootstrap, "commands", count).await;
        bridge.stop().await;
    });
}

#[test]
fn what_has_no_place_here_holds_nothing_up() {
    let cluster = mock(1);
    let bootstrap = cluster.bootstrap_servers();
    crate::cluster::write_one(&bootstrap, "commands", None, b"x");
    write(&bootstrap, "commands", 0..10);
    with_gateway(async |inside| {
        let mut follower = Follower::new(&inside, "commands/#").await;
        let bridge = start(source(&bootstrap, "commands"), receive(), &inside);
        Received::default().until(&mut follower, 10).await;
        let dropped = bridge.status.receives()[0].dropped();
        assert_eq!(dropped.values().sum::<u64>(), 1, "{dropped:?}");
        until_committed(&bootstrap, "commands", 11).await;
        bridge.stop().await;
    });
}

#[test]
fn a_cluster_that_is_away_for_a_while_is_followed_again() {
    let cluster = mock(1);
    let bootstrap = cluster.bootstrap_servers();
    write(&bootstrap, "commands", 0..100);
    with_gateway(async |inside| {
        let mut follower = Follower::new(&inside, "commands/#").await;
        let mut received = Received::default();
        let bridge =
            start_with(source(&bootstrap, "commands"), receive(), &inside, Duration::from_millis(500));
        received.until(&mut follower, 100).await;
        cluster.broker_down(1).unwrap();
        bridge
            .until_so("away", |status| {
                !format!("{:?}", status.state(std::time::Instant::now())).contains("Live")
            })
            .await;
        cluster.broker_up(1).unwrap();
        write(&bootstrap, "commands", 100..200);
        received.until(&mut follower, 200).await;
        until_committed(&bootstrap, "commands", 200).await;
        bridge.stop().await;
    });
}
