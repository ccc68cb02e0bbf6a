#!/usr/bin/env python3
"""An upstream of AMQP 0-9-1 that always keeps up, to find out what a bridge costs where RabbitMQ is not what is slow.

It says yes to whatever is declared, keeps nothing, counts the messages, and confirms all that came with one read together. Messages are those of one
body frame. Prints its port; a connection that begins with `count` is told the number. Ends with its standard input.
"""
import socket
import struct
import sys
import threading

METHOD, BODY, HEARTBEAT, END = 1, 3, 8, b"\xce"
# What is answered to a method, and with which arguments.
ANSWERS = {
    (10, 11): ((10, 30), struct.pack(">HIH", 2047, 131072, 0)),
    (10, 40): ((10, 41), b"\0"),
    (10, 50): ((10, 51), b""),
    (20, 10): ((20, 11), b"\0\0\0\0"),
    (20, 40): ((20, 41), b""),
    (40, 10): ((40, 11), b""),
    (50, 20): ((50, 21), b""),
    (60, 10): ((60, 11), b""),
    (85, 10): ((85, 11), b""),
}
QUEUE_DECLARE, PUBLISH, ACK = (50, 10), (60, 40), (60, 80)
START = struct.pack(">BBI", 0, 9, 0) + b"\0\0\0\5PLAIN" + b"\0\0\0\5en_US"
counted = 0


def method(channel, name, arguments):
    body = struct.pack(">HH", *name) + arguments
    return struct.pack(">BHI", METHOD, channel, len(body)) + body + END


def answer(channel, frame):
    """What a method is answered with; nothing is what publishing and answers are answered with."""
    name = struct.unpack_from(">HH", frame)
    if name == QUEUE_DECLARE:
        size = frame[6]
        return method(channel, (50, 11), frame[6:7 + size] + b"\0" * 8)
    return method(channel, *ANSWERS[name]) if name in ANSWERS else b""


def serve(client):
    global counted
    greeting = client.recv(8)
    if greeting.startswith(b"count"):
        client.sendall(str(counted).encode())
        client.close()
        return
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(method(0, (10, 10), START))
    data, published = b"", {}
    while True:
        came = client.recv(1 << 18)
        if not came:
            return
        data, at, out, new = data + came, 0, bytearray(), set()
        while len(data) - at >= 8:
            kind, channel, size = struct.unpack_from(">BHI", data, at)
            if len(data) - at < size + 8:
                break
            if kind == BODY:
                published[channel] = published.get(channel, 0) + 1
                counted += 1
                new.add(channel)
            elif kind == METHOD and data[at + 7:at + 11] != b"\0\x3c\0\x28":
                out += answer(channel, data[at + 7:at + 7 + size])
            elif kind == HEARTBEAT:
                out += struct.pack(">BHI", HEARTBEAT, 0, 0) + END
            at += size + 8
        data = data[at:]
        for channel in new:
            out += method(channel, ACK, struct.pack(">QB", published[channel], 1))
        if out:
            client.sendall(out)


def accept(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listening,), daemon=True).start()
    sys.stdin.read()
