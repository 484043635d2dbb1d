"""Inspect one path of the settings; every change is undone."""

import os
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from twistlock_console.host_folders.account import Account, AttemptFailed, attempt
from twistlock_console.host_folders.inspection import (
    Inspection,
    forbids_programs,
    is_in_memory,
    why_not_mongod,
)
from twistlock_console.host_folders.rules import (
    DATA_SIGNS,
    MARK,
    PathKind,
    Place,
    Use,
    recognise_data,
)

PREFIX = ".twistlock-check-"


@dataclass(frozen=True, slots=True)
class Probe:
    """Inspects paths for the account that will use them.

    Attributes:
        account: The service's account.
        root_makes: Root may make folders that the account cannot make: the settings
            are root's own.
        installed: The paths of the Console that is installed.

    """

    account: Account
    root_makes: bool = True
    installed: Mapping[Use, Path] = field(default_factory=dict)

    def inspect(self, use: Use, given: Path, volume: Path | None = None) -> Place:
        """Return the state of *given*; *volume* is the folder of the backups."""
        real = Path(os.path.realpath(given))
        above = self._inspection.nearest(real)
        with _unchanged(above):
            kind, ours = self._inspection.kind(given), self._is_ours(use, real, volume)
            found = self._inspection.status(real)
            theirs = found is not None and found.uid != self.account.uid
            # The installation makes the account the owner of our folders.
            problem = None if ours and theirs else self._problem(use, kind, real)
        trusted = {0} if use is Use.PROGRAMS else {0, self.account.uid}
        return Place(
            use=use,
            given=PurePosixPath(given),
            real=PurePosixPath(real),
            kind=kind,
            entries=self._inspection.names(real) if kind is PathKind.FOLDER else (),
            is_ours=ours,
            is_installed=self.installed.get(use) == given,
            account_problem=problem,
            replaceable_at=self._inspection.replaceable(above, trusted),
            is_shared=found is not None and found.is_folder and found.is_open_to_all,
            forbids_programs=forbids_programs(above),
            is_in_memory=is_in_memory(above),
        )

    @property
    def _inspection(self) -> Inspection:
        return Inspection(self.account)

    def _is_ours(self, use: Use, real: Path, volume: Path | None) -> bool:
        if self._is_there(real / MARK):
            return True
        if use is Use.PROGRAMS:
            return self._is_there(real / "current" / "VERSION")
        if use is not Use.DATA or not self._is_there(real):
            return False
        installed = self.installed.get(use)
        if installed is not None and os.path.realpath(installed) == str(real):
            return True
        signs = [sign for sign in DATA_SIGNS if self._is_there(real / sign)]
        backups = Path(os.path.realpath(volume)) if volume else Path("/")
        inner = backups.name if backups.parent == real else ""
        return recognise_data(self._inspection.names(real), signs, inner)

    def _is_there(self, path: Path) -> bool:
        return self._inspection.status(path) is not None

    def _problem(self, use: Use, kind: PathKind, real: Path) -> str | None:
        match use, kind:
            case Use.KEY_FILE, PathKind.FILE:
                return self._cannot(partial(_read, real), "be read")
            case Use.MONGOD, PathKind.FILE:
                return self._cannot(lambda: why_not_mongod(real) or "", "be run")
            case Use.PROGRAMS, PathKind.MISSING | PathKind.FOLDER:
                closed = self._not_reached([*real.parents, real])
                return closed or _root_cannot_write(self._inspection.nearest(real))
            case ((Use.DATA | Use.VOLUME), PathKind.FOLDER):
                return self._not_reached(real.parents) or self._not_written(real)
            case ((Use.DATA | Use.VOLUME), PathKind.MISSING):
                return self._not_reached(real.parents) or self._not_made(real)
            case _:
                return None

    def _not_reached(self, way: Iterable[Path]) -> str | None:
        """Return a sentence if the account may not enter a folder of *way*."""

        def first_closed() -> str:
            closed = (
                f for f in sorted(way) if not os.access(f, os.X_OK) and f.is_dir()
            )
            return str(next(closed, ""))

        try:
            closed = attempt(self.account, first_closed)
        except AttemptFailed as error:
            return f"cannot be reached by {self._account_text}: {error}"
        return (
            closed
            and f"cannot be reached by {self._account_text}: it may not enter {closed}"
        )

    def _not_written(self, folder: Path) -> str | None:
        wrong = self._cannot(partial(_write_in, folder), "be written")
        if wrong is None or "modes" in wrong:
            return wrong
        ids = f"{self.account.uid}:{self.account.gid}"
        return (
            f"{wrong}; name a folder that is not there yet, or let the account have "
            f"it: chown {ids} {shlex.quote(str(folder))}"
        )

    def _not_made(self, folder: Path) -> str | None:
        above = self._inspection.nearest(folder)
        wrong = self._cannot(partial(_make_in, above), "be made")
        if wrong is None:
            return None
        if self.root_makes:
            return self._root_cannot_make(above)
        ids = f"-o {self.account.uid} -g {self.account.gid}"
        name = shlex.quote(str(folder))
        return (
            f"is not there, and the settings are not root's own; make it "
            f"(install -d -m 700 {ids} {name}) and run this again"
        )

    def _root_cannot_make(self, above: Path) -> str | None:
        made = above / f"{PREFIX}{os.getpid()}"
        try:
            made.mkdir(mode=0o700)
            try:
                os.chown(made, self.account.uid, self.account.gid)
                return self._cannot(partial(_write_in, made), "be written")
            finally:
                made.rmdir()
        except OSError as error:
            return f"cannot be made in {above}: {error.strerror}"

    def _cannot(self, action: Callable[[], str], what: str) -> str | None:
        try:
            return attempt(self.account, action) or None
        except AttemptFailed as error:
            return f"cannot {what} by {self._account_text}: {error}"

    @property
    def _account_text(self) -> str:
        return f"the account {self.account.name} (id {self.account.uid})"


@contextmanager
def _unchanged(folder: Path) -> Iterator[None]:
    """Restore the modification time of *folder*, which attempts change."""
    before = folder.stat()
    try:
        yield
    finally:
        with suppress(OSError):
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _root_cannot_write(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder):
            return None
    except OSError as error:
        return f"cannot be written in {folder}: {error.strerror}"


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        opened.read(1)
    return ""


def _write_in(folder: Path) -> str:
    with tempfile.NamedTemporaryFile(prefix=PREFIX, dir=folder) as file:
        file.write(b"x")
        file.flush()
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            return (
                "is on a file system that does not keep the modes of files, so that "
                "others could read the secrets"
            )
    return ""


def _make_in(folder: Path) -> str:
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder):
        return ""
