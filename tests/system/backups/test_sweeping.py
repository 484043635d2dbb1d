"""The remains of work that was killed, and work that begins meanwhile."""

import threading
from dataclasses import dataclass, field
from functools import partial

from tests.backups.at_database import make_due
from tests.backups.backup_node import BackupNode, fill
from tests.hosts.waiting import wait_for
from twistlock_console.backups.format.manifest import BackupKind
from twistlock_console.backups.jobs.runner import Actor, Job, JobKind
from twistlock_console.backups.jobs.runtime import Backups
from twistlock_console.backups.jobs.service import (
    INTERRUPTED_ERROR,
    last_results,
    record_start,
)
from twistlock_console.database.client import Db
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import BackupFinished
from twistlock_console.node.health import Health
from twistlock_console.settings import Settings
from twistlock_console.system.scheduler import Scheduler
from twistlock_console.system.serving_permit import FOREVER, Permit

FIRST_OF_THE_SWEEP = 2
ADMIN = Actor("admin")


@dataclass
class Ports:
    """Service ports that are open until they are to be opened again."""

    is_open: bool = True
    reasons: list[str] = field(default_factory=list)

    def reopen(self, reason: str) -> None:
        self.reasons.append(reason)
        self.is_open = False


def backups_at(node: BackupNode, ports: Ports, bus: Bus) -> Backups:
    """The room of a node that serves with *ports*."""
    return Backups(*parts(node, ports, bus))


def parts(
    node: BackupNode, ports: Ports, bus: Bus
) -> tuple[Settings, Ports, Permit, Bus, Scheduler, Health]:
    """What backups use of a node that serves with *ports*."""
    scheduler = Scheduler()
    permit = Permit()
    permit.grant(7, FOREVER)
    return (node.settings, ports, permit, bus, scheduler, Health(scheduler, bus))


class Met(Backups):
    """Somebody asks for a backup when a tick has just found no work under way."""

    looks = 0

    @property
    def database(self) -> Db:
        """The database; a tick asks for it to ping, then to sweep."""
        self.looks += 1
        if self.looks == FIRST_OF_THE_SWEEP:
            self.asking = threading.Thread(
                target=self.service.create, args=["mine", "", ADMIN]
            )
            self.asking.start()
            # It is through at once, or kept waiting until the sweep has ended.
            self.asking.join(1)
        return super().database


def test_work_that_begins_during_a_sweep_is_no_remains(node: BackupNode) -> None:
    """The sweep takes nothing for cut short that has only just begun."""
    backups = Met(*parts(node, Ports(), Bus()))
    try:
        backups.tick()
        backups.asking.join(60)
        jobs = backups.service.jobs
        wait_for(lambda: jobs.current_run is None, 20, "the end of the backup")
    finally:
        backups.stop()

    outcome = last_results(node.database)["manual"]
    assert (outcome.state, outcome.error) == ("done", "")


def test_what_was_killed_is_noted_as_cut_short(node: BackupNode) -> None:
    """Nothing that seems to run does, where no work is under way."""
    record_start(node.database, ["manual"], "dead", "10.0.0.1")
    backups = backups_at(node, Ports(), Bus())
    try:
        backups.tick()
    finally:
        backups.stop()

    outcome = last_results(node.database)["manual"]
    assert (outcome.state, outcome.error) == ("failed", INTERRUPTED_ERROR)


def test_a_restore_that_is_decided_is_put_in_force_at_once(node: BackupNode) -> None:
    """Not when the ports happen to open again, for what is written until then is lost.

    It went well, even if its process was killed before it could say so.
    """
    fill(node.database)
    file = node.make("mine").file
    node.load(file, "run1")
    ports, bus, told = Ports(), Bus(), []
    bus.subscribe(BackupFinished, told.append)
    backups = backups_at(node, ports, bus)
    # Its process finds that a restore was decided, and so ends in an error.
    job = Job(
        kind=JobKind.RESTORE, run="run1", settings=node.settings, by=ADMIN, file=file
    )
    record = partial(record_start, node.database, [job.kind], job.run, "10.0.0.1")
    try:
        backups.service.jobs.start(job, record)
        jobs = backups.service.jobs
        wait_for(lambda: jobs.current_run is None, 20, "the end of the restore")
    finally:
        backups.stop()

    assert ports.reasons == [f"the backup {file} takes effect"]
    assert [event.error for event in told] == [""]
    assert last_results(node.database)["restore"].state == "done"


def test_the_next_primary_finds_a_committed_restore(node: BackupNode) -> None:
    """Also where nobody was left to say so; nothing else begins before it is done."""
    fill(node.database)
    file = node.make("mine").file
    node.load(file)
    make_due(node.database)
    ports = Ports()
    backups = backups_at(node, ports, Bus())
    try:
        backups.tick()
    finally:
        backups.stop()

    assert ports.reasons == [f"the backup {file} takes effect"]
    assert BackupKind.DAILY not in last_results(node.database)
