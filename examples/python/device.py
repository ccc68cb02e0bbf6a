"""A device: publishes its temperature over MQTT 5, says when it is online, and leaves a will for when it dies.

    pip install paho-mqtt
    python3 device.py --device boiler-7
    mosquitto_sub -t 'telemetry/#' -t 'status/#' -v      # in another terminal
"""

import argparse
import json
import math
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

parser = argparse.ArgumentParser()
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=1883)
parser.add_argument("--device", default="boiler-7")
parser.add_argument("--count", type=int, default=0, help="messages to send; 0 means until stopped")
parser.add_argument("--interval", type=float, default=1.0, help="seconds between two messages")
options = parser.parse_args()

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=options.device, protocol=mqtt.MQTTv5)
status = f"status/{options.device}"
# Retained, so that whoever subscribes later learns at once whether the device is there.
client.will_set(status, "offline", qos=1, retain=True)
client.on_connect = lambda client, *_: client.publish(status, "online", qos=1, retain=True)
client.connect(options.host, options.port)
client.loop_start()

properties = Properties(PacketTypes.PUBLISH)
properties.ContentType = "application/json"
properties.MessageExpiryInterval = 60

number = 0
try:
    while options.count == 0 or number < options.count:
        reading = {"celsius": round(60 + 5 * math.sin(number / 10), 2), "number": number}
        sent = client.publish(f"telemetry/{options.device}", json.dumps(reading), qos=1, properties=properties)
        sent.wait_for_publish()
        print("sent", reading, flush=True)
        number += 1
        if options.count == 0 or number < options.count:
            time.sleep(options.interval)
except KeyboardInterrupt:
    pass

client.publish(status, "offline", qos=1, retain=True).wait_for_publish()
client.disconnect()
client.loop_stop()
