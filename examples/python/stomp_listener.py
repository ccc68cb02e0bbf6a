"""A service: prints whatever arrives under a STOMP topic, from MQTT devices and browsers alike.

    pip install stomp.py
    python3 stomp_listener.py '/topic/plant/#'
"""

import argparse
import threading

import stomp

parser = argparse.ArgumentParser()
parser.add_argument("destination", nargs="?", default="/topic/plant/#")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=61613)
parser.add_argument("--count", type=int, default=0, help="messages to print; 0 means until stopped")
options = parser.parse_args()

finished = threading.Event()


class Printer(stomp.ConnectionListener):
    def __init__(self):
        self.received = 0

    def on_receipt(self, frame):
        print("listening on", options.destination, flush=True)

    def on_message(self, frame):
        # The body is bytes (see `auto_decode` below): a device may send anything.
        print(frame.headers["destination"], frame.body.decode(errors="replace"), flush=True)
        self.received += 1
        if self.received == options.count:
            finished.set()

    def on_error(self, frame):
        # The header names the kind of mistake, the body says what was wrong.
        print("the gateway refused:", frame.headers.get("message"), frame.body.decode(errors="replace"), flush=True)
        finished.set()

    def on_disconnected(self):
        finished.set()


connection = stomp.Connection12([(options.host, options.port)], auto_decode=False)
connection.set_listener("", Printer())
connection.connect(wait=True)
connection.subscribe(options.destination, id="1", headers={"receipt": "subscribed"})
finished.wait()
if connection.is_connected():
    connection.disconnect()
