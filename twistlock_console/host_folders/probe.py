"""Look at one path of the settings; nothing is left behind."""

import os
import pwd
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from twistlock_console.host_folders.account import Account, AttemptFailed, attempt
from twistlock_console.host_folders.mongod import why_not_mongod
from twistlock_console.host_folders.mounts import forbids_programs, is_in_memory
from twistlock_console.host_folders.rules import (
    DATA_SIGNS,
    MARK,
    Kind,
    Place,
    Use,
    recognise_data,
)

PREFIX = ".twistlock-check-"


@dataclass(frozen=True, slots=True)
class Probe:
    """Looks at paths for the account that is to use them.

    Attributes:
        account: The service's account.
        root_makes: Root may make folders that the account cannot make: the settings
            are root's own.
        installed: The paths of the Console that is installed.

    """

    account: Account
    root_makes: bool = True
    installed: Mapping[Use, Path] = field(default_factory=dict)

    def look(self, use: Use, given: Path, volume: Path | None = None) -> Place:
        """Return what is at *given*; *volume* is where the backups are."""
        with _unchanged(_nearest(Path(os.path.realpath(given)))):
            return self._look(use, given, volume)

    def _look(self, use: Use, given: Path, volume: Path | None) -> Place:
        real = Path(os.path.realpath(given))
        kind, ours = _kind(given), self._is_ours(use, real, volume)
        above = _nearest(real)
        trusted = {0} if use is Use.PROGRAMS else {0, self.account.uid}
        return Place(
            use=use,
            given=PurePosixPath(given),
            real=PurePosixPath(real),
            kind=kind,
            entries=self._entries(real) if kind is Kind.FOLDER else (),
            is_ours=ours,
            is_installed=self.installed.get(use) == given,
            account_problem=None
            if ours and self._is_to_be_given_back(real)
            else self._problem(use, kind, real),
            replaceable_at=_replaceable(real, above, trusted),
            forbids_programs=forbids_programs(above),
            is_in_memory=is_in_memory(above),
        )

    def _entries(self, folder: Path) -> tuple[str, ...]:
        try:
            return _names_in(folder)
        except OSError:
            # With root_squash root sees less than the account.
            with suppress(AttemptFailed):
                names = attempt(self.account, lambda: "\n".join(_names_in(folder)))
                return tuple(names.splitlines())
            return ()

    def _is_ours(self, use: Use, real: Path, volume: Path | None) -> bool:
        if (real / MARK).exists():
            return True
        if use is Use.PROGRAMS:
            return (real / "current" / "VERSION").exists()
        if use is not Use.DATA or not real.is_dir():
            return False
        installed = self.installed.get(use)
        if installed is not None and os.path.realpath(installed) == str(real):
            return True
        signs = [sign for sign in DATA_SIGNS if (real / sign).exists()]
        backups = Path(os.path.realpath(volume)) if volume else Path("/")
        inner = backups.name if backups.parent == real else ""
        return recognise_data(self._entries(real), signs, inner)

    def _is_to_be_given_back(self, folder: Path) -> bool:
        """Tell whether *folder*, which is ours, will be given to the account."""
        return folder.is_dir() and folder.stat().st_uid != self.account.uid

    def _problem(self, use: Use, kind: Kind, real: Path) -> str | None:
        match use, kind:
            case Use.KEY_FILE, Kind.FILE:
                return self._cannot(partial(_read, real), "be read")
            case Use.MONGOD, Kind.FILE:
                return self._cannot(lambda: why_not_mongod(real) or "", "be run")
            case Use.PROGRAMS, Kind.MISSING | Kind.FOLDER:
                return self._not_reached(real) or _root_cannot_write(_nearest(real))
            case ((Use.DATA | Use.VOLUME), Kind.FOLDER):
                return self._not_reached(real) or self._not_written(real)
            case ((Use.DATA | Use.VOLUME), Kind.MISSING):
                return self._not_reached(real) or self._not_made(real)
            case _:
                return None

    def _not_reached(self, real: Path) -> str | None:
        """Say which folder on the way the account may not enter, if any."""
        way = [*reversed(real.parents), real]
        there = [folder for folder in way if folder.is_dir()]

        def first_closed() -> str:
            return next((str(f) for f in there if not os.access(f, os.X_OK)), "")

        closed = attempt(self.account, first_closed)
        return closed and f"cannot be reached by {self._who}: it may not enter {closed}"

    def _not_written(self, folder: Path) -> str | None:
        wrong = self._cannot(partial(_write_in, folder), "be written")
        if wrong is None or "modes" in wrong:
            return wrong
        ids = f"{self.account.uid}:{self.account.gid}"
        return (
            f"{wrong}; name a folder that is not there yet, or let the account have "
            f"it: chown {ids} '{folder}'"
        )

    def _not_made(self, folder: Path) -> str | None:
        above = _nearest(folder)
        wrong = self._cannot(partial(_make_in, above), "be made")
        if wrong is None:
            return None
        if self.root_makes:
            return self._root_cannot_make(above)
        ids = f"-o {self.account.uid} -g {self.account.gid}"
        return (
            f"is not there, and the settings are not root's own; make it "
            f"(install -d -m 700 {ids} '{folder}') and run this again"
        )

    def _root_cannot_make(self, above: Path) -> str | None:
        try:
            with tempfile.TemporaryDirectory(prefix=PREFIX, dir=above) as made:
                os.chown(made, self.account.uid, self.account.gid)
                return self._cannot(partial(_write_in, Path(made)), "be written")
        except OSError as error:
            return f"cannot be made in {above}: {error.strerror}"

    def _cannot(self, action: Callable[[], str], what: str) -> str | None:
        try:
            return attempt(self.account, action) or None
        except AttemptFailed as error:
            return f"cannot {what} by {self._who}: {error}"

    @property
    def _who(self) -> str:
        return f"the account {self.account.name} (id {self.account.uid})"


@contextmanager
def _unchanged(folder: Path) -> Iterator[None]:
    """Give *folder* its time of modification back, which attempts change."""
    before = folder.stat()
    try:
        yield
    finally:
        with suppress(OSError):
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _names_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir()))


def _kind(given: Path) -> Kind:
    try:
        mode = given.stat().st_mode
    except OSError:
        links = (path for path in (given, *given.parents) if path.is_symlink())
        broken = any(not link.exists() for link in links)
        return Kind.BROKEN_LINK if broken else Kind.MISSING
    return Kind.FOLDER if stat.S_ISDIR(mode) else Kind.FILE


def _nearest(path: Path) -> Path:
    """Return *path*, or the nearest above it that exists."""
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


def _replaceable(real: Path, above: Path, trusted: set[int]) -> str | None:
    """Say which folder others than *trusted* could change on the way to *real*."""
    for folder in (above, *above.parents):
        found = folder.stat()
        if found.st_uid not in trusted:
            return f"{folder} belongs to {_name_of(found.st_uid)}"
        sticky = found.st_mode & stat.S_ISVTX and folder != real
        if found.st_mode & stat.S_IWOTH and not sticky:
            return f"everyone may write in {folder}"
    return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account with id {uid}"


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
