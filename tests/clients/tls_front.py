"""TLS in front of a server that has none: `tls_front.py HOST:PORT CERT KEY CLIENT_CA` prints its own port and passes everything on.

Whoever connects has to show a certificate of that authority.
"""

import asyncio
import ssl
import sys


async def pass_on(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    upstream, cert, key, client_ca = sys.argv[1:]
    host, port = upstream.rsplit(":", 1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader, writer):
        try:
            there = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print("listening", server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


asyncio.run(main())
