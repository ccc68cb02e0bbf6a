"""Logs in to a running gateway with a user's password. Usage: credential_checks.py KIND PORT USER PASSWORD EXPECTED

`paho-3.1.1` and `paho-5` expect the words of a CONNACK's reason (`Success` where the client is let in), `stomp` expects `CONNECTED` or
the `message` header of an ERROR. `scram` runs SCRAM-SHA-256 over MQTT 5.0 packets of its own with the library scramp, proves itself anew
when it is in, and expects the number of the CONNACK's reason.
"""

import queue
import socket
import struct
import sys

DEADLINE_SECONDS = 45
KIND, PORT, USER, PASSWORD, EXPECTED = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]


def expect(got):
    assert got == EXPECTED, (got, EXPECTED)


def check_paho():
    import paho.mqtt.client as mqtt

    answers = queue.Queue()
    version = mqtt.MQTTv5 if KIND == "paho-5" else mqtt.MQTTv311
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
    client.on_connect = lambda _c, _u, _flags, reason, _p: answers.put(str(reason))
    if USER:
        client.username_pw_set(USER, PASSWORD)
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    expect(answers.get(timeout=DEADLINE_SECONDS))
    client.disconnect()
    client.loop_stop()


def check_stomp():
    import stomp

    answers = queue.Queue()

    class Listener(stomp.ConnectionListener):
        def on_connected(self, frame):
            answers.put(frame.cmd)

        def on_error(self, frame):
            answers.put(frame.headers["message"])

    client = stomp.Connection12([("127.0.0.1", PORT)], reconnect_attempts_max=1)
    client.set_listener("", Listener())
    client.connect(USER, PASSWORD)
    expect(answers.get(timeout=DEADLINE_SECONDS))


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(value)) + value


def length(count):
    encoded = b""
    while True:
        count, digit = divmod(count, 128)
        encoded += bytes([digit | (0x80 if count else 0)])
        if not count:
            return encoded


def packet(first, body):
    return bytes([first]) + length(len(body)) + body


def proof(data):
    properties = b"\x15" + text("SCRAM-SHA-256") + b"\x16" + text(data)
    return length(len(properties)) + properties


class Stream:
    """A socket from which packets are read."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=DEADLINE_SECONDS)

    def send(self, data):
        self.socket.sendall(data)

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, "the gateway closed the connection"
            data += more
        return data

    def packet(self):
        """The kind of the next packet, its reason, and the authentication data in it."""
        first, count, shift = self.take(1)[0], 0, 0
        while True:
            digit = self.take(1)[0]
            count, shift = count | (digit & 0x7F) << shift, shift + 7
            if digit < 0x80:
                break
        body = self.take(count)
        # CONNACK has its flags in front of the reason.
        reason = body[1] if first >> 4 == 2 else (body[0] if body else 0)
        method = body.find(b"\x15" + text("SCRAM-SHA-256"))
        data = b""
        if method >= 0:
            rest = body[method + 16 :]
            assert rest[0] == 0x16, rest
            data = rest[3 : 3 + struct.unpack("!H", rest[1:3])[0]]
        return first >> 4, reason, data


def check_scram():
    from scramp import ScramClient

    stream = Stream()
    client = ScramClient(["SCRAM-SHA-256"], USER, PASSWORD)
    head = text("MQTT") + b"\x05\x02\x00\x3c"
    stream.send(packet(0x10, head + proof(client.get_client_first()) + text("scram")))
    kind, reason, data = stream.packet()
    assert (kind, reason) == (15, 0x18), (kind, reason)
    client.set_server_first(data.decode())
    stream.send(packet(0xF0, b"\x18" + proof(client.get_client_final())))
    kind, reason, data = stream.packet()
    assert kind == 2, kind
    expect(str(reason))
    if reason:
        return
    client.set_server_final(data.decode())
    prove_anew(stream, PASSWORD, (15, 0))
    # What fails ends the connection with a DISCONNECT.
    prove_anew(stream, PASSWORD + "?", (14, 0x87))


def prove_anew(stream, password, expected):
    from scramp import ScramClient

    client = ScramClient(["SCRAM-SHA-256"], USER, password)
    stream.send(packet(0xF0, b"\x19" + proof(client.get_client_first())))
    kind, reason, data = stream.packet()
    assert (kind, reason) == (15, 0x18), (kind, reason)
    client.set_server_first(data.decode())
    stream.send(packet(0xF0, b"\x18" + proof(client.get_client_final())))
    kind, reason, data = stream.packet()
    assert (kind, reason) == expected, (kind, reason, expected)
    if kind == 15:
        client.set_server_final(data.decode())


{"paho-3.1.1": check_paho, "paho-5": check_paho, "stomp": check_stomp, "scram": check_scram}[KIND]()
