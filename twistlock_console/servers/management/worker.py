"""A gunicorn worker that gives a thread only to requests whose head has arrived.

gunicorn's own threaded worker waits for the handshake and the headers on a thread of
its pool, without a limit in time: as many silent clients as there are threads stop it.
It also waits for a closing client in its main loop. Here the main loop collects both
without waiting, and drops what is too slow or too large.
"""

import errno
import os
import re
import selectors
import socket
import ssl
import time
from functools import partial
from typing import Any
from wsgiref.util import setup_testing_defaults

from gunicorn import http, sock, util
from gunicorn.workers.gthread import TConn, ThreadWorker

from twistlock_console.servers.management.port_routing import INITIALIZED
from twistlock_console.servers.supervisor.check_channel import (
    CheckResponder,
    ServerLoad,
)

ARRIVAL_SECONDS = 10.0
LINGER_SECONDS = 2.0
STALL_SECONDS = 15.0
LARGEST_ARRIVAL = 128 * 1024
LARGEST_GATHERED_BODY = 64 * 1024
NOT_YET = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)
TRY_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})\r\n", re.IGNORECASE)


class Arrival(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection whose next request is still on its way."""

    worker: "PatientWorker"
    initialized: bool
    lingering = False

    def gather(self) -> None:
        """Take what has come; raises one of NOT_YET until a request is complete."""
        if self.lingering:
            while self.sock.recv(16384):
                pass
            raise ConnectionResetError
        if not self.initialized:
            self.sock.do_handshake()
            self.parser = http.get_parser(self.cfg, self.sock, self.client)
            self.initialized = self.data_ready = True
        received = self.parser.unreader.buf
        while not is_complete(received.getvalue()):
            if received.seek(0, os.SEEK_END) > LARGEST_ARRIVAL:
                raise ConnectionAbortedError
            more = self.sock.recv(16384)
            if not more:
                raise ConnectionResetError
            received.write(more)

    def init(self) -> None:
        """Limit, on the request's thread, how long a body may stall."""
        self.sock.settimeout(STALL_SECONDS)

    def close(self, graceful: bool = False) -> None:
        """Close; gracefully means that the client has time to read the answer."""
        if graceful and self.worker.alive:
            self.worker.linger(self)
        else:
            util.close(self.sock)


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Collects requests in its main loop and answers them on threads.

    *checks* is set after the fork: the socket on which the node checks this server.
    """

    checks: socket.socket

    def run(self) -> None:
        """Answer the node's checks and the clients' requests until told to stop."""
        responder = CheckResponder(self.checks, self._probe, self._load)
        reading = selectors.EVENT_READ
        self.poller.register(responder.fileno(), reading, responder.on_readable)
        super().run()

    def _probe(self) -> str:
        """Ask for what needs the database, as a client would; on a thread."""
        status = ""

        def start(given: str, *_: object) -> None:
            nonlocal status
            status = given

        environ: dict[str, Any] = {"PATH_INFO": INITIALIZED}
        setup_testing_defaults(environ)
        for _ in self.wsgi(environ, start):
            pass
        return f"its database does not answer ({status})" if status >= "500" else ""

    def _load(self) -> ServerLoad:
        waiting = self.tpool._work_queue.qsize()
        return ServerLoad(
            threads=self.cfg.threads,
            busy_threads=min(self.cfg.threads, waiting and self.cfg.threads),
            waiting_requests=waiting,
            connections=self.nr_conns,
            max_connections=self.worker_connections,
        )

    def accept(self, listener: Any) -> None:
        """Take a new connection, and begin to wait for its request."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                self.log.warning("too many open files: connections have to wait")
                time.sleep(0.05)
            elif error.errno not in TRY_AGAIN:
                raise
            return
        self.nr_conns += 1
        conn = Arrival(self.cfg, client, address, listener.getsockname())
        conn.worker = self
        try:
            conn.sock = sock.ssl_wrap_socket(client, self.cfg)
        except OSError:
            self._drop(conn)
        else:
            self.enqueue_req(conn)

    def enqueue_req(self, conn: Arrival) -> None:
        """Give the request to a thread if it is complete, else wait for the rest."""
        if self._has_arrived(conn):
            super().enqueue_req(conn)
        elif conn.sock.fileno() >= 0:
            self._await(conn, ARRIVAL_SECONDS)

    def linger(self, conn: Arrival) -> None:
        """Say that no more will come, and give the client time to read the answer."""
        self.nr_conns += 1
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._drop(conn)
        else:
            conn.lingering = True
            self._await(conn, LINGER_SECONDS)

    def finish_request(self, conn: Arrival, outcome: Any) -> None:
        """Keep the connection for its next request, or close it."""
        super().finish_request(conn, outcome)
        if not self.alive:
            self.murder_keepalived(force=True)

    def on_pending_socket_readable(self, conn: Arrival, client: Any) -> None:
        """Take what an awaited connection has sent."""
        if self._has_arrived(conn):
            self._forget(conn)
            super().enqueue_req(conn)

    def _has_arrived(self, conn: Arrival) -> bool:
        try:
            conn.sock.setblocking(False)
            conn.gather()
        except NOT_YET:
            return False
        except OSError as error:
            self.log.debug("dropped a connection: %s", error)
            self._drop(conn)
            return False
        return True

    def _await(self, conn: Arrival, seconds: float) -> None:
        conn.timeout = time.monotonic() + seconds
        self.pending_conns.append(conn)
        resume = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, resume)

    def _forget(self, conn: Arrival) -> None:
        if conn in self.pending_conns:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)

    def _drop(self, conn: Arrival) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        util.close(conn.sock)

    def _cap_keepalive(self, deadline: float) -> None:
        # gunicorn calls this when it begins to stop. The server has a successor: new
        # connections are refused, and idle ones may go there, at once.
        for listener in self.sockets:
            listener.close()
        self.murder_keepalived(force=True)
        for conn in list(self.pending_conns):
            self._drop(conn)


def is_complete(received: bytes) -> bool:
    """Say whether *received* holds a request's head, and its body if that is small.

    A form is gathered whole, so that a stranger's slow one holds no thread.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(received, 0, end + 2)
    wanted = int(length[1]) if length else 0
    if wanted > LARGEST_GATHERED_BODY:
        return True
    return len(received) >= end + 4 + wanted
