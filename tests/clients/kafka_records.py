"""A Kafka server seen by confluent-kafka: `kafka_records.py ACTION ADDRESS TOPIC …`.

    topic PARTITIONS   makes the topic, unless it is there
    follow             prints each record, from the oldest on, as `got` and an object of JSON
    write KEY COUNT    writes records 0 to COUNT - 1 under keys KEY0, KEY1, KEY2 in turn, and waits until they are confirmed
    committed GROUP    prints, by partition, the offset that a group has committed

The variable KAFKA_CLIENT is an object of JSON with more settings of the client.
"""

import json
import os
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE_SECONDS = 60
KEYS = 3


def client(address, **more):
    return {"bootstrap.servers": address, **json.loads(os.environ.get("KAFKA_CLIENT", "{}")), **more}


def make_topic(address, topic, partitions):
    admin = AdminClient(client(address))
    try:
        admin.create_topics([NewTopic(topic, int(partitions), 1)])[topic].result(PATIENCE_SECONDS)
    except KafkaException as error:
        if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
            raise


def consumer(address, group):
    return Consumer(client(address, **{"group.id": group, "enable.auto.commit": False}))


def partitions(reader, topic):
    found = reader.list_topics(topic, PATIENCE_SECONDS).topics[topic]
    assert found.error is None and found.partitions, found.error
    return sorted(found.partitions)


def follow(address, topic):
    """Reads by offset and not as a member of a group, whose first meeting takes a server up to twenty seconds."""
    reader = consumer(address, "follower")
    reader.assign([TopicPartition(topic, partition, 0) for partition in partitions(reader, topic)])
    print("following")
    while True:
        record = reader.poll(1)
        if record is None or record.error() is not None:
            continue
        headers = [[name, (value or b"").decode()] for name, value in record.headers() or []]
        key, value = ((part or b"").decode() for part in (record.key(), record.value()))
        print("got", json.dumps({"partition": record.partition(), "key": key, "value": value, "headers": headers}))


def write(address, topic, key, count):
    refused = []
    producer = Producer(client(address, **{"enable.idempotence": True}))
    for number in range(int(count)):
        producer.produce(topic, str(number), f"{key}{number % KEYS}", on_delivery=lambda error, _: error and refused.append(error))
    assert producer.flush(PATIENCE_SECONDS) == 0, "not confirmed in time"
    assert not refused, refused


def committed(address, topic, group):
    reader = consumer(address, group)
    found = reader.committed([TopicPartition(topic, partition) for partition in partitions(reader, topic)], PATIENCE_SECONDS)
    print(json.dumps({each.partition: max(each.offset, 0) for each in found}))


def main():
    action, *arguments = sys.argv[1:]
    {"topic": make_topic, "follow": follow, "write": write, "committed": committed}[action](*arguments)


main()
