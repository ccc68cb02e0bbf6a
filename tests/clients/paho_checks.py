"""Checks of a running gateway with paho-mqtt. Usage: paho_checks.py SCENARIO PORT 3.1.1|5

Every scenario asserts for itself: exit code 0 means that all of it held. A wait is for a message or an event and has a
deadline; "nothing arrives" is proven by a later message that arrives alone.
"""

import itertools
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE_SECONDS = 45
SCENARIO, PORT, VERSION = sys.argv[1], int(sys.argv[2]), sys.argv[3]
V5 = VERSION == "5"
NUMBERS = itertools.count()


class Client:
    """A connected paho client whose messages and acknowledgements are queues."""

    def __init__(self, client_id=None, clean=True, session_expiry_seconds=0, will=None, manual_ack=False):
        self.messages, self.disconnected = queue.Queue(), queue.Queue()
        self.acknowledged, self._connected = queue.Queue(), queue.Queue()
        self.id = client_id or f"{SCENARIO}-{next(NUMBERS)}"
        extra = {} if V5 else {"clean_session": clean}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=self.id,
            protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=manual_ack,
            **extra,
        )
        self.paho.on_connect = lambda _c, _u, flags, reason, _p: self._connected.put((flags, reason))
        self.paho.on_disconnect = lambda _c, _u, _flags, reason, _p: self.disconnected.put(reason)
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.acknowledged.put(reasons)
        self.paho.on_unsubscribe = lambda _c, _u, _mid, reasons, _p: self.acknowledged.put(reasons)
        if will:
            self.paho.will_set(**will)
        arguments = {}
        if V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = session_expiry_seconds
            arguments = {"clean_start": clean, "properties": properties}
        self.paho.connect("127.0.0.1", PORT, keepalive=60, **arguments)
        self.paho.loop_start()
        flags, reason = self._connected.get(timeout=DEADLINE_SECONDS)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    def subscribe(self, topic, qos=0, identifier=None, **options):
        if not V5:
            self.paho.subscribe(topic, qos)
        else:
            properties = Properties(PacketTypes.SUBSCRIBE)
            if identifier:
                properties.SubscriptionIdentifier = identifier
            self.paho.subscribe(topic, options=SubscribeOptions(qos=qos, **options), properties=properties)
        reasons = self.acknowledged.get(timeout=DEADLINE_SECONDS)
        assert [reason.value for reason in reasons] == [qos], reasons

    def unsubscribe(self, topic):
        self.paho.unsubscribe(topic)
        self.acknowledged.get(timeout=DEADLINE_SECONDS)

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        information = self.paho.publish(topic, payload, qos, retain, properties)
        information.wait_for_publish(DEADLINE_SECONDS)
        assert information.is_published(), f"{topic} was not acknowledged"

    def receive(self):
        return self.messages.get(timeout=DEADLINE_SECONDS)

    def expect(self, topic, payload):
        message = self.receive()
        assert (message.topic, message.payload) == (topic, payload), (message.topic, message.payload)
        return message

    def close(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def break_off(self):
        """Ends the connection without DISCONNECT."""
        self.paho.socket().shutdown(2)


def quality_of_service():
    subscriber, publisher = Client(), Client()
    subscriber.subscribe("order/#", qos=2)
    for qos in (0, 1, 2):
        for number in range(100):
            publisher.publish(f"order/{qos}", str(number), qos)
    for qos in (0, 1, 2):
        for number in range(100):
            assert subscriber.expect(f"order/{qos}", str(number).encode()).qos == qos
    publisher.publish("order/end", b"\x00\xff" * 40_000, qos=2)
    subscriber.expect("order/end", b"\x00\xff" * 40_000)


def properties():
    subscriber, publisher = Client(), Client()
    subscriber.subscribe("properties", qos=1)
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 1000
    sent.ContentType = "application/json"
    sent.ResponseTopic = "answers/here"
    sent.CorrelationData = b"\x00\x01\xff"
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("b", "1"), ("", "empty name"), ("empty value", "")]
    sent.UserProperty = list(pairs)
    publisher.publish("properties", "{}", qos=1, properties=sent)
    got = subscriber.expect("properties", b"{}").properties
    assert got.PayloadFormatIndicator == 1
    assert 900 < got.MessageExpiryInterval <= 1000, got.MessageExpiryInterval
    assert got.ContentType == "application/json"
    assert got.ResponseTopic == "answers/here"
    assert got.CorrelationData == b"\x00\x01\xff"
    assert got.UserProperty == pairs, got.UserProperty
    assert not hasattr(got, "TopicAlias"), "an alias was never allowed by this client"


def retained():
    early, publisher = Client(), Client()
    early.subscribe("kept", qos=1)
    publisher.publish("kept", "first", qos=1, retain=True)
    publisher.publish("kept", "second", qos=1, retain=True)
    assert not early.expect("kept", b"first").retain
    assert not early.expect("kept", b"second").retain
    late = Client()
    late.subscribe("kept", qos=1)
    assert late.expect("kept", b"second").retain
    publisher.publish("kept", b"", qos=1, retain=True)
    assert not late.expect("kept", b"").retain


def take_over():
    first = Client("the-same", clean=False, session_expiry_seconds=600)
    first.subscribe("mine", qos=1)
    second = Client("the-same", clean=False, session_expiry_seconds=600)
    assert second.session_present
    reason = first.disconnected.get(timeout=DEADLINE_SECONDS)
    if V5:
        assert reason.value == 0x8E, reason
    Client().publish("mine", "still subscribed", qos=1)
    second.expect("mine", b"still subscribed")


def will():
    watcher = Client()
    watcher.subscribe("wills/#", qos=1)
    victim = Client(will={"topic": "wills/victim", "payload": "gone", "qos": 1, "retain": True})
    victim.break_off()
    watcher.expect("wills/victim", b"gone")
    late = Client()
    late.subscribe("wills/#", qos=1)
    assert late.expect("wills/victim", b"gone").retain
    polite = Client(will={"topic": "wills/polite", "payload": "gone", "qos": 1})
    polite.close()
    late.publish("wills/end", "", qos=1)
    watcher.expect("wills/end", b"")


def subscription_identifier():
    client = Client()
    client.subscribe("ids/one", qos=1, identifier=7)
    client.subscribe("ids/#", qos=1, identifier=268_435_455)
    client.subscribe("other/#", qos=1)
    client.publish("ids/one", "both", qos=1)
    numbers = list(client.receive().properties.SubscriptionIdentifier)
    while len(numbers) < 2:  # the gateway may send one copy per subscription or one for all
        numbers += client.receive().properties.SubscriptionIdentifier
    assert sorted(numbers) == [7, 268_435_455], numbers
    client.publish("other/x", "none", qos=1)
    assert not hasattr(client.expect("other/x", b"none").properties, "SubscriptionIdentifier")


def no_local():
    client, other = Client(), Client()
    client.subscribe("echo", qos=1, noLocal=True)
    client.publish("echo", "mine", qos=1)
    other.publish("echo", "theirs", qos=1)
    client.expect("echo", b"theirs")


def retain_handling():
    Client().publish("handling", "kept", qos=1, retain=True)
    client = Client()
    client.subscribe("handling", qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    client.publish("handling", "never was sent", qos=1)
    client.expect("handling", b"never was sent")
    client.subscribe("handling", qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    client.publish("handling", "not new", qos=1)
    client.expect("handling", b"not new")
    client.subscribe("handling", qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
    client.expect("handling", b"kept")
    client.unsubscribe("handling")
    client.subscribe("handling", qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    client.expect("handling", b"kept")


def retain_as_published():
    client, publisher = Client(), Client()
    client.subscribe("flag", qos=1, retainAsPublished=True)
    publisher.publish("flag", "kept", qos=1, retain=True)
    assert client.expect("flag", b"kept").retain
    publisher.publish("flag", "fleeting", qos=1)
    assert not client.expect("flag", b"fleeting").retain


def session_present():
    assert not Client("lasting", clean=False, session_expiry_seconds=600).session_present
    second = Client("lasting", clean=False, session_expiry_seconds=600)
    assert second.session_present
    second.close()
    assert Client("lasting", clean=False, session_expiry_seconds=600).session_present
    assert not Client("lasting", clean=True).session_present


def unsubscribe():
    client = Client()
    client.subscribe("gone/#", qos=1)
    client.subscribe("stays", qos=1)
    client.unsubscribe("gone/#")
    client.publish("gone/x", "lost", qos=1)
    client.publish("stays", "found", qos=1)
    client.expect("stays", b"found")


def respond():
    """Answers one request, and is done."""
    client = Client()
    client.subscribe("requests/#", qos=1)
    print("listening", flush=True)
    request = client.receive()
    answer = Properties(PacketTypes.PUBLISH)
    if hasattr(request.properties, "CorrelationData"):
        answer.CorrelationData = request.properties.CorrelationData
    client.publish(request.properties.ResponseTopic, b"answer to " + request.payload, qos=1, properties=answer)
    client.close()


def delayed_will():
    delay = Properties(PacketTypes.WILLMESSAGE)
    delay.WillDelayInterval = 2
    watcher, marker = Client(), Client()
    watcher.subscribe("wills/#", qos=1)

    def mortal(name, clean=False):
        will = {"topic": f"wills/{name}", "payload": "gone", "qos": 1, "properties": delay}
        return Client(name, clean=clean, session_expiry_seconds=600, will=will)

    # The one that comes back in time, by taking its old connection over, or after having lost it.
    mortal("returning")
    again = mortal("returning")
    again.break_off()
    assert mortal("returning").session_present
    # The one that stays away: two seconds later its will is all that has come.
    mortal("staying-away").break_off()
    watcher.expect("wills/staying-away", b"gone")
    # The one that ends its session by starting a new one: its old will does not wait ([MQTT-3.1.3-9]).
    mortal("starting-anew").break_off()
    mortal("starting-anew", clean=True)
    watcher.expect("wills/starting-anew", b"gone")
    marker.publish("wills/end", "", qos=1)
    watcher.expect("wills/end", b"")


def shared():
    members, everything, publisher = [Client(), Client()], Client(), Client()
    got = queue.Queue()
    for member in members:
        member.paho.on_message = lambda client, _u, message: got.put((client, message.payload))
        member.subscribe("$share/workers/jobs/#", qos=1)
    everything.subscribe("jobs/#", qos=1)
    for number in range(20):
        publisher.publish("jobs/x", str(number), qos=1)
        everything.expect("jobs/x", str(number).encode())
    pairs = [got.get(timeout=DEADLINE_SECONDS) for _ in range(20)]
    assert sorted(int(payload) for _, payload in pairs) == list(range(20)), pairs
    assert {id(client) for client, _ in pairs} == {id(member.paho) for member in members}, "one had nothing to do"
    for member in members:
        member.unsubscribe("$share/workers/jobs/#")
    forgetful = Client(manual_ack=True)
    forgetful.subscribe("$share/workers/jobs/#", qos=1)
    publisher.publish("jobs/y", "left behind", qos=1)
    forgetful.expect("jobs/y", b"left behind")
    careful = Client()
    careful.subscribe("$share/workers/jobs/#", qos=1)
    forgetful.break_off()
    assert not careful.expect("jobs/y", b"left behind").dup
    assert got.empty(), "who has left gets nothing"


def told_of_shutdown():
    client = Client()
    print("connected", flush=True)
    reason = client.disconnected.get(timeout=DEADLINE_SECONDS)
    assert reason.value == 0x8B, reason


def subscribe_codes(client, filters):
    client.paho.subscribe([(topic, SubscribeOptions(qos=1)) if V5 else (topic, 1) for topic in filters])
    return [reason.value for reason in client.acknowledged.get(timeout=DEADLINE_SECONDS)]


def publish_code(client, topic, qos):
    """The reason code of the acknowledgement, which is always success in 3.1.1; "closed" where the connection ends instead."""
    reasons = queue.Queue()
    client.paho.on_publish = lambda _c, _u, _mid, reason, _p: reasons.put(reason.value)
    client.paho.on_disconnect = lambda _c, _u, _flags, _reason, _p: reasons.put("closed")
    client.paho.publish(topic, "x", qos)
    return reasons.get(timeout=DEADLINE_SECONDS)


def refusals(answer_to_3):
    denied, success = (0x87 if V5 else 0x80), 0
    client = Client("d1")
    assert subscribe_codes(client, ["plant/d2/#", "plant/d1/#", "#"]) == [denied, 1, denied]
    for qos in (1, 2):
        client = Client("d1")
        # paho-mqtt does not look at the code of a PUBREC, and so is told that its PUBREL is about nothing.
        answer_to_5 = denied if qos == 1 else 0x92
        assert publish_code(client, "plant/d2/x", qos) == (answer_to_5 if V5 else answer_to_3), qos
    client = Client("d1")
    client.subscribe("plant/d1/#")
    client.paho.publish("plant/d2/x", "lost", 0)
    client.publish("plant/d1/x", "arrives", qos=1)
    client.expect("plant/d1/x", b"arrives")
    # No client talks to others through the server's own topics; bridges that try are not let go for it.
    assert publish_code(client, "$SYS/broker/connection/d1/state", 1) == (denied if V5 else success)
    refused_will()
    Client("d1", will={"topic": "$SYS/broker/connection/d1/state", "payload": "0", "qos": 1, "retain": True})


def refused_will():
    answer = queue.Queue()
    protocol = mqtt.MQTTv5 if V5 else mqtt.MQTTv311
    stranger = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "d9", protocol=protocol, reconnect_on_failure=False)
    stranger.will_set("plant/d2/gone", "x", 1)
    stranger.on_connect = lambda _c, _u, _flags, reason, _p: answer.put(reason)
    stranger.connect("127.0.0.1", PORT)
    stranger.loop_start()
    assert answer.get(timeout=DEADLINE_SECONDS) == "Not authorized"


def refusals_devices():
    refusals("closed")


def refusals_lenient():
    refusals(0)


globals()[SCENARIO]()
