"""Inspect files as root, or as the account where root may not; mounts and programs.

On a network file system with root_squash root may read less than the account.
"""

import os
import pwd
import re
import stat
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from twistlock_console.host_folders.account import Account, AttemptFailed, attempt
from twistlock_console.host_folders.rules import PathKind

IN_MEMORY = frozenset({"ramfs", "tmpfs"})
MOUNTS = Path("/proc/self/mountinfo")
VERSION_TIMEOUT_S = 10.0
T = TypeVar("T")


def forbids_programs(path: Path) -> bool:
    """Return whether the file system of *path* is mounted with noexec."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def is_in_memory(path: Path) -> bool:
    """Return whether a reboot loses what is at *path*, whose links are resolved."""
    try:
        return file_system_of(path, MOUNTS.read_text("utf-8")) in IN_MEMORY
    except OSError:
        return False


def file_system_of(path: Path, mountinfo: str) -> str:
    """Return the type of the file system of *path*; see proc_pid_mountinfo(5)."""
    found, longest = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        # Of two mounts at one point the later one is seen.
        if path.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = after.split(" ")[0], len(point.parts)
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def why_not_mongod(program: Path, timeout_s: float = VERSION_TIMEOUT_S) -> str | None:
    """Return why *program* cannot be run as mongod; None if it can."""
    try:
        # A file, not a pipe: a child that the program leaves behind cannot block us.
        with tempfile.TemporaryFile() as output:
            subprocess.run(
                [program, "--version"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
            output.seek(0)
            if b"db version" in output.read(10_000):
                return None
            return "is not a mongod: --version shows no db version"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "is not a mongod: --version did not end"


@dataclass(frozen=True, slots=True)
class FileStatus:
    """Mode and owner of an existing file."""

    mode: int
    uid: int

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_open_to_all(self) -> bool:
        """Return whether everyone may write in it."""
        return bool(self.mode & stat.S_IWOTH)


@dataclass(frozen=True, slots=True)
class Inspection:
    """Reads the state of files as root, or as *account* where root is refused."""

    account: Account

    def status(self, path: Path) -> FileStatus | None:
        """Return mode and owner of *path*, links followed; None if it is missing."""

        def read() -> str:
            found = path.stat()
            return f"{found.st_mode} {found.st_uid}"

        text = self._as_either(read)
        return FileStatus(*map(int, text.split())) if text else None

    def names(self, folder: Path) -> tuple[str, ...]:
        """Return the names in *folder*; none if it cannot be read."""

        def read() -> str:
            return "\n".join(sorted(path.name for path in folder.iterdir()))

        return tuple((self._as_either(read) or "").splitlines())

    def kind(self, given: Path) -> PathKind:
        """Return the kind of *given*; a link on the way to it may be broken."""
        found = self.status(given)
        if found is not None:
            return PathKind.FOLDER if found.is_folder else PathKind.FILE
        links = (path for path in (given, *given.parents) if _is_link(path))
        broken = any(self.status(link) is None for link in links)
        return PathKind.BROKEN_LINK if broken else PathKind.MISSING

    def nearest(self, path: Path) -> Path:
        """Return *path*, or the nearest above it that exists."""
        return next(p for p in (path, *path.parents) if self.status(p) is not None)

    def replaceable(self, deepest: Path, trusted: set[int]) -> str | None:
        """Return which folder on the way to *deepest* others could replace, or None.

        Only *trusted* may own one. With the sticky bit set, others cannot replace it.
        """
        for folder in (deepest, *deepest.parents):
            found = self.status(folder)
            if found is None:
                continue
            if found.uid not in trusted:
                return f"{folder} belongs to {_name_of(found.uid)}"
            if found.is_open_to_all and not found.mode & stat.S_ISVTX:
                return f"everyone may write in {folder}"
        return None

    def _as_either(self, read: Callable[[], str]) -> str | None:
        try:
            return read()
        except PermissionError:
            try:
                return attempt(self.account, read)
            except AttemptFailed:
                return None
        except OSError:
            return None


def _is_link(path: Path) -> bool:
    try:
        path.readlink()
    except OSError:
        return False
    return True


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account with id {uid}"
