"""A database on the loopback, and a volume, for tests of backups."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.database.database_node import prepared
from twistlock_console.backups.format.manifest import Manifest
from twistlock_console.backups.operations.create import (
    BackupRequest,
    FinishedBackup,
    create_backup,
)
from twistlock_console.backups.operations.restore import RestoreRequest, load
from twistlock_console.backups.storage.work import JobProgress
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    wait_until_answering,
)
from twistlock_console.database.client import Db, connect, credentials_for
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.settings import Settings

PASSPHRASE = b"correct horse battery"


def ignore_progress(_progress: JobProgress) -> None:
    """Take progress that no test looks at."""


@dataclass(frozen=True, slots=True)
class BackupNode:
    settings: Settings
    database: Db

    def with_volume(self, folder: Path) -> "BackupNode":
        """The same database, emptied, with the volume *folder*."""
        for name in self.database.list_collection_names():
            self.database.drop_collection(name)
        folder.mkdir()
        return replace(
            self, settings=replace(self.settings, data_recovery_volume=folder)
        )

    @property
    def volume(self) -> Path:
        return self.settings.data_recovery_volume

    def make(self, *names: str, passphrase: bytes | None = None) -> FinishedBackup:
        """Make a backup now."""
        request = BackupRequest(names or ("manual",), int(time.time()), 7)
        made = create_backup(
            self.settings, self.database, request, passphrase, ignore_progress
        )
        return made[0]

    def load(self, file: str, run: str = "run1") -> Manifest:
        """Load the backup *file* and commit it."""
        request = RestoreRequest(run, self.volume / file, "admin")
        return load(self.database, request, self.settings.data_folder, ignore_progress)


@contextmanager
def started(root: Path, cache_gb: float = 0.25) -> Iterator[BackupNode]:
    """A set of one that runs until the end."""
    settings = replace(prepared(root), database_cache_gb=cache_gb)
    mongod = Mongod(settings, Bus())
    mongod.start()
    try:
        wait_until_answering(settings, 30)
        initiate_set(settings)
        create_users(settings)
        credentials = credentials_for(settings, "console")
        with connect(
            settings, credentials, app_name="tests", timeout_ms=60_000, is_awaiting=True
        ) as client:
            yield BackupNode(settings, client["twistlock"])
    finally:
        mongod.stop()


def fill(database: Db, documents: int = 300) -> None:
    """Some collections with indexes and options, and what no backup holds."""
    database["settings"].insert_one({"_id": "initialized"})
    database.create_collection("events", validator={"n": {"$gte": 0}})
    database["events"].create_index([("n", -1)], name="newest")
    database["events"].create_index("expires", expireAfterSeconds=3600, sparse=True)
    rows: list[dict[str, Any]] = [
        {"_id": n, "n": n, "text": os.urandom(20).hex()} for n in range(documents)
    ]
    database["events"].insert_many(rows)
    database["audits_mgmt"].insert_one({"_id": 1, "status": "before"})
    database["users"].insert_one({"_id": "admin", "sessionEpoch": 4})
    database["lease"].insert_one({"_id": "console", "epoch": 7})
    database["ha_nodes"].insert_one({"_id": "AB:CD"})
    database.create_collection("empty")


def contents(database: Db, *names: str) -> dict[str, list[dict[str, Any]]]:
    """What the collections hold, in their order."""
    found = names or [
        n for n in database.list_collection_names() if n != "system.views"
    ]
    return {name: list(database[name].find()) for name in sorted(found)}
