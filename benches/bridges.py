#!/usr/bin/env python3
"""Measures a bridge from end to end: messages of 64 bytes at QoS 1 into the gateway, out to an upstream, and every one of them counted there.

  benches/bridges.py [--phase live drain overtake local] [--upstream NAME ...] [--messages 200000] [--size 64] [--binary FILE] [--folder FOLDER]

  live      the upstream is there; a device publishes with --window messages under way, each acknowledged when the upstream has confirmed it
  drain     the messages are queued while the link is down, which then comes back; memory is sampled all the time
  overtake  the same with `order = "live-first"`, and one live message after the other while the backlog drains: from publish to arrival
  local     a publisher and a subscriber here, beside a bridge that takes the same topics: latency and CPU, with the link up, down, and without one

Upstreams: mosquitto, rabbitmq (Debian's package), and of those that speak Kafka noida and tansu, where `scripts/test` has installed them, and mock, the
cluster inside librdkafka in a process of its own. The gateway has the first CPU for itself, so that the rate is that of one core at the most;
publisher and upstream share the others. Where these are slower, the gateway's CPU seconds a million, all of its threads, say what its
core would carry; the threads are told apart. Everything listens on 127.0.0.1 and is stopped by its process id. Needs Python 3.9 or newer, and pika
and confluent-kafka to look into RabbitMQ and Kafka: `.cache/venv/bin/python benches/bridges.py` has them.
"""
import argparse
import collections
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import upstreams
from backlog import LIMITS, Connection, cpu, fill, length, memory
from compare import PROJECT, begin, choose_cpus, pin_to
from durable import Tidegate

PHASES = ("live", "drain", "overtake", "local")
LIVE_PER_SECOND = 50


class Bridged(Tidegate):
    """A gateway with a store and perhaps a bridge, which can be changed while it runs."""

    def __init__(self, binary, point, bridge):
        super().__init__(point, binary)
        self.bridge = bridge

    def configure(self, folder):
        self.path = os.path.join(folder, self.name + ".conf")
        # What this is put behind is filled in with the port.
        return super().configure(folder) + LIMITS + self.bridge.replace("{", "{{").replace("}", "}}")

    def change(self, bridge):
        """Reloads with another bridge."""
        with open(self.path) as file:
            text = file.read()
        with open(self.path, "w") as file:
            file.write(text.split("\n[[bridge]]", 1)[0] + bridge)
        self.process.send_signal(signal.SIGHUP)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=60) as answer:
            found = re.search(rf"^tidegate_{name}\S* (\S+)", answer.read().decode(), re.M)
        return int(float(found[1])) if found else 0

    def wait_until_confirmed(self, messages):
        # To ask costs the gateway something too.
        last, moved, every = 0, time.monotonic(), min(max(messages / 1e6, 0.2), 1)
        while (confirmed := self.metric("bridge_confirmed_total")) < messages:
            if confirmed > last:
                last, moved = confirmed, time.monotonic()
            if time.monotonic() - moved > 60:
                sys.exit(f"only {confirmed} of {messages} messages were confirmed; see {self.log.name}")
            time.sleep(every)

    def threads(self):
        """CPU seconds by the names of threads."""
        used = collections.Counter()
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/stat"):
            try:
                with open(path) as file:
                    head, tail = file.read().rsplit(")", 1)
            except OSError:
                continue
            fields = tail.split()
            used[head.split("(", 1)[1]] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return used


class Sampler(threading.Thread):
    """Resident memory of the gateway, five times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.seen, self.is_done = pid, [memory(pid)], threading.Event()

    def run(self):
        while not self.is_done.wait(0.2):
            self.seen.append(memory(self.pid))

    def told(self):
        self.is_done.set()
        at = [self.seen[len(self.seen) * part // 10] for part in range(10)] + [self.seen[-1]]
        return "/".join(f"{bytes / 2**20:.0f}" for bytes in at) + f" MiB, {max(self.seen) / 2**20:.0f} at the most"


class Measured:
    """What a piece of work took the gateway."""

    def __init__(self, gateway):
        self.gateway, self.began, self.cpu, self.threads = gateway, time.monotonic(), cpu(gateway.process.pid), gateway.threads()

    def report(self, what, messages):
        seconds, used = time.monotonic() - self.began, cpu(self.gateway.process.pid) - self.cpu
        each = used / messages * 1e6
        print(f"{what}: {messages:,} messages at {messages / seconds:,.0f}/s, {each:.2f} CPU s/M, so {1e6 / each:,.0f}/s on a core")
        threads = self.gateway.threads() - self.threads
        told = ", ".join(f"{name} {used / messages * 1e6:.2f}" for name, used in threads.most_common(6))
        print(f"  s/M of its threads: {told}", flush=True)


def check(what, upstream, expected):
    counted = upstream.count()
    print(f"  {what}: {counted:,} counted there" + ("" if counted == expected else f", NOT {expected:,}"), flush=True)


def live(upstream, arguments, folder, cpus):
    gateway = Bridged(arguments.binary, "forwarded", upstream.bridge(True, options(arguments)))
    try:
        gateway.start(folder, cpus[0])
        warm = fill(gateway.port, arguments.window, arguments.size, arguments.window)
        measured = Measured(gateway)
        messages = fill(gateway.port, arguments.messages, arguments.size, arguments.window)
        measured.report(f"{upstream.title}, live", messages)
        return warm + messages
    finally:
        gateway.stop()


def options(arguments, order="strict"):
    return {"source": "+/0", "order": order, "in_flight": arguments.in_flight}


def drain(upstream, arguments, folder, cpus):
    gateway = Bridged(arguments.binary, "synced", upstream.bridge(False, options(arguments)))
    try:
        gateway.start(folder, cpus[0])
        sampler = Sampler(gateway.process.pid)
        sampler.start()
        measured = Measured(gateway)
        messages = fill(gateway.port, arguments.messages, arguments.size, 1000)
        measured.report(f"{upstream.title}, link down", messages)
        print(f"  memory while it was down {sampler.told()}")
        sampler = Sampler(gateway.process.pid)
        sampler.start()
        gateway.change(upstream.bridge(True, options(arguments)))
        measured = Measured(gateway)
        gateway.wait_until_confirmed(messages)
        measured.report(f"{upstream.title}, drained", messages)
        print(f"  memory in eleven moments of it {sampler.told()}", flush=True)
        return messages
    finally:
        gateway.stop()


def publish(topic, payload):
    body = len(topic).to_bytes(2, "big") + topic + b"\0\1" + payload
    return b"\x32" + length(body) + body


def overtake(upstream, arguments, folder, cpus):
    """Each live message carries the moment at which it was published."""
    gateway = Bridged(arguments.binary, "synced", upstream.bridge(False, options(arguments, "live-first")))
    took = []

    def heard(payload):
        if payload.strip(b"."):
            took.append(time.monotonic() - float(payload.strip(b".")))
    try:
        gateway.start(folder, cpus[0])
        messages = fill(gateway.port, arguments.messages, arguments.size, 1000)
        gateway.change(upstream.bridge(True, options(arguments, "live-first")))
        while not gateway.metric("bridge_confirmed_total"):
            time.sleep(0.1)
        threading.Thread(target=upstream.listen, args=(heard,), daemon=True).start()
        time.sleep(3)
        took.clear()
        connection, sent, began = Connection(gateway.port, b"live", True), 0, gateway.metric("bridge_confirmed_total")
        started = time.monotonic()
        while time.monotonic() - started < arguments.seconds:
            connection.socket.sendall(publish(b"live/0", b"%f" % time.monotonic() + b"." * 40))
            connection.exactly(4)
            sent += 1
            time.sleep(max(started + sent / LIVE_PER_SECOND - time.monotonic(), 0))
        confirmed = gateway.metric("bridge_confirmed_total")
        seconds = time.monotonic() - started
        time.sleep(1)
        arrived = len(took)
        took.sort()
        is_over = "" if confirmed < messages else " (THE BACKLOG WAS OVER)"
        print(f"{upstream.title}, overtaking: {arrived} of {sent} live messages while {confirmed - began:,} of {messages:,} that waited were "
              f"drained at {(confirmed - began) / seconds:,.0f}/s{is_over}: p50 {took[arrived // 2] * 1e3:.1f} ms, "
              f"p99 {took[arrived * 99 // 100] * 1e3:.1f} ms, at the most {took[-1] * 1e3:.1f} ms", flush=True)
    finally:
        gateway.stop()


def local(upstream, arguments, folder, cpus):
    """Alternating, because the machine is not the same from minute to minute."""
    taken = {"source": "#", "order": "strict", "in_flight": arguments.in_flight}
    aside = dict(taken, source="aside/#")
    ways = {"no bridge": "", "bridge of other topics": upstream.bridge(True, aside),
            "bridge of the same topics": upstream.bridge(True, taken), "the same, link down": upstream.bridge(False, taken)}
    for rate in arguments.rate:
        for number in range(arguments.rounds):
            for way, bridge in ways.items():
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    told = local_run(Bridged(arguments.binary, "synced", bridge), rate, arguments, own, cpus)
                print(f"local, QoS {arguments.qos}, {rate}/s, {way} {number + 1}/{arguments.rounds}: {told}", flush=True)


def local_run(gateway, rate, arguments, folder, cpus):
    try:
        gateway.start(folder, None if arguments.unpinned else cpus[0])
        command = [arguments.binary, "bench", "--target", f"127.0.0.1:{gateway.port}", "--qos", str(arguments.qos), "--size", str(arguments.size),
                   "--rate", str(rate), "--duration", f"{arguments.seconds}s", "--warmup", "1s",
                   "--cpu-of", str(gateway.process.pid), "--quiet", "--json", "-"]
        load = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=pin_to(cpus[1]))
        if not load.stdout:
            sys.exit(load.stderr.decode(errors="replace"))
        run = json.loads(load.stdout)
    finally:
        gateway.stop()
    latency = run["latency_microseconds"]
    worker = run["process_cpu_seconds_per_million"]
    return f"p50 {latency['p50']:.0f} us, p99 {latency['p99']:.0f} us, {worker:.1f} CPU s/M of the whole gateway, {run['lost']} lost"


def run(name, upstream, arguments, cpus):
    with tempfile.TemporaryDirectory(prefix="tidegate-bridges-", dir=arguments.folder) as folder:
        try:
            upstream.start(folder, cpus[-1])
            expected = 0
            for phase in arguments.phase:
                own = os.path.join(folder, phase)
                os.mkdir(own)
                counted = globals()[phase](upstream, arguments, own, cpus)
                if counted:
                    expected += counted
                    check(phase, upstream, expected)
        finally:
            upstream.stop()


def parse(found):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", nargs="+", choices=PHASES, default=["live", "drain"], help="default: live drain")
    parser.add_argument("--upstream", nargs="+", choices=found, help="which (default: all that are installed)")
    parser.add_argument("--messages", type=int, default=200_000, help="how many (default 200000)")
    parser.add_argument("--size", type=int, default=64, help="bytes of each (default 64)")
    parser.add_argument("--window", type=int, default=2000, help="live: how many the publisher has under way (default 2000)")
    parser.add_argument("--in-flight", type=int, default=1000, help="how many the bridge has under way (default 1000, which is its own default)")
    parser.add_argument("--seconds", type=int, default=10, help="overtake and local: how long (default 10)")
    parser.add_argument("--rate", type=int, nargs="+", default=[1000], help="local: messages a second (default 1000)")
    parser.add_argument("--qos", type=int, default=1, help="local: the level (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="local: how often each way (default 3)")
    parser.add_argument("--unpinned", action="store_true", help="local: the gateway may use every CPU")
    parser.add_argument("--binary", help="this gateway instead of a fresh release build")
    parser.add_argument("--folder", default=os.path.join(PROJECT, "target"), help="where everything keeps what it keeps")
    return parser.parse_args()


def main():
    found = upstreams.found()
    arguments = parse(found)
    arguments.binary = begin(arguments)
    cpus = choose_cpus()
    for name in arguments.upstream or found:
        run(name, found[name], arguments, cpus)


if __name__ == "__main__":
    main()
