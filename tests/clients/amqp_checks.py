"""RabbitMQ asked by pika: `amqp_checks.py ACTION URI QUEUE [TEXT]`.

publish  declares the queue, puts the text into it and returns when RabbitMQ has confirmed it
consume  takes one message, which has to be the text
declare  makes a durable classic queue, nothing else
flood    puts as many numbers into a queue that is there as the text says, from the user guest with a time and an id
follow   prints every message of a queue that is there as a line of JSON behind `got `, for ever
"""

import json
import sys

import pika

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def publish(channel, queue, text):
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    channel.basic_publish("", queue, text.encode(), properties=PERSISTENT, mandatory=True)


def consume(channel, queue, text):
    method, _, body = channel.basic_get(queue)
    assert method is not None, "the queue is empty"
    assert body.decode() == text, body
    channel.basic_ack(method.delivery_tag)


def declare(channel, queue):
    channel.queue_declare(queue, durable=True)


def flood(channel, queue, count):
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2, user_id="guest", timestamp=1795311000, message_id="c-17")
    for number in range(int(count)):
        channel.basic_publish("", queue, str(number).encode(), properties=properties, mandatory=True)


def follow(channel, queue):
    for method, properties, body in channel.consume(queue):
        print("got", json.dumps({
            "exchange": method.exchange,
            "routing_key": method.routing_key,
            "message_id": properties.message_id,
            "delivery_mode": properties.delivery_mode,
            "content_type": properties.content_type,
            "headers": properties.headers,
            "body": body.decode(),
        }), flush=True)
        channel.basic_ack(method.delivery_tag)


def main():
    action, uri, *rest = sys.argv[1:]
    actions = {"publish": publish, "consume": consume, "declare": declare, "flood": flood, "follow": follow}
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    actions[action](connection.channel(), *rest)
    connection.close()
    print("passed")


main()
