"""Open, close and check the service ports of a node."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from twistlock_console.common.errors import ListenerError
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import (
    ListenerClosed,
    ListenerFailed,
    ListenerOpened,
    ListenersPaused,
)
from twistlock_console.servers.defenders.server import prepare_defenders
from twistlock_console.servers.management.server import prepare_management
from twistlock_console.servers.supervisor.child_listener import ChildListener, Listener
from twistlock_console.servers.supervisor.server_checks import ServerChecks
from twistlock_console.servers.supervisor.server_process import ServerSpec
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit

log = logging.getLogger(__name__)


class ServicePorts:
    """Opens and closes the management and the Defender server of this node.

    *prepare* is called while all are closed, before the first opens; an error that it
    raises keeps them closed.

    Events are published on the thread that opens or closes. ListenerFailed of a server
    that ended by itself is published on the thread that supervises its process; the
    role controller then opens the server again, or starts a failover.
    """

    def __init__(
        self,
        settings: Settings,
        permit: Permit,
        bus: Bus,
        *,
        app: str = "wsgi:create",
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self._bus = bus
        self._prepare = prepare
        self._listeners: Sequence[Listener] = [
            ChildListener(server, settings, permit, self._failed)
            for server in servers(settings, app)
        ]
        self._failures: dict[str, str] = {}
        self.checks = ServerChecks(self._listeners)

    @property
    def is_open(self) -> bool:
        """Return whether at least one service server runs."""
        return bool(self.pids())

    def pids(self) -> dict[str, int]:
        """Return the process ids of the servers that run, by name."""
        pids = {listener.name: listener.pid for listener in self._listeners}
        return {name: pid for name, pid in pids.items() if pid is not None}

    def closed(self) -> tuple[str, ...]:
        """Return the names of the servers that do not run."""
        return tuple(each.name for each in self._listeners if each.pid is None)

    def prepare(self) -> None:
        """Start a standby process for each server that is closed."""
        for listener in self._listeners:
            try:
                listener.prepare()
            except ListenerError as error:
                log.warning("the next opening of the ports will take longer: %s", error)

    def open_all(self) -> None:
        """Open the servers that are closed; return when all ports accept.

        Raises:
            ListenerError: A server cannot be opened; the others stay open.

        """
        if not self.is_open:
            self._prepare()
        closed = [listener for listener in self._listeners if listener.pid is None]
        outcomes = _on_each(closed, lambda listener: listener.open())
        for name, outcome in outcomes.items():
            if isinstance(outcome, ListenerError):
                self._failed(name, str(outcome))
            else:
                self._failures.pop(name, None)
                log.info("%s opened in %.3f s", name, outcome)
                self._bus.publish(ListenerOpened(name, outcome))
        if reasons := _reasons(outcomes):
            raise ListenerError(reasons)

    def close_all(self, grace: float = 0.0) -> None:
        """Close the servers that are open; return when all ports refuse.

        Args:
            grace: Seconds that requests in flight have to finish.

        Raises:
            ListenerError: A port still accepts.

        """
        was_open = self.pids()
        outcomes = _on_each(self._listeners, lambda listener: listener.close(grace))
        for name, outcome in outcomes.items():
            if isinstance(outcome, ListenerError):
                self._failed(name, str(outcome))
            elif name in was_open:
                log.info("%s closed in %.3f s", name, outcome)
                self._bus.publish(ListenerClosed(name, outcome))
        if reasons := _reasons(outcomes):
            raise ListenerError(reasons)

    def reopen(self, reason: str) -> None:
        """Close all ports for *reason*; the role controller opens them again."""
        log.warning("closing the service ports for a moment: %s", reason)
        self.close_all()
        self._bus.publish(ListenersPaused(reason))

    def problem(self) -> str | None:
        """Return which servers are closed while others are open, and why."""
        closed = self.closed() if self.is_open else ()
        reasons = [self._failures.get(name, f"{name} is closed") for name in closed]
        return "; ".join(reasons) or None

    def _failed(self, name: str, reason: str) -> None:
        log.error("%s", reason)
        self._failures[name] = reason
        self._bus.publish(ListenerFailed(name, reason))


def servers(settings: Settings, app: str) -> tuple[ServerSpec, ServerSpec]:
    """Return the servers of a node; *app* names the pages' factory, "module:name"."""
    pages = (settings.management_port_https, settings.management_port_ui)
    addresses = settings.service_addresses
    return (
        ServerSpec(
            "management",
            tuple((host, port) for host in addresses for port in pages if port),
            partial(prepare_management, app=app),
        ),
        ServerSpec(
            "defenders",
            tuple((host, settings.communication_port) for host in addresses),
            prepare_defenders,
        ),
    )


def _on_each(
    listeners: Sequence[Listener], act: Callable[[Listener], None]
) -> dict[str, float | ListenerError]:
    """Act on all in parallel; return the seconds that each took, or its error."""

    def timed(listener: Listener) -> float | ListenerError:
        started = time.monotonic()
        try:
            act(listener)
        except ListenerError as error:
            return error
        return time.monotonic() - started

    with ThreadPoolExecutor(len(listeners) or 1, "ports") as pool:
        outcomes = pool.map(timed, listeners)
        return dict(zip((one.name for one in listeners), outcomes, strict=True))


def _reasons(outcomes: dict[str, float | ListenerError]) -> str:
    failed = (str(o) for o in outcomes.values() if isinstance(o, ListenerError))
    return "; ".join(failed)
