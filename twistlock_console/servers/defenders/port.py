"""The Defender port: makes websockets of the connections that the acceptor admits."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from socket import socket
from typing import cast

from websockets.asyncio.server import Server, ServerConnection
from websockets.server import ServerProtocol

from twistlock_console.common.request_limits import ServerLoad
from twistlock_console.protocol import LARGEST_MESSAGE
from twistlock_console.servers.defenders.acceptor import Acceptor
from twistlock_console.servers.defenders.connection import DefenderConnection
from twistlock_console.servers.defenders.handler import Host
from twistlock_console.system.admission import AdmissionLimits

TLS_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
# A peer that sends a little too much is told; one that sends far more is just cut off.
MAX_FRAME_BYTES = 2 * LARGEST_MESSAGE
Kind = Callable[..., DefenderConnection]


class DefenderPort:
    """Serves *listening* sockets with *host*; connections are of *kind*.

    Begins to accept with `start`. Until then connections wait in the kernel.
    """

    def __init__(
        self,
        listening: Sequence[socket],
        tls: ssl.SSLContext,
        limits: AdmissionLimits,
        host: Host,
        kind: Kind,
    ) -> None:
        self._tls = tls
        self._host = host
        self._kind = kind
        self._acceptor = Acceptor(listening, limits, self._serve)
        self._server = Server(self._create_server, _converse_elsewhere)

    async def prepare(self) -> None:
        """Tell the websockets library that the ports are open."""
        await self._server

    async def start(self, ready: asyncio.Event) -> None:
        """Accept connections once *ready* is set."""
        await ready.wait()
        self._acceptor.start_serving()

    def close(self, code: int, reason: str) -> None:
        """Close the ports, and all connections with *code* and *reason*."""
        self._server.close(code=code, reason=reason)

    async def wait_closed(self) -> None:
        """Wait until everything is closed."""
        await self._server.wait_closed()

    def load(self) -> ServerLoad:
        """Return how many connections are open, and how many may be."""
        return self._acceptor.load()

    async def _create_server(self) -> asyncio.Server:
        return cast(asyncio.Server, self._acceptor)

    async def _serve(self, accepted: socket, establish: Callable[[], None]) -> None:
        connection = self._make_connection()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=self._tls,
            ssl_handshake_timeout=TLS_TIMEOUT_S,
            ssl_shutdown_timeout=CLOSE_TIMEOUT_S,
        )
        task = cast(asyncio.Task[None], asyncio.current_task())
        self._server.handler_tasks.add(task)
        self._server.all_connections.add(connection)
        try:
            async with connection:
                await self._host.converse(connection, establish)
        finally:
            connection.transport.abort()
            self._server.all_connections.discard(connection)
            self._server.handler_tasks.discard(task)

    def _make_connection(self) -> DefenderConnection:
        return self._kind(
            ServerProtocol(max_size=MAX_FRAME_BYTES),
            self._server,
            # Defenders ping, and silent ones are sent away: no task for each of them.
            ping_interval=None,
            close_timeout=CLOSE_TIMEOUT_S,
            max_queue=2,
        )


async def _converse_elsewhere(_connection: ServerConnection) -> None:
    """Do nothing: `DefenderPort._serve` is the handler."""
