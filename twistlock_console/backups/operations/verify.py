"""Verify a stored backup, also by a trial restore, and import an uploaded one."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree

from twistlock_console.backups.format.manifest import BackupName, Manifest
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.restore import RestoreRequest, load
from twistlock_console.backups.storage.volume import Volume, copy_file, hash_of, verify
from twistlock_console.backups.storage.work import (
    ReportProgress,
    WorkFolder,
    WorkResult,
)
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.client import Db, connect, credentials_for
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.settings import Settings

START_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_MS = 3_600_000
LOOPBACK = "127.0.0.1"


def verify_stored(
    settings: Settings, file: str, report: ReportProgress, *, restored: bool
) -> WorkResult:
    """Verify *file* and seal it again; with *restored* also try a restore of it.

    The trial runs in a temporary database. Raises ConsoleError with the reason.
    """
    volume = Volume(settings.data_recovery_volume)
    path = volume.path(file)
    manifest = verify(path, report, decode=True)
    sha256 = hash_of(path)
    if volume.sealed_hash(file) not in (None, sha256):
        raise Refused(f"{file} was changed since it was made")
    if restored:
        with scratch_database(settings) as (database, folder):
            load(database, RestoreRequest("trial", path, "nobody"), folder, report)
            restore_journal.complete(database)
    volume.seal(file, sha256)
    return WorkResult(file, manifest.size, path.stat().st_size)


def import_upload(
    settings: Settings, upload: Path, file: str, report: ReportProgress
) -> WorkResult:
    """Verify *upload*, store it as *file* and delete it; raises ConsoleError."""
    volume, name = Volume(settings.data_recovery_volume), BackupName.of(file)
    try:
        manifest = verify(upload, report, decode=True)
        _compare(manifest, name)
        _store(settings, upload, file, volume)
    except Refused as error:
        raise Refused(str(error).replace(upload.name, file)) from error
    finally:
        upload.unlink(missing_ok=True)
    size = volume.find(file).size
    return WorkResult(file, manifest.size, size)


def _compare(manifest: Manifest, name: BackupName) -> None:
    right = BackupName(name.name, manifest.version, manifest.time)
    if name != right:
        raise Refused(f"it was changed since it was sent: it is {right.file} now")


def _store(settings: Settings, upload: Path, file: str, volume: Volume) -> None:
    target = volume.path(file)
    with WorkFolder(settings.folders) as work:
        if target.exists():
            raise Refused(f"there is a backup {file} already")
        work.claim(target)
        try:
            sha256 = copy_file(upload, target)
            same = hash_of(target) == sha256
        except OSError as error:
            raise volume.failure(error) from error
        if not same:
            target.unlink()
            raise ConsoleError(f"the volume {volume.root} returned other bytes")
        volume.seal(file, sha256)


@contextmanager
def scratch_database(settings: Settings) -> Iterator[tuple[Db, Path]]:
    """Run an empty temporary database; yield it and its data folder."""
    with WorkFolder(settings.folders) as work:
        own = replace(
            settings,
            node_address=LOOPBACK,
            data_folder=work.folder / "node",
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
def running_database(settings: Settings) -> Iterator[Db]:
    """Run the database of *settings* and yield it.

    Raises Refused if it belongs to a larger cluster, and DatabaseError.
    """
    mongod = Mongod(settings, Bus())
    mongod.start()
    try:
        wait_until_answering(settings, START_TIMEOUT_S, mongod)
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
            timeout_ms=COMMAND_TIMEOUT_MS,
            is_awaiting=True,
        ) as client:
            yield client["twistlock"]
    finally:
        mongod.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])
