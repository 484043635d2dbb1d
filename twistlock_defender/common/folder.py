"""Read and write the files in the Defender's folder."""

import fcntl
import os
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, ValidationError

from twistlock_defender.common.errors import FolderError

FOLDER = Path("/var/lib/twistlock-defender")
STATUS_FILE_BYTES = 16 * 1024
MAX_PROBLEMS = 20
ENROL_HINT = "enrol it with the command of Manage > Defenders > Deploy"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The content of settings.json: own name, addresses (name:port), outbox limit."""

    defender: Annotated[str, Field(min_length=1, max_length=255)]
    addresses: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    outbox_mb: Annotated[int, Field(alias="outboxMB", ge=1, le=65_536)] = 256


_settings: TypeAdapter[AgentSettings] = TypeAdapter(AgentSettings)


@dataclass(frozen=True, slots=True)
class Folder:
    """The Defender's folder at *path*."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read_settings(self) -> AgentSettings:
        """Read settings.json. Raises FolderError."""
        path = self / "settings.json"
        try:
            return _settings.validate_json(path.read_bytes())
        except OSError as error:
            raise FolderError(f"{path}: {error.strerror}; {ENROL_HINT}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            raise FolderError(f"{path}: {place}: {first['msg']}; correct it") from None

    def write_settings(self, settings: AgentSettings) -> None:
        """Write settings.json. Raises OSError."""
        text = _settings.dump_json(settings, by_alias=True, indent=2)
        self.write("settings.json", text + b"\n")

    def write(self, name: str, data: bytes) -> None:
        """Write *data* to *name* atomically with mode 0600. Raises OSError."""
        descriptor, draft = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            Path(draft).replace(self / name)
        except BaseException:
            Path(draft).unlink()
            raise

    def create_tls_context(self) -> ssl.SSLContext:
        """Return a context for mutual TLS 1.3 with the Console. Raises FolderError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self / "ca.pem")
            context.load_cert_chain(self / "certificate.pem", self / "key.pem")
        except (OSError, ssl.SSLError) as error:
            raise FolderError(
                f"certificate, key and authority in {self.path} cannot be used "
                f"({error.strerror or error}); {ENROL_HINT}"
            ) from error
        return context


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The status that `twistlock-defender status` shows; *at* is its time."""

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


_status: TypeAdapter[AgentStatus] = TypeAdapter(AgentStatus)


class StatusFile:
    """The file at *path* to which the running Defender writes its status.

    Its space is allocated when it is opened, so that a full disk does not matter.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        with suppress(OSError):
            os.posix_fallocate(self._fd, 0, STATUS_FILE_BYTES)

    def write(self, status: AgentStatus) -> None:
        """Overwrite the file with *status*. Raises OSError."""
        text = _status.dump_json(status, indent=1)
        if len(text) >= STATUS_FILE_BYTES:
            fewer = replace(status, troubles=status.troubles[: MAX_PROBLEMS // 4])
            text = _status.dump_json(fewer, indent=1)
        os.pwrite(self._fd, text[:STATUS_FILE_BYTES].ljust(STATUS_FILE_BYTES), 0)

    def close(self) -> None:
        """Close the file and keep its content."""
        os.close(self._fd)


def read_status(path: Path) -> AgentStatus:
    """Read and parse the status file. Raises FolderError."""
    try:
        return _status.validate_json(path.read_bytes().strip())
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}; start the Defender") from error
    except ValidationError:
        raise FolderError(f"{path} cannot be read; restart the Defender") from None


class RunLock:
    """A lock file at *path*, held by the one Defender that runs in a folder."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        """Acquire the lock; return False if another process holds it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Release the lock."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
