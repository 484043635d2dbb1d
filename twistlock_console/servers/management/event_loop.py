"""The main loop's events and deadlines, for connections that never block.

Each turn handles the node's checks first, then requests, and then handshakes, which
cost most: clients take turns, for a bounded time. So a connection burst does not
starve established connections or the checks.
"""

import heapq
import os
import selectors
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

from twistlock_console.servers.management.connection import Connection, Phase, Timer

HANDSHAKE_SLICE_S = 0.03
COSTLY_PHASES = (Phase.FIRST_BYTE, Phase.PLAIN, Phase.HANDSHAKE)


class EventHandler(Protocol):
    """Handles the events and deadlines of connections, for the loop."""

    def on_event(self, conn: Connection) -> object:
        """Continue with *conn*, which can be read or written."""

    def on_deadline(self, conn: Connection) -> object:
        """Time out whatever *conn* waits for."""


class EventLoop:
    """Waits for events of connections and of other descriptors; one thread runs it."""

    def __init__(self, handler: EventHandler) -> None:
        self._handler = handler
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._numbers = count()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call_on_read(self._wakeup, self._woken)

    def wake(self) -> None:
        """Interrupt the wait of ``run_once``; any thread may call this."""
        os.eventfd_write(self._wakeup, 1)

    def call_on_read(self, descriptor: int, function: Callable[[], object]) -> None:
        """Call *function* whenever *descriptor* can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, function)

    def forget(self, descriptor: int) -> None:
        """Undo ``call_on_read`` for *descriptor*."""
        self._selector.unregister(descriptor)

    def watch(self, conn: Connection, events: int) -> None:
        """Wait for *events* of *conn*, a mask of `selectors`; 0 waits for none."""
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
        """Set the deadline of *conn* to the monotonic time *at* (s); 0 removes it."""
        conn.deadline = at
        # One timer of a connection is enough: it compares the deadline when it fires.
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
            elif target.phase in COSTLY_PHASES:
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
        # An earlier event may have closed it, or may wait for nothing any more.
        if conn.events:
            self._handler.on_event(conn)

    def _handle_in_turn(self, clients: list[list[Connection]]) -> None:
        """Handle connections, clients in turn, for a bounded time."""
        until = time.monotonic() + HANDSHAKE_SLICE_S
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
