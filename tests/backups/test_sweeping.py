"""The remains of work that was killed, and work that begins meanwhile."""

import threading
from types import SimpleNamespace
from typing import cast

from tests.backups.backup_node import BackupNode
from tests.hosts.waiting import wait_for
from twistlock_console.backups import records
from twistlock_console.backups.dump import Store
from twistlock_console.backups.room import Backups
from twistlock_console.backups.task import Who
from twistlock_console.bus import Bus
from twistlock_console.node import Node

FIRST_OF_THE_SWEEP = 2
ADMIN = Who("admin")


class Met(Backups):
    """Somebody asks for a backup when a tick has just found no work under way."""

    looks = 0

    @property
    def database(self) -> Store:
        """The database; a tick asks for it to ping, then to sweep."""
        self.looks += 1
        if self.looks == FIRST_OF_THE_SWEEP:
            self.asking = threading.Thread(
                target=self.orders.create, args=["mine", "", ADMIN]
            )
            self.asking.start()
            # It is through at once, or kept waiting until the sweep has ended.
            self.asking.join(1)
        return super().database


def test_work_that_begins_during_a_sweep_is_no_remains(node: BackupNode) -> None:
    """The sweep takes nothing for cut short that has only just begun."""
    parts = SimpleNamespace(
        settings=node.settings,
        bus=Bus(),
        permit=SimpleNamespace(epoch=7),
        ports=SimpleNamespace(is_open=True),
    )
    backups = Met(cast(Node, parts))
    try:
        backups.tick()
        backups.asking.join(10)
        wait_for(lambda: backups.jobs.run is None, 20, "the end of the backup")
    finally:
        backups.stop()

    outcome = records.last_results(node.database)["manual"]
    assert (outcome["state"], outcome["error"]) == ("done", "")


def test_what_was_killed_is_noted_as_cut_short(node: BackupNode) -> None:
    """Nothing that seems to run does, where no work is under way."""
    records.begin(node.database, ["manual"], "dead", "10.0.0.1")
    parts = SimpleNamespace(settings=node.settings, ports=SimpleNamespace(is_open=True))
    backups = Backups(cast(Node, parts))
    try:
        backups.tick()
    finally:
        backups.stop()

    outcome = records.last_results(node.database)["manual"]
    assert (outcome["state"], outcome["error"]) == ("failed", records.CUT_SHORT)
