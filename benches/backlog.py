#!/usr/bin/env python3
"""Measures a long queue: a session goes away, messages are queued for it, the gateway is killed and started again, the session comes back.

  benches/backlog.py [--messages 1000000] [--size 64] [--window 1000] [--mosquitto] [--binary FILE] [--folder FOLDER]

Prints what it takes to queue them (messages per second, CPU seconds per million, memory and disk per message, how often each byte was written,
syncs), how long the gateway needs after SIGKILL until it is ready, and what it takes to drain them. `--mosquitto` does the same
without the kill to Mosquitto with persistence. Everything listens on 127.0.0.1. Needs Python 3.9 or newer.
"""
import argparse
import os
import re
import shutil
import socket
import sys
import tempfile
import time
import urllib.request

from compare import PROJECT, build, choose_cpus, pin_to
from durable import Mosquitto, Tidegate

TOPIC = b"backlog/0"
LIMITS = """\
[limits]
queued_messages = 100000000
queued_bytes = "1000GiB"
disk = "100GiB"
"""


class Connection:
    """MQTT 3.1.1, as far as this needs it."""

    def __init__(self, port, client_id, clean):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(120)
        body = b"\0\4MQTT\4" + bytes([2 if clean else 0]) + b"\0\0" + len(client_id).to_bytes(2, "big") + client_id
        self.socket.sendall(b"\x10" + length(body) + body)
        self.exactly(4)

    def exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            piece = self.socket.recv(min(count - len(parts), 1 << 20))
            if not piece:
                sys.exit("the broker closed the connection")
            parts += piece
        return bytes(parts)

    def subscribe(self, topic=TOPIC, qos=1):
        body = b"\0\1" + len(topic).to_bytes(2, "big") + topic + bytes([qos])
        self.socket.sendall(b"\x82" + length(body) + body)
        self.exactly(5)

    def close(self):
        self.socket.sendall(b"\xe0\0")
        self.socket.close()


def length(body):
    left, encoded = len(body), bytearray()
    while True:
        left, digit = left >> 7, left & 127
        encoded.append(digit | (128 if left else 0))
        if not left:
            return bytes(encoded)


def publish(packet_id, size):
    body = len(TOPIC).to_bytes(2, "big") + TOPIC + packet_id.to_bytes(2, "big") + b"." * size
    return b"\x32" + length(body) + body


def fill(port, messages, size, window):
    """Two halves of a window take turns: one is acknowledged while the other is under way."""
    connection, half = Connection(port, b"filler", True), max(window // 2, 1)
    halves = [b"".join(publish(1 + which * half + at, size) for at in range(half)) for which in (0, 1)]
    rounds = max(messages // half, 1)
    connection.socket.sendall(halves[0])
    for number in range(1, rounds):
        connection.socket.sendall(halves[number % 2])
        connection.exactly(4 * half)
    connection.exactly(4 * half)
    connection.close()
    return rounds * half


def drain(port, messages, size):
    """All messages are alike, so each has its place in what arrives."""
    connection = Connection(port, b"absent", False)
    each, left, rest = len(publish(1, size)), messages, b""
    at = each - size - 2
    while left:
        rest += connection.socket.recv(1 << 20)
        count = len(rest) // each
        acks = b"".join(b"\x40\2" + rest[n * each + at:n * each + at + 2] for n in range(count))
        connection.socket.sendall(acks)
        rest, left = rest[count * each:], left - count
    connection.close()


def leave_a_session(port):
    connection = Connection(port, b"absent", False)
    connection.subscribe()
    connection.close()


def memory(pid):
    with open(f"/proc/{pid}/status") as file:
        found = re.search(r"^VmRSS:\s+(\d+)", file.read(), re.M)
    return int(found[1]) * 1024


def cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def disk(folder):
    files = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return sum(os.stat(file).st_blocks * 512 for file in files if os.path.exists(file))


def store_metrics(broker):
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.http}/metrics", timeout=20) as answer:
        found = re.findall(r"^tidegate_store_(\w+?)(?:_total)? (\S+)$", answer.read().decode(), re.M)
    return {name: float(value) for name, value in found}


def timed(pid, work, *arguments):
    """Seconds and CPU seconds of the broker."""
    began, used = time.monotonic(), cpu(pid())
    result = work(*arguments)
    return result, time.monotonic() - began, cpu(pid()) - used


def run(broker, arguments, cpus, is_killed):
    with tempfile.TemporaryDirectory(prefix="tidegate-backlog-", dir=arguments.folder) as folder:
        pid = lambda: broker.process.pid
        try:
            broker.start(folder, cpus[0])
            leave_a_session(broker.port)
            empty = memory(pid())
            queued, seconds, used = timed(pid, fill, broker.port, arguments.messages, arguments.size, arguments.window)
            print(f"{broker.name}: {queued:,} messages of {arguments.size} bytes queued at {queued / seconds:,.0f}/s, "
                  f"{used / queued * 1e6:.2f} CPU s/M, {(memory(pid()) - empty) / queued:.1f} B of memory each, "
                  f"{disk(folder) / queued:.0f} B on the disk each")
            if is_killed:
                store = store_metrics(broker)
                print(f"  every byte written {store['written_bytes'] / max(store['appended_bytes'], 1):.2f} times, "
                      f"{store['syncs'] / queued:.4f} syncs a message, index {store['index_bytes'] / queued:.1f} B each")
                broker.process.kill()
                broker.process.wait()
                began = time.monotonic()
                broker.start(folder, cpus[0])
                print(f"  ready {time.monotonic() - began:.2f} s after SIGKILL, with {memory(pid()) / 2**20:.0f} MiB of memory")
            _, seconds, used = timed(pid, drain, broker.port, queued, arguments.size)
            print(f"  drained at {queued / seconds:,.0f}/s, {used / queued * 1e6:.2f} CPU s/M, "
                  f"{memory(pid()) / 2**20:.0f} MiB of memory, {disk(folder) / 2**20:.0f} MiB on the disk", flush=True)
        finally:
            broker.stop()


class Unlimited(Tidegate):
    """With limits that do not end the measurement."""

    def configure(self, folder):
        return super().configure(folder) + LIMITS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="how many are queued (default 1000000)")
    parser.add_argument("--size", type=int, default=64, help="bytes of each (default 64)")
    parser.add_argument("--window", type=int, default=1000, help="how many are under way (default 1000)")
    parser.add_argument("--point", default="synced", help="acknowledge: routed, written or synced (default)")
    parser.add_argument("--mosquitto", action="store_true", help="Mosquitto with persistence as well")
    parser.add_argument("--binary", help="this gateway instead of a fresh release build")
    parser.add_argument("--folder", default=os.path.join(PROJECT, "target"), help="where the brokers keep what they keep")
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.binary) if arguments.binary else build()
    cpus = choose_cpus()
    run(Unlimited(arguments.point, binary), arguments, cpus, True)
    mosquitto = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if arguments.mosquitto and mosquitto:
        run(Mosquitto("saved every 30 minutes", mosquitto), arguments, cpus, False)


if __name__ == "__main__":
    main()
