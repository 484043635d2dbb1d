"""Verifies a backup again, and if wished restores it into a database of its own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

from twistlock_console.backups.format.progress import Tell
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.dump import Store
from twistlock_console.backups.operations.restore import Order, load
from twistlock_console.backups.storage.verify import verify
from twistlock_console.backups.storage.volume import Volume, hash_of
from twistlock_console.backups.storage.work_folder import Workplace
from twistlock_console.common.errors import Refused
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_answering,
)
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.settings import Settings

START_SECONDS = 60.0
COMMAND_MS = 3_600_000
HERE = "127.0.0.1"


def verify_again(
    settings: Settings, file: str, tell: Tell, *, restored: bool
) -> dict[str, Any]:
    """Verify *file* and seal it anew; with *restored* also restore it for a trial.

    Raises ConsoleError with what is wrong.
    """
    volume = Volume(settings.data_recovery_volume)
    path = volume.path(file)
    manifest = verify(path, tell, decode=True)
    sha256 = hash_of(path)
    if volume.sealed_hash(file) not in (None, sha256):
        raise Refused(f"{file} was changed since it was made")
    if restored:
        with scratch_database(settings) as (database, folder):
            load(database, Order("trial", path, "nobody"), folder, tell)
            restore_journal.complete(database)
    volume.seal(file, sha256)
    return {"file": file, "size": path.stat().st_size, "bytes": manifest.size}


@contextmanager
def scratch_database(settings: Settings) -> Iterator[tuple[Store, Path]]:
    """A database that nobody else uses and of which nothing is left."""
    with Workplace(settings.folders) as place:
        own = replace(
            settings,
            node_address=HERE,
            data_folder=place.folder / "node",
            database_port=_free_port(),
            database_cache_gb=0.25,
            plugin_values={},
        )
        own.folders.create()
        certificates = settings.folders.certificates
        copytree(certificates, own.folders.certificates, dirs_exist_ok=True)
        prepare_secrets(own.folders)
        with running_database(own) as database:
            yield database, own.data_folder


@contextmanager
def running_database(settings: Settings) -> Iterator[Store]:
    """The database of *settings*, running for as long as it is needed.

    Raises Refused if it belongs to a larger cluster, and DatabaseError.
    """
    mongod = Mongod(settings, Bus())
    mongod.start()
    try:
        wait_answering(settings, START_SECONDS, mongod)
        if not initiate_set(settings):
            raise Refused(
                "this node belongs to a cluster, and its database alone cannot be "
                "written to; start the nodes and restore from the page or with "
                "`twistlock-console backup restore`"
            )
        create_users(settings)
        credentials = credentials_for(settings, "console")
        with connect(
            settings,
            credentials,
            app_name="restore",
            timeout_ms=COMMAND_MS,
            awaits=True,
        ) as client:
            yield client["twistlock"]
    finally:
        mongod.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])
