"""What a stomp.py client hears, as queues that a check can wait at. The checks of this folder make their clients of it."""

import queue

import stomp


class Inbox(stomp.ConnectionListener):
    """Frames in the order in which they came, each kind in a queue of its own; `connected` has the headers of CONNECTED."""

    def __init__(self):
        self.messages, self.receipts, self.errors = queue.Queue(), queue.Queue(), queue.Queue()
        self.closed, self.heartbeats = queue.Queue(), queue.Queue()

    def on_connected(self, frame):
        self.connected = frame.headers

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_disconnected(self):
        self.closed.put(True)

    def on_heartbeat(self):
        self.heartbeats.put(True)
