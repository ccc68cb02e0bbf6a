"""Checks of durable STOMP subscriptions with stomp.py, while paho-mqtt publishes. Usage: stomp_durable_checks.py MQTT_PORT STOMP_PORT

One story: exit code 0 means that all of it held. "Nothing arrives" is proven by a later message that arrives alone.
"""

import socket
import sys

import paho.mqtt.client as mqtt
import stomp
from stomp_inbox import Inbox

DEADLINE_SECONDS = 45
MQTT_PORT, STOMP_PORT = int(sys.argv[1]), int(sys.argv[2])
DESTINATION = "/topic/orders/+"


class Service(Inbox):
    """A connected stomp.py client with a `client-id`, whose frames are queues."""

    def __init__(self, client_id="billing"):
        super().__init__()
        self.stomp = stomp.Connection12([("127.0.0.1", STOMP_PORT)], reconnect_attempts_max=1)
        self.stomp.set_listener("", self)
        self.stomp.connect(wait=True, headers={"client-id": client_id})

    def subscribe(self, identifier="orders"):
        headers = {"durable": "true", "receipt": "subscribed"}
        self.stomp.subscribe(DESTINATION, identifier, ack="client-individual", headers=headers)
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "subscribed"

    def unsubscribe(self, **headers):
        self.stomp.unsubscribe("orders", headers={"receipt": "unsubscribed", **headers})
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "unsubscribed"

    def expect(self, body, again=False):
        frame = self.messages.get(timeout=DEADLINE_SECONDS)
        got = (frame.body, frame.headers.get("redelivered") == "true")
        assert got == (body, again), (got, frame.headers)
        return frame.headers["ack"]

    def acknowledge(self, identifier):
        self.stomp.ack(identifier, receipt="acknowledged")
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "acknowledged"

    def disconnect(self):
        self.stomp.disconnect(receipt="goodbye")
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "goodbye"

    def lose_socket(self):
        self.stomp.transport.socket.shutdown(socket.SHUT_RDWR)
        self.closed.get(timeout=DEADLINE_SECONDS)


def published_by(device):
    def publish(body):
        device.publish("orders/7", body, qos=1).wait_for_publish(DEADLINE_SECONDS)

    return publish


device = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
device.connect("127.0.0.1", MQTT_PORT)
device.loop_start()
publish = published_by(device)

# What nobody acknowledged comes again, after a goodbye and after a lost socket; what waited comes behind it.
service = Service()
service.subscribe()
publish("1")
publish("2")
service.expect("1")
service.acknowledge(service.expect("2"))
service.disconnect()
publish("3")
service = Service()
service.subscribe()
service.expect("1", again=True)
service.expect("3")
service.lose_socket()
publish("4")
service = Service()
service.subscribe()
for body, again in [("1", True), ("3", True), ("4", False)]:
    service.acknowledge(service.expect(body, again))

# A plain UNSUBSCRIBE keeps the subscription.
service.unsubscribe()
publish("5")
service.subscribe()
service.acknowledge(service.expect("5"))

# The same names on another connection take it over; other names are somebody else's.
other = Service("shipping")
other.subscribe()
publish("6")
service.expect("6")
other.acknowledge(other.expect("6"))
again = Service()
again.subscribe()
error = service.errors.get(timeout=DEADLINE_SECONDS)
assert error.headers["message"] == "taken over", error.headers
service.closed.get(timeout=DEADLINE_SECONDS)
again.acknowledge(again.expect("6", again=True))

# Deleted, from a connection that does not hold it, nothing waits any more.
again.disconnect()
publish("7")
deleter = Service()
deleter.unsubscribe(durable="true")
deleter.subscribe()
publish("8")
deleter.acknowledge(deleter.expect("8"))
for body in ["7", "8"]:
    other.acknowledge(other.expect(body))

device.disconnect()
device.loop_stop()
