"""Create a backup: dump the database, write the file, read it back and seal it.

All collections are read in one snapshot session, so at one cluster time, however long
it takes and whatever is written meanwhile. The documents are copied as the bytes that
MongoDB stores: a batch at a time, never decoded.
"""

import gzip
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from os import fsync
from pathlib import Path
from typing import cast

from bson import json_util
from bson.timestamp import Timestamp
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from twistlock_console import __version__
from twistlock_console.backups.format.archive import ArchiveWriter, packing
from twistlock_console.backups.format.manifest import (
    IDENTITY,
    MANIFEST,
    BackupKind,
    BackupName,
    CollectionEntry,
    Manifest,
    is_dumped,
)
from twistlock_console.backups.operations import identity
from twistlock_console.backups.storage.volume import (
    StoredBackup,
    Volume,
    create_file,
    hash_of,
    read_manifest,
    verify,
)
from twistlock_console.backups.storage.work import Meter, ReportProgress, WorkFolder
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.database.client import Db, Document
from twistlock_console.pki.certificates import fingerprint
from twistlock_console.pki.identity_files import AUTHORITY
from twistlock_console.settings import Settings

#: Documents a batch: far below the 16 MB that a reply may have, to bound memory.
BATCH_DOCUMENTS = 4000
MAX_ATTEMPTS = 3
SNAPSHOT_UNAVAILABLE = 246
SNAPSHOT_TOO_OLD = 239


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """The backups to create from one dump: *names*, Unix *time* and *epoch*."""

    names: tuple[str, ...]
    time: int
    epoch: int


@dataclass(frozen=True, slots=True)
class FinishedBackup:
    """A finished backup: its file name, its size in bytes, and its manifest."""

    file: str
    size: int
    manifest: Manifest


def create_backup(
    settings: Settings,
    database: Db,
    request: BackupRequest,
    passphrase: bytes | None,
    report: ReportProgress,
) -> list[FinishedBackup]:
    """Create the backups; raises ConsoleError and pymongo's errors.

    Retention: when a scheduled backup is sealed, the older ones of its kind that this
    Console made are deleted.
    """
    volume = Volume(settings.data_recovery_volume)
    sealed = b""
    if passphrase is not None:
        sealed = identity.seal(identity.collect(settings.folders), passphrase)
    with WorkFolder(settings.folders) as work:
        try:
            dumped = dump_database(database, work.folder, report)
        except OSError as error:
            raise ConsoleError(
                f"the backup cannot be prepared in {work.folder}: {error.strerror}; "
                "free space in DATA_FOLDER"
            ) from error
        return [
            _write(
                _Draft(settings, request, name, dumped, sealed), work, volume, report
            )
            for name in request.names
        ]


@dataclass(frozen=True, slots=True)
class Dump:
    """The collections that were read, and their cluster time."""

    collections: tuple[CollectionEntry, ...]
    cluster_time: str


def dump_database(database: Db, folder: Path, report: ReportProgress) -> Dump:
    """Read *database* into *folder*; raises ConsoleError and pymongo's errors.

    MongoDB refuses a snapshot while a collection is created or renamed; that is
    retried.
    """
    for tries_left in reversed(range(MAX_ATTEMPTS)):
        try:
            return _dump(database, folder, report)
        except OperationFailure as error:
            if error.code == SNAPSHOT_TOO_OLD:
                raise ConsoleError(
                    "the backup took longer than MongoDB keeps old data; retry when "
                    "less is written"
                ) from error
            if error.code != SNAPSHOT_UNAVAILABLE or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def data_path(folder: Path, number: int) -> Path:
    """Return the path in *folder* of the documents of collection *number*."""
    return folder / f"{number}.bson.gz"


def metadata_path(folder: Path, number: int) -> Path:
    """Return the path in *folder* of the options and indexes of that collection."""
    return folder / f"{number}.metadata.json.gz"


def _dump(database: Db, folder: Path, report: ReportProgress) -> Dump:
    with database.client.start_session(snapshot=True) as session:
        # The first read fixes the cluster time; later collections are not in it.
        database["settings"].find_one({}, session=session)
        listed = list(database.list_collections(filter={"type": "collection"}))
        infos = [dict(info) for info in listed if is_dumped(info["name"])]
        infos.sort(key=lambda info: str(info["name"]))
        meter = Meter("reading the database", _stored_bytes(database, infos), report)
        held = tuple(
            _collection(database, info, folder, number, (session, meter))
            for number, info in enumerate(infos)
        )
        return Dump(held, _cluster_time(session))


def _stored_bytes(database: Db, infos: list[Document]) -> int:
    stages: list[Document] = [{"$collStats": {"storageStats": {}}}]
    found = (list(database[info["name"]].aggregate(stages)) for info in infos)
    return sum(int(stats[0]["storageStats"]["size"]) for stats in found if stats)


def _cluster_time(session: ClientSession) -> str:
    # Only the session knows the cluster time that its first read fixed.
    moment: Timestamp | None = session._snapshot_time
    return f"{moment.time}.{moment.inc}" if moment else ""


def _collection(
    database: Db,
    info: Document,
    folder: Path,
    number: int,
    reading: tuple[ClientSession, Meter],
) -> CollectionEntry:
    session, meter = reading
    collection = database[info["name"]]
    metadata = {
        "options": info.get("options", {}),
        "indexes": [dict(index) for index in collection.list_indexes()],
        "uuid": info["info"]["uuid"].hex(),
        "collectionName": info["name"],
        "type": "collection",
    }
    canonical = json_util.CANONICAL_JSON_OPTIONS
    text = json_util.dumps(metadata, json_options=canonical).encode()
    metadata_path(folder, number).write_bytes(gzip.compress(text, mtime=0))
    with packing(data_path(folder, number)) as packer:
        batches = collection.find_raw_batches(
            {}, session=session, batch_size=BATCH_DOCUMENTS
        )
        for batch in cast(Iterable[bytes], batches):
            packer.put(batch)
            meter.add(len(batch))
    return CollectionEntry(
        name=info["name"],
        documents=packer.documents,
        bytes=packer.bytes,
        sha256=packer.sha256,
        packed=data_path(folder, number).stat().st_size,
        metadata=metadata_path(folder, number).stat().st_size,
        metadata_sha256=hashlib.sha256(text).hexdigest(),
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    settings: Settings
    request: BackupRequest
    name: str
    dumped: Dump
    identity: bytes

    @property
    def file(self) -> str:
        return BackupName(self.name, __version__, self.request.time).file

    def manifest(self) -> Manifest:
        authority = self.settings.folders.certificates / AUTHORITY
        return Manifest(
            name=self.name,
            version=__version__,
            time=self.request.time,
            epoch=self.request.epoch,
            cluster_time=self.dumped.cluster_time,
            authority=fingerprint(authority.read_bytes()),
            identity=bool(self.identity),
            collections=self.dumped.collections,
        )


def _write(
    draft: _Draft, work: WorkFolder, volume: Volume, report: ReportProgress
) -> FinishedBackup:
    target = volume.path(draft.file)
    work.claim(target)
    manifest = draft.manifest()
    try:
        sha256, size = _pack(draft, manifest, work.folder, target, report)
    except FileExistsError as error:
        raise ConsoleError(f"there is a backup {draft.file} already") from error
    except OSError as error:
        _remove(target)
        raise volume.failure(error) from error
    return _check(FinishedBackup(draft.file, size, manifest), sha256, volume, report)


def _pack(
    draft: _Draft,
    manifest: Manifest,
    folder: Path,
    target: Path,
    report: ReportProgress,
) -> tuple[str, int]:
    """Write the file of the backup; return its hash and its size."""
    files = [
        (held.metadata_file, held.metadata, metadata_path(folder, number))
        for number, held in enumerate(manifest.collections)
    ]
    files += [
        (held.data_file, held.packed, data_path(folder, number))
        for number, held in enumerate(manifest.collections)
    ]
    meter = Meter("writing to the volume", sum(size for _, size, _ in files), report)
    with create_file(target) as file:
        writer = ArchiveWriter(file)
        made = manifest.time
        writer.add_bytes(MANIFEST, manifest.as_bytes(), made)
        if manifest.identity:
            writer.add_bytes(IDENTITY, draft.identity, made)
        for name, size, path in files:
            with path.open("rb") as source:
                writer.add(name, size, source, made)
            meter.add(size)
        writer.close()
        file.flush()
        fsync(file.fileno())
    return writer.sha256, writer.size


def _check(
    made: FinishedBackup, sha256: str, volume: Volume, report: ReportProgress
) -> FinishedBackup:
    """Read the file back, seal it, and delete the backups that it replaces."""
    target = volume.path(made.file)
    try:
        _read_back(target, sha256, report)
        volume.seal(made.file, sha256)
    except OSError as error:
        _remove(target)
        raise volume.failure(error) from error
    except ConsoleError:
        _remove(target)
        raise
    if made.manifest.name in BackupKind.__members__.values():
        _prune(volume, made)
    return made


def _read_back(target: Path, sha256: str, report: ReportProgress) -> None:
    try:
        verify(target, report, sha256=sha256)
    except Refused as error:
        if hash_of(target) == sha256:
            raise
        raise ConsoleError(
            f"the backup volume {target.parent} returned other bytes than were "
            "written; check its disk"
        ) from error


def _prune(volume: Volume, newest: FinishedBackup) -> None:
    """Delete the backups that *newest* replaces, those of this Console alone.

    A volume outlives its Console. Another Console's backup may be its last copy, and
    the file name does not say which Console made it.
    """
    for old in volume.list():
        same_kind = old.name.name == newest.manifest.name
        if same_kind and old.name.file != newest.file and _is_ours(volume, old, newest):
            volume.delete(old.name.file)


def _is_ours(volume: Volume, old: StoredBackup, ours: FinishedBackup) -> bool:
    """Return whether one Console made *ours* and *old*; in doubt, False."""
    try:
        found = read_manifest(volume.path(old.name.file))
    except Refused:
        return False
    return found.authority == ours.manifest.authority


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
