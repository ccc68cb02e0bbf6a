"""Checks of a running gateway with paho-mqtt (MQTT 5.0) on one side and stomp.py on the other.
Usage: crossing_checks.py SCENARIO MQTT_PORT STOMP_PORT [ARGUMENT ...]

The scenarios assert for themselves: exit code 0 means that all of it held. Two of them are tools for tests with other clients:
`device MQTT_PORT STOMP_PORT TOPIC COUNT` and `service MQTT_PORT STOMP_PORT DESTINATION COUNT` print `subscribed`, and then answer so many
questions with the question in capitals, wherever each asks for its answer.
"""

import base64
import queue
import sys
import threading

import paho.mqtt.client as mqtt
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from stomp_inbox import Inbox

DEADLINE_SECONDS = 45
SCENARIO, MQTT_PORT, STOMP_PORT, ARGUMENTS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
BINARY = bytes(range(256))


class Device:
    """A connected paho client of MQTT 5.0."""

    def __init__(self):
        self.messages, self._ready = queue.Queue(), queue.Queue()
        self.paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        self.paho.on_connect = lambda *_: self._ready.put("connected")
        self.paho.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._ready.put([r.value for r in reasons])
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.connect("127.0.0.1", MQTT_PORT)
        self.paho.loop_start()
        self._ready.get(timeout=DEADLINE_SECONDS)

    def subscribe(self, topic):
        self.paho.subscribe(topic, 1)
        return self._ready.get(timeout=DEADLINE_SECONDS)

    def publish(self, topic, payload, **fields):
        properties = Properties(PacketTypes.PUBLISH)
        for name, value in fields.items():
            setattr(properties, name, value)
        information = self.paho.publish(topic, payload, 1, properties=properties)
        information.wait_for_publish(DEADLINE_SECONDS)
        assert information.is_published(), f"{topic} was not acknowledged"

    def receive(self):
        return self.messages.get(timeout=DEADLINE_SECONDS)

    def answer(self):
        """Waits for a question and answers it."""
        question = self.receive()
        extra = {}
        if hasattr(question.properties, "CorrelationData"):
            extra["CorrelationData"] = question.properties.CorrelationData
        self.publish(question.properties.ResponseTopic, question.payload.upper(), **extra)
        return question


class Service(Inbox):
    """A connected stomp.py client of STOMP 1.2."""

    def __init__(self):
        super().__init__()
        self.stomp = stomp.Connection12([("127.0.0.1", STOMP_PORT)], auto_decode=False, reconnect_attempts_max=1)
        self.stomp.set_listener("", self)
        self.stomp.connect(wait=True)

    def subscribe(self, destination, **headers):
        self.stomp.subscribe(destination, destination, headers={"receipt": destination, **headers})
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == destination

    def send(self, destination, body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.stomp.send(destination, body, headers={"receipt": "sent", **named})
        assert self.receipts.get(timeout=DEADLINE_SECONDS) == "sent"

    def receive(self):
        return self.messages.get(timeout=DEADLINE_SECONDS)

    def answer(self):
        """Waits for a question and answers it."""
        question = self.receive()
        repeated = ("correlation-id", "correlation-id-encoding")
        extra = {name: question.headers[name] for name in repeated if name in question.headers}
        self.send(question.headers["reply-to"], question.body.upper(), **extra)
        return question


def service_asks_device():
    device, service = Device(), Service()
    device.subscribe("devices/7/ask")
    for number in ("1", "2"):
        service.send("/topic/devices/7/ask", "how are you", reply_to="/temp-queue/answers", correlation_id=number)
        question = device.answer()
        assert question.properties.ResponseTopic.startswith("$reply/"), question.properties
        assert question.properties.CorrelationData == number.encode(), question.properties
        headers = service.receive()
        assert headers.body == b"HOW ARE YOU", headers.body
        headers = headers.headers
        assert headers["destination"] == headers["subscription"] == "/temp-queue/answers", headers
        assert headers["correlation-id"] == number, headers


def device_asks_service():
    device, service = Device(), Service()
    device.subscribe("answers/7")
    for destination, topic in (("/topic/ask", "ask"), ("/queue/ask", "$queue/ask")):
        service.subscribe(destination)
        device.publish(topic, "what time is it", ResponseTopic="answers/7", CorrelationData=BINARY)
        question = service.answer().headers
        assert question["reply-to"] == "/topic/answers/7", question
        assert base64.b64decode(question["correlation-id"]) == BINARY, question
        answer = device.receive()
        assert (answer.topic, answer.payload) == ("answers/7", b"WHAT TIME IS IT"), answer
        assert answer.properties.CorrelationData == BINARY, answer.properties


def service_asks_service():
    asking, answering = Service(), Service()
    answering.subscribe("/topic/ask")
    asking.subscribe("/temp-queue/a")
    asking.send("/topic/ask", "x", reply_to="/temp-queue/a", correlation_id="é:1")
    question = answering.answer().headers
    assert question["reply-to"].startswith("/reply-queue/"), question
    answer = asking.receive()
    assert answer.body == b"X" and answer.headers["subscription"] == "/temp-queue/a", answer
    assert answer.headers["correlation-id"] == "é:1", answer.headers
    # An answer that nobody waits for any more is no fault of who answers.
    asking.stomp.unsubscribe("/temp-queue/a", headers={"receipt": "gone"})
    assert asking.receipts.get(timeout=DEADLINE_SECONDS) == "gone"
    answering.send(question["reply-to"], "too late")


def addresses_belong_to_their_owners():
    device, owner, thief = Device(), Service(), Service()
    device.subscribe("ask")
    owner.send("/topic/ask", "x", reply_to="/temp-queue/a")
    address = device.receive().properties.ResponseTopic
    for pattern in (address, "$reply/#", "$reply/+/a"):
        assert device.subscribe(pattern) == [0x87], pattern
    assert device.subscribe("#") == [1]
    thief.stomp.send_frame("SUBSCRIBE", {"id": "1", "destination": "/reply-queue/" + address.split("/", 1)[1]})
    error = thief.errors.get(timeout=DEADLINE_SECONDS)
    assert b"cannot be subscribed to" in error.body, error.body
    device.publish(address, "y")
    device.publish("last", "z")
    assert device.receive().topic == "last"
    assert owner.receive().body == b"y"


def properties_cross_both_ways():
    device, service = Device(), Service()
    device.subscribe("to/device")
    service.subscribe("/topic/to/service")
    pairs = [("b", "2"), ("a", "1:\\\n"), ("qos", "high"), ("", "none")]
    device.publish(
        "to/service",
        BINARY,
        ContentType="image/png",
        ResponseTopic="to/device",
        CorrelationData=b"7",
        MessageExpiryInterval=60,
        PayloadFormatIndicator=0,
        UserProperty=pairs,
    )
    frame = service.receive()
    headers = frame.headers
    assert frame.body == BINARY, frame.body
    expected = {
        "content-type": "image/png",
        "reply-to": "/topic/to/device",
        "correlation-id": "7",
        "payload-format": "binary",
        "b": "2",
        "a": "1:\\\n",
        "user-qos": "high",
        "user-": "none",
        "qos": "1",
    }
    assert {name: headers.get(name) for name in expected} == expected, headers
    assert 50_000 < int(headers["expiration"]) <= 60_000, headers
    own = ("content-type", "correlation-id", "payload-format", "b", "a", "user-qos", "user-", "expiration")
    service.send(headers["reply-to"], frame.body, **{name: headers[name] for name in own})
    message = device.receive()
    assert message.payload == BINARY, message.payload
    assert message.properties.ContentType == "image/png", message.properties
    assert message.properties.CorrelationData == b"7", message.properties
    assert 49 < message.properties.MessageExpiryInterval <= 60, message.properties
    assert sorted(message.properties.UserProperty) == sorted(pairs), message.properties


def answer_questions(client, address, count):
    client.subscribe(address)
    print("subscribed", flush=True)
    answering = threading.Thread(target=lambda: [client.answer() for _ in range(int(count))])
    answering.start()
    answering.join(DEADLINE_SECONDS)
    assert not answering.is_alive(), "not enough questions came"


def device():
    answer_questions(Device(), *ARGUMENTS)


def service():
    answer_questions(Service(), *ARGUMENTS)


globals()[SCENARIO]()
