"""The management server: gunicorn with TLS, on the API's port and the pages' port.

The main loop of its worker receives requests and sends answers. Threads only run the
application, on requests that have arrived completely, until enough of the answer waits
to be sent. So slow, silent and greedy clients hold no thread; the load balancer's
`_ping` and the node's check need none. On SIGTERM it drains its connections.
"""

import gc
import os
import pkgutil
import resource
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from wsgiref.types import WSGIApplication, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ListenerError
from twistlock_console.database.client import reload_certificate
from twistlock_console.pki.identity_files import NODE, NODE_KEY
from twistlock_console.pki.tls import ReloadingTlsContext, server_context
from twistlock_console.servers.management import limits
from twistlock_console.servers.management.client_bounds import TrustedProxies
from twistlock_console.servers.management.dispatcher import Site
from twistlock_console.servers.management.fixed_answers import (
    INITIALIZED,
    PingAnswer,
    UiPortMiddleware,
)
from twistlock_console.servers.management.http_server import HttpServer
from twistlock_console.servers.supervisor.bootstrap import ReadyPipe, Serve
from twistlock_console.servers.supervisor.fence import (
    Fence,
    FencedApp,
    end_own_group,
    fenced_sockets,
)
from twistlock_console.servers.supervisor.forkserver import context
from twistlock_console.servers.supervisor.server_checks import CheckResponder
from twistlock_console.servers.supervisor.sockets import bind_all
from twistlock_console.settings import Settings
from twistlock_console.system.processes import die_with_parent

MAX_TURN_S = 1.0
#: File descriptors that are not for connections: the database's, logs, listeners.
OTHER_DESCRIPTORS = 256
BACKLOG = 4096
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn's heartbeat must not wait for a disk


def prepare_management(settings: Settings, app: str = "wsgi:create") -> Serve:
    """Build the pages with the factory *app*, "module:function", and return the server.

    The function that is returned raises ListenerError if the ports cannot be bound.

    Raises:
        ListenerError: The pages cannot be built.

    """
    try:
        pages: WSGIApplication = pkgutil.resolve_name(app)(settings)
    except Exception as error:
        raise ListenerError(
            f"the pages cannot be built: {describe_error(error)}"
        ) from error
    tls = _reloading_context(settings)
    arbiter = Arbiter(_Application(_fixed_options(settings)))
    # The first request to the application takes much longer than the next.
    ping = PingAnswer(pages)
    # These objects stay: collecting them would only copy memory after a fork.
    gc.freeze()
    return partial(_serve, (UiPortMiddleware(pages, settings), ping), tls, arbiter)


def _serve(
    pages: tuple[WSGIApplication, PingAnswer],
    tls: ReloadingTlsContext,
    arbiter: Arbiter,
    settings: Settings,
    fence: Fence,
    report: ReadyPipe,
) -> None:
    ports = (settings.management_port_https, settings.management_port_ui)
    addresses = [(host, p) for host in settings.service_addresses for p in ports if p]
    proxies = TrustedProxies(settings.trusted_proxies)
    app = FencedApp(pages[0], fence)
    site = Site(app, arbiter.cfg, fence, pages[1], proxies, report.checks)
    arbiter.app.load = lambda: app
    sockets = bind_all(addresses, BACKLOG)
    arbiter.cfg.set("bind", [f"fd://{socket.detach()}" for socket in sockets])
    for name, hook in _hooks(site, report, tls).items():
        arbiter.cfg.set(name, hook)
    arbiter.run()


def _reloading_context(settings: Settings) -> ReloadingTlsContext:
    folder = settings.folders.certificates

    def make() -> ssl.SSLContext:
        reload_certificate(settings)
        return server_context(folder, client=None)

    return ReloadingTlsContext(make, folder)


def prebuild(settings: Settings, app: str = "wsgi:create") -> None:
    """Build the pages once, in a child of the fork server, and drop them.

    The templates that it compiles, on disk, make the first opening quick.
    """
    context.Process(target=_build, args=(settings, app), daemon=True).start()


def _build(settings: Settings, app: str) -> None:
    die_with_parent()
    pkgutil.resolve_name(app)(settings)


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Passes our options to gunicorn; *load*, which returns the app, is set later."""

    load: Callable[[], WSGIApplication]

    def __init__(self, options: dict[str, object]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """Set the options; gunicorn calls this once."""
        for name, value in self._options.items():
            self.cfg.set(name, value)


def _fixed_options(settings: Settings) -> dict[str, object]:
    certificates = settings.folders.certificates
    return {
        # gunicorn uses TLS if these names are set.
        "certfile": str(certificates / NODE),
        "keyfile": str(certificates / NODE_KEY),
        "worker_class": ManagementWorker,
        "workers": 1,
        "threads": limits.THREADS,
        "timeout": 30,
        # The node kills the rest after its own grace period; this one is longer.
        "graceful_timeout": 60,
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "forwarded_allow_ips": "",
        "do_handshake_on_connect": False,
        "control_socket_disable": True,
        "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
        "errorlog": None,
        "accesslog": None,
        "loglevel": "warning",
    }


def _hooks(
    site: Site, report: ReadyPipe, tls: ReloadingTlsContext
) -> dict[str, Callable[..., object]]:
    sockets = fenced_sockets(site.fence)

    def ssl_context(_config: object, _default: object) -> ssl.SSLContext:
        # gunicorn calls it for every connection.
        context = tls.current()
        context.sslsocket_class = sockets
        return context

    def on_starting(arbiter: Arbiter) -> None:
        arbiter.log.error_log.propagate = True

    def post_fork(_arbiter: Arbiter, worker: ManagementWorker) -> None:
        die_with_parent(parent=worker.ppid)
        site.fence.watch(kernel_timer=False)
        worker.site = site

    def post_worker_init(_worker: ManagementWorker) -> None:
        report.ready()

    def worker_exit(_arbiter: Arbiter, worker: ManagementWorker) -> None:
        # It has drained. The arbiter would notice that only every 100 ms.
        if not worker.alive:
            end_own_group()

    return {
        "on_starting": on_starting,
        "post_fork": post_fork,
        "post_worker_init": post_worker_init,
        "worker_exit": worker_exit,
        "ssl_context": ssl_context,
    }


class ManagementWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves *site*, which is set after the fork."""

    site: Site

    _server: HttpServer | None = None

    def run(self) -> None:
        """Serve until SIGTERM, then drain: answer the requests in work."""
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

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        """Start to stop; the main loop drains."""
        self.alive = False
        if self._server:
            self._server.loop.wake()

    def _turn(self, server: HttpServer) -> None:
        self.notify()
        server.run_once(MAX_TURN_S)

    def _drain(self, server: HttpServer) -> None:
        """Refuse new connections, and answer requests in work for a bounded time."""
        for listener in self.sockets:
            server.loop.forget(listener.fileno())
            listener.close()
        server.stop()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while len(server.connections) and time.monotonic() < deadline:
            self._turn(server)

    def _probe(self) -> str:
        """Request a page that needs the database; return the problem, or ""."""
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
    """Raise this process's limit of descriptors; return how many clients to accept."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.MAX_CONNECTIONS + OTHER_DESCRIPTORS
    if soft < wanted:
        soft = min(hard, wanted) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(min(limits.MAX_CONNECTIONS, soft - OTHER_DESCRIPTORS), 1)
