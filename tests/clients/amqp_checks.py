"""RabbitMQ asked by pika: `amqp_checks.py publish|consume URI QUEUE TEXT`."""

import sys

import pika


def publish(channel, queue, text):
    """Returns only when the server has confirmed the message, which then is on its disk."""
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    persistent = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish("", queue, text.encode(), properties=persistent, mandatory=True)


def consume(channel, queue, text):
    method, _, body = channel.basic_get(queue)
    assert method is not None, "the queue is empty"
    assert body.decode() == text, body
    channel.basic_ack(method.delivery_tag)


def main():
    action, uri, queue, text = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    {"publish": publish, "consume": consume}[action](connection.channel(), queue, text)
    connection.close()
    print("passed")


main()
