"""One client's connection; the main loop uses it, and nothing here blocks."""

import enum
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from selectors import EVENT_READ, EVENT_WRITE

from twistlock_console.servers.management import limits
from twistlock_console.servers.management.client_bounds import MinimumRate, client_key
from twistlock_console.servers.management.exchange import Exchange, OutputBuffer
from twistlock_console.servers.management.request import RequestHead, SocketAddress
from twistlock_console.servers.management.request_pool import PoolJob

READ_BYTES = 64 * 1024
TLS_RECORD_BYTES = 16 * 1024
OUTPUT_BATCH_BYTES = 64 * 1024
#: What is sent to one client before others have their turn.
SEND_BATCH_BYTES = 256 * 1024
#: From <linux/tcp.h>: what the kernel may hold that was not sent yet.
TCP_NOTSENT_LOWAT = 25
UNSENT_BYTES = 128 * 1024


class Phase(enum.Enum):
    """The phase of a connection; the values name what it waits for."""

    FIRST_BYTE = "first byte"
    PLAIN = "plain HTTP"
    HANDSHAKE = "handshake"
    RECEIVING = "request"
    WORKING = "answer"
    LINGERING = "end"
    CLOSED = "closed"


@dataclass(order=True, slots=True)
class Timer:
    """Checks a connection's deadline at *at*; cancelled without a connection."""

    at: float
    number: int
    connection: "Connection | None" = field(compare=False)


class Connection:
    """The socket of one client, with the bytes received and the bytes to send.

    Args:
        sock: The accepted socket.
        peer: The client's address.
        server: Our own address.
        on_output: Called, on any thread, when a thread has something to send.

    """

    def __init__(
        self,
        sock: socket.socket,
        peer: SocketAddress,
        server: SocketAddress,
        on_output: Callable[["Connection"], object],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.sock: socket.socket = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.server = server
        self.key = client_key(peer[0])
        self.phase = Phase.FIRST_BYTE
        self.events = 0
        self.deadline = 0.0
        self.timer: Timer | None = None
        self.received = bytearray()
        self.head: RequestHead | None = None
        self.body = b""
        self.body_is_accepted = False
        self.exchange: Exchange | None = None
        self.job: PoolJob | None = None
        self.socket_is_lent = False
        self.answer_is_complete = False
        self.closes = False
        self._on_output = on_output
        self.output: OutputBuffer | None = None
        self.rate = MinimumRate(
            limits.MIN_SEND_RATE_BPS, limits.SEND_STALL_TIMEOUT_S, 0.0
        )
        self._sending = memoryview(b"")
        self._to_discard = limits.MAX_LINGER_BYTES

    def new_output(self) -> OutputBuffer:
        """Set and return an empty output, for the next answer."""
        self.output = OutputBuffer(lambda: self._on_output(self))
        self.answer_is_complete = False
        return self.output

    def cancel_timer(self) -> None:
        """Cancel the timer, which then has no reference to this object."""
        if self.timer:
            self.timer.connection = None
            self.timer = None

    @property
    def held_bytes(self) -> int:
        """Return how much memory the request takes."""
        return len(self.received) + len(self.body)

    @property
    def is_idle(self) -> bool:
        """Return whether nothing of a request has arrived."""
        receiving = self.phase is Phase.RECEIVING
        return receiving and self.head is None and not self.received

    def peek(self) -> bytes:
        """Return the first byte and leave it unread; b"" if the client closed."""
        return self.sock.recv(1, socket.MSG_PEEK)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Start the TLS handshake; raises OSError."""
        self.sock = context.wrap_socket(
            self.sock, server_side=True, do_handshake_on_connect=False
        )
        self.phase = Phase.HANDSHAKE

    @property
    def secured(self) -> ssl.SSLSocket:
        """Return the TLS socket; raises OSError if the connection is plain."""
        if not isinstance(self.sock, ssl.SSLSocket):
            raise ConnectionError("the connection has no TLS")
        return self.sock

    def continue_handshake(self) -> int:
        """Continue the TLS handshake.

        Returns:
            The event that it waits for, 0 once it is complete.

        """
        return _until_blocked(self.secured.do_handshake)

    def receive(self) -> int:
        """Read what has arrived, a bounded part at a time.

        Returns:
            EVENT_READ or EVENT_WRITE if there was nothing to read, else 0.

        Raises:
            OSError: The connection ended.

        """

        def take() -> None:
            more = self.sock.recv(READ_BYTES)
            if not more:
                raise ConnectionResetError("the client closed the connection")
            self.received += more

        return _until_blocked(take)

    def discard(self) -> None:
        """Read and drop some of what arrived; raises OSError at the end."""
        _until_blocked(self._discard_some)

    def send(self) -> int:
        """Send the output, a bounded part at a time.

        Returns:
            The event that it waits for, 0 once all is sent.

        Raises:
            OSError: The connection ended.

        """
        left = SEND_BATCH_BYTES
        while left > 0:
            if not self._sending:
                taken = self.output.take(OUTPUT_BATCH_BYTES) if self.output else b""
                self._sending = memoryview(taken)
            if not self._sending:
                return 0
            if event := _until_blocked(self._send_some, EVENT_WRITE):
                return event
            left -= TLS_RECORD_BYTES
        return EVENT_WRITE

    @property
    def output_size(self) -> int:
        """Return the bytes of the answer that wait, without those being sent."""
        return self.output.size if self.output else 0

    def end_sending(self) -> None:
        """Close our direction of the connection; raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        self.sock.setblocking(False)
        self.phase = Phase.LINGERING

    def close(self) -> None:
        """Close the connection, and stop a thread that still produces its answer."""
        self.phase = Phase.CLOSED
        self.cancel_timer()
        if self.output:
            self.output.close()
        self.received, self.body = bytearray(), b""
        self._sending = memoryview(b"")
        with suppress(OSError):
            self.sock.close()

    def _discard_some(self) -> None:
        dropped = len(self.sock.recv(READ_BYTES))
        self._to_discard -= dropped
        if not dropped or self._to_discard < 0:
            raise ConnectionResetError("the client sends too much, or has closed")

    def _send_some(self) -> None:
        # TLS demands that bytes that could not be sent are sent again unchanged.
        sent = self.sock.send(self._sending[:TLS_RECORD_BYTES])
        self._sending = self._sending[sent:]
        self.rate.advance(sent, time.monotonic())


def _until_blocked(act: Callable[[], object], plain: int = EVENT_READ) -> int:
    """Run *act*; return 0 if it completed, else the event to wait for.

    Without TLS that event is *plain*.
    """
    try:
        act()
    except BlockingIOError:
        return plain
    except ssl.SSLWantReadError:
        return EVENT_READ
    except ssl.SSLWantWriteError:
        return EVENT_WRITE
    return 0
