//! From here to a cluster, whatever the cluster does.

use crate::cluster::{audit, read};
use crate::gateway::{kafka, numbered, publish, start, target, template};
use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Answer};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidegate_bridge::{BridgeState, REASON_PROPERTY};
use tidegate_bridge_kafka::ForwardTarget;
use tidegate_bridging::{AtWork, Follower, property, with_gateway};

type Mock = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn mock(brokers: i32, partitions: i32) -> Mock {
    let cluster = MockCluster::new(brokers).unwrap();
    cluster.create_topic("plant", partitions, brokers.min(3)).unwrap();
    cluster
}

/// Publishes numbered messages while a bridge runs that forwards them to one topic, and audits what has arrived.
fn forwarded_in_spite_of(cluster: &Mock, count: usize, trouble: impl AsyncFnOnce(&AtWork)) {
    let bootstrap = cluster.bootstrap_servers();
    with_gateway(async |inside| {
        let bridge = start(kafka(&bootstrap, vec![target("plant")]), Vec::new(), &inside);
        bridge.until_attached().await;
        publish(&inside, numbered(0..count / 2)).await;
        trouble(&bridge).await;
        publish(&inside, numbered(count / 2..count)).await;
        bridge.until_so("confirmed", |status| confirmed(status) >= count as u64).await;
        bridge.stop().await;
    });
    audit(&read(&bootstrap, "plant", count), count);
}

fn confirmed(status: &tidegate_bridge::BridgeStatus) -> u64 {
    status.forwards()[0].confirmed.load(Ordering::Relaxed)
}

fn dead_letters(bridge: &AtWork) -> u64 {
    bridge.status.forwards()[0].dead_letters.load(Ordering::Relaxed)
}

#[test]
fn a_thousand_messages_arrive_in_order_with_their_ids() {
    let cluster = mock(3, 4);
    forwarded_in_spite_of(&cluster, 1000, async |bridge| {
        bridge.until_so("live", |status| status.state(Instant::now()) == BridgeState::Live).await;
    });
    let found = read(&cluster.bootstrap_servers(), "plant", 1000);
    let site: Vec<_> = found[0].headers.iter().filter(|(name, _)| name == "site").collect();
    assert_eq!(site.len(), 2, "{:?}", found[0]);
    assert_eq!(found[0].header("tidegate-path"), "edge-1");
    let has_own_partition = |record: &crate::cluster::Found| {
        found.iter().filter(|other| other.key == record.key).all(|other| other.partition == record.partition)
    };
    assert!(found.iter().all(has_own_partition));
}

#[test]
fn errors_that_pass_lose_nothing_and_change_no_order() {
    let cluster = mock(1, 2);
    forwarded_in_spite_of(&cluster, 400, async |_| {
        let passing = [
            Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ];
        cluster.request_errors(Request::Produce, &passing);
    });
}

#[test]
fn an_error_that_ends_the_producer_begins_a_new_connection() {
    let cluster = mock(1, 1);
    forwarded_in_spite_of(&cluster, 400, async |_| {
        let ending =
            [Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, Answer::RD_KAFKA_RESP_ERR_INVALID_CONFIG];
        cluster.request_errors(Request::Produce, &ending);
    });
}

#[test]
fn a_batch_that_is_too_large_costs_no_message() {
    let cluster = mock(1, 1);
    // Everything is confirmed in the end, so nothing has become a dead letter.
    forwarded_in_spite_of(&cluster, 400, async |_| {
        cluster.request_errors(Request::Produce, &[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    });
}

#[test]
fn a_message_that_is_too_large_by_itself_is_a_dead_letter_and_the_rest_goes_on() {
    let cluster = mock(1, 1);
    let bootstrap = cluster.bootstrap_servers();
    with_gateway(async |inside| {
        let mut dead = Follower::new(&inside, "dead").await;
        let bridge = start(kafka(&bootstrap, vec![target("plant")]), Vec::new(), &inside);
        bridge.until_attached().await;
        bridge.until_so("live", |status| status.state(Instant::now()) == BridgeState::Live).await;
        // As large as a batch, so that it has one of its own.
        cluster.request_errors(Request::Produce, &[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
        publish(&inside, [("plant/0".to_owned(), Bytes::from(vec![b'x'; 1_000_000]))]).await;
        let letter = dead.next().await;
        assert_eq!(letter.payload.len(), 1_000_000);
        assert_eq!(property(&letter, REASON_PROPERTY).as_deref(), Some("too_large"));
        publish(&inside, numbered(0..50)).await;
        bridge.until_so("confirmed", |status| confirmed(status) >= 50).await;
        bridge.stop().await;
    });
    audit(&read(&bootstrap, "plant", 50), 50);
}

#[test]
fn brokers_that_are_away_are_waited_for() {
    let cluster = mock(1, 2);
    forwarded_in_spite_of(&cluster, 300, async |bridge| {
        cluster.broker_down(1).unwrap();
        bridge.until_so("not live", |status| status.state(Instant::now()) != BridgeState::Live).await;
        cluster.broker_up(1).unwrap();
    });
}

#[test]
fn a_new_leader_is_followed() {
    let cluster = mock(3, 1);
    cluster.partition_leader("plant", 0, Some(1)).unwrap();
    forwarded_in_spite_of(&cluster, 300, async |_| cluster.partition_leader("plant", 0, Some(2)).unwrap());
}

#[test]
fn a_missing_topic_that_the_operator_has_named_is_waited_for() {
    let cluster = mock(1, 1);
    let bootstrap = cluster.bootstrap_servers();
    cluster.topic_error("plant", Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    with_gateway(async |inside| {
        let bridge = start(kafka(&bootstrap, vec![target("plant")]), Vec::new(), &inside);
        bridge.until_attached().await;
        publish(&inside, numbered(0..20)).await;
        bridge.until_so("refused", |status| format!("{status:?}").contains("plant")).await;
        assert_eq!(dead_letters(&bridge), 0);
        cluster.topic_error("plant", Answer::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        bridge.until_so("confirmed", |status| confirmed(status) >= 20).await;
        bridge.stop().await;
    });
    audit(&read(&bootstrap, "plant", 20), 20);
}

#[test]
fn what_kafka_cannot_have_is_a_dead_letter() {
    let cluster = mock(1, 1);
    let bootstrap = cluster.bootstrap_servers();
    with_gateway(async |inside| {
        let mut dead = Follower::new(&inside, "dead").await;
        let by_level = ForwardTarget { topic: template("{topic[0]}{topic[1]|}"), ..target("plant") };
        let bridge = start(kafka(&bootstrap, vec![by_level]), Vec::new(), &inside);
        bridge.until_attached().await;
        publish(&inside, [("plant/ä".to_owned(), Bytes::from_static(b"0"))]).await;
        let letter = dead.next().await;
        assert_eq!(property(&letter, REASON_PROPERTY).as_deref(), Some("not_expressible"));
        bridge.stop().await;
    });
}

#[test]
fn a_bridge_ends_while_nobody_answers() {
    let cluster = mock(1, 1);
    let bootstrap = cluster.bootstrap_servers();
    cluster.broker_down(1).unwrap();
    with_gateway(async |inside| {
        let bridge = start(kafka(&bootstrap, vec![target("plant")]), Vec::new(), &inside);
        bridge.until_attached().await;
        publish(&inside, numbered(0..5)).await;
        tokio::time::timeout(Duration::from_secs(10), bridge.stop()).await.unwrap();
    });
}
