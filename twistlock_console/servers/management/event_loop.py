"""The main loop's events and deadlines, for connections that never wait.

Each turn handles the node's checks first, then requests, and then handshakes, which
cost most: client by client, for a bounded time. So a burst of new connections delays
those that are established, and the check, by little.
"""

import heapq
import os
import selectors
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from twistlock_console.servers.management.connection import Connection, Phase, Timer

HANDSHAKES_AT_ONCE_S = 0.03
COSTLY = (Phase.FIRST_BYTE, Phase.PLAIN, Phase.HANDSHAKE)


class EventHandler(Protocol):
    """What the loop calls."""

    def on_event(self, conn: Connection) -> object:
        """Go on with *conn*, which can be read or written."""

    def on_deadline(self, conn: Connection) -> object:
        """End what *conn* waits for."""


class EventLoop:
    """Waits for connections, and for descriptors that have a function of their own."""

    def __init__(self, handler: EventHandler) -> None:
        self._handler = handler
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._numbers = count()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call_on_read(self._wakeup, self._woken)

    def wake(self) -> None:
        """End the wait of this turn; any thread may call this."""
        os.eventfd_write(self._wakeup, 1)

    def call_on_read(self, descriptor: int, function: Callable[[], object]) -> None:
        """Have *function* called when *descriptor* can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, function)

    def forget(self, descriptor: int) -> None:
        """Undo ``call_on_read``."""
        self._selector.unregister(descriptor)

    def watch(self, conn: Connection, events: int) -> None:
        """Wait for *events* of *conn*, for none if that is 0."""
        if events == conn.events:
            return
        if not events:
            self._selector.unregister(conn.fd)
        elif conn.events:
            self._selector.modify(conn.fd, events, conn)
        else:
            self._selector.register(conn.fd, events, conn)
        conn.events = events

    def set_deadline(self, conn: Connection, at: float) -> None:
        """Call ``on_deadline`` at the monotonic time *at*, instead of before."""
        conn.deadline = at
        # One timer of a connection is enough: the deadline is looked at when it fires.
        if at and (conn.timer is None or conn.timer.at > at):
            self._start_timer(conn, at)

    def run_once(self, timeout_s: float) -> None:
        """Wait for events and handle them; then handle deadlines that have passed."""
        costly: dict[str, list[Connection]] = {}
        others: list[Connection] = []
        for key, _ in self._selector.select(timeout_s):
            target: Connection | Callable[[], object] = key.data
            if not isinstance(target, Connection):
                target()
            elif target.phase in COSTLY:
                costly.setdefault(target.key, []).append(target)
            else:
                others.append(target)
        for conn in others:
            self._handle(conn)
        self._handle_in_turn([each[::-1] for each in costly.values()])
        self._handle_deadlines()

    def close(self) -> None:
        """Close the descriptors of the loop."""
        self._selector.close()
        os.close(self._wakeup)

    def _woken(self) -> None:
        os.eventfd_read(self._wakeup)

    def _handle(self, conn: Connection) -> None:
        # What was handled before may have closed it, or wait for nothing any more.
        if conn.events:
            self._handler.on_event(conn)

    def _handle_in_turn(self, clients: list[list[Connection]]) -> None:
        """Handle one connection of each client, then the next; the rest next time."""
        until = time.monotonic() + HANDSHAKES_AT_ONCE_S
        while clients:
            for connections in clients:
                self._handle(connections.pop())
                if time.monotonic() > until:
                    return
            clients = [connections for connections in clients if connections]

    def _start_timer(self, conn: Connection, at: float) -> None:
        conn.cancel_timer()
        conn.timer = Timer(at, next(self._numbers), conn)
        heapq.heappush(self._timers, conn.timer)

    def _handle_deadlines(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            conn = heapq.heappop(self._timers).connection
            if conn is None:
                continue
            conn.timer = None
            if conn.deadline > now:
                self._start_timer(conn, conn.deadline)
            elif conn.deadline:
                self._handler.on_deadline(conn)
