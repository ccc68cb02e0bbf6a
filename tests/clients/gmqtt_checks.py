"""Checks of a running gateway with gmqtt, an MQTT client of its own making. Usage: gmqtt_checks.py SCENARIO PORT 3.1.1|5 [COUNT]

Every scenario asserts for itself: exit code 0 means that all of it held. A wait is for a message or an event and has a
deadline; "nothing arrives" is proven by a later message that arrives alone.
"""

import asyncio
import itertools
import sys

from gmqtt import Client as Gmqtt
from gmqtt import Subscription
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

DEADLINE_SECONDS = 45
SCENARIO, PORT, VERSION = sys.argv[1], int(sys.argv[2]), sys.argv[3]
COUNT = int(sys.argv[4]) if len(sys.argv) > 4 else 0
V5 = VERSION == "5"
NUMBERS = itertools.count()
# A client that opens thousands of connections at once would measure itself.
CONNECTS_AT_ONCE = 100


async def within(future):
    return await asyncio.wait_for(future, DEADLINE_SECONDS)


class Client:
    """A gmqtt client whose messages are a queue."""

    def __init__(self, client_id=None):
        self.messages = asyncio.Queue()
        self.subscribed = asyncio.Event()
        self.gmqtt = Gmqtt(client_id or f"{SCENARIO}-{next(NUMBERS)}", clean_session=True)
        self.gmqtt.set_config({"reconnect_retries": 0})
        self.gmqtt.on_message = self.on_message
        self.gmqtt.on_subscribe = lambda *_: self.subscribed.set()

    def on_message(self, _client, topic, payload, qos, properties):
        self.messages.put_nowait((topic, bytes(payload), qos, properties))
        return 0

    async def connect(self):
        await within(self.gmqtt.connect("127.0.0.1", PORT, keepalive=60, version=MQTTv50 if V5 else MQTTv311))
        return self

    async def subscribe(self, topic, qos=0, **options):
        self.subscribed.clear()
        self.gmqtt.subscribe(Subscription(topic, qos=qos, **options))
        await within(self.subscribed.wait())

    async def receive(self):
        return await within(self.messages.get())


async def round_trip():
    subscriber, publisher = await Client().connect(), await Client().connect()
    await subscriber.subscribe("gmqtt/+", qos=2)
    for qos in (0, 1, 2):
        for number in range(20):
            publisher.gmqtt.publish(f"gmqtt/{qos}", str(number), qos=qos)
    # Each level is a topic of its own: order is promised within a topic.
    got = {0: [], 1: [], 2: []}
    for _ in range(60):
        topic, payload, qos, _properties = await subscriber.receive()
        assert topic == f"gmqtt/{qos}", (topic, qos)
        got[qos].append(int(payload))
    assert all(numbers == list(range(20)) for numbers in got.values()), got


async def properties():
    subscriber, publisher = await Client().connect(), await Client().connect()
    await subscriber.subscribe("properties", qos=1)
    pairs = [("b", "1"), ("a", "2"), ("b", "3")]
    publisher.gmqtt.publish(
        "properties", "{}", qos=1, content_type="application/json", user_property=pairs,
        response_topic="answers/here", correlation_data=b"\x00\x01\xff", message_expiry_interval=1000,
    )
    _topic, _payload, _qos, got = await subscriber.receive()
    assert got["content_type"] == ["application/json"], got
    assert [tuple(pair) for pair in got["user_property"]] == pairs, got
    assert got["response_topic"] == ["answers/here"], got
    assert 900 < got["message_expiry_interval"][0] <= 1000, got


async def retain_handling():
    publisher = await Client().connect()
    for topic in ("kept/a", "kept/b/c"):
        publisher.gmqtt.publish(topic, topic, qos=1, retain=True)
    for handling, kept in ((0, 2), (1, 2), (2, 0)):
        subscriber = await Client().connect()
        await subscriber.subscribe("kept/#", qos=1, retain_handling_options=handling)
        publisher.gmqtt.publish("kept/live", "now", qos=1)
        got = [(await subscriber.receive())[0] for _ in range(kept + 1)]
        assert (sorted(got[:-1]), got[-1]) == (["kept/a", "kept/b/c"][:kept], "kept/live"), (handling, got)


async def crowd():
    """COUNT clients: all send to one, one sends to all, all leave."""
    collector = await Client("collector").connect()
    await collector.subscribe("crowd/in/+", qos=1)
    room = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def join(number):
        async with room:
            client = await Client(f"crowd-{number}").connect()
            await client.subscribe("crowd/out", qos=1)
            return client

    clients = await asyncio.gather(*(join(number) for number in range(COUNT)))
    for number, client in enumerate(clients):
        client.gmqtt.publish(f"crowd/in/{number}", str(number), qos=1)
    seen = {int((await collector.receive())[1]) for _ in range(COUNT)}
    assert seen == set(range(COUNT)), "a message is missing"
    collector.gmqtt.publish("crowd/out", "to everybody", qos=1)
    for client in clients:
        assert (await client.receive())[1] == b"to everybody"
    print("everybody is here", flush=True)
    await asyncio.gather(*(client.gmqtt.disconnect() for client in clients))
    await collector.gmqtt.disconnect()


asyncio.run(globals()[SCENARIO]())
