"""Reads a backup from front to back and compares it with what it says it holds."""

import hashlib
from pathlib import Path

import bson
from bson import json_util
from bson.errors import BSONError

from twistlock_console.backups.format.archive import Entry, reading, unpacked
from twistlock_console.backups.format.bson_stream import Counting, split
from twistlock_console.backups.format.manifest import Held, Manifest
from twistlock_console.backups.format.progress import Meter, Tell
from twistlock_console.common.errors import Refused

LARGEST_METADATA = 4 * 1024**2


def read_manifest(path: Path) -> Manifest:
    """What the backup at *path* says of itself; raises Refused."""
    with reading(path) as reader:
        return reader.manifest


def verify(
    path: Path, tell: Tell, *, decode: bool = False, sha256: str | None = None
) -> Manifest:
    """Read all of the backup at *path*; raises Refused with what is wrong.

    Every hash, count and size is compared, the whole file's with *sha256* where that is
    known, and with *decode* every document is decoded: what was read from MongoDB a
    moment ago needs that no more.
    """
    read = _decoded if decode else _read
    with reading(path, sha256) as reader:
        meter = Meter("verifying", reader.manifest.size, tell)
        held = {each.data_file: each for each in reader.manifest.collections}
        described = {each.metadata_file: each for each in reader.manifest.collections}
        for entry in reader.entries():
            if entry.name in held:
                compare(held[entry.name], *read(entry, held[entry.name], meter))
            elif entry.name in described:
                read_metadata(entry, described[entry.name])
        return reader.manifest


def read_metadata(entry: Entry, held: Held) -> dict[str, object]:
    """The options and indexes of *held* in *entry*; raises Refused."""
    text = b"".join(unpacked(entry, LARGEST_METADATA))
    if hashlib.sha256(text).hexdigest() != held.metadata_sha256:
        raise Refused(f"{entry.name} in it is damaged")
    try:
        found = json_util.loads(text.decode())
        if isinstance(found["options"], dict) and isinstance(found["indexes"], list):
            return dict(found)
    except (ValueError, KeyError, TypeError, RecursionError, BSONError):
        pass
    raise Refused(f"{entry.name} in it is damaged")


def _read(entry: Entry, held: Held, meter: Meter) -> tuple[int, str]:
    """How many documents there are, and their hash."""
    digest, counting = hashlib.sha256(), Counting()
    for chunk in unpacked(entry, held.bytes):
        digest.update(chunk)
        counting.feed(chunk)
        meter.add(len(chunk))
    counting.close()
    return counting.documents, digest.hexdigest()


def _decoded(entry: Entry, held: Held, meter: Meter) -> tuple[int, str]:
    """The same, when each of them could be decoded."""
    digest, documents = hashlib.sha256(), 0
    for chunk in split(unpacked(entry, held.bytes)):
        joined = b"".join(chunk)
        digest.update(joined)
        documents += len(chunk)
        _decode(joined, held)
        meter.add(len(joined))
    return documents, digest.hexdigest()


def compare(held: Held, documents: int, sha256: str) -> None:
    """Raise Refused unless *held* has so many documents and that hash."""
    if (documents, sha256) != (held.documents, held.sha256):
        raise Refused(f"the collection {held.name} in it is not what it was")


def _decode(data: bytes, held: Held) -> None:
    try:
        bson.decode_all(data)
    except (BSONError, ValueError) as error:
        raise Refused(f"a document of {held.name} cannot be decoded") from error
