"""Loads a backup into collections beside the present ones, and verifies them there."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage
from typing import Any, cast

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.backups.format.archive import Entry, Reader, reading, unpacked
from twistlock_console.backups.format.bson_stream import count, split
from twistlock_console.backups.format.collections import temporary
from twistlock_console.backups.format.manifest import (
    IDENTITY,
    Held,
    Manifest,
    why_not_here,
)
from twistlock_console.backups.format.progress import Meter, Tell
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.dump import BATCH, Store
from twistlock_console.backups.operations.restore_plan import AUDITS, Journal, State
from twistlock_console.backups.storage.verify import compare, read_metadata
from twistlock_console.backups.storage.volume import Volume
from twistlock_console.common.errors import Refused

BATCH_BYTES = 4 * 1024**2
BATCH_DOCUMENTS = 10_000
RAW: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Order:
    """Restore the backup at *path*; *run* names this restore, *by* who wants it."""

    run: str
    path: Path
    by: str


def load(database: Store, order: Order, data_folder: Path, tell: Tell) -> Manifest:
    """Load the backup, verify it, and commit it; ``restore_journal.complete`` does it.

    Until the commit nothing that counts is changed, and what was loaded is dropped if
    anything fails, or if the file is not the one that was sealed. Raises ConsoleError.
    """
    now = datetime.now(UTC)
    began = Journal(order.run, State.LOADING, order.path.name, order.by, now)
    volume = Volume(order.path.parent)
    with reading(order.path, volume.sealed_hash(order.path.name)) as reader:
        free = disk_usage(data_folder).free
        if refusal := why_not_here(reader.manifest, __version__, free):
            raise Refused(refusal)
        restore_journal.begin(database, began)
        try:
            _load(database, order.run, reader, tell)
        except Exception as error:
            _give_up(database, order.run, error)
            raise
        return reader.manifest


def _give_up(database: Store, run: str, error: Exception) -> None:
    try:
        restore_journal.fail(database, run, str(error))
        restore_journal.sweep(database, None)
    except PyMongoError:
        restore_journal.log.warning("what the failed restore loaded is dropped later")


def _load(database: Store, run: str, reader: Reader, tell: Tell) -> None:
    manifest = reader.manifest
    held = {each.data_file: each for each in manifest.collections}
    by_metadata = {each.metadata_file: each for each in manifest.collections}
    metadata: dict[str, dict[str, Any]] = {}
    meter = Meter("loading", manifest.size, tell)
    for entry in reader.entries():
        if entry.name in by_metadata:
            name = by_metadata[entry.name].name
            metadata[name] = read_metadata(entry, by_metadata[entry.name])
            _create(database, temporary(run, name), metadata[name]["options"])
        elif entry.name in held:
            each = held[entry.name]
            _insert(_raw(database, run, each), entry, each, meter)
        elif entry.name != IDENTITY:
            raise Refused(f"{entry.name} does not belong in it")
    meter = Meter("comparing", manifest.size, tell)
    for each in manifest.collections:
        _compare(_raw(database, run, each), each, meter)
    _finish(database, run, manifest, metadata, tell)


def _create(database: Store, name: str, options: dict[str, Any]) -> None:
    database.command({"create": name, **options})


def _raw(database: Store, run: str, held: Held) -> Collection[RawBSONDocument]:
    return database[temporary(run, held.name)].with_options(codec_options=RAW)


def _insert(
    collection: Collection[RawBSONDocument], entry: Entry, held: Held, meter: Meter
) -> None:
    """Insert while the next documents are unpacked; in order, so hashes compare."""
    digest, documents = hashlib.sha256(), 0
    under_way: Future[Any] | None = None
    with ThreadPoolExecutor(1, "inserter") as worker:
        for batch in _batches(split(unpacked(entry, held.bytes))):
            for document in batch:
                digest.update(document)
            documents += len(batch)
            raw = [RawBSONDocument(document, RAW) for document in batch]
            if under_way is not None:
                under_way.result()
            under_way = worker.submit(collection.insert_many, raw)
            meter.add(sum(map(len, batch)))
        if under_way is not None:
            under_way.result()
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


def _compare(collection: Collection[RawBSONDocument], held: Held, meter: Meter) -> None:
    """Read what was loaded as the database gives it, and compare it."""
    digest, documents = hashlib.sha256(), 0
    batches = collection.find_raw_batches({}, batch_size=BATCH)
    for batch in cast(Iterable[bytes], batches):
        digest.update(batch)
        documents += count(batch)
        meter.add(len(batch))
    compare(held, documents, digest.hexdigest())


def _finish(
    database: Store,
    run: str,
    manifest: Manifest,
    metadata: dict[str, dict[str, Any]],
    tell: Tell,
) -> None:
    """Make the indexes, keep the records of this Console; commit.

    The indexes come last: one that removes what has had its time would remove
    documents before they could be compared.
    """
    meter = Meter("making indexes", len(metadata), tell)
    for name, told in metadata.items():
        specs = [spec for spec in told["indexes"] if spec["name"] != "_id_"]
        if specs:
            database.command("createIndexes", temporary(run, name), indexes=specs)
        meter.add(1)
    names = [held.name for held in manifest.collections]
    if AUDITS in names:
        restore_journal.keep_audits(database, run)
    restore_journal.commit(database, run, names)
