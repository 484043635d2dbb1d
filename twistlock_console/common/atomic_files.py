"""Read and atomically replace small files that only their owner may read."""

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twistlock_console.common.errors import IdentityError


def write_secret(path: Path, data: bytes) -> None:
    """Write *data* to *path* with mode 0600; return when it is on disk.

    The folder must exist. Raises IdentityError, and then leaves the old file.
    """
    write_whole(path, data, mode=0o600)


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Write *data* to *path* by renaming: a crash leaves the old or the new file."""
    try:
        draft = _draft(path, data, mode)
        with _delete_at_end(draft):
            draft.replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        raise _identity_error("write", path, error) from error


def read_secret(path: Path) -> bytes:
    """Return the content of *path*.

    Raises:
        IdentityError: the file is missing, empty or accessible to other users.

    """
    try:
        # O_NONBLOCK: a named pipe must not hold us up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read() if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError as error:
        raise IdentityError(
            f"{path} is missing; restore it from a backup of this host"
        ) from error
    except OSError as error:
        raise _identity_error("read", path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise IdentityError(f"{path} is not a plain file; restore it")
    if status.st_mode & 0o077:
        raise IdentityError(f"{path} is open to others; run: chmod 600 {path}")
    if not data.strip():
        raise IdentityError(f"{path} is empty; restore it from a backup of this host")
    return data


def ensure_secret(path: Path) -> str:
    """Return the secret at *path*; create and store it first if there is none.

    It has 64 hexadecimal digits, which URLs and MongoDB's keyfile accept. Concurrent
    callers get the same secret. Raises IdentityError.
    """
    try:
        if not os.path.lexists(path):
            draft = _draft(path, secrets.token_hex(32).encode(), 0o600)
            with _delete_at_end(draft), suppress(FileExistsError):
                os.link(draft, path)
            _sync_folder(path.parent)
    except OSError as error:
        raise _identity_error("write", path, error) from error
    return read_text_secret(path)


def read_text_secret(path: Path) -> str:
    """Return the text at *path* without surrounding white space."""
    try:
        return read_secret(path).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise IdentityError(f"{path} is damaged; restore it from a backup") from error


def _draft(path: Path, data: bytes, mode: int) -> Path:
    """Write *data* to a new file beside *path*; leave nothing if that fails."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


@contextmanager
def _delete_at_end(draft: Path) -> Iterator[None]:
    try:
        yield
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity_error(verb: str, path: Path, error: OSError) -> IdentityError:
    return IdentityError(f"cannot {verb} {path}: {error.strerror}")
