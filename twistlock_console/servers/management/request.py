"""Parse the head of a request, and provide its body to the application.

gunicorn's parser reads the head from the bytes that arrived. The end of the body is
decided here, once: the application gets exactly the body that the main loop received.
"""

import select
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

from gunicorn.config import Config
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader, Unreader

from twistlock_console.common.request_limits import MAX_OPEN_BODY_BYTES, NEEDS_LENGTH
from twistlock_console.servers.management import limits
from twistlock_console.servers.management.client_bounds import MinimumRate
from twistlock_console.servers.management.limits import MAX_HEAD_BYTES

#: An address and its port; of IPv6 with flow and scope, too.
SocketAddress = tuple[str, *tuple[int, ...]]
END_OF_HEAD = b"\r\n\r\n"
CREDENTIALS = frozenset({"AUTHORIZATION", "COOKIE"})
TOO_LARGE = (
    f"the request is larger than {MAX_OPEN_BODY_BYTES} bytes; more is accepted only "
    "from an account that is logged in"
)
HEAD_TOO_LARGE = f"the head of the request is larger than {MAX_HEAD_BYTES} bytes"
READ_BYTES = 8192
MAX_READ_BYTES = 256 * 1024


class BadRequest(Exception):
    """The request is refused with *status* and a sentence, and not read further."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request.

    *request* is gunicorn's, *size* the number of bytes of the head, *length* that of
    the body; *is_chunked* if the length is unknown. *waits_to_send* if the client
    sends the body only after "100 Continue".
    """

    request: Request
    size: int
    length: int
    is_chunked: bool
    waits_to_send: bool

    @property
    def path(self) -> str:
        """Return the path as it was sent, without the query."""
        return str(self.request.path)

    @property
    def method(self) -> str:
        """Return the HTTP method, in capitals."""
        return str(self.request.method)

    @property
    def is_small(self) -> bool:
        """Return whether a body like this needs no account."""
        return not self.is_chunked and self.length <= MAX_OPEN_BODY_BYTES

    def check_body(self) -> None:
        """Raise BadRequest if the body needs an account and none was named."""
        if self.is_small:
            return
        if any(name in CREDENTIALS for name, _ in self.request.headers):
            return
        if self.is_chunked:
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED, NEEDS_LENGTH)
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)


def parse_head(
    config: Config, received: bytearray, peer: SocketAddress
) -> RequestHead | None:
    """Return the head that *received* begins with; None while it is incomplete.

    Args:
        config: gunicorn's configuration, with its limits.
        received: The bytes that the client has sent since the last request.
        peer: The client's address and port.

    Raises:
        BadRequest: The head is too large, or not valid HTTP.

    """
    end = received.find(END_OF_HEAD)
    if (end if end >= 0 else len(received)) > MAX_HEAD_BYTES:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LARGE)
    if end < 0:
        return None
    size = end + len(END_OF_HEAD)
    try:
        request = Request(config, IterUnreader([bytes(received[:size])]), peer)
    except (ParseException, OSError, StopIteration) as error:
        raise _refusal(error) from error
    reader = request.body.reader
    return RequestHead(
        request,
        size,
        reader.length if isinstance(reader, LengthReader) else 0,
        isinstance(reader, ChunkedReader),
        bool(request._expected_100_continue),
    )


def _refusal(error: Exception) -> BadRequest:
    match error:
        case LimitRequestLine():
            status = HTTPStatus.REQUEST_URI_TOO_LONG
            return BadRequest(status, "the address of the request is too long")
        case LimitRequestHeaders():
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            return BadRequest(status, "the headers of the request are too large")
        case ExpectationFailed():
            status = HTTPStatus.EXPECTATION_FAILED
            return BadRequest(status, "the only supported Expect is 100-continue")
        case UnsupportedTransferCoding():
            status = HTTPStatus.NOT_IMPLEMENTED
            return BadRequest(status, "the only supported Transfer-Encoding is chunked")
        case _:
            return BadRequest(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP")


class BodyRequired(BaseException):
    """Raised when the application reads a body that was not received yet.

    No Exception, since only the server can handle it.
    """


class BodyTooSlow(BaseException):
    """Raised when a body that is read while the request runs arrives too slowly.

    No Exception, since only the server can answer it.
    """


class BodyNotValid(BaseException):
    """Raised when a chunked body is not valid HTTP, or ends in the middle.

    No Exception, since only the server can answer it.
    """


class PendingBody:
    """A body that was not received yet; reading it raises BodyRequired.

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
        received: The part of the body that has arrived.
        sock: The client's socket, which does not block; nothing else uses it meanwhile.

    """
    source = _SocketSource(sock)
    source.unread(received)
    if head.is_chunked:
        return Body(_CheckedReader(head.request, source))
    return Body(LengthReader(source, head.length))


class _CheckedReader(ChunkedReader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a chunked body; turns gunicorn's errors into BodyNotValid."""

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes; raises BodyNotValid."""
        try:
            read: bytes = super().read(size)
        except (ParseException, OSError) as error:
            raise BodyNotValid from error
        return read


class _SocketSource(Unreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads from a socket while the client keeps up the minimum rate."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__()
        self._sock = sock
        self._rate = MinimumRate(
            limits.MIN_RECEIVE_RATE_BPS, limits.UPLOAD_STALL_TIMEOUT_S, time.monotonic()
        )

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes, b"" at the end; raises BodyTooSlow."""
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
        poll = select.poll()
        poll.register(self._sock.fileno(), event)
        left = self._rate.deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise BodyTooSlow
