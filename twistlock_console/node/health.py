"""Health checks of this node, run by the scheduler; changes are published once."""

import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from twistlock_console.common.errors import ConsoleError
from twistlock_console.events.types import HealthChanged
from twistlock_console.logs import setup
from twistlock_console.pki.identity_files import NODE, SOON, read_certificate

if TYPE_CHECKING:
    from twistlock_console.node.node import Node

LOW_DISK_BYTES = 1024**3
log = logging.getLogger(__name__)

Check = Callable[["Node"], str | None]


def disk(node: "Node") -> str | None:
    """The data folder needs room to write."""
    free = shutil.disk_usage(node.settings.data_folder).free
    if free < LOW_DISK_BYTES:
        return f"only {free // 1024**2} MB are free on {node.settings.data_folder}"
    return None


def certificate(node: "Node") -> str | None:
    """The node's certificate must not be near its end."""
    try:
        found = read_certificate(node.settings.folders.certificates / NODE)
    except ConsoleError as error:
        return str(error)
    left = found.not_valid_after_utc - datetime.now(UTC)
    if left < SOON:
        return f"this node's certificate ends in {left.days} days"
    return None


def database(node: "Node") -> str | None:
    """Our mongod has to run."""
    return None if node.mongod.running else "the local database is not running"


def servers(node: "Node") -> str | None:
    """While a service server is open, the other one has to be open too."""
    return node.ports.problem()


def load(node: "Node") -> str | None:
    """A service server should have threads and connections to spare."""
    return node.ports.checks.overload()


CHECKS: dict[str, tuple[float, Check]] = {
    "database": (1.0, database),
    "disk": (30.0, disk),
    "certificate": (3600.0, certificate),
    "servers": (1.0, servers),
    "load": (2.0, load),
}


class Health:
    """What is wrong with this node now, by check."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.failing: dict[str, str] = {}

    def watch(self) -> None:
        """Have the node's scheduler run every check."""
        every = self._node.scheduler.every
        for name, (seconds, check) in CHECKS.items():
            every(seconds, f"health-{name}", partial(self.look, name, check))
        every(2.0, "server-checks", self._node.ports.checks.run)
        every(60.0, "log-rotation", self._node.mongod.rotate)
        folders = self._node.settings.folders
        every(60.0, "console-log-rotation", partial(setup.rotate, folders))

    def look(self, name: str, check: Check) -> None:
        """Run one check; log and publish when it changed."""
        reason = check(self._node)
        if (reason is None) is (name not in self.failing):
            return
        if reason is None:
            del self.failing[name]
            log.info("health: %s is right again", name)
        else:
            self.failing[name] = reason
            log.warning("health: %s", reason)
        self._node.bus.publish(HealthChanged(name, reason is None, reason or ""))
