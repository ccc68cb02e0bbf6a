"""Checks of a running gateway with stomp.py. Usage: stomp_checks.py SCENARIO PORT [ARGUMENT ...]

The scenarios assert for themselves: exit code 0 means that all of it held. Two of them are tools for tests with several
clients: `listen PORT DESTINATION COUNT` prints `subscribed` and then `got DESTINATION BODY_IN_HEX` per message;
`send PORT DESTINATION BODY_IN_HEX` sends one message and waits for its receipt. With the file of an authority in STOMP_CA they
speak TLS.
"""

import os
import sys

import stomp
from stomp_inbox import Inbox

DEADLINE_SECONDS = 45
SCENARIO, PORT, ARGUMENTS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


class Client(Inbox):
    """A connected stomp.py client of version 1.2 whose frames are queues."""

    def __init__(self, heartbeats=(0, 0)):
        super().__init__()
        self.stomp = stomp.Connection12(
            [("127.0.0.1", PORT)], auto_decode=False, reconnect_attempts_max=1, heartbeats=heartbeats
        )
        if "STOMP_CA" in os.environ:
            self.stomp.set_ssl([("127.0.0.1", PORT)], ca_certs=os.environ["STOMP_CA"])
        self.stomp.set_listener("", self)
        self.stomp.connect(wait=True)

    def wait_for_receipt(self, receipt):
        got = self.receipts.get(timeout=DEADLINE_SECONDS)
        assert got == receipt, (got, receipt)

    def subscribe(self, destination, identifier="1", **headers):
        receipt = f"subscribed-{identifier}"
        self.stomp.subscribe(destination, identifier, headers={"receipt": receipt, **headers})
        self.wait_for_receipt(receipt)

    def send(self, destination, body, **headers):
        self.stomp.send(destination, body, headers={"receipt": "sent", **headers})
        self.wait_for_receipt("sent")

    def expect(self, destination, body):
        frame = self.messages.get(timeout=DEADLINE_SECONDS)
        assert (frame.headers["destination"], frame.body) == (destination, body), (frame.headers, frame.body)
        return frame.headers

    def close(self):
        self.stomp.disconnect(receipt="goodbye")
        self.wait_for_receipt("goodbye")


def send_and_receive():
    client = Client()
    assert client.connected["version"] == "1.2", client.connected
    client.subscribe("/topic/a/b", "sub-7")
    client.send("/topic/a/b", "hello", **{"content-type": "text/plain"})
    headers = client.expect("/topic/a/b", b"hello")
    assert headers["subscription"] == "sub-7", headers
    assert headers["content-type"] == "text/plain", headers
    assert headers["content-length"] == "5", headers
    assert headers["message-id"], headers
    client.close()


def wildcards():
    client = Client()
    client.subscribe("/topic/plant/+/state", "one")
    client.subscribe("/topic/plant/#", "many")
    client.send("/topic/plant/7/state", "on")
    subscriptions = {client.expect("/topic/plant/7/state", b"on")["subscription"] for _ in range(2)}
    assert subscriptions == {"one", "many"}, subscriptions


def binary_body():
    client = Client()
    client.subscribe("/topic/binary")
    body = bytes(range(256)) * 20
    client.send("/topic/binary", body)
    client.expect("/topic/binary", body)


def headers():
    client = Client()
    client.subscribe("/topic/headers")
    odd = "colon:backslash\\newline\nend"
    client.send("/topic/headers", "x", **{"device": "7", "odd": odd})
    got = client.expect("/topic/headers", b"x")
    assert got["device"] == "7", got
    assert got["odd"] == odd, got


def unsubscribe():
    client = Client()
    client.subscribe("/topic/leaves", "leaves")
    client.subscribe("/topic/stays", "stays")
    client.stomp.unsubscribe("leaves", headers={"receipt": "unsubscribed"})
    client.wait_for_receipt("unsubscribed")
    client.send("/topic/leaves", "lost")
    client.send("/topic/stays", "found")
    client.expect("/topic/stays", b"found")


def error():
    client = Client()
    client.stomp.send_frame("SEND", {"receipt": "bad-one"}, "no destination")
    frame = client.errors.get(timeout=DEADLINE_SECONDS)
    assert frame.headers["receipt-id"] == "bad-one", frame.headers
    assert "destination" in frame.headers["message"].lower() + frame.body.decode().lower(), frame
    client.closed.get(timeout=DEADLINE_SECONDS)


def not_allowed():
    for command in ("SEND", "SUBSCRIBE"):
        client = Client()
        headers = {"destination": "/topic/plant/d1/x", "id": "1", "receipt": "bad-one"}
        client.stomp.send_frame(command, headers, "x" if command == "SEND" else "")
        frame = client.errors.get(timeout=DEADLINE_SECONDS)
        assert frame.headers["receipt-id"] == "bad-one", frame.headers
        assert frame.headers["message"] == "not authorized", frame.headers
        client.closed.get(timeout=DEADLINE_SECONDS)


def heart_beat():
    client = Client(heartbeats=(0, 100))
    assert client.connected["heart-beat"].split(",")[0] != "0", client.connected
    client.heartbeats.get(timeout=DEADLINE_SECONDS)


def listen():
    destination, count = ARGUMENTS
    client = Client()
    client.subscribe(destination)
    print("subscribed", flush=True)
    for _ in range(int(count)):
        frame = client.messages.get(timeout=DEADLINE_SECONDS)
        print("got", frame.headers["destination"], frame.body.hex(), flush=True)
    client.close()


def send():
    destination, body = ARGUMENTS
    client = Client()
    client.send(destination, bytes.fromhex(body))
    client.close()


globals()[SCENARIO]()
