"""The backup volume: backups are written once, read back and verified, then sealed.

It is a disk, or an object store that is mounted like one. Such a store has no rename,
no append and no locks. So a backup is written there once, from front to back, under its
final name; it counts as verified once its seal, a small file with its hash, exists.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import bson
from bson import json_util
from bson.errors import BSONError

from twistlock_console.backups.format.archive import (
    ArchiveEntry,
    open_archive,
    unpacked,
)
from twistlock_console.backups.format.bson_stream import DocumentCounter, split
from twistlock_console.backups.format.manifest import (
    SEAL,
    BackupName,
    CollectionEntry,
    Manifest,
)
from twistlock_console.backups.storage.work import Meter, ReportProgress
from twistlock_console.common.errors import ConsoleError, Refused

CHUNK_BYTES = 1024**2
MAX_METADATA_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup in the volume; *verified* is None if it has no seal."""

    name: BackupName
    size: int
    verified: datetime | None


class Volume:
    """The folder *root* with its backups; raises ConsoleError if an operation fails."""

    def __init__(
        self, root: Path, *, rename: Callable[[Path, Path], object] = Path.rename
    ) -> None:
        self.root = root
        self._rename = rename

    def path(self, file: str) -> Path:
        """Return the path of the backup *file*; raises Refused for an invalid name."""
        return self.root / BackupName.of(file).file

    def find(self, file: str) -> StoredBackup:
        """Return the backup *file*; raises Refused if there is none."""
        path = self.path(file)
        try:
            return _stored(BackupName.of(file), path)
        except FileNotFoundError as error:
            raise Refused(f"there is no backup {file}") from error
        except OSError as error:
            raise self.failure(error) from error

    def list(self) -> list[StoredBackup]:
        """Return all backups, the newest first; skip other files."""
        try:
            files = [entry.name for entry in os.scandir(self.root)]
        except OSError as error:
            raise self.failure(error) from error
        names = [name for file in files if (name := BackupName.parse(file))]
        found = []
        for name in names:
            try:
                found.append(_stored(name, self.root / name.file))
            except FileNotFoundError:
                continue  # deleted meanwhile
            except OSError as error:
                raise self.failure(error) from error
        return sorted(found, key=lambda each: each.name.time, reverse=True)

    def seal(self, file: str, sha256: str) -> None:
        """Write the seal of *file*, which was read back and verified."""
        try:
            with _seal(self.path(file)).open("w", encoding="utf-8") as seal:
                seal.write(f"{sha256}  {file}\n")
                seal.flush()
                os.fsync(seal.fileno())
        except OSError as error:
            raise self.failure(error) from error

    def sealed_hash(self, file: str) -> str | None:
        """Return the hash (hex) of *file* when it was sealed; None without a seal.

        A file with an invalid name has none.
        """
        if BackupName.parse(file) is None:
            return None
        try:
            text = _seal(self.path(file)).read_text(encoding="ascii")
        except (FileNotFoundError, UnicodeError):
            return None
        except OSError as error:
            raise self.failure(error) from error
        return text.partition(" ")[0]

    def delete(self, file: str) -> None:
        """Delete the seal of *file*, then the file: half a backup is never sealed."""
        path = self.path(file)
        try:
            _seal(path).unlink(missing_ok=True)
            path.unlink()
        except FileNotFoundError as error:
            raise Refused(f"there is no backup {file}") from error
        except OSError as error:
            raise self.failure(error) from error

    def rename(self, file: str, new: str) -> None:
        """Rename *file* to *new*; copy it where the volume cannot rename."""
        old_path, new_path = self.path(file), self.path(new)
        if new_path.exists():
            raise Refused(f"there is a backup {new} already")
        sha256 = self.sealed_hash(file)
        try:
            self._move(old_path, new_path)
        except FileNotFoundError as error:
            raise Refused(f"there is no backup {file}") from error
        except OSError as error:
            raise self.failure(error) from error
        if sha256 is not None:
            self.seal(new, sha256)
        _seal(old_path).unlink(missing_ok=True)

    def _move(self, old: Path, new: Path) -> None:
        try:
            self._rename(old, new)
            return
        except FileNotFoundError:
            raise
        except OSError:
            before = copy_file(old, new)
        if hash_of(new) != before:
            new.unlink()
            raise OSError(f"the copy of {old.name} differs")
        old.unlink()

    def failure(self, error: OSError) -> ConsoleError:
        """Return *error* as a ConsoleError of one sentence."""
        return ConsoleError(
            f"the backup volume {self.root} cannot be used: "
            f"{error.strerror or error}; see that it is mounted, writable and not full"
        )


def _stored(name: BackupName, path: Path) -> StoredBackup:
    status = path.stat()
    try:
        sealed = _seal(path).stat().st_mtime
    except FileNotFoundError:
        return StoredBackup(name, status.st_size, None)
    return StoredBackup(name, status.st_size, datetime.fromtimestamp(sealed, UTC))


def _seal(path: Path) -> Path:
    return path.with_name(path.name + SEAL)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file in one pass; return the hash (hex) of the bytes that were read.

    An incomplete copy is removed.
    """
    digest = hashlib.sha256()
    with source.open("rb") as reader, create_file(target) as writer:
        try:
            while chunk := reader.read(CHUNK_BYTES):
                digest.update(chunk)
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return digest.hexdigest()


def create_file(path: Path) -> BinaryIO:
    """Create a file that only its owner may read; raises FileExistsError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def hash_of(path: Path) -> str:
    """Read a file from the disk, not from the page cache; return its hash (hex)."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the backup at *path*; raises Refused."""
    with open_archive(path) as reader:
        return reader.manifest


def verify(
    path: Path,
    report: ReportProgress,
    *,
    decode: bool = False,
    sha256: str | None = None,
) -> Manifest:
    """Read the whole backup at *path*, and compare every hash, count and size.

    Args:
        path: The file.
        report: Called with the progress.
        decode: Decode every document too; not needed for documents that were just read
            from MongoDB.
        sha256: The hash (hex) that the whole file must have, if known.

    Raises:
        Refused: The backup is damaged; with the reason.

    """
    read = _decoded if decode else _read
    with open_archive(path, sha256) as reader:
        meter = Meter("verifying", reader.manifest.size, report)
        held = {each.data_file: each for each in reader.manifest.collections}
        described = {each.metadata_file: each for each in reader.manifest.collections}
        for entry in reader.entries():
            if entry.name in held:
                compare(held[entry.name], *read(entry, held[entry.name], meter))
            elif entry.name in described:
                read_metadata(entry, described[entry.name])
        return reader.manifest


def read_metadata(entry: ArchiveEntry, held: CollectionEntry) -> dict[str, object]:
    """Return the options and indexes of *held* in *entry*; raises Refused."""
    text = b"".join(unpacked(entry, MAX_METADATA_BYTES))
    if hashlib.sha256(text).hexdigest() != held.metadata_sha256:
        raise Refused(f"{entry.name} in it is damaged")
    try:
        found = json_util.loads(text.decode())
        if isinstance(found["options"], dict) and isinstance(found["indexes"], list):
            return dict(found)
    except (ValueError, KeyError, TypeError, RecursionError, BSONError):
        pass
    raise Refused(f"{entry.name} in it is damaged")


def _read(entry: ArchiveEntry, held: CollectionEntry, meter: Meter) -> tuple[int, str]:
    """Return the number of documents, and their hash."""
    digest, counting = hashlib.sha256(), DocumentCounter()
    for chunk in unpacked(entry, held.bytes):
        digest.update(chunk)
        counting.feed(chunk)
        meter.add(len(chunk))
    counting.close()
    return counting.documents, digest.hexdigest()


def _decoded(
    entry: ArchiveEntry, held: CollectionEntry, meter: Meter
) -> tuple[int, str]:
    """Return the number of documents and their hash, after decoding each."""
    digest, documents = hashlib.sha256(), 0
    for chunk in split(unpacked(entry, held.bytes)):
        joined = b"".join(chunk)
        digest.update(joined)
        documents += len(chunk)
        _decode(joined, held)
        meter.add(len(joined))
    return documents, digest.hexdigest()


def compare(held: CollectionEntry, documents: int, sha256: str) -> None:
    """Raise Refused unless *documents* and *sha256* are those of *held*."""
    if (documents, sha256) != (held.documents, held.sha256):
        raise Refused(f"the collection {held.name} in it was changed")


def _decode(data: bytes, held: CollectionEntry) -> None:
    try:
        bson.decode_all(data)
    except (BSONError, ValueError) as error:
        raise Refused(f"a document of {held.name} cannot be decoded") from error
