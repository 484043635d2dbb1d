"""The management server: gunicorn with TLS, on the API's port and the pages' port."""

import gc
import pkgutil
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ListenerError
from twistlock_console.database.client import follow_certificate
from twistlock_console.pki.certificates import server_context
from twistlock_console.pki.identity_files import NODE, NODE_KEY
from twistlock_console.pki.reloading_tls import FollowedContext
from twistlock_console.servers.management import limits
from twistlock_console.servers.management.client_address import TrustedProxies
from twistlock_console.servers.management.dispatcher import Site
from twistlock_console.servers.management.fixed_answer import PingAnswer
from twistlock_console.servers.management.port_routing import PagesPort
from twistlock_console.servers.management.worker import ManagementWorker
from twistlock_console.servers.supervisor.bootstrap import Report, Serve
from twistlock_console.servers.supervisor.fence import (
    Fence,
    FencedApp,
    end_own_group,
    fenced_sockets,
)
from twistlock_console.servers.supervisor.forkserver import context
from twistlock_console.servers.supervisor.sockets import bind_all
from twistlock_console.settings import Settings
from twistlock_console.system.child_processes import die_with_parent

BACKLOG = 4096
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn's heartbeat must not wait for a disk


def prepare_management(settings: Settings, app: str = "wsgi:create") -> Serve:
    """Build the pages: what the factory *app*, "module:function", makes of *settings*.

    Serving them raises ListenerError before it has begun.
    """
    try:
        pages: WSGIApplication = pkgutil.resolve_name(app)(settings)
    except Exception as error:
        raise ListenerError(
            f"the pages cannot be built: {describe_error(error)}"
        ) from error
    tls = _followed_context(settings)
    arbiter = Arbiter(_Application(_fixed_options(settings)))
    # The first page of all takes much longer than the rest.
    ping = PingAnswer(pages)
    # What was made stays: looking at it again would only copy memory after a fork.
    gc.freeze()
    return partial(_serve, (PagesPort(pages, settings), ping), tls, arbiter)


def _serve(
    pages: tuple[WSGIApplication, PingAnswer],
    tls: FollowedContext,
    arbiter: Arbiter,
    settings: Settings,
    fence: Fence,
    report: Report,
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


def _followed_context(settings: Settings) -> FollowedContext:
    folder = settings.folders.certificates

    def make() -> ssl.SSLContext:
        follow_certificate(settings)
        return server_context(folder, client=None)

    return FollowedContext(make, folder)


def rehearse(settings: Settings, app: str = "wsgi:create") -> None:
    """Build the pages once, in a child of the warm process, and throw them away.

    What that leaves on disk (compiled templates) makes the first opening quick.
    """
    context.Process(target=_build, args=(settings, app), daemon=True).start()


def _build(settings: Settings, app: str) -> None:
    die_with_parent()
    pkgutil.resolve_name(app)(settings)


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Tells gunicorn its options; *load*, which gives what to serve, is set later."""

    load: Callable[[], WSGIApplication]

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn our options; it calls this once."""
        for name, value in self._options.items():
            self.cfg.set(name, value)


def _fixed_options(settings: Settings) -> dict[str, Any]:
    certificates = settings.folders.certificates
    return {
        # gunicorn takes the mere presence of these names for the wish to use TLS.
        "certfile": str(certificates / NODE),
        "keyfile": str(certificates / NODE_KEY),
        "worker_class": ManagementWorker,
        "workers": 1,
        "threads": limits.THREADS,
        "timeout": 30,
        # The node kills what is left after the grace it gives; this is only longer.
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


def _hooks(site: Site, report: Report, tls: FollowedContext) -> dict[str, Any]:
    sockets = fenced_sockets(site.fence)

    def ssl_context(_config: Any, _default: Any) -> ssl.SSLContext:
        # gunicorn asks for it with every connection.
        context = tls.now()
        context.sslsocket_class = sockets
        return context

    def on_starting(arbiter: Any) -> None:
        arbiter.log.error_log.propagate = True

    def post_fork(_arbiter: Any, worker: Any) -> None:
        die_with_parent(parent=worker.ppid)
        site.fence.watch(kernel_timer=False)
        worker.site = site

    def post_worker_init(_worker: Any) -> None:
        report.ready()

    def worker_exit(_arbiter: Any, worker: Any) -> None:
        # It has finished what it was told to finish. The arbiter would look for that
        # only every 100 ms.
        if not worker.alive:
            end_own_group()

    return {
        "on_starting": on_starting,
        "post_fork": post_fork,
        "post_worker_init": post_worker_init,
        "worker_exit": worker_exit,
        "ssl_context": ssl_context,
    }
