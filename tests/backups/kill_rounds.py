"""`python -m tests.backups.kill_rounds`: SIGKILL to a node at random moments.

Of backups and of restores, twenty each. After each, no half backup is listed as
verified, the database is that of one generation, and nothing is left over.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.backups.alone_node import BackupsOfNode
from tests.backups.backup_node import ignore_progress
from tests.hosts.waiting import wait_for
from twistlock_console.backups.storage.volume import verify
from twistlock_console.backups.storage.work import FOLDER
from twistlock_console.common.clock import SECOND, boottime_ns

DOCUMENTS = 20_000
SWEPT_SECONDS = 60


class Rounds:
    """Kills *node*, which serves, and judges; a broken rule is an AssertionError."""

    def __init__(
        self, node: BackupsOfNode, chance: random.Random, documents: int = DOCUMENTS
    ) -> None:
        self._node = node
        self._chance = chance
        self._documents = documents
        node.at_database("write", "0", str(documents))
        began = boottime_ns()
        assert node.ended(node.order("create", name="kept"))["error"] == ""
        self._seconds = (boottime_ns() - began) / SECOND
        (kept,) = node.listed()
        self._kept = str(kept["id"])

    def of_a_backup(self, number: int) -> str:
        """Kill it while it makes a backup; says what became of that."""
        name = f"round{number}"
        self._node.order("create", name=name)
        self._kill_soon(1.2)
        files = {path.name for path in self._node.volume.iterdir()}
        for each in self._node.listed():
            assert each["verified"], f"{each['id']} is half a backup"
            verify(self._node.volume / each["id"], ignore_progress)
            files -= {each["id"], f"{each['id']}.sha256"}
        assert not files, f"{files} are left in the volume"
        made = [each["id"] for each in self._node.listed() if each["name"] == name]
        return "made" if made else "not made"

    def of_a_restore(self, number: int) -> str:
        """Kill it while it restores; says which data it has then."""
        self._node.at_database("write", str(number), str(self._documents))
        self._node.order("restore", id=self._kept)
        self._kill_soon(2.0)
        shown = self._node.at_database("show")
        assert shown["counts"] == [self._documents] * 3, shown
        assert shown["generations"] in ([[0]] * 3, [[number]] * 3), shown
        assert shown["left"] == [], shown
        return "new data" if shown["generations"] == [[0]] * 3 else "old data"

    def _kill_soon(self, share: float) -> None:
        """Kill and start again; returns when what was left over should be gone."""
        time.sleep(self._chance.uniform(0, share * self._seconds))
        self._node.kill()
        self._node.start()
        place = self._node.settings.data_folder / FOLDER
        wait_for(
            lambda: (
                not list(place.glob("work-*"))
                and self._node.at_database("show")["left"] == []
            ),
            SWEPT_SECONDS,
            "everything is swept up",
            every=0.5,
        )


def main() -> int:
    """Exit code 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="tests.backups.kill_rounds")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - it is to be repeatable
    with tempfile.TemporaryDirectory(prefix="kill-rounds-") as folder:
        node = BackupsOfNode(Path(folder), "127.0.0.83")
        node.start()
        try:
            rounds = Rounds(node, chance)
            for number in range(1, options.rounds + 1):
                print(f"backup {number}: {rounds.of_a_backup(number)}", flush=True)  # noqa: T201
            for number in range(1, options.rounds + 1):
                print(f"restore {number}: {rounds.of_a_restore(number)}", flush=True)  # noqa: T201
        except (AssertionError, TimeoutError) as broken:
            print(f"BROKEN: {broken}")  # noqa: T201
            return 1
        finally:
            node.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
