"""Accept the connections of the node API, on one thread, before each gets a thread.

The members of the cluster have slots of their own: a connection burst of other
addresses does not delay their handshakes.
"""

import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from twistlock_console.common.log_bounds import LimitedLog
from twistlock_console.system.admission import Admission, AdmissionLimits
from twistlock_console.system.processes import abort_process

STRANGER_LIMITS = AdmissionLimits(total=1024, waiting=512, opening=32, per_address=8)
MEMBER_LIMITS = AdmissionLimits(total=1024, waiting=256, opening=32, per_address=16)
ACCEPT_BATCH_SIZE = 32
CHECK_INTERVAL_S = 0.25
ACCEPT_RETRY_INTERVAL_S = 0.5
STOP_TIMEOUT_S = 2.0
#: Close with a reset: a refused connection takes no memory in the kernel.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
MemberAddresses = Callable[[], frozenset[str]]
Cut = Callable[[], None]
Begin = Callable[[socket.socket, str], Cut]
"""Starts to serve a connection; returns the function that cuts it; raises OSError."""
Queue = Admission[socket.socket]


class Gate:
    """Accepts from *listening*, and calls *begin* for each connection that gets a slot.

    *members* returns the addresses of the cluster's nodes, *check* is called four times
    a second. `run` is for a thread of its own; any thread may call the other methods.
    """

    def __init__(
        self,
        listening: socket.socket,
        members: MemberAddresses,
        begin: Begin,
        check: Callable[[], None],
    ) -> None:
        self._listening = listening
        self._members = members
        self._begin = begin
        self._check = check
        self._lock = threading.Lock()
        self._for_members: Queue = Admission(MEMBER_LIMITS)
        self._for_strangers: Queue = Admission(STRANGER_LIMITS)
        self._waiting: dict[socket.socket, str] = {}
        self._opening: dict[socket.socket, Cut] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._retry_at: float | None = None
        self._stopping = False
        self._stopped = threading.Event()
        self._log = LimitedLog()

    def run(self) -> None:
        """Accept until stopped; an unhandled exception ends the process."""
        try:
            self._run()
        except Exception:
            abort_process("unhandled exception in the node API")
        finally:
            self._release()
            self._stopped.set()

    def _run(self) -> None:
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)
        next_check = monotonic()
        while not self._stopping:
            for key, _ in self._selector.select(max(0.0, next_check - monotonic())):
                if key.data:
                    key.data()
                elif key.fileobj in self._waiting:
                    self._read_first(key.fileobj)
            if monotonic() >= next_check:
                next_check = monotonic() + CHECK_INTERVAL_S
                self._check_deadlines()
            self._begin_next()

    def stop(self) -> None:
        """Stop accepting, drop the waiting connections, and wait for the thread."""
        self._stopping = True
        self._wake()
        self._stopped.wait(STOP_TIMEOUT_S)

    def establish(self, connection: socket.socket) -> None:
        """Free the slot of *connection*, whose peer has proved who it is."""
        with self._lock:
            self._opening.pop(connection, None)
            for queue in (self._for_members, self._for_strangers):
                queue.establish(connection, monotonic())
        self._wake()

    def release(self, connection: socket.socket) -> None:
        """Free the slot, if any, of *connection*, which ended."""
        with self._lock:
            self._opening.pop(connection, None)
            for queue in (self._for_members, self._for_strangers):
                queue.discard(connection)
        self._wake()

    def _wake(self) -> None:
        # The number of a closed descriptor may be reused for another file.
        with self._lock, suppress(OSError):
            if self._waker >= 0:
                os.write(self._waker, b"x")

    def _drain(self) -> None:
        with suppress(OSError):
            os.read(self._woken, 65536)

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH_SIZE):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                self._pause(error)
                return
            self._add(connection, str(address[0]))

    def _pause(self, error: OSError) -> None:
        """Stop accepting for ACCEPT_RETRY_INTERVAL_S, instead of failing in a loop."""
        sentence = f"cannot accept connections now; retrying: {error.strerror}"
        self._log.write("the node API", sentence, monotonic())
        self._selector.unregister(self._listening)
        self._retry_at = monotonic() + ACCEPT_RETRY_INTERVAL_S

    def _add(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        self._waiting[connection] = address
        self._selector.register(connection, selectors.EVENT_READ)
        with self._lock:
            victim = self._queue(address).add(connection, address, monotonic())
        if victim:
            self._drop(victim)

    def _queue(self, address: str) -> Queue:
        is_member = address in self._members()
        return self._for_members if is_member else self._for_strangers

    def _read_first(self, connection: socket.socket) -> None:
        """Queue *connection* for a slot, now that its peer sent something."""
        try:
            begun = bool(connection.recv(1, socket.MSG_PEEK))
        except OSError:
            begun = False
        self._selector.unregister(connection)
        with self._lock:
            for queue in (self._for_members, self._for_strangers):
                if begun:
                    queue.mark_ready(connection, monotonic())
                else:
                    queue.discard(connection)
        if not begun:
            del self._waiting[connection]
            connection.close()

    def _begin_next(self) -> None:
        with self._lock:
            for queue in (self._for_members, self._for_strangers):
                while connection := queue.take_next(monotonic()):
                    address = self._waiting.pop(connection)
                    try:
                        self._opening[connection] = self._begin(connection, address)
                    except OSError:
                        queue.discard(connection)
                        _reset(connection)

    def _check_deadlines(self) -> None:
        """Drop connections that waited or held a slot for too long."""
        now = monotonic()
        if self._retry_at and now >= self._retry_at:
            self._retry_at = None
            self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
        for queue in (self._for_members, self._for_strangers):
            with self._lock:
                expired = queue.pick_expired(now)
                stalled = queue.pick_stalled(now)
                cut = self._opening.pop(stalled, None) if stalled else None
            for connection in expired:
                self._drop(connection)
            if cut:
                cut()
        self._check()

    def _drop(self, connection: socket.socket) -> None:
        del self._waiting[connection]
        with suppress(KeyError):
            self._selector.unregister(connection)
        _reset(connection)

    def _release(self) -> None:
        for connection in list(self._waiting):
            self._drop(connection)
        self._selector.close()
        with self._lock:
            os.close(self._woken)
            os.close(self._waker)
            self._woken = self._waker = -1


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.close()
