"""Reads the database as it was at one moment, into compressed files of a folder.

All collections are read in one snapshot session, so at one cluster time, however
long it takes and whatever is written meanwhile. The documents pass through as the
bytes that MongoDB stores: a batch at a time, never decoded.
"""

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from bson import json_util
from bson.timestamp import Timestamp
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure

from twistlock_console.backups.format.archive import quick_gzip
from twistlock_console.backups.format.bson_stream import count
from twistlock_console.backups.format.collections import is_dumped
from twistlock_console.backups.format.manifest import Held
from twistlock_console.backups.format.progress import Meter, Tell
from twistlock_console.common.errors import ConsoleError

#: Documents a batch: far below the 16 MB that a reply may have, to bound memory.
BATCH = 4000
TRIES = 3
SNAPSHOT_UNAVAILABLE = 246
SNAPSHOT_TOO_OLD = 239

Store = Database[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Dump:
    """What was read, and at which cluster time."""

    collections: tuple[Held, ...]
    cluster_time: str


def dump(database: Store, folder: Path, tell: Tell) -> Dump:
    """Read *database* into *folder*; raises ConsoleError and pymongo's errors.

    MongoDB refuses a snapshot while a collection is being made or renamed: then it
    is taken anew.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            return _dump(database, folder, tell)
        except OperationFailure as error:
            if error.code == SNAPSHOT_TOO_OLD:
                raise ConsoleError(
                    "the backup took longer than MongoDB keeps old data; make it when "
                    "less is written"
                ) from error
            if error.code != SNAPSHOT_UNAVAILABLE or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def data_path(folder: Path, place: int) -> Path:
    """Where the documents of the collection number *place* are in *folder*."""
    return folder / f"{place}.bson.gz"


def metadata_path(folder: Path, place: int) -> Path:
    """Where its metadata are."""
    return folder / f"{place}.metadata.json.gz"


def _dump(database: Store, folder: Path, tell: Tell) -> Dump:
    with database.client.start_session(snapshot=True) as session:
        # The first read fixes the moment; collections made later are not in it.
        database["settings"].find_one({}, session=session)
        infos = list(database.list_collections(filter={"type": "collection"}))
        infos = sorted(
            (i for i in infos if is_dumped(i["name"])), key=lambda i: i["name"]
        )
        meter = Meter("reading the database", _stored(database, infos), tell)
        held = tuple(
            _collection(database, info, folder, place, (session, meter))
            for place, info in enumerate(infos)
        )
        return Dump(held, _told(session))


def _stored(database: Store, infos: list[Any]) -> int:
    stages: list[dict[str, Any]] = [{"$collStats": {"storageStats": {}}}]
    found = (list(database[info["name"]].aggregate(stages)) for info in infos)
    return sum(int(stats[0]["storageStats"]["size"]) for stats in found if stats)


def _told(session: ClientSession) -> str:
    # Only the session knows the moment that its first read fixed.
    moment: Timestamp | None = session._snapshot_time
    return f"{moment.time}.{moment.inc}" if moment else ""


def _collection(
    database: Store,
    info: Any,
    folder: Path,
    place: int,
    reading: tuple[ClientSession, Meter],
) -> Held:
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
    metadata_path(folder, place).write_bytes(gzip.compress(text, mtime=0))
    with _sink(data_path(folder, place)) as sink:
        batches = collection.find_raw_batches({}, session=session, batch_size=BATCH)
        for batch in cast(Iterable[bytes], batches):
            sink.put(batch)
            meter.add(len(batch))
    return Held(
        name=info["name"],
        documents=sink.documents,
        bytes=sink.bytes,
        sha256=sink.sha256,
        packed=data_path(folder, place).stat().st_size,
        metadata=metadata_path(folder, place).stat().st_size,
        metadata_sha256=hashlib.sha256(text).hexdigest(),
    )


class Sink:
    """Counts, hashes and compresses batches on a thread, while the next is read."""

    def __init__(self, packer: BinaryIO, worker: ThreadPoolExecutor) -> None:
        self._packer = packer
        self._worker = worker
        self._under_way: Future[None] | None = None
        self._hash = hashlib.sha256()
        self.documents = 0
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """The hash of all bytes that were put."""
        return self._hash.hexdigest()

    def put(self, batch: bytes) -> None:
        """Take *batch*; waits while the one before is under way."""
        self.settle()
        self._under_way = self._worker.submit(self._take, batch)

    def settle(self) -> None:
        """Wait for the batch that is under way; raises what went wrong with it."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def _take(self, batch: bytes) -> None:
        self.documents += count(batch)
        self.bytes += len(batch)
        self._hash.update(batch)
        self._packer.write(batch)


@contextmanager
def _sink(path: Path) -> Iterator[Sink]:
    with (
        path.open("wb") as file,
        quick_gzip(file, "wb") as packer,
        ThreadPoolExecutor(1, "packer") as worker,
    ):
        sink = Sink(packer, worker)
        yield sink
        sink.settle()
