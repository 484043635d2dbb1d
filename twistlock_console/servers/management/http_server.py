"""Receive the requests of all connections, and pass them to the dispatcher.

Only the main loop calls it; nothing here blocks.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from selectors import EVENT_READ

from gunicorn.sock import ssl_context

from twistlock_console.servers.management import limits
from twistlock_console.servers.management.connection import Connection, Phase
from twistlock_console.servers.management.connections import Connections
from twistlock_console.servers.management.dispatcher import (
    CONTINUE,
    TOO_SLOW,
    RequestDispatcher,
    Site,
)
from twistlock_console.servers.management.event_loop import EventLoop
from twistlock_console.servers.management.plain_http import (
    is_plain,
    is_whole_head,
    plain_answer,
)
from twistlock_console.servers.management.request import (
    BadRequest,
    RequestHead,
    parse_head,
)

Act = Callable[[Connection], object]
MAX_PIPELINED_PER_TURN = 64
TOO_MANY_INCOMPLETE = (
    "the Console holds too many incomplete requests; try again in a moment"
)


class HttpServer:
    """Serves *site* on *max_connections* connections at most; for the main loop."""

    def __init__(self, site: Site, max_connections: int) -> None:
        self._site = site
        self._pipelined: deque[Connection] = deque()
        self._flushed: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self.loop = EventLoop(self)
        self.connections = Connections(
            self.loop,
            site.proxies,
            max_connections,
            self._flush,
            lambda conn: self.dispatcher.abandon(conn),
        )
        self.dispatcher = RequestDispatcher(site, self.loop, self.connections, self)
        self._acts: dict[Phase, Act] = {
            Phase.FIRST_BYTE: self._detect_protocol,
            Phase.PLAIN: self._receive_plain,
            Phase.HANDSHAKE: self._continue_handshake,
            Phase.RECEIVING: self._receive,
            Phase.WORKING: self.dispatcher.pump,
            Phase.LINGERING: Connection.discard,
        }

    def run_once(self, timeout_s: float) -> None:
        """Handle events and results; wait at most *timeout_s* for the first."""
        self.loop.run_once(0.0 if self._pipelined else timeout_s)
        self.dispatcher.collect()
        for _ in range(self._flushed.qsize()):
            self._guard(self._flushed.get_nowait(), self.dispatcher.pump)
        for _ in range(min(len(self._pipelined), MAX_PIPELINED_PER_TURN)):
            self._guard(self._pipelined.popleft(), self._read_request)

    def stop(self) -> None:
        """Close idle connections now, and each other one after its answer."""
        self.dispatcher.stopping = True
        self.connections.drop_waiting()

    def on_event(self, conn: Connection) -> None:
        """Continue with *conn*, which can be read or written."""
        self._guard(conn, self._acts[conn.phase])

    def on_deadline(self, conn: Connection) -> None:
        """Time out whatever *conn* waits for."""
        match conn.phase:
            case Phase.WORKING:
                self._guard(conn, self.dispatcher.time_out)
            case Phase.RECEIVING if not conn.is_idle:
                self._guard(conn, self._time_out)
            case _:
                self.connections.drop(conn)

    def receive_next(self, conn: Connection) -> None:
        """Receive the next request of *conn*, which was answered."""
        conn.phase = Phase.RECEIVING
        if conn.received:
            # Backpressure: more is read once this is answered. A client that sends
            # requests faster than they are answered has to wait.
            self._set_timeout(conn, limits.REQUEST_TIMEOUT_S)
            self.loop.watch(conn, 0)
            self._pipelined.append(conn)
        else:
            self._set_timeout(conn, limits.KEEPALIVE_TIMEOUT_S)
            self.loop.watch(conn, EVENT_READ)

    def receive_body(self, conn: Connection) -> None:
        """Receive the body of *conn*, which the application reads."""
        conn.phase = Phase.RECEIVING
        length = conn.head.length if conn.head else 0
        needed = length / limits.MIN_RECEIVE_RATE_BPS
        self._set_timeout(conn, limits.REQUEST_TIMEOUT_S + needed)
        self.connections.set_idle(conn)
        self.loop.watch(conn, EVENT_READ)
        self._read_request(conn)

    def _guard(self, conn: Connection, act: Act) -> None:
        try:
            act(conn)
        except BlockingIOError:
            return
        except OSError:
            self.connections.drop(conn)

    def _flush(self, conn: Connection) -> None:
        self._flushed.put(conn)
        self.loop.wake()

    def _set_timeout(self, conn: Connection, seconds: float) -> None:
        self.loop.set_deadline(conn, time.monotonic() + seconds)

    def _detect_protocol(self, conn: Connection) -> None:
        first = conn.peek()
        if not first:
            self.connections.drop(conn)
        elif is_plain(first):
            conn.phase = Phase.PLAIN
            self._receive_plain(conn)
        else:
            conn.start_tls(ssl_context(self._site.config))
            self._continue_handshake(conn)

    def _receive_plain(self, conn: Connection) -> None:
        if not conn.receive() and is_whole_head(conn.received):
            self._site.fence.check()
            answer = plain_answer(bytes(conn.received))
            conn.received.clear()
            self.dispatcher.answer(conn, answer)

    def _continue_handshake(self, conn: Connection) -> None:
        if event := conn.continue_handshake():
            self.loop.watch(conn, event)
            return
        conn.phase = Phase.RECEIVING
        self._set_timeout(conn, limits.REQUEST_TIMEOUT_S)
        self.loop.watch(conn, EVENT_READ)
        self._receive(conn)

    def _receive(self, conn: Connection) -> None:
        was_idle = conn.is_idle
        event = conn.receive()
        self.loop.watch(conn, event or EVENT_READ)
        if event:
            return
        if was_idle:
            self._set_timeout(conn, limits.REQUEST_TIMEOUT_S)
        if self.connections.count_memory(conn):
            self._read_request(conn)
        else:
            conn.received.clear()
            self.dispatcher.refuse(
                conn, HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_INCOMPLETE
            )

    def _read_request(self, conn: Connection) -> None:
        """Pass the request of *conn* to the dispatcher, once it has arrived."""
        if conn.phase is not Phase.RECEIVING:
            return
        try:
            head = conn.head or self._read_head(conn)
        except BadRequest as bad:
            self.dispatcher.refuse(conn, bad.status, str(bad))
            return
        if head and _has_arrived(conn, head):
            self.dispatcher.serve(conn, head)
        else:
            self.loop.watch(conn, EVENT_READ)

    def _read_head(self, conn: Connection) -> RequestHead | None:
        head = conn.head = parse_head(self._site.config, conn.received, conn.peer)
        if head is None:
            return None
        del conn.received[: head.size]
        head.check_body()
        waits = head.is_small and head.waits_to_send
        if waits and len(conn.received) < head.length:
            conn.sock.send(CONTINUE)
        return head

    def _time_out(self, conn: Connection) -> None:
        self.dispatcher.refuse(conn, HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW)


def _has_arrived(conn: Connection, head: RequestHead) -> bool:
    """Return whether the request can be served; a large body is received only later."""
    if head.is_small or conn.body_is_accepted:
        return len(conn.received) >= head.length
    return True
