"""One client's connection, as the main loop sees it: nothing here waits."""

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
TAKE_BYTES = 64 * 1024
#: What is sent to one client before others have their turn.
SEND_AT_ONCE_BYTES = 256 * 1024
#: From <linux/tcp.h>: what the kernel may hold that was not sent yet.
TCP_NOTSENT_LOWAT = 25
UNSENT_BYTES = 128 * 1024


class Phase(enum.Enum):
    """What a connection is waiting for."""

    FIRST_BYTE = "first byte"
    PLAIN = "plain HTTP"
    HANDSHAKE = "handshake"
    RECEIVING = "request"
    WORKING = "answer"
    LINGERING = "end"
    CLOSED = "closed"


@dataclass(order=True, slots=True)
class Timer:
    """When a connection's deadline is looked at; None for one that was cancelled."""

    at: float
    number: int
    connection: "Connection | None" = field(compare=False)


class Connection:
    """The socket of one client, what arrived on it, and what is to be sent.

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
        self.rate = MinimumRate(limits.MIN_SEND_RATE_BPS, limits.SEND_PATIENCE_S, 0.0)
        self._sending = memoryview(b"")
        self._to_discard = limits.MAX_LINGER_BYTES

    def new_output(self) -> OutputBuffer:
        """Begin with an empty output, for the next answer."""
        self.output = OutputBuffer(lambda: self._on_output(self))
        self.answer_is_complete = False
        return self.output

    def cancel_timer(self) -> None:
        """Keep the timer that runs from firing, and from keeping this object."""
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
        """Return the first byte without taking it; none at the end."""
        return self.sock.recv(1, socket.MSG_PEEK)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Begin the handshake; raises OSError."""
        self.sock = context.wrap_socket(
            self.sock, server_side=True, do_handshake_on_connect=False
        )
        self.phase = Phase.HANDSHAKE

    @property
    def secured(self) -> ssl.SSLSocket:
        """Return the socket, which has TLS; raises OSError if it has none."""
        if not isinstance(self.sock, ssl.SSLSocket):
            raise ConnectionError("the connection has no TLS")
        return self.sock

    def shake_hands(self) -> int:
        """Go on with the handshake.

        Returns:
            The event that it waits for, 0 once it is complete.

        """
        return _until_blocked(self.secured.do_handshake)

    def receive(self) -> int:
        """Take what has arrived, a bounded part at a time.

        Returns:
            EVENT_READ or EVENT_WRITE if there was nothing to take, else 0.

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
        """Take some of what arrived and drop it; raises OSError at the end."""
        _until_blocked(self._discard_some)

    def send(self) -> int:
        """Send what there is, a bounded part at a time.

        Returns:
            The event that it waits for, 0 once all is sent.

        Raises:
            OSError: The connection ended.

        """
        left = SEND_AT_ONCE_BYTES
        while left > 0:
            if not self._sending:
                taken = self.output.take(TAKE_BYTES) if self.output else b""
                self._sending = memoryview(taken)
            if not self._sending:
                return 0
            if event := _until_blocked(self._send_some, EVENT_WRITE):
                return event
            left -= TLS_RECORD_BYTES
        return EVENT_WRITE

    @property
    def output_size(self) -> int:
        """Return how much of the answer waits, what is being sent left out."""
        return self.output.size if self.output else 0

    def end_sending(self) -> None:
        """Say that no more will come; raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        self.sock.setblocking(False)
        self.phase = Phase.LINGERING

    def close(self) -> None:
        """Close, and have a thread that still makes an answer stop."""
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
            raise ConnectionResetError("the client does not stop, or has closed")

    def _send_some(self) -> None:
        # What could not be sent is sent again as the same piece, as TLS demands.
        sent = self.sock.send(self._sending[:TLS_RECORD_BYTES])
        self._sending = self._sending[sent:]
        self.rate.advance(sent, time.monotonic())


def _until_blocked(act: Callable[[], object], plain: int = EVENT_READ) -> int:
    """Return 0 if *act* was done, else the event for which it has to wait.

    Without TLS that is *plain*.
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
