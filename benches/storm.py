#!/usr/bin/env python3
"""A fleet that reconnects over TLS, for measuring what those notice who are connected. Loopback only.

Usage: storm.py PORT CLIENTS [ROUNDS]

Opens so many TCP connections at once, makes a TLS handshake on each, sends an MQTT 3.1.1 CONNECT, waits for its CONNACK, and
closes all of them; then again. Prints for each round how long it took until everybody was in, and how many never came in. Run
`tidegate bench --rate 5000` against another listener of the same gateway beside it: docs/performance.md has both commands.
"""

import asyncio
import ssl
import struct
import sys
import time

DEADLINE_SECONDS = 60


def connect_packet(number):
    client_id = f"storm-{number}".encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack("!H", len(client_id)) + client_id
    return bytes([0x10, len(body)]) + body


async def come_in(port, number, context):
    """One client: returns its writer once the gateway has accepted it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, ssl_handshake_timeout=DEADLINE_SECONDS)
    writer.write(connect_packet(number))
    connack = await reader.readexactly(4)
    assert connack[0] == 0x20 and connack[3] == 0, connack
    return writer


async def storm(port, clients, rounds):
    context = ssl.create_default_context()
    # The certificate is the measurement's own.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for number in range(rounds):
        started = time.monotonic()
        attempts = (asyncio.wait_for(come_in(port, client, context), DEADLINE_SECONDS) for client in range(clients))
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        seconds = time.monotonic() - started
        writers = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        print(f"round {number}: {len(writers)} clients in after {seconds:.2f} s, {clients - len(writers)} never", flush=True)
        for writer in writers:
            writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(storm(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
