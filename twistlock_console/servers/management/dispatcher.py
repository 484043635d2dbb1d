"""Dispatch requests to the application's threads, and send their answers."""

import socket
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from io import BytesIO
from selectors import EVENT_READ
from typing import Protocol
from wsgiref.types import WSGIApplication

from gunicorn.config import Config

from twistlock_console.common.request_limits import SERVER_LOAD, ServerLoad
from twistlock_console.servers.management import limits
from twistlock_console.servers.management.client_bounds import (
    QueueLimits,
    TrustedProxies,
)
from twistlock_console.servers.management.connection import Connection, Phase
from twistlock_console.servers.management.connections import Connections
from twistlock_console.servers.management.event_loop import EventLoop
from twistlock_console.servers.management.exchange import Exchange, RunOutcome
from twistlock_console.servers.management.fixed_answers import (
    PingAnswer,
    error_answer,
    is_login,
)
from twistlock_console.servers.management.request import (
    PendingBody,
    RequestHead,
    body_from_socket,
)
from twistlock_console.servers.management.request_pool import PoolJob, RequestPool
from twistlock_console.servers.supervisor.fence import Fence

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_SLOW = "the request did not arrive within the time that the Console allows"
TOO_MANY = "too many requests wait for an answer; try again in a moment"
NOT_VALID = "the body of the request is not valid HTTP"
FAILED = "the Console could not answer this request; the reason is in its log"
RETRY_AFTER_S = 1
REQUEST_LIMITS = QueueLimits(
    limits.MAX_WAITING,
    limits.MAX_WAITING_PER_ADDRESS,
    limits.MAX_THREADS_PER_ADDRESS,
)
LOGIN_LIMITS = QueueLimits(
    limits.MAX_WAITING_LOGINS,
    limits.MAX_WAITING_PER_ADDRESS,
    limits.LOGIN_THREADS,
)
UPLOAD_LIMITS = QueueLimits(
    limits.MAX_WAITING_UPLOADS, limits.MAX_WAITING_UPLOADS, limits.UPLOAD_THREADS
)


@dataclass(frozen=True, slots=True)
class Site:
    """The application that is served, and what its server needs.

    *config* is gunicorn's, *checks* the server's end of the socket pair for checks.
    """

    app: WSGIApplication
    config: Config
    fence: Fence
    ping: PingAnswer
    proxies: TrustedProxies
    checks: socket.socket


class Receiver(Protocol):
    """Receives requests."""

    def receive_next(self, conn: Connection) -> object:
        """Receive the next request of *conn*, which was answered."""

    def receive_body(self, conn: Connection) -> object:
        """Receive the body that the application wants."""


class RequestDispatcher:
    """Answers the requests that *receiver* has received; for the main loop alone.

    While *stopping* (drain), a connection ends with its answer. *refused*, *timed_out*
    and *pings* count requests.
    """

    def __init__(
        self,
        site: Site,
        loop: EventLoop,
        connections: Connections,
        receiver: Receiver,
    ) -> None:
        self._site = site
        self._loop = loop
        self._connections = connections
        self._receiver = receiver
        self._requests = RequestPool(
            limits.THREADS, REQUEST_LIMITS, site.proxies, loop.wake
        )
        self._logins = RequestPool(
            limits.LOGIN_THREADS, LOGIN_LIMITS, site.proxies, loop.wake
        )
        self._uploads = RequestPool(
            limits.UPLOAD_THREADS, UPLOAD_LIMITS, site.proxies, loop.wake
        )
        self._pools = (self._requests, self._logins, self._uploads)
        self.stopping = False
        self.refused = self.timed_out = self.pings = 0

    def collect(self) -> None:
        """Continue with the requests whose threads have finished."""
        for pool in self._pools:
            pool.collect()

    @property
    def is_busy(self) -> bool:
        """Return whether a thread runs the application."""
        return any(pool.busy for pool in self._pools)

    def close(self) -> None:
        """Stop the threads; wait until they have finished their requests."""
        for pool in self._pools:
            pool.close()

    def load(self) -> ServerLoad:
        """Return how busy this server is."""
        return ServerLoad(
            threads=self._requests.threads,
            busy_threads=self._requests.busy,
            waiting_requests=self._requests.waiting,
            waiting_logins=self._logins.waiting,
            connections=len(self._connections),
            max_connections=self._connections.max_total,
            refused_connections=self._connections.refused,
            timed_out_requests=self.timed_out,
            refused_requests=self.refused,
            pings=self.pings,
        )

    def serve(self, conn: Connection, head: RequestHead) -> None:
        """Answer the request of *conn*, whose body has arrived if it is accepted."""
        arrived = head.is_small or conn.body_is_accepted
        closes = self.stopping or not arrived or head.request.should_close()
        if ping := self._site.ping.answer(head.method, head.path, close=closes):
            self.pings += 1
            self.answer(conn, ping, closes=closes)
            return
        if arrived:
            conn.body = bytes(conn.received[: head.length])
            del conn.received[: head.length]
        # A request that the application refuses by its head alone needs no body.
        body = BytesIO(conn.body) if arrived else PendingBody()
        exchange = self._exchange(conn, head, body, closes)
        if is_login(head.method, head.path):
            self._submit(conn, self._logins, exchange, limits.LOGIN_QUEUE_TIMEOUT_S)
        else:
            self._submit(conn, self._requests, exchange, limits.QUEUE_TIMEOUT_S)

    def answer(self, conn: Connection, answer: bytes, *, closes: bool = True) -> None:
        """Send the complete *answer* without the application."""
        conn.exchange, conn.closes = None, closes
        conn.phase = Phase.WORKING
        conn.new_output().sendall(answer)
        conn.answer_is_complete = True
        self._loop.watch(conn, 0)
        self.pump(conn)

    def refuse(self, conn: Connection, status: HTTPStatus, sentence: str) -> None:
        """Answer with *status* and *sentence*, and close."""
        path = conn.head.path if conn.head else ""
        retry = RETRY_AFTER_S if status is HTTPStatus.SERVICE_UNAVAILABLE else 0
        if status is HTTPStatus.REQUEST_TIMEOUT:
            self.timed_out += 1
        else:
            self.refused += 1
        self.answer(conn, error_answer(status, sentence, path, retry))

    def pump(self, conn: Connection) -> None:
        """Send the part of the answer that is ready; raises OSError."""
        if conn.socket_is_lent or conn.phase is not Phase.WORKING:
            return
        if not conn.events:
            conn.rate.restart(time.monotonic())
        event = conn.send()
        self._loop.watch(conn, event)
        if event:
            self._loop.set_deadline(conn, conn.rate.deadline)
        elif conn.answer_is_complete:
            self._finish(conn)
            return
        elif conn.exchange and not conn.job:
            self._loop.set_deadline(conn, 0.0)
        self._continue(conn)

    def time_out(self, conn: Connection) -> None:
        """Time out an answer that waited too long for a thread or for its client."""
        if conn.events:
            self.timed_out += 1
            self._connections.drop(conn)
        elif conn.job and not conn.job.started:
            conn.job.cancelled = True
            conn.job, conn.socket_is_lent = None, False
            self.refuse(conn, HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY)

    def abandon(self, conn: Connection) -> None:
        """Close the answer of the closed *conn* on a thread of the pool."""
        exchange, conn.exchange = conn.exchange, None
        if conn.job:
            # A thread that runs the job notices by itself; one in the queue is not run.
            conn.job.cancelled = True
        elif exchange and not conn.answer_is_complete:
            job = PoolJob(exchange.abandon, lambda _: None)
            self._requests.resume(conn.key, job)

    def _exchange(
        self, conn: Connection, head: RequestHead, body: object, closes: bool
    ) -> Exchange:
        extra = {"wsgi.input": body, SERVER_LOAD: self.load()}
        output = conn.new_output()
        exchange = Exchange(
            self._site.app, self._site.config, head, conn, output, extra
        )
        exchange.must_close = closes
        return exchange

    def _submit(
        self,
        conn: Connection,
        pool: RequestPool,
        exchange: Exchange,
        timeout_s: float,
    ) -> None:
        conn.phase, conn.exchange = Phase.WORKING, exchange
        conn.job = PoolJob(exchange.run, partial(self._on_run_ended, conn, exchange))
        self._loop.watch(conn, 0)
        self._loop.set_deadline(conn, time.monotonic() + timeout_s)
        self._connections.set_busy(conn)
        if not pool.offer(conn.key, conn.job):
            conn.job, conn.socket_is_lent = None, False
            self.refuse(conn, HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY)

    def _continue(self, conn: Connection) -> None:
        """Continue an answer on a thread, once enough of it was sent."""
        exchange = conn.exchange
        if not exchange or conn.job or conn.answer_is_complete:
            return
        if conn.output_size <= limits.OUTPUT_LOW_BYTES:
            conn.job = PoolJob(
                exchange.run, partial(self._on_run_ended, conn, exchange)
            )
            self._requests.resume(conn.key, conn.job)

    def _on_run_ended(
        self, conn: Connection, exchange: Exchange, outcome: object
    ) -> None:
        conn.job, conn.socket_is_lent = None, False
        if conn.phase is Phase.CLOSED:
            if outcome is RunOutcome.CONTINUES:
                conn.exchange = exchange
                self.abandon(conn)
            return
        try:
            self._handle_outcome(conn, exchange, outcome)
        except OSError:
            self._connections.drop(conn)

    def _handle_outcome(
        self, conn: Connection, exchange: Exchange, outcome: object
    ) -> None:
        match outcome:
            case RunOutcome.COMPLETE:
                conn.answer_is_complete = True
                conn.closes = exchange.closes_connection
                self.pump(conn)
            case RunOutcome.CONTINUES:
                self.pump(conn)
            case RunOutcome.BODY_REQUIRED:
                self._accept_body(conn)
            case _ if exchange.has_begun:
                self._connections.drop(conn)
            case RunOutcome.BODY_TOO_SLOW:
                self.refuse(conn, HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW)
            case RunOutcome.BODY_NOT_VALID:
                self.refuse(conn, HTTPStatus.BAD_REQUEST, NOT_VALID)
            case _:
                self.refuse(conn, HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)

    def _accept_body(self, conn: Connection) -> None:
        """Receive a body, of any size, that the application reads."""
        head = conn.head
        if head is None or conn.body_is_accepted:
            raise ConnectionAbortedError(
                "the application read past the end of the body"
            )
        conn.body_is_accepted = True
        if head.waits_to_send:
            conn.sock.send(CONTINUE)
        if not head.is_chunked and head.length <= limits.MAX_GATHERED_BODY_BYTES:
            self._receiver.receive_body(conn)
            return
        received = bytes(conn.received)
        conn.received.clear()
        body = body_from_socket(head, received, conn.secured)
        conn.socket_is_lent = True
        exchange = self._exchange(conn, head, body, True)
        self._submit(conn, self._uploads, exchange, limits.QUEUE_TIMEOUT_S)

    def _finish(self, conn: Connection) -> None:
        conn.exchange = conn.output = conn.head = None
        conn.body, conn.body_is_accepted = b"", False
        if self.stopping:
            self._connections.drop(conn)
            return
        self._connections.count_memory(conn)
        self._connections.set_idle(conn)
        if not conn.closes:
            self._receiver.receive_next(conn)
            return
        conn.end_sending()
        self._loop.watch(conn, EVENT_READ)
        deadline = time.monotonic() + limits.LINGER_TIMEOUT_S
        self._loop.set_deadline(conn, deadline)
