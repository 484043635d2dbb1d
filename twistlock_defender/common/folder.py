"""The files in the Defender's folder: settings, certificate, status and lock."""

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
    """settings.json: our name, where Consoles are (name:port), the outbox's limit."""

    defender: Annotated[str, Field(min_length=1, max_length=255)]
    addresses: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    outbox_mb: Annotated[int, Field(alias="outboxMB", ge=1, le=65_536)] = 256


_settings: TypeAdapter[AgentSettings] = TypeAdapter(AgentSettings)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below *path*."""

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
            raise FolderError(f"{path}: {place}: {first['msg']}; mend it") from None

    def write_settings(self, settings: AgentSettings) -> None:
        """Write settings.json. Raises OSError."""
        text = _settings.dump_json(settings, by_alias=True, indent=2)
        self.write("settings.json", text + b"\n")

    def write(self, name: str, data: bytes) -> None:
        """Put *data* at *name*, whole or not at all, for us alone. Raises OSError."""
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
    """What `twistlock-defender status` shows, *at* a moment."""

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
    """The file at *path* in which the running Defender shows its status.

    Its space is allocated at once, so that it can be rewritten on a full disk too.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        with suppress(OSError):
            os.posix_fallocate(self._fd, 0, STATUS_FILE_BYTES)

    def write(self, status: AgentStatus) -> None:
        """Show *status* from now on. Raises OSError."""
        text = _status.dump_json(status, indent=1)
        if len(text) >= STATUS_FILE_BYTES:
            fewer = replace(status, troubles=status.troubles[: MAX_PROBLEMS // 4])
            text = _status.dump_json(fewer, indent=1)
        os.pwrite(self._fd, text[:STATUS_FILE_BYTES].ljust(STATUS_FILE_BYTES), 0)

    def close(self) -> None:
        """Close the file; it stays as it is."""
        os.close(self._fd)


def read_status(path: Path) -> AgentStatus:
    """Read the status file. Raises FolderError."""
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

    def acquire(self) -> bool:
        """Take it and return true, unless another process has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Release it."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
