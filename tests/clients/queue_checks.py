"""Checks of named queues with paho-mqtt and stomp.py on one queue. Usage: queue_checks.py SCENARIO MQTT_PORT STOMP_PORT

Exit code 0 means that the scenario held. "Nothing arrives" is proven by a later message that arrives alone.
"""

import queue
import socket
import sys
import threading

import paho.mqtt.client as mqtt
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions
from stomp_inbox import Inbox

DEADLINE_SECONDS = 45
SCENARIO, MQTT_PORT, STOMP_PORT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Device:
    """A connected paho client of MQTT 5.0 that acknowledges when it is told to."""

    def __init__(self, client_id, session_seconds=0, clean_start=True):
        self.messages, self.subacks, self.done = queue.Queue(), queue.Queue(), queue.Queue()
        connected = threading.Event()
        version = mqtt.CallbackAPIVersion.VERSION2
        self.mqtt = mqtt.Client(version, client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        self.mqtt.on_message = lambda client, data, message: self.messages.put(message)
        self.mqtt.on_subscribe = lambda client, data, mid, codes, properties: self.subacks.put(codes)
        self.mqtt.on_publish = lambda client, data, mid, code, properties: self.done.put(code)
        self.mqtt.on_connect = lambda *arguments: connected.set()
        properties = mqtt.Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_seconds
        self.mqtt.connect("127.0.0.1", MQTT_PORT, clean_start=clean_start, properties=properties)
        self.mqtt.loop_start()
        assert connected.wait(DEADLINE_SECONDS)

    def publish(self, topic, body, qos=1, retain=False):
        self.mqtt.publish(topic, body, qos=qos, retain=retain)
        return self.done.get(timeout=DEADLINE_SECONDS)

    def subscribe(self, filter, **options):
        self.mqtt.subscribe(filter, options=SubscribeOptions(qos=1, **options))
        return self.subacks.get(timeout=DEADLINE_SECONDS)[0]

    def expect(self):
        message = self.messages.get(timeout=DEADLINE_SECONDS)
        assert not message.dup, "to this client it is new"
        return message

    def acknowledge(self, message):
        self.mqtt.ack(message.mid, message.qos)


class Service(Inbox):
    """A connected stomp.py client whose frames are queues."""

    def __init__(self):
        super().__init__()
        self.stomp = stomp.Connection12([("127.0.0.1", STOMP_PORT)], reconnect_attempts_max=1)
        self.stomp.set_listener("", self)
        self.stomp.connect(wait=True)

    def subscribe(self, destination, prefetch=10):
        headers = {"prefetch-count": str(prefetch), "receipt": "subscribed"}
        self.stomp.subscribe(destination, "s" + destination, ack="client-individual", headers=headers)
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "subscribed"

    def send(self, destination, body, **headers):
        self.stomp.send(destination, body, headers={"receipt": "sent", **headers})
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "sent"

    def expect(self, body, count=None):
        frame = self.messages.get(timeout=DEADLINE_SECONDS)
        got = (frame.body, frame.headers.get("redelivered"), frame.headers.get("delivery-count"))
        assert got == (body, "true" if count else None, count), (got, frame.headers)
        return frame

    def lose_socket(self):
        self.stomp.transport.socket.shutdown(socket.SHUT_RDWR)
        self.closed.get(timeout=DEADLINE_SECONDS)


def compete():
    """Each of a hundred messages, from both protocols, goes to one of two consumers that take one at a time."""
    device, service = Device("device"), Service()
    publisher, sender = Device("publisher"), Service()
    bodies = [str(number) for number in range(100)]
    for body in bodies[:10]:
        publisher.publish("$queue/orders", body, qos=int(body) % 3)
    assert not device.subscribe("$queue/orders").is_failure
    service.subscribe("/queue/orders", prefetch=1)
    for body in bodies[10:]:
        if int(body) % 2:
            publisher.publish("$queue/orders", body)
        else:
            sender.send("/queue/orders", body)
    counts = {"device": 0, "service": 0}
    left = set(bodies)
    while left:
        took = False
        while not device.messages.empty():
            message = device.expect()
            left.remove(message.payload.decode())
            device.acknowledge(message)
            counts["device"] += 1
            took = True
        try:
            frame = service.messages.get(timeout=0.2 if took else DEADLINE_SECONDS / 10)
        except queue.Empty:
            continue
        left.remove(frame.body)
        service.stomp.ack(frame.headers["ack"])
        counts["service"] += 1
    assert counts["device"] and counts["service"], counts


def failing():
    """What a consumer leaves goes to the other one, with its count; what fails too often is a dead letter."""
    service, publisher = Service(), Device("publisher")
    service.subscribe("/queue/orders")
    publisher.publish("$queue/orders", "first")
    publisher.publish("$queue/orders", "second")
    service.expect("first")
    service.expect("second")
    service.lose_socket()
    device = Device("device", session_seconds=3600)
    device.subscribe("$queue/orders")
    first, second = device.expect(), device.expect()
    assert (first.payload, second.payload) == (b"first", b"second")
    device.acknowledge(first)
    # A client that is away is no consumer, although its session lives on.
    device.mqtt.disconnect()
    device.mqtt.loop_stop()
    other = Service()
    other.subscribe("/queue/orders")
    frame = other.expect("second", count="3")
    undertaker = Device("undertaker")
    undertaker.subscribe("$queue/dead")
    other.stomp.nack(frame.headers["ack"], requeue="true")
    dead = undertaker.expect()
    assert (dead.payload, dead.topic) == (b"second", "$queue/dead")
    expected = [
        ("dead-letter-reason", "delivery_limit"),
        ("dead-letter-queue", "orders"),
        ("dead-letter-attempts", "3"),
        ("dead-letter-hops", "1"),
    ]
    assert dead.properties.UserProperty == expected, dead.properties.UserProperty
    publisher.publish("$queue/orders", "third")
    frame = other.expect("third")
    other.stomp.nack(frame.headers["ack"], requeue="false")
    dead = undertaker.expect()
    assert ("dead-letter-reason", "rejected") in dead.properties.UserProperty


def refusals():
    """What cannot be a queue is refused in the words of each protocol, and nothing of it stays."""
    device = Device("device")
    for filter in ["$queue/+", "$queue/#", "$queue/", "$share/g/$queue/orders"]:
        code = device.subscribe(filter)
        assert code.value == 0x8F, (filter, code)
    code = device.subscribe("$queue/orders", noLocal=True)
    assert code.value == 0x83, code
    assert device.publish("$queue/orders", "kept", retain=True).value == 0x83
    assert device.publish("$queue/", "nameless").value == 0x90
    service = Service()
    service.stomp.send("/queue/orders", "kept", headers={"retain": "true", "receipt": "r"})
    error = service.errors.get(timeout=DEADLINE_SECONDS)
    assert error.headers["receipt-id"] == "r", error.headers
    assert not device.subscribe("$queue/orders").is_failure
    device.publish("$queue/orders", "plain")
    message = device.expect()
    assert (message.payload, message.retain) == (b"plain", False)


def bounds():
    """A full queue refuses, and a message whose time has passed is a dead letter without any consumer."""
    device, undertaker = Device("device"), Device("undertaker")
    undertaker.subscribe("$queue/dead")
    assert not device.publish("$queue/small", "1").is_failure
    assert not device.publish("$queue/small", "2").is_failure
    assert device.publish("$queue/small", "3").value == 0x97
    device.publish("$queue/short", "late")
    dead = undertaker.expect()
    assert dead.payload == b"late"
    assert ("dead-letter-reason", "expired") in dead.properties.UserProperty


{"compete": compete, "failing": failing, "refusals": refusals, "bounds": bounds}[SCENARIO]()
