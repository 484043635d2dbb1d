"""The management server: gunicorn with TLS, on the API's port and the pages' port."""

import pkgutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from twistlock_console.certificates import server_context
from twistlock_console.database.client import follow_certificate
from twistlock_console.followed_tls import FollowedContext
from twistlock_console.listeners.birth import Report
from twistlock_console.listeners.fence import (
    Fence,
    FencedApp,
    end_own_group,
    fenced_sockets,
)
from twistlock_console.listeners.pages_port import PagesPort
from twistlock_console.listeners.patient_worker import PatientWorker
from twistlock_console.listeners.sockets import bind
from twistlock_console.listeners.warm import context
from twistlock_console.processes import die_with_parent
from twistlock_console.settings import Settings

BACKLOG = 2048
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn's heartbeat must not wait for a disk


def serve_management(
    settings: Settings, fence: Fence, report: Report, app: str = "wsgi:create"
) -> None:
    """Serve until ended what the factory *app*, "module:function", makes of *settings*.

    Raises ListenerError and IdentityError before it has begun to serve.
    """
    ports = (settings.management_port_https, settings.management_port_ui)
    addresses = [(host, p) for host in settings.service_addresses for p in ports if p]
    tls = _followed_context(settings, fence)
    sockets = [bind(address, BACKLOG) for address in addresses]
    options = {
        **_fixed_options(),
        **_hooks(fence, report, tls),
        "bind": [f"fd://{socket.detach()}" for socket in sockets],
        # gunicorn takes the mere presence of these names for the wish to use TLS.
        "certfile": str(settings.folders.certificates / "node.pem"),
        "keyfile": str(settings.folders.certificates / "node-key.pem"),
    }

    def load() -> WSGIApplication:
        try:
            pages = pkgutil.resolve_name(app)(settings)
        except Exception as error:
            report.failed(f"the pages cannot be built: {error}")
            raise
        return FencedApp(PagesPort(pages, settings), fence)

    Arbiter(_Application(options, load)).run()


def _followed_context(settings: Settings, fence: Fence) -> FollowedContext:
    folder = settings.folders.certificates

    def make() -> ssl.SSLContext:
        follow_certificate(settings)
        tls = server_context(folder, client=None)
        tls.sslsocket_class = fenced_sockets(fence)
        return tls

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
    """Tells gunicorn its options and what to serve."""

    def __init__(self, options: dict[str, Any], load: Callable[[], Any]) -> None:
        self._options = options
        self.load = load
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn our options; it calls this once."""
        for name, value in self._options.items():
            self.cfg.set(name, value)


def _fixed_options() -> dict[str, Any]:
    return {
        "worker_class": PatientWorker,
        "workers": 1,
        "threads": 16,
        "worker_connections": 1000,
        "timeout": 30,
        # The node kills what is left after the grace it gives; this is only longer.
        "graceful_timeout": 60,
        "keepalive": 30,
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


def _hooks(fence: Fence, report: Report, tls: FollowedContext) -> dict[str, Any]:
    def on_starting(arbiter: Any) -> None:
        arbiter.log.error_log.propagate = True

    def post_fork(_arbiter: Any, worker: Any) -> None:
        die_with_parent(parent=worker.ppid)
        fence.watch(kernel_timer=False)

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
        # gunicorn asks for it with every connection.
        "ssl_context": lambda _config, _default: tls.now(),
    }
