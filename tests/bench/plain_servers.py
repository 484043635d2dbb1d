"""What Defenders' figures are held against: bare TLS of asyncio, and our server's echo.

python -m tests.bench.plain_servers tls|echo CERTIFICATES PORT
"""

import asyncio
import ssl
import sys
from asyncio import sslproto
from pathlib import Path

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from twistlock_console.pki.tls import Usage, server_context
from twistlock_console.servers.defenders.port import MAX_FRAME_BYTES
from twistlock_console.servers.defenders.server import BACKLOG, _tune

#: asyncio clears a buffer of 256 KiB for every TLS connection otherwise.
TLS_BUFFER = 16 * 1024
GREETING = b'\x81\x10{"type":"hello"}'


class Bare(asyncio.Protocol):
    """Answers the first bytes with a greeting, and nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once."""
        if data.startswith(b"GET"):
            self._transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 101 x\r\n\r\n" + GREETING
            )


async def echo(connection: ServerConnection) -> None:
    """Send back what comes."""
    await connection.send('{"type":"hello"}')
    async for frame in connection:
        await connection.send(frame)


async def main(kind: str, folder: Path, port: int) -> None:
    """Serve until killed."""
    tls: ssl.SSLContext = server_context(folder, client=Usage.DEFENDER)
    _tune()
    loop = asyncio.get_running_loop()
    if kind == "tls":
        await loop.create_server(
            Bare,
            "127.0.0.1",
            port,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=60,
        )
    else:
        await serve(
            echo,
            "127.0.0.1",
            port,
            ssl=tls,
            backlog=BACKLOG,
            open_timeout=60,
            ping_interval=None,
            max_size=MAX_FRAME_BYTES,
            max_queue=2,
            compression=None,
        )
    await asyncio.Event().wait()


if __name__ == "__main__":
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    runner = asyncio if sys.argv[1] == "tls" else uvloop
    runner.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
