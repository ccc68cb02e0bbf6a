"""A device in Python: a boiler that publishes its temperature over MQTT 5, answers commands, and is missed when it dies.

    pip install paho-mqtt
    python3 device.py --device boiler-7

Its topics are `plant/<area>/<device>/…`, so that the page in ../browser and that of `tidegate demo` show it:
- `temperature` is retained: whoever comes later has the last value at once. It expires, so that a dead device is not believed for ever.
- `status` is retained as well, `online` or `offline`. The will says `offline` when the connection breaks; a clean end says it itself.
- `command` is answered where the command's Response Topic says, with its Correlation Data, so that any client can match the answer:
      mosquitto_rr -V mqttv5 -t plant/lab/boiler-7/command -e answers/me -m report
"""

import argparse
import json
import math
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

parser = argparse.ArgumentParser()
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=1883)
parser.add_argument("--area", default="lab")
parser.add_argument("--device", default="boiler-7")
parser.add_argument("--count", type=int, default=0, help="messages to send; 0 means until stopped")
parser.add_argument("--interval", type=float, default=1.0, help="seconds between two messages")
options = parser.parse_args()

topic = f"plant/{options.area}/{options.device}"
stopped = threading.Event()
sent = 0


def json_properties(**more):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    for name, value in more.items():
        setattr(properties, name, value)
    return properties


def on_connect(client, userdata, flags, reason, properties):
    # Here and not behind connect(): the client connects again by itself, and everything has to be said again then.
    client.subscribe(f"{topic}/command", qos=1)
    client.publish(f"{topic}/status", "online", qos=1, retain=True)


def on_message(client, userdata, message):
    text = message.payload.decode(errors="replace")
    # The pages send JSON; people type words.
    command = json.loads(text).get("command") if text.startswith("{") else text
    print("command", command, flush=True)
    answers = {"report": {"sent": sent}, "stop": {"stopping": True}}
    answer = answers.get(command, {"error": "unknown command", "commands": sorted(answers)})
    asked = message.properties
    if hasattr(asked, "ResponseTopic"):
        more = {"CorrelationData": asked.CorrelationData} if hasattr(asked, "CorrelationData") else {}
        client.publish(asked.ResponseTopic, json.dumps(answer), qos=1, properties=json_properties(**more))
    if command == "stop":
        stopped.set()


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=options.device, protocol=mqtt.MQTTv5)
client.will_set(f"{topic}/status", "offline", qos=1, retain=True)
client.on_connect = on_connect
client.on_message = on_message
client.connect(options.host, options.port)
client.loop_start()

try:
    while not stopped.is_set():
        celsius = round(60 + 5 * math.sin(sent / 10), 2)
        reading = json.dumps({"value": celsius, "unit": "°C", "at": int(time.time() * 1000)})
        message = client.publish(
            f"{topic}/temperature", reading, qos=1, retain=True, properties=json_properties(MessageExpiryInterval=3600)
        )
        message.wait_for_publish()
        print("sent", reading, flush=True)
        sent += 1
        if sent == options.count:
            break
        stopped.wait(options.interval)
except KeyboardInterrupt:
    pass

client.publish(f"{topic}/status", "offline", qos=1, retain=True).wait_for_publish()
client.disconnect()
client.loop_stop()
