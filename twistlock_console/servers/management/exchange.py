"""One request and its answer, run by the threads of the pool in pieces.

A thread runs the application until the answer is complete, or as much of it is
waiting to be sent as the output may hold. Then it is free for other requests; the
main loop sends, and has the answer continued when there is room again. So a client
that reads slowly holds no thread.
"""

import contextvars
import enum
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol
from wsgiref.types import WSGIApplication

from gunicorn.http.wsgi import Response, create

from twistlock_console.servers.management.limits import OUTPUT_HIGH_BYTES
from twistlock_console.servers.management.output_buffer import OutputBuffer
from twistlock_console.servers.management.request_body import BodyRequired, BodyTooSlow
from twistlock_console.servers.management.request_head import RequestHead

#: After so long what an answer has so far is sent, however little it is.
FLUSH_AFTER_S = 0.05
log = logging.getLogger(__name__)


class RunOutcome(enum.Enum):
    """What became of one run of an exchange."""

    COMPLETE = "complete"
    CONTINUES = "continues"
    BODY_REQUIRED = "body required"
    BODY_TOO_SLOW = "body too slow"
    FAILED = "failed"


class ConnectionEnds(Protocol):
    """The two ends of a connection, as the application is told of them."""

    peer: tuple[Any, ...]
    server: tuple[Any, ...]


class Exchange:
    """The answer of *app* to the request with *head*; any thread, one at a time.

    Args:
        app: The application.
        config: gunicorn's configuration.
        head: The request.
        client: Whom it is from.
        output: Where the answer goes.
        extra: What the environment of the request holds besides, the body above all.

    """

    def __init__(
        self,
        app: WSGIApplication,
        config: Any,
        head: RequestHead,
        client: ConnectionEnds,
        output: OutputBuffer,
        extra: dict[str, object],
    ) -> None:
        self._app = app
        self._config = config
        self._head = head
        self._client = client
        self._extra = extra
        self.output = output
        # An answer is continued by other threads: they see the same context.
        self._context = contextvars.copy_context()
        self._response: Any = None
        self._answer: Iterable[bytes] = ()
        self._pieces: Iterator[bytes] | None = None
        self.must_close = False

    @property
    def has_begun(self) -> bool:
        """Say whether a part of the answer was given to the output."""
        return self._response is not None and self._response.headers_sent

    @property
    def closes_connection(self) -> bool:
        """Say whether the connection ends with this answer, as the client was told."""
        return self.must_close or bool(self._response.should_close())

    def run(self) -> RunOutcome:
        """Make the answer, or go on with it, until it is complete or enough waits."""
        try:
            return self._context.run(self._run)
        except BodyRequired:
            return RunOutcome.BODY_REQUIRED
        except BodyTooSlow:
            return RunOutcome.BODY_TOO_SLOW
        except ConnectionAbortedError:
            self.abandon()
            return RunOutcome.FAILED
        except Exception:
            request = self._head.request
            log.exception("%s %s failed", request.method, request.path)
            self.abandon()
            return RunOutcome.FAILED

    def abandon(self) -> None:
        """Tell the application that nobody takes the rest of its answer."""
        answer, self._answer, self._pieces = self._answer, (), iter(())
        with suppress(Exception):
            self._context.run(_close, answer)

    def _run(self) -> RunOutcome:
        if self._pieces is None:
            self._begin()
        pieces, response = self._pieces or iter(()), self._response
        flush_at = time.monotonic() + FLUSH_AFTER_S
        while self.output.size < OUTPUT_HIGH_BYTES:
            piece = next(pieces, None)
            if piece is None:
                response.close()
                answer, self._answer = self._answer, ()
                _close(answer)
                return RunOutcome.COMPLETE
            response.write(piece)
            if time.monotonic() > flush_at:
                self.output.flush()
        return RunOutcome.CONTINUES

    def _begin(self) -> None:
        request = self._head.request
        # The main loop has sent it, where it was asked for.
        request._expected_100_continue = False
        response, environ = create(
            request,
            self.output,
            self._client.peer,
            self._client.server,
            self._config,
            response_class=Response,
        )
        self._response = response
        environ["wsgi.multithread"] = True
        environ.update(self._extra)
        if self.must_close:
            response.force_close()
        self._answer = self._app(environ, response.start_response)
        self._pieces = iter(self._answer)


def _close(answer: Iterable[bytes]) -> None:
    if close := getattr(answer, "close", None):
        close()
