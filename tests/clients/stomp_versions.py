"""Checks of a running gateway with stomp.py in each of its versions, and an MQTT client on the other side.

Usage: stomp_versions.py SCENARIO VERSION STOMP_PORT MQTT_PORT, where the version is 1.0, 1.1 or 1.2. The scenarios assert for themselves:
exit code 0 means that all of it held. Where nothing may arrive, something behind it is waited for.
"""

import queue
import sys

import paho.mqtt.client as mqtt
import stomp
from stomp_inbox import Inbox

DEADLINE_SECONDS = 45
SCENARIO, VERSION = sys.argv[1:3]
STOMP_PORT, MQTT_PORT = int(sys.argv[3]), int(sys.argv[4])
CONNECTIONS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}


class Service(Inbox):
    """A connected stomp.py client whose frames are queues."""

    def __init__(self, heartbeats=None):
        super().__init__()
        options = {"heartbeats": heartbeats} if heartbeats else {}
        self.stomp = CONNECTIONS[VERSION](
            [("127.0.0.1", STOMP_PORT)], auto_decode=False, reconnect_attempts_max=1, **options
        )
        self.stomp.set_listener("", self)
        self.stomp.connect(wait=True)

    def confirmed(self, action, *arguments, **headers):
        """Does something with a receipt and waits for it."""
        receipt = f"{action.__name__} of {VERSION}"
        action(*arguments, headers={"receipt": receipt, **headers})
        got = self.receipts.get(timeout=DEADLINE_SECONDS)
        assert got == receipt, (got, receipt)

    def subscribe(self, destination, identifier="sub-7", ack="auto", **headers):
        self.confirmed(self.stomp.subscribe, destination, identifier, ack, **headers)

    def send(self, destination, body, **headers):
        self.confirmed(self.stomp.send, destination, body, None, **headers)

    def acknowledge(self, frame, transaction=None, receipt="acknowledged"):
        self.stomp.ack(*self.names_of(frame), transaction=transaction, receipt=receipt)
        got = self.receipts.get(timeout=DEADLINE_SECONDS)
        assert got == receipt, (got, receipt)

    def names_of(self, frame):
        """What an ACK of this version names."""
        headers = frame.headers
        return {
            "1.0": lambda: [headers["message-id"]],
            "1.1": lambda: [headers["message-id"], headers["subscription"]],
            "1.2": lambda: [headers["ack"]],
        }[VERSION]()

    def receive(self):
        return self.messages.get(timeout=DEADLINE_SECONDS)

    def expect(self, *bodies):
        frames = [self.receive() for _ in bodies]
        assert [frame.body for frame in frames] == list(bodies), [frame.body for frame in frames]
        return frames

    def close(self):
        self.stomp.disconnect(receipt="goodbye")
        got = self.receipts.get(timeout=DEADLINE_SECONDS)
        assert got == "goodbye", got


class Device:
    """A connected MQTT 5.0 client."""

    def __init__(self, *filters):
        self.messages, connected, subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.paho.on_connect = lambda *arguments: connected.put(arguments[3])
        self.paho.on_subscribe = lambda *arguments: subscribed.put(arguments[3])
        self.paho.on_message = lambda _client, _data, message: self.messages.put(message)
        self.paho.connect("127.0.0.1", MQTT_PORT)
        self.paho.loop_start()
        assert connected.get(timeout=DEADLINE_SECONDS) == 0
        for filter in filters:
            self.paho.subscribe(filter, qos=2)
            subscribed.get(timeout=DEADLINE_SECONDS)

    def publish(self, topic, *payloads):
        for payload in payloads:
            self.paho.publish(topic, payload, qos=1).wait_for_publish(DEADLINE_SECONDS)

    def expect(self, *expected):
        got = [self.messages.get(timeout=DEADLINE_SECONDS) for _ in expected]
        got = [(message.topic, message.payload) for message in got]
        assert got == list(expected), got


def exchange():
    """Messages in both directions, with headers, until the subscription ends."""
    service, device = Service(), Device("out/#")
    version = service.connected.get("version")
    assert version == VERSION, service.connected
    assert ("heart-beat" in service.connected) == (VERSION != "1.0"), service.connected
    service.subscribe("/topic/in/+")
    device.publish("in/a:b", "from a device")
    [frame] = service.expect(b"from a device")
    assert frame.headers["destination"] == "/topic/in/a:b", frame.headers
    assert frame.headers["subscription"] == "sub-7", frame.headers
    assert "ack" not in frame.headers and frame.headers["message-id"], frame.headers
    body = bytes(range(256))
    service.send("/topic/out/x", body, colon="a:b", backslash="c\\d")
    device.expect(("out/x", body))
    service.subscribe("/topic/out/x", "own")
    service.send("/topic/out/x", "again", colon="a:b", backslash="c\\d")
    [frame] = service.expect(b"again")
    assert (frame.headers["colon"], frame.headers["backslash"]) == ("a:b", "c\\d"), frame.headers
    service.close()


def unsubscribe():
    """After the receipt nothing more arrives."""
    service, device = Service(), Device()
    service.subscribe("/topic/stays", "stays")
    if VERSION == "1.0":
        # Without an id: the destination is the name.
        service.confirmed(service.stomp.subscribe, "/topic/leaves")
        device.publish("leaves", "1")
        [frame] = service.expect(b"1")
        assert "subscription" not in frame.headers, frame.headers
        service.confirmed(service.stomp.unsubscribe, "/topic/leaves")
    else:
        service.subscribe("/topic/leaves", "leaves")
        service.confirmed(service.stomp.unsubscribe, "leaves")
    device.publish("leaves", "lost")
    device.publish("stays", "found")
    service.expect(b"found")


def cumulative():
    """An ACK with `client` is one for all messages before it, and makes room for as many."""
    service, device = Service(), Device()
    service.subscribe("/topic/work", ack="client", **{"prefetch-count": 2})
    device.publish("work", "1", "2", "3", "4")
    frames = service.expect(b"1", b"2")
    assert service.messages.empty()
    service.acknowledge(frames[1])
    frames = service.expect(b"3", b"4")
    service.acknowledge(frames[0])
    device.publish("work", "5")
    service.expect(b"5")


def redelivery():
    """What a lost connection leaves in a queue goes to the next one; what was acknowledged does not."""
    first, device = Service(), Device()
    first.subscribe("/queue/jobs", ack="client-individual")
    device.publish("$queue/jobs", "1", "2", "3")
    frames = first.expect(b"1", b"2", b"3")
    first.acknowledge(frames[1])
    first.stomp.transport.disconnect_socket()
    second = Service()
    second.subscribe("/queue/jobs", ack="client")
    frames = second.expect(b"1", b"3")
    assert all(frame.headers["redelivered"] == "true" for frame in frames), frames
    second.acknowledge(frames[1])


def refusal():
    """NACK: back into a queue, or not, as it says; 1.0 has none."""
    service, device = Service(), Device()
    service.subscribe("/queue/jobs", ack="client-individual")
    device.publish("$queue/jobs", "job")
    [frame] = service.expect(b"job")
    if VERSION == "1.0":
        service.stomp.send_frame("NACK", {"message-id": frame.headers["message-id"], "receipt": "nack"})
        error = service.errors.get(timeout=DEADLINE_SECONDS)
        assert error.headers["receipt-id"] == "nack" and b"NACK" in error.body, (error.headers, error.body)
        service.closed.get(timeout=DEADLINE_SECONDS)
        return
    names = {"1.1": ["message-id", "subscription"], "1.2": ["id"]}[VERSION]

    def nack(frame, **headers):
        headers.update(zip(names, service.names_of(frame)))
        service.stomp.send_frame("NACK", headers)

    nack(frame)
    [frame] = service.expect(b"job")
    assert frame.headers["redelivered"] == "true", frame.headers
    assert frame.headers["delivery-count"] == "2", frame.headers
    nack(frame, requeue="true")
    [frame] = service.expect(b"job")
    assert frame.headers["delivery-count"] == "3", frame.headers
    nack(frame, requeue="false")
    device.publish("$queue/jobs", "next")
    service.expect(b"next")


def transactions():
    """What is sent in a transaction is there with COMMIT, in order, and never with ABORT."""
    service, device = Service(), Device("t/#")
    for name in ("one", "two"):
        service.confirmed(service.stomp.begin, name)
    for name, body in (("one", "1"), ("two", "2"), ("one", "3")):
        service.send("/topic/t/in", body, transaction=name)
    service.send("/topic/t/out", "outside")
    device.expect(("t/out", b"outside"))
    service.confirmed(service.stomp.abort, "two")
    service.confirmed(service.stomp.commit, "one")
    device.expect(("t/in", b"1"), ("t/in", b"3"))
    service.stomp.begin("three")
    service.send("/topic/t/in", "lost", transaction="three")
    service.close()
    Service().send("/topic/t/in", "last")
    device.expect(("t/in", b"last"))


def acknowledging_in_transactions():
    """An ACK counts with COMMIT; after ABORT its message can be acknowledged again, and is delivered again if it is not."""
    service, device = Service(), Device()
    service.subscribe("/queue/jobs", ack="client-individual")
    device.publish("$queue/jobs", "1", "2", "3")
    frames = service.expect(b"1", b"2", b"3")
    for name, frame in (("kept", frames[0]), ("aborted", frames[1]), ("aborted", frames[2])):
        if frame is not frames[2]:
            service.confirmed(service.stomp.begin, name)
        service.acknowledge(frame, transaction=name)
    service.confirmed(service.stomp.commit, "kept")
    service.confirmed(service.stomp.abort, "aborted")
    service.acknowledge(frames[2])
    service.stomp.transport.disconnect_socket()
    other = Service()
    other.subscribe("/queue/jobs")
    other.expect(b"2")
    device.publish("$queue/jobs", "4")
    other.expect(b"4")


def all_or_nothing():
    """A transaction of which one message may not be published publishes none, and says which one."""
    service, device = Service(), Device("t/#")
    service.confirmed(service.stomp.begin, "t")
    for destination in ("/topic/t/1", "/topic/$SYS/mine", "/topic/t/3"):
        service.send(destination, "x", transaction="t")
    service.stomp.commit("t", headers={"receipt": "commit"})
    error = service.errors.get(timeout=DEADLINE_SECONDS)
    assert error.headers["receipt-id"] == "commit", error.headers
    assert b"frame 2" in error.body, error.body
    service.closed.get(timeout=DEADLINE_SECONDS)
    Service().send("/topic/t/end", "end")
    device.expect(("t/end", b"end"))


def heart_beats():
    """Both sides beat; a connection on which nothing else is said stays."""
    service = Service(heartbeats=(500, 500))
    assert service.connected["heart-beat"] == "1000,10000", service.connected
    for _ in range(3):
        service.heartbeats.get(timeout=DEADLINE_SECONDS)
    service.send("/topic/a", "still here")


globals()[SCENARIO]()
