"""One request and its answer, run by the threads of the pool in pieces.

A thread runs the application until the answer is complete, or the output buffer is
full (backpressure). Then it is free for other requests; the main loop sends, and
continues the answer on a thread when the buffer has drained. So a client that reads
slowly holds no thread.
"""

import contextvars
import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol
from wsgiref.types import WSGIApplication

from gunicorn.config import Config
from gunicorn.http.wsgi import Response, create

from twistlock_console.servers.management.limits import OUTPUT_HIGH_BYTES
from twistlock_console.servers.management.request import (
    BodyNotValid,
    BodyRequired,
    BodyTooSlow,
    RequestHead,
    SocketAddress,
)

#: The part of an answer that is ready is sent after this time, however small it is.
FLUSH_INTERVAL_S = 0.05
log = logging.getLogger(__name__)


class OutputBuffer:
    """The bytes to send to a client; gunicorn's Response uses it as a socket.

    A thread of the pool adds, the main loop takes. *on_data* is called, on the adding
    thread, whenever ``flush`` finds something to send.
    """

    def __init__(self, on_data: Callable[[], object] = lambda: None) -> None:
        self._on_data = on_data
        self._pieces: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self.size = 0

    def sendall(self, data: bytes) -> None:
        """Add *data*; raises ConnectionAbortedError once the client has left."""
        if self._closed:
            raise ConnectionAbortedError("the client closed the connection")
        with self._lock:
            self._pieces.append(data)
            self.size += len(data)

    send = sendall

    def flush(self) -> None:
        """Wake the main loop if there is something to send."""
        if self.size:
            self._on_data()

    def take(self, most: int) -> bytes:
        """Return up to *most* bytes or the first piece, whichever is more."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._pieces and (not size or size + len(self._pieces[0]) <= most):
                taken.append(self._pieces.popleft())
                size += len(taken[-1])
            self.size -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        """Drop the bytes that wait, and refuse more."""
        self._closed = True
        with self._lock:
            self._pieces.clear()
            self.size = 0


class RunOutcome(enum.Enum):
    """The outcome of one run of an exchange."""

    COMPLETE = "complete"
    CONTINUES = "continues"
    BODY_REQUIRED = "body required"
    BODY_TOO_SLOW = "body too slow"
    BODY_NOT_VALID = "body not valid"
    FAILED = "failed"


class ConnectionEnds(Protocol):
    """The two ends of a connection, as the application sees them."""

    peer: SocketAddress
    server: SocketAddress


class Exchange:
    """Produces the answer of *app* to one request; any thread, one at a time.

    Args:
        app: The application.
        config: gunicorn's configuration.
        head: The request.
        client: The two addresses of its connection.
        output: Takes the answer.
        extra: More entries of the WSGI environment, among them the body.

    """

    def __init__(
        self,
        app: WSGIApplication,
        config: Config,
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
        self._response: Response | None = None
        self._answer: Iterable[bytes] = ()
        self._pieces: Iterator[bytes] | None = None
        self.must_close = False

    @property
    def has_begun(self) -> bool:
        """Return whether the head of the answer was given to the output."""
        return self._response is not None and bool(self._response.headers_sent)

    @property
    def closes_connection(self) -> bool:
        """Return whether the connection ends with this answer, as its head says."""
        response = self._response
        return self.must_close or response is None or bool(response.should_close())

    def run(self) -> RunOutcome:
        """Produce the answer until it is complete or the output buffer is full."""
        try:
            return self._context.run(self._run)
        except BodyRequired:
            return RunOutcome.BODY_REQUIRED
        except BodyTooSlow:
            return RunOutcome.BODY_TOO_SLOW
        except BodyNotValid:
            return RunOutcome.BODY_NOT_VALID
        except ConnectionAbortedError:
            self.abandon()
            return RunOutcome.FAILED
        except Exception:
            request = self._head.request
            log.exception("%s %s failed", request.method, request.path)
            self.abandon()
            return RunOutcome.FAILED

    def abandon(self) -> None:
        """Close the answer of the application, since its client has left."""
        answer, self._answer, self._pieces = self._answer, (), iter(())
        with suppress(Exception):
            self._context.run(_close, answer)

    def _run(self) -> RunOutcome:
        if self._pieces is None:
            self._begin()
        pieces, response = self._pieces or iter(()), self._response
        if response is None:
            raise AssertionError("it has begun")
        flush_at = time.monotonic() + FLUSH_INTERVAL_S
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
