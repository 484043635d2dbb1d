"""Accept the connections of the Defender port, and open websockets on them.

The event loop's own server would start a TLS handshake for every connection at once,
and would close its listening socket when the process has no file descriptor left. Here
a connection burst does not starve established connections.
"""

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import cast

from websockets.asyncio.server import Server, ServerConnection
from websockets.server import ServerProtocol

from twistlock_console.common.request_limits import ServerLoad
from twistlock_console.protocol import MAX_MESSAGE_CHARACTERS
from twistlock_console.servers.defenders.connection import DefenderConnection
from twistlock_console.servers.defenders.handler import ProtocolHandler
from twistlock_console.system.admission import Admission, AdmissionLimits

ACCEPT_BATCH_SIZE = 32
"""Connections accepted before established ones get their turn again."""
HANDSHAKE_BATCH_SIZE = 8
RECEIVE_BUFFER_BYTES = 64 * 1024
"""The kernel's buffer of a connection that is not read; it may double this."""
CHECK_INTERVAL_S = 0.5
ACCEPT_RETRY_INTERVAL_S = 0.5
WARNING_INTERVAL_S = 60.0
#: Close with a reset: a refused connection takes no memory in the kernel.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
TLS_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
# A peer whose message is a little too large gets a close code, others a reset.
MAX_FRAME_BYTES = 2 * MAX_MESSAGE_CHARACTERS
log = logging.getLogger(__name__)

Kind = Callable[..., DefenderConnection]
Serve = Callable[[socket.socket, Callable[[], None]], Awaitable[None]]
"""Serves one connection until it ends; calls its second argument after the hello."""


class DefenderPort:
    """Serves *listening* sockets with *handler*; *kind* is the class of connections.

    It accepts from `start` on; until then connections wait in the kernel.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        tls: ssl.SSLContext,
        limits: AdmissionLimits,
        handler: ProtocolHandler,
        kind: Kind,
    ) -> None:
        self._tls = tls
        self._handler = handler
        self._kind = kind
        self._acceptor = Acceptor(listening, limits, self._serve)
        self._server = Server(self._create_server, _handled_elsewhere)

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

    async def _serve(
        self, accepted: socket.socket, establish: Callable[[], None]
    ) -> None:
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
                await self._handler.handle(connection, establish)
        finally:
            connection.transport.abort()
            self._server.all_connections.discard(connection)
            self._server.handler_tasks.discard(task)

    def _make_connection(self) -> DefenderConnection:
        return self._kind(
            ServerProtocol(max_size=MAX_FRAME_BYTES),
            self._server,
            # Defenders send the keepalives, and one sweep closes silent connections.
            ping_interval=None,
            close_timeout=CLOSE_TIMEOUT_S,
            max_queue=2,
        )


async def _handled_elsewhere(_connection: ServerConnection) -> None:
    """Do nothing: `DefenderPort._serve` is the handler."""


class Acceptor:
    """Accepts from *listening* sockets, and calls *serve* for each admitted connection.

    It has the methods of an asyncio.Server that the websockets library needs. Runs on
    the event loop alone.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        limits: AdmissionLimits,
        serve: Serve,
    ) -> None:
        self._limits = limits
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._admission: Admission[socket.socket] = Admission(limits)
        self._opening: dict[socket.socket, asyncio.Task[None]] = {}
        self._established = 0
        self._scheduled = False
        self._closed = self._loop.create_future()
        self._checking: asyncio.TimerHandle | None = None
        self._warned_at = -WARNING_INTERVAL_S
        self.sockets = tuple(listening)

    def start_serving(self) -> None:
        """Start to accept; until now connections wait in the kernel."""
        for each in self.sockets:
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._loop.add_reader(each, self._accept, each)
        self._check()

    def close(self) -> None:
        """Stop listening, and drop the connections that wait for a handshake."""
        if self._closed.done():
            return
        self._closed.set_result(None)
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()
        if self._checking:
            self._checking.cancel()
        for waiting in self._admission.pick_expired(float("inf")):
            self._drop(waiting)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that it runs on."""
        return self._loop

    def is_serving(self) -> bool:
        """Return whether the ports are open."""
        return not self._closed.done()

    async def wait_closed(self) -> None:
        """Wait until the ports are closed."""
        await asyncio.shield(self._closed)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_BATCH_SIZE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                self._pause(listening, error)
                return
            self._add(connection, str(address[0]))

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Stop accepting for a moment; the port stays open."""
        self._warn(f"cannot accept connections now; retrying: {error.strerror}")
        self._loop.remove_reader(listening)
        self._loop.call_later(ACCEPT_RETRY_INTERVAL_S, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if self.is_serving():
            self._loop.add_reader(listening, self._accept, listening)

    def load(self) -> ServerLoad:
        """Return how many connections of the port are open, and how many may be."""
        admission = self._admission
        held = self._established + admission.waiting + admission.opening
        return ServerLoad(connections=held, max_connections=self._limits.total)

    def _add(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        load = self.load()
        if load.is_full:
            self._warn(f"{load.connections} connections are open, which is the limit")
            _reset(connection)
            return
        victim = self._admission.add(connection, address, self._loop.time())
        if victim is not connection:
            self._loop.add_reader(connection, self._read_first, connection)
        if victim:
            self._drop(victim)

    def _read_first(self, connection: socket.socket) -> None:
        """Queue *connection* for a handshake, now that its peer sent something."""
        self._loop.remove_reader(connection)
        try:
            begun = bool(connection.recv(1, socket.MSG_PEEK))
        except OSError:
            begun = False
        if begun:
            self._admission.mark_ready(connection, self._loop.time())
            self._open_next()
        else:
            # The peer closed; load balancers check the port this way.
            self._admission.discard(connection)
            connection.close()

    def _open_next(self) -> None:
        """Schedule some TLS handshakes, a few at a time, since they take long."""
        if not self._scheduled and self.is_serving():
            self._scheduled = True
            self._loop.call_soon(self._open_some)

    def _open_some(self) -> None:
        self._scheduled = False
        for _ in range(HANDSHAKE_BATCH_SIZE):
            connection = self._admission.take_next(self._loop.time())
            if connection is None:
                return
            task = self._loop.create_task(self._run(connection))
            self._opening[connection] = task
        self._open_next()

    async def _run(self, connection: socket.socket) -> None:
        established = False

        def establish() -> None:
            nonlocal established
            established = True
            self._established += 1
            self._opening.pop(connection, None)
            self._admission.establish(connection, self._loop.time())
            self._open_next()

        try:
            with suppress(OSError):
                await self._serve(connection, establish)
        finally:
            self._established -= established
            self._opening.pop(connection, None)
            self._admission.discard(connection)
            self._open_next()

    def _check(self) -> None:
        """Drop connections that waited or held a slot for too long."""
        now = self._loop.time()
        for expired in self._admission.pick_expired(now):
            self._drop(expired)
        while stalled := self._admission.pick_stalled(now):
            self._admission.discard(stalled)
            self._opening.pop(stalled).cancel()
            self._open_some()
        self._open_next()
        self._checking = self._loop.call_later(CHECK_INTERVAL_S, self._check)

    def _drop(self, connection: socket.socket) -> None:
        self._loop.remove_reader(connection)
        _reset(connection)

    def _warn(self, sentence: str) -> None:
        now = self._loop.time()
        if now - self._warned_at >= WARNING_INTERVAL_S:
            self._warned_at = now
            log.warning("Defender port: %s", sentence)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.close()
