"""Run the health checks of this node, and publish each change once."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.bootstrap import is_answering
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import HealthChanged
from twistlock_console.pki.identity_files import (
    EXPIRY_WARNING_PERIOD,
    NODE,
    read_certificate,
)
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings
from twistlock_console.system.scheduler import Scheduler

LOW_DISK_BYTES = 1024**3
log = logging.getLogger(__name__)

#: Returns what is wrong, or None.
Check = Callable[[], str | None]


class Health:
    """Runs the health checks of this node; *failing* maps failing checks to reasons."""

    def __init__(self, scheduler: Scheduler, bus: Bus) -> None:
        self._scheduler = scheduler
        self._bus = bus
        self.failing: dict[str, str] = {}

    def add_check(self, name: str, interval_s: float, check: Check) -> None:
        """Run *check* every *interval_s* seconds."""
        self._scheduler.every(
            interval_s, f"health-{name}", partial(self.run_check, name, check)
        )

    def run_check(self, name: str, check: Check) -> None:
        """Run *check*; log and publish a change of its result."""
        reason = check()
        if reason is not None and name in self.failing:
            self.failing[name] = reason
        if (reason is None) is (name not in self.failing):
            return
        if reason is None:
            del self.failing[name]
            log.info("health: the check %s passes again", name)
        else:
            self.failing[name] = reason
            log.warning("health: %s", reason)
        self._bus.publish(HealthChanged(name, reason is None, reason or ""))


@dataclass(frozen=True, slots=True)
class CoreChecks:
    """The checks that every node has."""

    settings: Settings
    mongod: Mongod
    ports: ServicePorts

    def add_to(self, health: Health) -> None:
        """Add each of them to *health*."""
        health.add_check("database", 1.0, self.database)
        health.add_check("disk", 30.0, self.disk)
        health.add_check("certificate", 3600.0, self.certificate)
        health.add_check("servers", 1.0, self.ports.problem)
        health.add_check("load", 2.0, self.ports.checks.overload)

    def database(self) -> str | None:
        """Return a reason unless our mongod runs and answers."""
        mongod = self.mongod
        if mongod.problem and mongod.is_prepared and is_answering(self.settings):
            mongod.problem = ""
        if mongod.problem or mongod.running:
            return mongod.problem or None
        return "the local database is not running"

    def disk(self) -> str | None:
        """Return a reason if the data folder has little space."""
        free = shutil.disk_usage(self.settings.data_folder).free
        if free < LOW_DISK_BYTES:
            return f"only {free // 1024**2} MB are free on {self.settings.data_folder}"
        return None

    def certificate(self) -> str | None:
        """Return a reason if the node's certificate expires soon or cannot be read."""
        try:
            found = read_certificate(self.settings.folders.certificates / NODE)
        except ConsoleError as error:
            return str(error)
        left = found.not_valid_after_utc - datetime.now(UTC)
        if left < EXPIRY_WARNING_PERIOD:
            return f"this node's certificate expires in {left.days} days"
        return None
