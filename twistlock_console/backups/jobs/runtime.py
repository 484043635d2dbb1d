"""Backups in a node: the parts, tied to its bus, its jobs and its service ports."""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from pymongo.errors import PyMongoError

from twistlock_console.backups.jobs import records
from twistlock_console.backups.jobs.host import HealthOfNode, PortsOfNode
from twistlock_console.backups.jobs.jobs import Ended, Jobs
from twistlock_console.backups.jobs.schedule import due
from twistlock_console.backups.jobs.service import Orders
from twistlock_console.backups.jobs.task import Task, Verb, Who
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.dump import Store
from twistlock_console.backups.operations.restore_plan import State
from twistlock_console.backups.operations.snapshot_history import long_history
from twistlock_console.backups.storage.health import volume_health
from twistlock_console.backups.storage.work_folder import sweep
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.database.client import Client, connect, credentials_for
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import (
    BackupFinished,
    HealthChanged,
    Role,
    RoleChanged,
)
from twistlock_console.settings import Settings
from twistlock_console.system.scheduler import Scheduler
from twistlock_console.system.serving_permit import Permit

TICK_SECONDS = 5.0
HEALTH_SECONDS = 300.0
CHECK = "backup-volume"
SYSTEM = Who("the Console", api="schedule")
log = logging.getLogger(__name__)


class Backups:
    """Everything about backups that the node process does."""

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
        self.jobs = Jobs(self._ended, lambda: long_history(settings))
        self.orders = Orders(
            settings, self.jobs, lambda: self.database, lambda: permit.epoch
        )

    @cached_property
    def _client(self) -> Client:
        credentials = credentials_for(self._settings, "console")
        return connect(self._settings, credentials, app_name="backups")

    @property
    def database(self) -> Store:
        """The database, at our own member."""
        return self._client["twistlock"]

    def start(self) -> None:
        """Look after the schedule and the volume from now on."""
        with suppress(OSError):
            self._settings.data_recovery_volume.mkdir(mode=0o700, exist_ok=True)
        self._bus.subscribe(RoleChanged, self._role_changed)
        self._bus.subscribe(HealthChanged, self._health_changed)
        self._scheduler.every(TICK_SECONDS, "backups", self.tick)
        self._health.add_check(CHECK, HEALTH_SECONDS, self._problem)

    def stop(self) -> None:
        """End what is under way."""
        self.jobs.cancel(records.CUT_SHORT)
        self._client.close()

    def before_serving(self) -> None:
        """Bring a restore to its end that was decided; the ports are still closed.

        Raises DatabaseError: then they stay closed.
        """
        restore_journal.complete(self.database)

    def tick(self) -> None:
        """Finish what those that were killed have left, and begin what is due."""
        try:
            # Where nobody is served this keeps the connection of `before_serving` open;
            # no read, for a member that copies its data refuses those.
            self.database.command("ping")
            idle = self._ports.is_open and self.jobs.while_idle(self._sweep)
            # A restore that was decided has closed them.
            if idle and self._ports.is_open:
                self._begin_what_is_due()
        except PyMongoError as error:
            log.info("backups are looked after later: %s", error)

    def results(self) -> dict[str, dict[str, Any]]:
        """What became of the work; {} while the database does not answer."""
        try:
            return records.last_results(self.database)
        except PyMongoError:
            return {}

    def _sweep(self) -> None:
        """What seems to be under way is not, as long as none can begin."""
        found = restore_journal.read(self.database)
        if found and found.state is State.SWITCHING and self._ports.is_open:
            # Whatever is written before the ports next open would be lost.
            self._reopen(found.file)
        restore_journal.sweep(self.database, None)
        records.note_interrupted(self.database, None)
        with suppress(ConsoleError):
            self.orders.bounded.call(partial(sweep, self._settings.folders))

    def _begin_what_is_due(self) -> None:
        if not self._settings.data_recovery_enabled:
            return
        now = datetime.now(UTC)
        since = records.since(self.database, now)
        found = records.past(records.last_results(self.database))
        if kinds := due(since, found, now):
            try:
                secret = self.orders.key()
            except ConsoleError:
                secret = None  # the health check tells of it
            # Where a person's work began meanwhile, it is due at the next tick still.
            with suppress(Refused):
                self.orders.back_up(tuple(kinds), secret, SYSTEM)

    def _ended(self, ended: Ended) -> None:
        if ended.error and self._is_decided(ended.task):
            log.warning("the restore is decided, and %s", ended.error)
            ended = replace(ended, error="")
        task, error = ended.task, ended.error
        told = f"{task.verb} of {task.what}"
        level = logging.ERROR if error else logging.INFO
        how = f"failed ({error})" if error else "went well"
        log.log(level, "%s %s after %.1f s", told, how, ended.seconds)
        try:
            self._note(ended, told)
        except (PyMongoError, ConsoleError) as failed:
            log.warning("the outcome of the %s is not on record: %s", told, failed)
        size = int(ended.result.get("size", 0))
        self._bus.publish(
            BackupFinished(task.verb, task.what, error, ended.seconds, size)
        )
        if task.verb is Verb.RESTORE and not error:
            self._reopen(task.file)

    def _is_decided(self, task: Task) -> bool:
        """Whether *task* is a restore that takes effect, however its process ended."""
        if task.verb is not Verb.RESTORE:
            return False
        try:
            found = restore_journal.read(self.database)
        except PyMongoError:
            return False  # a tick asks again
        decided = (State.SWITCHING, State.DONE)
        return bool(found and found.run == task.run and found.state in decided)

    def _reopen(self, file: str) -> None:
        """Put the backup *file* in force: it is done before the ports open."""
        # Ports that do not close tell it themselves, and are closed again.
        with suppress(ConsoleError):
            self._ports.reopen(f"the backup {file} is put in force")

    def _note(self, ended: Ended, told: str) -> None:
        task, error = ended.task, ended.error
        result = {**ended.result, "seconds": round(ended.seconds, 2)}
        records.finish(self.database, task.run, error, result)
        if error:
            self.orders.record(task.by, f"{told} failed: {error}", failure=True)
        elif task.verb is not Verb.RESTORE:
            # A restore is put on record when it is in force.
            self.orders.record(task.by, f"{told} went well")

    def _role_changed(self, change: RoleChanged) -> None:
        if change.new is not Role.PRIMARY:
            self.jobs.cancel(records.CUT_SHORT)

    def _health_changed(self, change: HealthChanged) -> None:
        """Put on record that the volume fails, or works again."""
        if change.check != CHECK or not self._ports.is_open:
            return
        told = "the backup volume works again" if change.healthy else change.reason
        with suppress(ConsoleError):
            self.orders.record(SYSTEM, told, failure=not change.healthy)

    def _problem(self) -> str | None:
        try:
            self.orders.key()
            root = self._settings.data_recovery_volume
            return self.orders.bounded.call(lambda: volume_health(root))
        except ConsoleError as error:
            return str(error)
