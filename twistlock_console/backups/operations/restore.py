"""Load a backup into temporary collections, and verify them there."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage
from typing import cast

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.backups.format.archive import (
    ArchiveEntry,
    ArchiveReader,
    open_archive,
    unpacked,
)
from twistlock_console.backups.format.bson_stream import count, split
from twistlock_console.backups.format.manifest import (
    IDENTITY,
    CollectionEntry,
    Manifest,
    restore_refusal,
    temporary,
)
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.restore_plan import (
    AUDITS,
    Journal,
    RestoreState,
)
from twistlock_console.backups.storage.volume import Volume, compare, read_metadata
from twistlock_console.backups.storage.work import Meter, ReportProgress
from twistlock_console.common.errors import Refused
from twistlock_console.database.client import Db, Document

#: Documents of a batch that is read back: see `create.BATCH`.
READ_BATCH_DOCUMENTS = 4000
BATCH_BYTES = 4 * 1024**2
BATCH_DOCUMENTS = 10_000
RAW: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Restore the backup at *path*; *run* names this restore, *by* is the user."""

    run: str
    path: Path
    by: str


def load(
    database: Db, request: RestoreRequest, data_folder: Path, report: ReportProgress
) -> Manifest:
    """Load the backup, verify it, and commit it; ``restore_journal.complete`` is next.

    Until the commit no collection in use is changed. The loaded ones are dropped if
    anything fails, or if the file is not the one that was sealed. Raises ConsoleError.
    """
    now = datetime.now(UTC)
    began = Journal(
        request.run, RestoreState.LOADING, request.path.name, request.by, now
    )
    volume = Volume(request.path.parent)
    # Before the backup is opened: it is not to blame for this refusal.
    restore_journal.refuse_if_running(database)
    with open_archive(request.path, volume.sealed_hash(request.path.name)) as reader:
        free = disk_usage(data_folder).free
        if refusal := restore_refusal(reader.manifest, __version__, free):
            raise Refused(refusal)
        restore_journal.begin(database, began)
        try:
            _load(database, request.run, reader, report)
        except Exception as error:
            _abandon(database, request.run, error)
            raise
        return reader.manifest


def _abandon(database: Db, run: str, error: Exception) -> None:
    try:
        restore_journal.fail(database, run, str(error))
        restore_journal.sweep(database, None)
    except PyMongoError:
        restore_journal.log.warning("the data of the failed restore is dropped later")


def _load(
    database: Db, run: str, reader: ArchiveReader, report: ReportProgress
) -> None:
    manifest = reader.manifest
    held = {each.data_file: each for each in manifest.collections}
    by_metadata = {each.metadata_file: each for each in manifest.collections}
    metadata: dict[str, Document] = {}
    meter = Meter("loading", manifest.size, report)
    for entry in reader.entries():
        if entry.name in by_metadata:
            name = by_metadata[entry.name].name
            metadata[name] = read_metadata(entry, by_metadata[entry.name])
            _create(database, temporary(run, name), metadata[name]["options"])
        elif entry.name in held:
            each = held[entry.name]
            _insert(_raw(database, run, each), entry, each, meter)
        elif entry.name != IDENTITY:
            raise Refused(f"{entry.name} in it is unexpected")
    meter = Meter("comparing", manifest.size, report)
    for each in manifest.collections:
        _compare(_raw(database, run, each), each, meter)
    _finish(database, run, manifest, metadata, report)


def _create(database: Db, name: str, options: Document) -> None:
    database.command({"create": name, **options})


def _raw(database: Db, run: str, held: CollectionEntry) -> Collection[RawBSONDocument]:
    return database[temporary(run, held.name)].with_options(codec_options=RAW)


def _insert(
    collection: Collection[RawBSONDocument],
    entry: ArchiveEntry,
    held: CollectionEntry,
    meter: Meter,
) -> None:
    """Insert on a thread while more is unpacked; in order, so that hashes compare."""
    digest, documents = hashlib.sha256(), 0
    pending: Future[object] | None = None
    with ThreadPoolExecutor(1, "inserter") as worker:
        for batch in _batches(split(unpacked(entry, held.bytes))):
            for document in batch:
                digest.update(document)
            documents += len(batch)
            raw = [RawBSONDocument(document, RAW) for document in batch]
            if pending is not None:
                pending.result()
            pending = worker.submit(collection.insert_many, raw)
            meter.add(sum(map(len, batch)))
        if pending is not None:
            pending.result()
    compare(held, documents, digest.hexdigest())


def _batches(parts: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for documents in parts:
        batch += documents
        size += sum(map(len, documents))
        if size >= BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _compare(
    collection: Collection[RawBSONDocument], held: CollectionEntry, meter: Meter
) -> None:
    """Read the loaded collection back from the database, and compare its hash."""
    digest, documents = hashlib.sha256(), 0
    batches = collection.find_raw_batches({}, batch_size=READ_BATCH_DOCUMENTS)
    for batch in cast(Iterable[bytes], batches):
        digest.update(batch)
        documents += count(batch)
        meter.add(len(batch))
    compare(held, documents, digest.hexdigest())


def _finish(
    database: Db,
    run: str,
    manifest: Manifest,
    metadata: dict[str, Document],
    report: ReportProgress,
) -> None:
    """Create the indexes, keep the audit records of this Console, and commit.

    The indexes come last: a TTL index would remove documents before they
    could be compared.
    """
    meter = Meter("making indexes", len(metadata), report)
    for name, each in metadata.items():
        specs = [spec for spec in each["indexes"] if spec["name"] != "_id_"]
        if specs:
            database.command("createIndexes", temporary(run, name), indexes=specs)
        meter.add(1)
    names = [held.name for held in manifest.collections]
    if AUDITS in names:
        restore_journal.keep_audits(database, run)
    restore_journal.commit(database, run, names)
