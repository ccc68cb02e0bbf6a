#!/usr/bin/env python3
"""Measures this gateway beside Mosquitto, both under the same load, and prints a table.

  benches/compare.py [--rounds 3] [--duration 3s] [--warmup 1s] [--scenario NAME ...] [--binary FILE] [--json FILE]

Builds the release binary (unless --binary names one), and for each scenario runs the brokers alternately, each freshly started on a
port of its own, with `tidegate bench` as the load. Where the machine has two CPUs, the broker has the first one for itself and the
load generator the second one. Everything listens on 127.0.0.1; brokers are stopped by their process id; the temporary folder
is removed.

The main figure is CPU: seconds of the broker, all threads, user and system, per million messages delivered. It is much
steadier than throughput where a machine is shared. Needs Python 3.9 or newer, nothing else, and `mosquitto` in the path or /usr/sbin.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name: (what it is, options of `tidegate bench`)
SCENARIOS = {
    "p2p-q0-64": ("1 to 1, QoS 0, 64 B", "--window 1000"),
    "p2p-q0-1k": ("1 to 1, QoS 0, 1 KiB", "--window 1000 --size 1024"),
    "p2p-q1-64": ("1 to 1, QoS 1, 64 B", "--qos 1 --window 100"),
    "p2p-q1-1k": ("1 to 1, QoS 1, 1 KiB", "--qos 1 --window 100 --size 1024"),
    "p2p-q2-64": ("1 to 1, QoS 2, 64 B", "--qos 2 --window 100"),
    "p2p-q2-1k": ("1 to 1, QoS 2, 1 KiB", "--qos 2 --window 100 --size 1024"),
    "fan-in": ("1000 to 1, 16 under way each", "--layout fan-in --publishers 1000 --window 16"),
    "fan-out": ("1 to 1000", "--layout fan-out --subscribers 1000 --window 10"),
    "pairs": ("500 pairs", "--publishers 500 --window 10"),
    "paced": ("1 to 1, QoS 1, 5000/s", "--qos 1 --rate 5000"),
}

MOSQUITTO = """\
per_listener_settings false
allow_anonymous true
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 100
set_tcp_nodelay true
log_dest stderr
log_type error
persistence false
{user}listener {port} 127.0.0.1
"""

TIDEGATE = """\
node = "compare"
workers = 1
[log]
level = "warn"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:{port}"
protocols = ["mqtt"]
allow_anonymous = true
"""


class Broker:
    """A broker that is started anew for every run."""

    def __init__(self, name, configuration, command):
        self.name, self.configuration, self.command = name, configuration, command
        self.process = self.log = None

    def start(self, folder, cpu):
        self.port = free_port()
        path = os.path.join(folder, self.name + ".conf")
        # Mosquitto gives up root by itself, and could then not read a folder of root's.
        user = "user root\n" if os.geteuid() == 0 else ""
        with open(path, "w") as file:
            file.write(self.configuration.format(port=self.port, user=user))
        self.log = open(os.path.join(folder, self.name + ".log"), "wb")
        command = [part.format(path=path) for part in self.command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=pin_to(cpu))
        deadline = time.monotonic() + 20
        while not accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log.name, errors="replace") as log:
                    sys.exit(f"{self.name} does not start:\n{log.read()}")
            time.sleep(0.02)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.log:
            self.log.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def pin_to(cpu):
    """Runs in the child before the program; does nothing where there is no CPU to choose."""
    return None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})


def choose_cpus():
    """One CPU for the broker and one for the load, where there are two."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)


def build():
    subprocess.run(["cargo", "build", "--release", "--package", "tidegate"], cwd=PROJECT, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--format-version=1", "--no-deps"], cwd=PROJECT, check=True,
                              stdout=subprocess.PIPE).stdout
    return os.path.join(json.loads(metadata)["target_directory"], "release", "tidegate")


def brokers(binary):
    mosquitto = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if mosquitto is None:
        sys.exit("mosquitto is not installed (Debian: apt-get install mosquitto)")
    return [Broker("mosquitto", MOSQUITTO, [mosquitto, "-c", "{path}"]),
            Broker("tidegate", TIDEGATE, [binary, "--config", "{path}"])]


def measure(broker, binary, options, arguments, folder, cpus):
    """One run: the JSON of the load generator."""
    try:
        broker.start(folder, cpus[0])
        command = [binary, "bench", "--target", f"127.0.0.1:{broker.port}", "--cpu-of", str(broker.process.pid),
                   "--duration", arguments.duration, "--warmup", arguments.warmup, "--quiet", "--json", "-"]
        load = subprocess.run(command + options.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              preexec_fn=pin_to(cpus[1]))
    finally:
        broker.stop()
    if not load.stdout:
        sys.exit(f"{broker.name}: {load.stderr.decode(errors='replace')}")
    return json.loads(load.stdout)


def median(runs, *path):
    values = []
    for run in runs:
        for name in path:
            run = run.get(name) if run else None
        if run is not None:
            values.append(run)
    return statistics.median(values) if values else None


def figures(runs):
    return {
        "cpu": median(runs, "process_cpu_seconds_per_million"),
        "rate": median(runs, "received_per_second"),
        "p50": median(runs, "latency_microseconds", "p50"),
        "p99": median(runs, "latency_microseconds", "p99"),
        "lost": sum(run["lost"] for run in runs),
    }


def table(results):
    lines = ["| scenario | CPU s/M Mosquitto | CPU s/M Tidegate | ratio | deliveries/s | | p50 / p99 in ms | |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, runs in results.items():
        one, two = figures(runs["mosquitto"]), figures(runs["tidegate"])
        lines.append("| " + " | ".join([
            SCENARIOS[name][0], number(one["cpu"], 2), number(two["cpu"], 2),
            "-" if not one["cpu"] or two["cpu"] is None else f"**{two['cpu'] / one['cpu']:.2f}**",
            number(one["rate"], 0), number(two["rate"], 0), latency(one), latency(two)]) + " |")
        for broker, lost in (("Mosquitto", one["lost"]), ("Tidegate", two["lost"])):
            if lost:
                lines.append(f"| *{broker} lost {lost} deliveries* | | | | | | | |")
    return "\n".join(lines)


def number(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def latency(of):
    return "-" if of["p50"] is None else f"{of['p50'] / 1000:.2f} / {of['p99'] / 1000:.2f}"


def options(description, scenarios):
    """What every comparison can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each broker in each scenario (default 3)")
    parser.add_argument("--duration", default="3s", help="measured time of a run (default 3s)")
    parser.add_argument("--scenario", action="append", choices=scenarios, help="only this one; may be given several times")
    parser.add_argument("--binary", help="this gateway instead of a fresh release build")
    parser.add_argument("--json", help="write the figures of every run to this file")
    return parser


def begin(arguments):
    """Gets ready for many connections, and returns the gateway's program."""
    # A SIGTERM ends the script like Ctrl-C, so that brokers and folder are cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return os.path.abspath(arguments.binary) if arguments.binary else build()


def parse():
    parser = options(__doc__, SCENARIOS)
    parser.add_argument("--warmup", default="1s", help="time before that (default 1s)")
    return parser.parse_args()


def main():
    arguments = parse()
    binary = begin(arguments)
    cpus, results = choose_cpus(), {}
    both = brokers(binary)
    with tempfile.TemporaryDirectory(prefix="tidegate-compare-") as folder:
        for name in arguments.scenario or SCENARIOS:
            results[name] = {broker.name: [] for broker in both}
            for round_number in range(arguments.rounds):
                for broker in both:
                    run = measure(broker, binary, SCENARIOS[name][1], arguments, folder, cpus)
                    results[name][broker.name].append(run)
                    print(f"{name} {round_number + 1}/{arguments.rounds} {broker.name}: "
                          f"{number(run['process_cpu_seconds_per_million'], 3)} s/M, "
                          f"{number(run['received_per_second'], 0)}/s", file=sys.stderr)
    print(table(results))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
