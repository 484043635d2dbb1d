"""The folder that backups lie in: a disk, or an object store that looks like one.

Such a store knows no rename, no append and no lock. So a backup is written there
once, from front to back, under the name it keeps; it counts as good from the moment
its seal, a small file with its hash, lies beside it.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from twistlock_console.backups.format.naming import SEAL, BackupName
from twistlock_console.common.errors import ConsoleError, Refused

CHUNK = 1024**2


@dataclass(frozen=True, slots=True)
class Stored:
    """A backup in the volume; *verified* is None where it bears no seal."""

    name: BackupName
    size: int
    verified: datetime | None


class Volume:
    """The folder *root*; what cannot be done there is raised as ConsoleError."""

    def __init__(
        self, root: Path, *, rename: Callable[[Path, Path], object] = Path.rename
    ) -> None:
        self.root = root
        self._rename = rename

    def path(self, file: str) -> Path:
        """Where the backup *file* lies; raises Refused if that is no backup's name."""
        return self.root / BackupName.of(file).file

    def find(self, file: str) -> Stored:
        """The backup *file*; raises Refused if there is none."""
        path = self.path(file)
        try:
            return _stored(BackupName.of(file), path)
        except FileNotFoundError as error:
            raise Refused(f"there is no backup {file}") from error
        except OSError as error:
            raise self.failure(error) from error

    def list(self) -> list[Stored]:
        """All backups, the newest first; other files are passed over."""
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
                continue  # removed meanwhile
            except OSError as error:
                raise self.failure(error) from error
        return sorted(found, key=lambda each: each.name.time, reverse=True)

    def seal(self, file: str, sha256: str) -> None:
        """Say that *file* was read back and is good."""
        try:
            with _seal(self.path(file)).open("w", encoding="utf-8") as seal:
                seal.write(f"{sha256}  {file}\n")
                seal.flush()
                os.fsync(seal.fileno())
        except OSError as error:
            raise self.failure(error) from error

    def sealed_hash(self, file: str) -> str | None:
        """The hash that *file* had when it was sealed; None without a seal.

        A file that was given another name has none.
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
        """Delete *file* and its seal; the seal first, so no half is ever good."""
        path = self.path(file)
        try:
            _seal(path).unlink(missing_ok=True)
            path.unlink()
        except FileNotFoundError as error:
            raise Refused(f"there is no backup {file}") from error
        except OSError as error:
            raise self.failure(error) from error

    def rename(self, file: str, new: str) -> None:
        """Give *file* another name; it is copied where the volume cannot rename."""
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
            before = copy(old, new)
        if hash_of(new) != before:
            new.unlink()
            raise OSError(f"the copy of {old.name} differs")
        old.unlink()

    def failure(self, error: OSError) -> ConsoleError:
        """Say *error* in one sentence."""
        return ConsoleError(
            f"the backup volume {self.root} cannot be used: "
            f"{error.strerror or error}; see that it is mounted, writable and not full"
        )


def _stored(name: BackupName, path: Path) -> Stored:
    status = path.stat()
    try:
        sealed = _seal(path).stat().st_mtime
    except FileNotFoundError:
        return Stored(name, status.st_size, None)
    return Stored(name, status.st_size, datetime.fromtimestamp(sealed, UTC))


def _seal(path: Path) -> Path:
    return path.with_name(path.name + SEAL)


def copy(source: Path, target: Path) -> str:
    """Copy a file in one pass, and give the hash of what was read.

    A copy that fails is removed as far as it got.
    """
    digest = hashlib.sha256()
    with source.open("rb") as reader, create(target) as writer:
        try:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return digest.hexdigest()


def create(path: Path) -> BinaryIO:
    """Begin a new file that only its owner may read; raises FileExistsError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def hash_of(path: Path) -> str:
    """Read a file back, from the disk and not from memory, and give its hash."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
