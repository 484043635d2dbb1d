"""What `twistlock-defender status` shows: a file that the running Defender keeps."""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from twistlock_defender.common.errors import FolderError

ROOM = 16 * 1024
LONGEST_LIST = 20


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that the screen shows, *at* a moment."""

    at: datetime
    version: str
    pid: int
    defender: str
    connected: str | None
    since: datetime
    epoch: int
    error: str | None
    error_at: datetime | None
    policy: int
    rule: str | None
    waiting: int
    waiting_bytes: int
    limit_mb: int
    oldest: datetime | None
    certificate_expires: datetime | None
    troubles: tuple[str, ...] = ()


_status: TypeAdapter[Status] = TypeAdapter(Status)


class StatusFile:
    """The file at *path*.

    Its room is taken at once, so that it can be rewritten on a full disk too.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        with suppress(OSError):
            os.posix_fallocate(self._fd, 0, ROOM)

    def write(self, status: Status) -> None:
        """Show *status* from now on. Raises OSError."""
        text = _status.dump_json(status, indent=1)
        if len(text) >= ROOM:
            fewer = replace(status, troubles=status.troubles[: LONGEST_LIST // 4])
            text = _status.dump_json(fewer, indent=1)
        os.pwrite(self._fd, text[:ROOM].ljust(ROOM), 0)

    def close(self) -> None:
        """Leave the file as it is."""
        os.close(self._fd)


def read(path: Path) -> Status:
    """What the file shows. Raises FolderError."""
    try:
        return _status.validate_json(path.read_bytes().strip())
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}; start the Defender") from error
    except ValidationError:
        raise FolderError(f"{path} cannot be read; restart the Defender") from None


class RunLock:
    """Held by the one Defender that runs in a folder, at *path*."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """Take it, unless another process has it; kept until we end."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
