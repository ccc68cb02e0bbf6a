"""Large payloads with paho-mqtt. Usage: large_payloads.py URL BYTES [CA [CERT KEY]]

URL is mqtt:// or mqtts://. A payload of that many bytes goes out and comes back at every quality of service, unchanged. Exit code
0 means that it held. Not over WebSocket: there paho-mqtt 2.2 forgets the rest of a frame that the socket does not take at once.
"""

import hashlib
import queue
import sys
from urllib.parse import urlparse

import paho.mqtt.client as mqtt

DEADLINE_SECONDS = 55
url, size = urlparse(sys.argv[1]), int(sys.argv[2])
files = sys.argv[3:]

client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id="large",
    protocol=mqtt.MQTTv5,
    reconnect_on_failure=False,
)
if url.scheme == "mqtts":
    authority, *identity = files
    client.tls_set(authority, *identity)
connected, subscribed, messages = queue.Queue(), queue.Queue(), queue.Queue()
client.on_connect = lambda _c, _u, _flags, reason, _p: connected.put(reason)
client.on_subscribe = lambda _c, _u, _mid, reasons, _p: subscribed.put(reasons)
client.on_message = lambda _c, _u, message: messages.put(message)
client.connect(url.hostname, url.port, keepalive=60)
client.loop_start()
reason = connected.get(timeout=DEADLINE_SECONDS)
assert not reason.is_failure, reason
client.subscribe("large/#", 2)
subscribed.get(timeout=DEADLINE_SECONDS)
# No two parts are alike, so that none can take another one's place.
payload = b"".join(hashlib.sha256(str(part).encode()).digest() for part in range(size // 32 + 1))[:size]
for qos in (0, 1, 2):
    client.publish(f"large/{qos}", payload, qos)
    message = messages.get(timeout=DEADLINE_SECONDS)
    assert (message.topic, message.qos) == (f"large/{qos}", qos), (message.topic, message.qos)
    assert len(message.payload) == size, len(message.payload)
    assert message.payload == payload, "the bytes differ"
client.disconnect()
client.loop_stop()
