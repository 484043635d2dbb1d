"""The role controller of a Console without high availability: it always serves."""

import logging
import threading

from twistlock_console.common.errors import ConsoleError
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import (
    ListenerFailed,
    ListenersPaused,
    Role,
    RoleChanged,
)
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.system.processes import abort_process
from twistlock_console.system.serving_permit import FOREVER, Permit

MIN_BACKOFF_S = 0.2
MAX_BACKOFF_S = 15.0
CLOSE_GRACE_S = 1.0
log = logging.getLogger(__name__)


class StandaloneRole:
    """Opens the ports under *epoch*, and reopens each that closes, with backoff.

    It runs on a thread of its own.
    """

    def __init__(
        self, ports: ServicePorts, permit: Permit, bus: Bus, *, epoch: int = 1
    ) -> None:
        self._epoch = epoch
        self._ports = ports
        self._permit = permit
        self._bus = bus
        self._ended = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alone", daemon=True)
        bus.subscribe(ListenerFailed, lambda _: self._closed.set())
        bus.subscribe(ListenersPaused, lambda _: self._closed.set())

    def start(self) -> None:
        """Take the primary role."""
        self._permit.grant(self._epoch, FOREVER)
        self._thread.start()

    def stop(self) -> None:
        """Close the ports, after a grace period for requests in flight."""
        self._ended.set()
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._ports.close_all(grace=CLOSE_GRACE_S)
        self._permit.revoke()

    def _run(self) -> None:
        try:
            self._keep_open()
        except Exception:
            abort_process("unhandled exception in the standalone role controller")

    def _keep_open(self) -> None:
        pause = MIN_BACKOFF_S
        while not self._ended.is_set():
            self._closed.clear()
            if self._open():
                self._closed.wait()
                pause = MIN_BACKOFF_S
            self._ended.wait(pause)
            pause = min(2 * pause, MAX_BACKOFF_S)

    def _open(self) -> bool:
        """Open the closed ports; return whether all are open now."""
        was_open = self._ports.is_open
        try:
            if not was_open:
                self._ports.close_all()
            self._ports.open_all()
        except ConsoleError as error:
            log.error("opening the service ports failed: %s", error)  # noqa: TRY400
        if not was_open and self._ports.is_open:
            self._publish_role()
        return not self._ports.closed()

    def _publish_role(self) -> None:
        reason = "this Console runs without high availability"
        log.info("serving: %s", reason)
        self._bus.publish(
            RoleChanged(Role.STANDBY, Role.PRIMARY, reason, self._epoch, {})
        )
