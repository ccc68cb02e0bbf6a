//! What stands at a cluster in the end, read by a consumer that the bridge knows nothing of.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tidegate_bridging::PATIENCE;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) partition: i32,
}

impl Found {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Reads a topic from its beginning until so many different values have come; returns every record.
pub(crate) fn read(bootstrap: &str, topic: &str, values: usize) -> Vec<Found> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "auditor").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < values {
        assert!(Instant::now() < deadline, "only {} of {values} have come to {topic}", seen.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
        });
        let record = Found {
            key: text(message.key()),
            value: text(message.payload()),
            headers,
            partition: message.partition(),
        };
        seen.insert(record.value.clone());
        found.push(record);
    }
    found
}

/// Each key's records are in order, each of another number, and what came twice came with the same id both times.
pub(crate) fn audit(found: &[Found], count: usize) {
    let mut ids: HashMap<&str, &str> = HashMap::new();
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for record in found {
        let id = record.header("tidegate-id");
        assert!(!id.is_empty(), "{record:?}");
        if let Some(before) = ids.insert(&record.value, id) {
            assert_eq!(before, id, "a duplicate without the id of the first: {record:?}");
            continue;
        }
        let number: usize = record.value.parse().unwrap();
        let before = newest.insert(&record.key, number);
        assert!(before.is_none_or(|before| before < number), "{record:?} behind {before:?}");
    }
    assert_eq!(ids.len(), count);
    assert_eq!(ids.values().collect::<HashSet<_>>().len(), count, "ids are different");
}

/// Writes numbered records with ids, under a few keys in turn, and waits until they are confirmed.
pub(crate) fn write(bootstrap: &str, topic: &str, numbers: std::ops::Range<usize>) {
    let producer = producer(bootstrap);
    for number in numbers {
        let (key, value) = (format!("k{}", number % 7), number.to_string());
        let id = format!("elsewhere/7/c.0/{number}");
        let headers = OwnedHeaders::new().insert(Header { key: "tidegate-id", value: Some(&id) });
        let record = BaseRecord::to(topic).key(&key).payload(&value).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Writes one record.
pub(crate) fn write_one(bootstrap: &str, topic: &str, key: Option<&str>, value: &[u8]) {
    let producer = producer(bootstrap);
    let record: BaseRecord<'_, str, [u8]> = BaseRecord { key, ..BaseRecord::to(topic).payload(value) };
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

fn producer(bootstrap: &str) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true");
    config.create().unwrap()
}

/// The sum of what a group has committed for a topic: how many records are behind it.
pub(crate) fn committed(bootstrap: &str, topic: &str, group: &str) -> i64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", group);
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(partitions, PATIENCE).unwrap();
    let offsets = committed.elements();
    offsets.iter().map(|element| element.offset().to_raw().unwrap_or(0).max(0)).sum()
}

/// Waits until the group of the bridge has committed everything.
pub(crate) async fn until_committed(bootstrap: &str, topic: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let behind = committed(bootstrap, topic, "edge-1");
        assert!(behind <= count as i64, "{behind} of {count}");
        if behind == count as i64 {
            return;
        }
        assert!(Instant::now() < deadline, "only {behind} of {count} are committed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
