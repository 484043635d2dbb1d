"""A gunicorn worker whose main loop receives requests and sends answers.

Threads only run the application, on requests that have arrived completely, until
enough of the answer waits to be sent. So slow, silent and greedy clients hold no
thread; the load balancer's `_ping` and the node's check need none.
"""

import os
import resource
import time
from functools import partial
from typing import Any
from wsgiref.types import WSGIEnvironment
from wsgiref.util import setup_testing_defaults

from gunicorn.workers.base import Worker

from twistlock_console.servers.management import limits
from twistlock_console.servers.management.dispatcher import Site
from twistlock_console.servers.management.http_server import HttpServer
from twistlock_console.servers.management.port_routing import INITIALIZED
from twistlock_console.servers.supervisor.check_channel import CheckResponder

TURN_S = 1.0
#: File descriptors that are not for connections: the database's, logs, listeners.
OTHER_DESCRIPTORS = 256


class ManagementWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves *site*, which is set after the fork."""

    site: Site

    _server: HttpServer | None = None

    def run(self) -> None:
        """Serve until told to stop; then until what is in work is answered."""
        server = self._server = HttpServer(self.site, _connection_limit())
        checks = CheckResponder(self.site.checks, self._probe, server.dispatcher.load)
        server.loop.call_on_read(checks.fileno(), checks.on_readable)
        for listener in self.sockets:
            listener.setblocking(False)
            accept = partial(server.connections.accept, listener.sock)
            server.loop.call_on_read(listener.fileno(), accept)
        while self.alive and self.ppid == os.getppid():
            self._turn(server)
        self._drain(server)

    def handle_exit(self, _signal: int, _frame: Any) -> None:
        """Begin to stop."""
        self.alive = False
        if self._server:
            self._server.loop.wake()

    def _turn(self, server: HttpServer) -> None:
        self.notify()
        server.run_once(TURN_S)

    def _drain(self, server: HttpServer) -> None:
        """Refuse new connections; they go to this server's successor."""
        for listener in self.sockets:
            server.loop.forget(listener.fileno())
            listener.close()
        server.stop()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while len(server.connections) and time.monotonic() < deadline:
            self._turn(server)

    def _probe(self) -> str:
        """Ask for what needs the database, as a client would."""
        status = ""

        def start(given: str, *_: object) -> None:
            nonlocal status
            status = given

        environ: WSGIEnvironment = {"PATH_INFO": INITIALIZED}
        setup_testing_defaults(environ)
        for _ in self.site.app(environ, start):  # type: ignore[arg-type]
            pass
        return f"its database does not answer ({status})" if status >= "500" else ""


def _connection_limit() -> int:
    """Allow this process as many descriptors as there are; say how many to accept."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.MAX_CONNECTIONS + OTHER_DESCRIPTORS
    if soft < wanted:
        soft = min(hard, wanted) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(min(limits.MAX_CONNECTIONS, soft - OTHER_DESCRIPTORS), 1)
