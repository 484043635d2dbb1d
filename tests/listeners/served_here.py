"""The management server's main loop on a thread of the test, for short time limits."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from gunicorn.config import Config

from tests.listeners import small_app
from twistlock_console.pki.tls import server_context
from twistlock_console.servers.management.client_bounds import TrustedProxies
from twistlock_console.servers.management.dispatcher import Site
from twistlock_console.servers.management.fixed_answers import PingAnswer
from twistlock_console.servers.management.http_server import HttpServer
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.settings import parsers


class OpenFence:
    """A fence that always holds."""

    def check(self) -> None:
        """Return."""


def make_site(certificates: Path, proxies: str = "") -> Site:
    """Serve the small application; *proxies* are trusted."""
    tls = server_context(certificates, client=None)
    config: Any = Config()
    config.set("ssl_context", lambda _config, _default: tls)
    config.set("certfile", str(certificates / "node.pem"))
    return Site(
        small_app.answer,
        config,
        cast(Fence, OpenFence()),
        PingAnswer(small_app.answer),
        TrustedProxies(parsers.networks(proxies)),
        None,
    )


class ServedHere:
    """A server on a loopback port, and its main loop on a thread."""

    def __init__(self, site: Site, max_connections: int) -> None:
        self.server = HttpServer(site, max_connections)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        accept = partial(self.server.connections.accept, self._listener)
        self.server.loop.call_on_read(self._listener.fileno(), accept)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.server.run_once(1.0)
        self.server.stop()
        self.server.connections.drop_all()
        while self.server.dispatcher.is_busy:
            self.server.run_once(1.0)
        self.server.dispatcher.close()

    def stop(self) -> None:
        """End the main loop and close everything."""
        self._ended.set()
        self.server.loop.wake()
        self._thread.join()
        # Not by the thread, which may be done before it is woken: the number of the
        # descriptor could belong to another file by then, and that would be written to.
        self.server.loop.close()
        self._listener.close()


@contextmanager
def served(
    certificates: Path, *, proxies: str = "", max_connections: int = 1000
) -> Iterator[ServedHere]:
    """Serve the small application as long as the context lasts.

    What asked for `HELD` is answered at the end.
    """
    small_app.released.clear()
    here = ServedHere(make_site(certificates, proxies), max_connections)
    try:
        yield here
    finally:
        small_app.released.set()
        here.stop()
