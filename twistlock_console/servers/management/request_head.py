"""The head of a request, parsed by gunicorn's parser from the bytes that arrived.

Where its body ends is decided here, once: the application is given exactly the body
that the main loop received.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from twistlock_console.common.request_limits import MAX_OPEN_BODY_BYTES, NEEDS_LENGTH
from twistlock_console.servers.management.limits import MAX_HEAD_BYTES

END_OF_HEAD = b"\r\n\r\n"
CREDENTIALS = frozenset({"AUTHORIZATION", "COOKIE"})
TOO_LARGE = (
    f"the request is larger than {MAX_OPEN_BODY_BYTES} bytes; more is accepted only "
    "from an account that is logged in"
)
HEAD_TOO_LARGE = f"the head of the request is larger than {MAX_HEAD_BYTES} bytes"


class BadRequest(Exception):
    """A request that is answered with *status* and a sentence, and not read further."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What is known of a request once its head has arrived.

    *request* is gunicorn's, *size* the number of bytes of the head, *length* that of
    the body; *is_chunked* if the length is unknown. *waits_to_send* if the client
    sends the body once it was told to continue.
    """

    request: Any
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
        """Return the method."""
        return str(self.request.method)

    @property
    def is_small(self) -> bool:
        """Say whether anyone may send a body like this."""
        return not self.is_chunked and self.length <= MAX_OPEN_BODY_BYTES

    def check_body(self) -> None:
        """Raise BadRequest for a body that needs an account, if none is named."""
        if self.is_small:
            return
        if any(name in CREDENTIALS for name, _ in self.request.headers):
            return
        if self.is_chunked:
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED, NEEDS_LENGTH)
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)


def parse_head(
    config: Any, received: bytearray, peer: tuple[Any, ...]
) -> RequestHead | None:
    """Return the head that *received* begins with; None while it is incomplete.

    Args:
        config: gunicorn's configuration, with its limits.
        received: What the client has sent since the last request.
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
            return BadRequest(status, "the only Expect that is known is 100-continue")
        case UnsupportedTransferCoding():
            status = HTTPStatus.NOT_IMPLEMENTED
            return BadRequest(status, "the only Transfer-Encoding known is chunked")
        case _:
            return BadRequest(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP")
