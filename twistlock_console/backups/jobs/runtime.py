"""Backups in a node: schedule, health check, and removal of files of killed jobs."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Protocol

from pymongo import ReturnDocument
from pymongo.errors import PyMongoError

from twistlock_console.backups.format.manifest import BackupKind
from twistlock_console.backups.jobs.runner import Actor
from twistlock_console.backups.jobs.schedule import BackupHistory, due
from twistlock_console.backups.jobs.service import (
    COLLECTION,
    INTERRUPTED_ERROR,
    SCHEDULE,
    BackupService,
    JobRecord,
    JobState,
    PortsOfNode,
    last_results,
    record_interrupted,
)
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.restore_plan import RestoreState
from twistlock_console.backups.storage.health import volume_health
from twistlock_console.backups.storage.work import sweep
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.database.client import Client, Db, connect, credentials_for
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import HealthChanged, Role, RoleChanged
from twistlock_console.settings import Settings
from twistlock_console.system.scheduler import Scheduler
from twistlock_console.system.serving_permit import Permit

TICK_INTERVAL_S = 5.0
HEALTH_INTERVAL_S = 300.0
CHECK = "backup-volume"
SYSTEM = Actor("the Console", api="schedule")
log = logging.getLogger(__name__)


class HealthOfNode(Protocol):
    """The health checks of the node; *failing* has the reasons, by check."""

    @property
    def failing(self) -> Mapping[str, str]:
        """Return why each failing check fails."""

    def add_check(
        self, name: str, interval_s: float, check: Callable[[], str | None]
    ) -> None:
        """Run *check* every *interval_s* seconds."""


class Backups:
    """Connects backups to the bus, scheduler, health and ports of the node."""

    def __init__(
        self,
        settings: Settings,
        ports: PortsOfNode,
        permit: Permit,
        bus: Bus,
        scheduler: Scheduler,
        health: HealthOfNode,
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._bus = bus
        self._scheduler = scheduler
        self._health = health
        self.service = BackupService(
            settings, ports, bus, lambda: self.database, lambda: permit.epoch
        )

    @cached_property
    def _client(self) -> Client:
        credentials = credentials_for(self._settings, "console")
        return connect(self._settings, credentials, app_name="backups")

    @property
    def database(self) -> Db:
        """Return the database, by our own member."""
        return self._client["twistlock"]

    def start(self) -> None:
        """Start to run scheduled backups and to check the volume."""
        with suppress(OSError):
            self._settings.data_recovery_volume.mkdir(mode=0o700, exist_ok=True)
        self._bus.subscribe(RoleChanged, self._role_changed)
        self._bus.subscribe(HealthChanged, self._health_changed)
        self._scheduler.every(TICK_INTERVAL_S, "backups", self.tick)
        self._health.add_check(CHECK, HEALTH_INTERVAL_S, self._volume_problem)

    def stop(self) -> None:
        """Cancel the running job."""
        self.service.jobs.cancel(INTERRUPTED_ERROR)
        self._client.close()

    def before_serving(self) -> None:
        """Complete a committed restore, while the ports are closed.

        Raises DatabaseError if that fails; the ports then stay closed.
        """
        restore_journal.complete(self.database)

    def tick(self) -> None:
        """Remove the files of killed jobs, and start the backups that are due."""
        try:
            # On a standby this keeps the connection of `before_serving` open; no read,
            # which a member that copies its data refuses.
            self.database.command("ping")
            idle = self._ports.is_open and self.service.jobs.run_if_idle(self._sweep)
            # A committed restore has closed the ports.
            if idle and self._ports.is_open:
                self._start_due_backups()
        except PyMongoError as error:
            log.info("the schedule of backups waits for the database: %s", error)

    def _sweep(self) -> None:
        """Treat jobs recorded as running as killed; no job can start meanwhile."""
        found = restore_journal.read(self.database)
        if found and found.state is RestoreState.SWITCHING and self._ports.is_open:
            # Data that is written before the ports next open would be lost.
            self.service.activate_restore(found.file)
        restore_journal.sweep(self.database, None)
        record_interrupted(self.database)
        with suppress(ConsoleError):
            self.service.volume_calls.call(partial(sweep, self._settings.folders))

    def _start_due_backups(self) -> None:
        if not self._settings.data_recovery_enabled:
            return
        now = datetime.now(UTC)
        since = _first_start(self.database, now)
        found = _history_by_kind(last_results(self.database))
        if kinds := due(since, found, now):
            try:
                secret = self.service.key()
            except ConsoleError:
                secret = None  # the health check reports it
            # If a person's job started meanwhile, it is still due at the next tick.
            with suppress(Refused):
                self.service.back_up(tuple(kinds), secret, SYSTEM)

    def _role_changed(self, change: RoleChanged) -> None:
        if change.new is not Role.PRIMARY:
            self.service.jobs.cancel(INTERRUPTED_ERROR)

    def _health_changed(self, change: HealthChanged) -> None:
        """Record in the audit trail that the volume fails, or works again."""
        if change.check != CHECK or not self._ports.is_open:
            return
        status = "the backup volume works again" if change.healthy else change.reason
        with suppress(ConsoleError):
            self.service.audit(SYSTEM, status, failure=not change.healthy)

    def _volume_problem(self) -> str | None:
        try:
            self.service.key()
            root = self._settings.data_recovery_volume
            return self.service.volume_calls.call(lambda: volume_health(root))
        except ConsoleError as error:
            return str(error)


def _history_by_kind(
    results: Mapping[str, JobRecord],
) -> dict[BackupKind, BackupHistory]:
    """Return the part of *results* that the schedule needs."""
    return {
        kind: BackupHistory(
            succeeded=found.succeeded,
            failed=found.ended if found.state is JobState.FAILED else None,
            interrupted=found.error == INTERRUPTED_ERROR,
        )
        for kind in BackupKind
        if (found := results.get(kind)) is not None
    }


def _first_start(database: Db, now: datetime) -> datetime:
    """Return when this Console first ran the schedule; *now* if it never did."""
    found = database[COLLECTION].find_one_and_update(
        {"_id": SCHEDULE},
        {"$setOnInsert": {"since": now}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return found["since"] if found else now
