"""A Kafka server asked by confluent-kafka: `kafka_checks.py produce|consume ADDRESS TOPIC TEXT`."""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

PATIENCE_SECONDS = 60


def produce(address, topic, text):
    refused = []
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    producer.produce(topic, text.encode(), key=b"key", headers={"id": b"1"}, partition=0, on_delivery=lambda error, _: refused.append(error))
    assert producer.flush(PATIENCE_SECONDS) == 0, "not confirmed in time"
    assert refused == [None], refused


def consume(address, topic, text):
    """Reads by offset and not as a member of a group, whose first meeting takes a server up to twenty seconds."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "checks"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    [message] = consumer.consume(1, PATIENCE_SECONDS) or [None]
    assert message is not None, "nothing came in time"
    assert message.error() is None, message.error()
    found = (message.key(), message.value().decode(), message.headers())
    assert found == (b"key", text, [("id", b"1")]), found
    consumer.close()


def main():
    action, address, topic, text = sys.argv[1:]
    {"produce": produce, "consume": consume}[action](address, topic, text)
    print("passed")


main()
