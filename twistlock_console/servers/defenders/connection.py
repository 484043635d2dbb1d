"""One Defender's connection: fenced, limited, and small, since there are thousands.

The limits of a connection: bytes before its hello, frames of a message, pings and other
messages without events in a time window (throttle), time for a message to arrive.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from twistlock_console.common.log_bounds import LimitedLog
from twistlock_console.pki.tls import Identity
from twistlock_console.protocol import ProtocolError
from twistlock_console.servers.defenders.backpressure import ReadLimiter
from twistlock_console.servers.defenders.certificate_check import (
    ConnectionsPerCertificate,
    identity_of,
)
from twistlock_console.servers.defenders.database import PendingWrite
from twistlock_console.servers.supervisor.fence import Fence

MAX_OPENING_BYTES = 16 * 1024
"""Bytes that a connection may send before its hello was accepted, hello included."""
MESSAGE_TIMEOUT_S = 60.0
"""Time from the first byte of a message to its last."""
READ_TIMEOUT_S = 30.0
"""Time in which a Defender must read what it is sent."""
MAX_FRAMES = 64
"""Frames that a message may consist of."""
SLICE_BYTES = 2048
FRAME_OVERHEAD_BYTES = 256
"""Memory that a frame takes beside its content."""
RATE_WINDOW_S = 10.0
MAX_CONTROL_MESSAGES = 60
MAX_PINGS = 600
RENEWAL_INTERVAL_S = 60.0
MAX_REASON_LENGTH = 120
READ_AHEAD_BYTES = 32 * 1024
CONTROL = frozenset({Opcode.PING, Opcode.PONG})


@runtime_checkable
class ReadBufferedTransport(Protocol):
    """A TLS transport of asyncio or uvloop, whose read buffer can be limited."""

    def set_read_buffer_limits(self, high: int) -> None:
        """Stop reading when *high* bytes wait."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The fence and the limits that all connections share.

    *large_messages* limits the large messages that are decoded and not stored yet.
    """

    fence: Fence
    read_limiter: "ReadLimiter[DefenderConnection]"
    per_certificate: ConnectionsPerCertificate
    closings: LimitedLog
    large_messages: asyncio.Semaphore


class DefenderConnection(ServerConnection):
    """A websocket that receives and sends only while the fence holds; event loop only.

    Attributes:
        identity: The contents of the certificate.
        has_hello: Whether a first message arrived.
        is_established: Whether that was accepted as a hello.
        policy: The hash of the rule that the Defender was last known to have.
        heard: The loop's time when it last sent anything.
        held: The bytes that the connection holds in memory.
        incomplete: Those of them that belong to an incomplete message.
        unread: Whether the read limiter pauses it.
        storing: The message that is being stored.

    """

    guards: Guards
    identity: Identity
    is_established = False
    has_hello = False
    policy = ""
    number = 0
    heard = 0.0
    unread = False
    storing: PendingWrite | None = None
    held = 0
    incomplete = 0
    _opening_bytes = 0
    _input = b""
    _queue_full = False
    _partial = 0
    _frames = 0
    _in_work = 0
    _storing_bytes = 0
    _is_large = False
    _is_lost = False
    _incomplete_since = 0.0
    _settled: asyncio.Future[None] | None = None
    _control_messages = 0
    _pings = 0
    _counted_since = 0.0
    _renewable_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the connection, after the TLS handshake."""
        self.guards.fence.check()
        self.heard = self.loop.time()
        self.identity = identity_of(transport)
        # Bytes that TLS has decrypted and we have not read take memory, too.
        if isinstance(transport, ReadBufferedTransport):
            transport.set_read_buffer_limits(READ_AHEAD_BYTES)
        # Not ServerConnection's: it would start a task, and we are in one.
        Connection.connection_made(self, transport)
        self._message_sizes: deque[int] = deque()
        self.recv_messages.pause = self._pause_for_queue
        self.recv_messages.resume = self._resume_for_queue
        self.guards.per_certificate.add(self)

    def data_received(self, data: bytes) -> None:
        """Receive *data*, and parse it while the queue of messages is not full."""
        self.guards.fence.check()
        self.heard = self.loop.time()
        self._input = self._input + data if self._input else data
        self._parse_input()

    def _parse_input(self) -> None:
        """Parse the input in slices, while the queue of messages is not full.

        Many tiny frames take far more time and memory than they have bytes.
        """
        view, start = memoryview(self._input), 0
        while start < len(view) and (size := self._next_slice()) > 0:
            piece = bytes(view[start : start + size])
            self._opening_bytes += len(piece)
            super().data_received(piece)
            start += len(piece)
            if self.transport.is_closing():
                start = len(view)
        self._input = bytes(view[start:])
        if self._input and not (self.is_established or self.has_hello):
            self._input = b""
            self.abort(f"more than {MAX_OPENING_BYTES} bytes before its hello")
        self._control_reading()
        self._account()

    def _next_slice(self) -> int:
        """Return how many bytes may be parsed now."""
        if self._queue_full:
            return 0
        if self.is_established:
            return SLICE_BYTES
        # Bytes behind the hello wait until the hello is accepted.
        if self.has_hello:
            return 0
        return min(SLICE_BYTES, MAX_OPENING_BYTES - self._opening_bytes)

    def establish(self) -> None:
        """Accept the hello: from now on the limits of established connections hold."""
        self.is_established = True
        self._parse_input()

    def process_event(self, event: Request | Response | Frame) -> None:
        """Count a frame, and close the connection on a flood of small ones.

        The library answers pings by itself.
        """
        super().process_event(event)
        if not isinstance(event, Frame):
            return
        if event.opcode in DATA_OPCODES:
            self._partial += len(event.data) + FRAME_OVERHEAD_BYTES
            self._frames += 1
            if self._frames > MAX_FRAMES:
                self.abort(f"a message of more than {MAX_FRAMES} frames")
            if event.fin:
                self.has_hello = True
                self._message_sizes.append(self._partial)
                self._partial = self._frames = 0
        elif event.opcode in CONTROL:
            self._reset_counts()
            self._pings += 1
            if self._pings > MAX_PINGS:
                self.abort("a flood of pings")

    def abort(self, reason: str) -> None:
        """Close the connection at once, without a close frame."""
        if not self.transport.is_closing():
            name = f"Defender {self.identity.common_name}"
            now = self.loop.time()
            self.guards.closings.write(name, f"connection closed: {reason}", now)
            self.transport.abort()

    def pause_reading(self) -> None:
        """Stop reading; the read limiter calls it."""
        self.unread = True
        self._control_reading()

    def resume_reading(self) -> None:
        """Resume reading, unless input waits to be parsed; for the read limiter."""
        self.unread, self.heard = False, self.loop.time()
        self._incomplete_since = self.heard
        self._control_reading()

    def _pause_for_queue(self) -> None:
        self._queue_full = True

    def _resume_for_queue(self) -> None:
        self._queue_full = False
        self._incomplete_since = self.loop.time()
        self.loop.call_soon(self._parse_input)

    def _control_reading(self) -> None:
        if self._is_lost:
            return
        if self.unread or self._queue_full or self._input:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def send_data(self) -> None:
        """Write the bytes to send, if the fence holds."""
        self.guards.fence.check()
        super().send_data()

    async def settled(self) -> None:
        """Wait until the last message is stored, or the connection ended."""
        if self.storing:
            self._settled = self.loop.create_future()
            await self._settled

    async def reads(self) -> bool:
        """Wait until the Defender reads its output; return False if it left."""
        if self.paused and self.state is State.OPEN:
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    await self.drain()
            except TimeoutError:
                self.abort(f"it read nothing for {READ_TIMEOUT_S:.0f} s")
                return False
            except OSError:
                return False
        return self.state is State.OPEN

    def is_too_slow(self, now: float) -> bool:
        """Return whether a message takes too long to arrive at loop time *now*.

        The time of pauses does not count.
        """
        if not self.incomplete or self.unread or self._queue_full:
            return False
        return now - self._incomplete_since > MESSAGE_TIMEOUT_S

    def begin(self) -> None:
        """Count the next message of the queue as in work."""
        self._in_work = self._message_sizes.popleft() if self._message_sizes else 0

    async def acquire_large_slot(self) -> None:
        """Wait until the last message is stored, and for a slot for a large one."""
        await self.settled()
        await self.guards.large_messages.acquire()
        self._is_large = True

    def finished(self) -> None:
        """Count the message as answered, or as being stored."""
        self._in_work = 0
        if not self.storing:
            self._release_large_slot()
        self._account()

    def _release_large_slot(self) -> None:
        if self._is_large:
            self._is_large = False
            self.guards.large_messages.release()

    def stores(self, pending: PendingWrite) -> None:
        """Count the message in work as being stored, with *pending*."""
        self.storing = pending
        self._storing_bytes, self._in_work = pending.memory, 0

    def acknowledge(self, text: str) -> None:
        """Send *text*, the acknowledgement of the stored message; do not wait."""
        if self.storing:
            broadcast([self], text)
            self._stored()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything; events that wait need not be stored any more."""
        if self.storing:
            self.storing.cancel()
            self._stored()
        super().connection_lost(exc)
        self._is_lost, self._input = True, b""
        # Break the cycle: the garbage collector would free this connection late.
        self.recv_messages.pause = self.recv_messages.resume = _do_nothing
        self.guards.per_certificate.discard(self)
        self.guards.read_limiter.discard(self)

    def _account(self) -> None:
        """Add up the bytes that this connection holds, and report changes."""
        if self._is_lost:
            return
        unparsed = len(self.protocol.reader.buffer)
        incomplete = unparsed + self._partial
        if incomplete and not self.incomplete:
            self._incomplete_since = self.loop.time()
        held = incomplete + len(self._input) + sum(self._message_sizes)
        held += self._in_work + self._storing_bytes
        if held != self.held or incomplete != self.incomplete:
            self.held, self.incomplete = held, incomplete
            self.guards.read_limiter.update(self)

    def _stored(self) -> None:
        self.storing, self.heard = None, self.loop.time()
        self._storing_bytes = 0
        self._release_large_slot()
        self._account()
        waiting, self._settled = self._settled, None
        if waiting and not waiting.done():
            waiting.set_result(None)

    def count_control_message(self) -> None:
        """Count a message without events; raise ProtocolError for a flood of them."""
        self._reset_counts()
        self._control_messages += 1
        if self._control_messages > MAX_CONTROL_MESSAGES:
            sentence = f"more than {MAX_CONTROL_MESSAGES} messages without events in "
            raise ProtocolError(f"{sentence}{RATE_WINDOW_S:.0f} s", code=1013)

    def allow_renewal(self) -> bool:
        """Return whether a renewal is allowed now: one per RENEWAL_INTERVAL_S."""
        now = self.loop.time()
        if now < self._renewable_at:
            return False
        self._renewable_at = now + RENEWAL_INTERVAL_S
        return True

    def _reset_counts(self) -> None:
        """Reset both counts at the end of their time window."""
        now = self.loop.time()
        if now - self._counted_since > RATE_WINDOW_S:
            self._counted_since, self._control_messages, self._pings = now, 0, 0


def _do_nothing() -> None:
    """Do nothing, instead of pausing or resuming an ended connection."""


def connections_of(guards: Guards) -> Callable[..., DefenderConnection]:
    """Return a class of connections that share *guards*."""
    return type("GuardedConnection", (DefenderConnection,), {"guards": guards})
