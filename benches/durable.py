#!/usr/bin/env python3
"""Measures what keeping messages costs: this gateway at each acknowledgement point, Mosquitto with persistence, RabbitMQ's durable queues.

  benches/durable.py [--rounds 3] [--duration 3s] [--scenario NAME ...] [--broker NAME ...] [--binary FILE] [--json FILE]

The receivers' sessions outlive their connections, so every message has to be kept until it is acknowledged. Brokers run alternately in each
round, each freshly started on a port of its own with an empty folder, with `tidegate bench --durable` as the load. Everything listens
on 127.0.0.1; brokers are stopped by their process id; the folder is removed. A broker that is not installed is left out.

The folder is made in --folder (default: beside this project's build), because /tmp may be in memory, where a sync costs nothing.

What a broker promises when it has acknowledged differs, and is told beside its name. `syncs` is how often the gateway made the disk keep
what was written, per message. Needs Python 3.9 or newer.
"""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from compare import MOSQUITTO, PROJECT, Broker, accepts, begin, choose_cpus, free_port, number, options, pin_to

# name: (what it is, options of `tidegate bench`)
SCENARIOS = {
    "one": ("1 publisher, one message at a time", "--window 1"),
    "window": ("1 publisher, 100 under way", "--window 100"),
    "fan-in-1": ("1000 publishers, one message each", "--layout fan-in --publishers 1000 --window 1"),
    "fan-in-16": ("1000 publishers, 16 under way each", "--layout fan-in --publishers 1000 --window 16"),
}

TIDEGATE = """\
node = "durable"
workers = 1
{data_dir}
[log]
level = "warn"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:{port}"
protocols = ["mqtt"]
allow_anonymous = true
[http]
bind = "127.0.0.1:{http}"
"""

POLICY = """\
[[topic]]
topics = ["#"]
acknowledge = "{point}"
"""

RABBITMQ = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
mqtt.listeners.tcp.1 = 127.0.0.1:{port}
mqtt.prefetch = 100
log.console = false
log.file.level = error
"""


class Tidegate(Broker):
    """With or without a store."""

    def __init__(self, point, binary):
        self.point = point
        super().__init__(f"Tidegate, {point}", "", [binary, "--config", "{path}"])

    def start(self, folder, cpu):
        self.http = free_port()
        self.configuration = self.configure(folder)
        super().start(folder, cpu)

    def configure(self, folder):
        keeps = self.point != "no store"
        configuration = TIDEGATE.replace("{http}", str(self.http))
        configuration = configuration.replace("{data_dir}", f'data_dir = "{folder}/data"' if keeps else "")
        return configuration + (POLICY.format(point=self.point) if keeps else "")

    def syncs(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=20) as answer:
            found = re.search(r"^tidegate_store_syncs_total (\S+)", answer.read().decode(), re.M)
        return float(found[1]) if found else None


class Mosquitto(Broker):
    """Without persistence; with it, saving when it ends and every half hour; and saving everything after every change."""

    SAVES = {"nothing kept": None, "saved every 30 minutes": "autosave_interval 1800",
             "saved after every change": "autosave_on_changes true\nautosave_interval 1"}

    def __init__(self, saves, program):
        self.saves = self.SAVES[saves]
        super().__init__(f"Mosquitto, {saves}", "", [program, "-c", "{path}"])

    def start(self, folder, cpu):
        configuration = MOSQUITTO
        if self.saves:
            keeps = f"persistence true\npersistence_location {folder}/\n{self.saves}"
            configuration = configuration.replace("persistence false", keeps)
        self.configuration = configuration
        super().start(folder, cpu)


class RabbitMQ(Broker):
    """Its MQTT plugin: a session that survives is a durable queue, and PUBACK is the queue's confirm."""

    def __init__(self, program):
        self.program = program
        super().__init__("RabbitMQ, durable queue", "", [])

    def start(self, folder, cpu):
        self.port, amqp, dist, epmd = (free_port() for _ in range(4))
        home = os.path.join(folder, "rabbitmq")
        os.makedirs(home)

        def write(name, text):
            with open(os.path.join(home, name), "w") as file:
                file.write(text)

        write("rabbitmq.conf", RABBITMQ.format(amqp=amqp, port=self.port))
        write("enabled_plugins", "[rabbitmq_mqtt].\n")
        write("env.conf", "")
        self.environment = dict(
            os.environ, HOME=home, RABBITMQ_NODENAME=f"durable{self.port}@localhost", RABBITMQ_DIST_PORT=str(dist),
            RABBITMQ_CONF_ENV_FILE=f"{home}/env.conf", RABBITMQ_CONFIG_FILE=f"{home}/rabbitmq.conf",
            RABBITMQ_ENABLED_PLUGINS_FILE=f"{home}/enabled_plugins", RABBITMQ_MNESIA_BASE=f"{home}/mnesia",
            RABBITMQ_LOG_BASE=f"{home}/logs", RABBITMQ_PID_FILE=f"{home}/pid", ERL_EPMD_PORT=str(epmd),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}")
        self.log = open(os.path.join(folder, "rabbitmq.log"), "wb")
        self.starter = subprocess.Popen([self.program], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=self.environment, preexec_fn=pin_to(cpu), start_new_session=True)
        self.process, deadline = self.starter, time.monotonic() + 90
        while not accepts(self.port):
            if self.starter.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"RabbitMQ does not start; see {self.log.name}")
            time.sleep(0.2)
        # The scripts in front of it wait for the virtual machine, which is what costs.
        self.process = Descendant(self.starter, "beam.smp")

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.starter.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.starter.pid, signal.SIGKILL)
                self.starter.wait()
            subprocess.run(["epmd", "-port", self.environment["ERL_EPMD_PORT"], "-kill"], env=self.environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.process = None
        if self.log:
            self.log.close()


class Descendant:
    """A process somewhere below one of ours, by its name."""

    def __init__(self, starter, name):
        children = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    head, tail = file.read().rsplit(")", 1)
            except OSError:
                continue
            children.setdefault(int(tail.split()[1]), []).append((int(entry), head.split("(", 1)[1]))
        found, waiting = [], [starter.pid]
        while waiting:
            for pid, of in children.get(waiting.pop(), []):
                waiting.append(pid)
                found += [pid] if of == name else []
        self.pid = found[0] if found else starter.pid

    def terminate(self):
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def brokers(binary):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = [Tidegate(point, binary) for point in ("no store", "routed", "written", "synced")]
    if mosquitto := shutil.which("mosquitto", path=path):
        found += [Mosquitto(saves, mosquitto) for saves in Mosquitto.SAVES]
    # Debian's program in the path changes the user, and reads a folder of that user's.
    folders = [f"/usr/lib/rabbitmq/lib/{name}/sbin" for name in os.listdir("/usr/lib/rabbitmq/lib")] \
        if os.path.isdir("/usr/lib/rabbitmq/lib") else []
    if rabbitmq := shutil.which("rabbitmq-server", path=":".join(folders)):
        found.append(RabbitMQ(rabbitmq))
    return found


def measure(broker, binary, options, arguments, cpus):
    """One run: the JSON of the load generator, and syncs per message."""
    with tempfile.TemporaryDirectory(prefix="tidegate-durable-", dir=arguments.folder) as folder:
        try:
            broker.start(folder, cpus[0])
            command = [binary, "bench", "--target", f"127.0.0.1:{broker.port}", "--cpu-of", str(broker.process.pid),
                       "--durable", "--qos", "1", "--duration", arguments.duration, "--warmup", "0s", "--quiet", "--json", "-"]
            load = subprocess.run(command + options.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  preexec_fn=pin_to(cpus[1]))
            if not load.stdout:
                sys.exit(f"{broker.name}: {load.stderr.decode(errors='replace')}")
            run = json.loads(load.stdout)
            syncs = broker.syncs() if isinstance(broker, Tidegate) else None
            run["syncs_per_message"] = syncs / run["sent"] if syncs is not None and run["sent"] else None
            return run
        finally:
            broker.stop()


def median(runs, name):
    values = [run[name] for run in runs if run.get(name) is not None]
    return statistics.median(values) if values else None


def table(results):
    lines = ["| scenario | broker | messages/s | p50 / p99 in ms | CPU s/M | syncs per message |", "|---|---|---:|---:|---:|---:|"]
    for name, by_broker in results.items():
        for broker, runs in by_broker.items():
            latency = [run["latency_microseconds"] for run in runs]
            shown = " / ".join(f"{median(latency, p) / 1000:.2f}" for p in ("p50", "p99"))
            lines.append("| " + " | ".join([
                SCENARIOS[name][0], broker, number(median(runs, "received_per_second"), 0), shown,
                number(median(runs, "process_cpu_seconds_per_million"), 1), number(median(runs, "syncs_per_message"), 4)]) + " |")
            if lost := sum(run["lost"] for run in runs):
                lines.append(f"| | *{lost} deliveries were lost* | | | | |")
    return "\n".join(lines)


def parse():
    parser = options(__doc__, SCENARIOS)
    parser.add_argument("--broker", action="append", help="only brokers whose name begins so; may be given several times")
    parser.add_argument("--folder", default=os.path.join(PROJECT, "target"), help="where the brokers keep what they keep")
    return parser.parse_args()


def main():
    arguments = parse()
    binary = begin(arguments)
    cpus, results = choose_cpus(), {}
    chosen = [broker for broker in brokers(binary)
              if not arguments.broker or any(broker.name.startswith(name) for name in arguments.broker)]
    for name in arguments.scenario or SCENARIOS:
        results[name] = {broker.name: [] for broker in chosen}
        for round_number in range(arguments.rounds):
            for broker in chosen:
                run = measure(broker, binary, SCENARIOS[name][1], arguments, cpus)
                results[name][broker.name].append(run)
                print(f"{name} {round_number + 1}/{arguments.rounds} {broker.name}: {number(run['received_per_second'], 0)}/s, "
                      f"{number(run['process_cpu_seconds_per_million'], 2)} s/M, {number(run['syncs_per_message'], 4)} syncs",
                      file=sys.stderr)
    print(table(results))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
