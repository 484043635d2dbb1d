"""The body of a request, as the application reads it."""

import select
import ssl
import time
from typing import Any, NoReturn

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import Unreader

from twistlock_console.servers.management import limits
from twistlock_console.servers.management.minimum_rate import MinimumRate
from twistlock_console.servers.management.request_head import RequestHead

READ_BYTES = 8192
MAX_READ_BYTES = 256 * 1024


class BodyRequired(BaseException):
    """The application reads a body that was not received yet.

    No Exception, since only the server can handle it.
    """


class BodyTooSlow(BaseException):
    """A body that is read while the request runs arrives too slowly.

    No Exception, since only the server can answer it.
    """


class BodyToCome:
    """Stands for a body that was not received yet: reading it raises BodyRequired.

    So the application can refuse a request by its head alone.
    """

    def read(self, _size: int = -1) -> NoReturn:
        """Raise BodyRequired."""
        raise BodyRequired

    readline = readlines = read

    def __iter__(self) -> NoReturn:
        raise BodyRequired


def body_from_socket(head: RequestHead, received: bytes, sock: ssl.SSLSocket) -> Body:
    """Return a body that is read from *sock* while the request runs.

    Args:
        head: The request's head.
        received: What of the body has arrived.
        sock: The client's socket, which does not block; nobody else uses it meanwhile.

    """
    source = _SocketSource(sock)
    source.unread(received)
    if head.is_chunked:
        return Body(ChunkedReader(head.request, source))
    return Body(LengthReader(source, head.length))


class _SocketSource(Unreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads from a socket as long as the client keeps up the rate."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__()
        self._sock = sock
        self._rate = MinimumRate(
            limits.MIN_RECEIVE_RATE_BPS, limits.UPLOAD_PATIENCE_S, time.monotonic()
        )

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes, none at the end; raises BodyTooSlow."""
        size = min(max(READ_BYTES, size_hint or 0), MAX_READ_BYTES)
        while True:
            try:
                received: bytes = self._sock.recv(size)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            else:
                self._rate.advance(len(received), time.monotonic())
                return received

    def _wait(self, event: int) -> None:
        poll: Any = select.poll()
        poll.register(self._sock.fileno(), event)
        left = self._rate.deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise BodyTooSlow
