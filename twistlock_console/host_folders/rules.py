"""Judge whether a host may use the paths in the settings: facts in, findings out.

Pure, and without imports from other packages: the join script carries these modules
to hosts on which nothing is installed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from twistlock_console.host_folders.system import (
    DEFAULT,
    is_system_folder,
    why_hidden,
)

#: The name of the file that marks a folder as ours.
MARK = ".twistlock-console"
#: What the Console keeps in DATA_FOLDER, and uninstalling removes.
DATA_PARTS = (
    "backup-work",
    "certificates",
    "db",
    "images",
    "log",
    "run",
    "scripts",
    "secrets",
)
#: What twistlock.sh keeps in the install folder.
PROGRAM_PARTS = ("current", "releases", "twistlock.cfg", "twistlock.sh")
#: Characters that no path of a program may have.
FORBIDDEN_CHARACTERS = frozenset("'\"\\`$:%")
#: New file systems contain this folder.
LOST_AND_FOUND = "lost+found"


class Use(StrEnum):
    """The use of a path in the settings; the value is its name in findings."""

    DATA = "DATA_FOLDER"
    VOLUME = "DATA_RECOVERY_VOLUME"
    PROGRAMS = "The install folder"
    KEY_FILE = "DATA_RECOVERY_KEY_FILE"
    MONGOD = "MONGOD_BINARY"


class PathKind(StrEnum):
    """The kind of file at a path."""

    MISSING = "missing"
    FOLDER = "folder"
    FILE = "file"
    BROKEN_LINK = "broken link"


class Severity(StrEnum):
    """The severity of a finding; an error forbids the installation."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence for the operator."""

    severity: Severity
    sentence: str


@dataclass(frozen=True, slots=True)
class Place:
    """The state of one path of the settings.

    Attributes:
        use: What the path is for.
        given: The path as the settings have it.
        real: The same with all links resolved, as far as it exists.
        kind: What is there.
        entries: The names in the folder, if it is one.
        is_ours: It has our mark, or is recognised as what we made.
        is_installed: The Console that is installed uses the same path for this.
        account_problem: Why the service's account cannot use it, or have it made.
        replaceable_at: A folder on the way to it that others may replace, if any.
        is_shared: Everyone may write in it.
        forbids_programs: Its file system is mounted with noexec.
        is_in_memory: Its file system is lost at a reboot.

    """

    use: Use
    given: PurePosixPath
    real: PurePosixPath
    kind: PathKind
    entries: tuple[str, ...] = ()
    is_ours: bool = False
    is_installed: bool = False
    account_problem: str | None = None
    replaceable_at: str | None = None
    is_shared: bool = False
    forbids_programs: bool = False
    is_in_memory: bool = False

    def __str__(self) -> str:
        """Return its name and path for a finding."""
        return f"{self.use} {_on_one_line(str(self.given))}"


@dataclass(frozen=True, slots=True)
class Host:
    """Facts of the host beside the places."""

    has_systemd: bool = True
    backups_enabled: bool = True


def judge(places: Sequence[Place], host: Host) -> Iterator[Finding]:
    """Yield the problems of *places*; if there is an error, nothing may be changed."""
    for place in places:
        yield from _judge_one(place, host)
    by_use = {place.use: place for place in places}
    if not is_system_folder(by_use[Use.DATA].real):
        yield from _judge_overlaps(by_use)


def _judge_one(place: Place, host: Host) -> Iterator[Finding]:
    rules = (_wrong_place, _wrong_kind, _foreign_content, _unusable, _replaceable)
    for rule in rules:
        if (finding := rule(place, host)) is not None:
            yield finding
            if finding.severity is Severity.ERROR:
                return
    if place.is_shared and place.use in (Use.DATA, Use.PROGRAMS):
        yield Finding(
            Severity.WARNING,
            f"Everyone may write in {place}; run: chmod o-w {place.given}",
        )
    if place.is_in_memory and place.use in (Use.DATA, Use.VOLUME):
        yield Finding(
            Severity.WARNING,
            f"{place} is on a file system in memory: a reboot loses what is in it.",
        )


def _wrong_place(place: Place, host: Host) -> Finding | None:
    if is_system_folder(place.real) and place.use in _FOLDERS:
        return _error(
            f"{place}{_resolved(place)} is a folder of the system, in which others "
            "keep their files; name a folder of its own, for example "
            f"{_suggest_place(place)}"
        )
    if reason := why_hidden(place.real):
        # Without systemd nothing hides it, so an installed Console may keep it.
        severity = (
            Severity.WARNING
            if place.is_installed and not host.has_systemd
            else Severity.ERROR
        )
        return Finding(
            severity,
            f"{place}{_resolved(place)} {reason}; choose another place, for example "
            f"{_suggest_place(place)}.",
        )
    return None


def _wrong_kind(place: Place, _host: Host) -> Finding | None:
    match place.kind, place.use:
        case PathKind.BROKEN_LINK, _:
            return _error(
                f"{place} is a link to {place.real}, which is not there; make that "
                "folder, or remove the link"
            )
        case PathKind.FILE, use if use in _FOLDERS:
            return _error(f"{place} is a file; name a folder")
        case ((PathKind.MISSING | PathKind.FOLDER), (Use.KEY_FILE | Use.MONGOD)):
            return _error(
                f"{place} is not a file on this host; {_FILE_HINT[place.use]}"
            )
        case _:
            return None


def _foreign_content(place: Place, _host: Host) -> Finding | None:
    if place.use not in (Use.DATA, Use.PROGRAMS) or place.is_ours:
        return None
    foreign = [name for name in place.entries if name != LOST_AND_FOUND]
    if not foreign:
        return None
    shown = ", ".join(foreign[:3]) + (" and more" if len(foreign) > 3 else "")
    return _error(
        f"{place} is not empty and not from a Console: it has {shown}; name a folder "
        f"that is not there yet, for example {place.given / 'twistlock'}"
    )


def _unusable(place: Place, host: Host) -> Finding | None:
    odd = {
        c for c in str(place.given) if c in FORBIDDEN_CHARACTERS or not c.isprintable()
    }
    if place.use is Use.PROGRAMS and odd:
        return _error(
            f"{place} has the character {_on_one_line(min(odd))} in its name, which "
            "neither systemd nor Python accepts in the path of a program"
        )
    if place.use is Use.PROGRAMS and place.forbids_programs:
        return _error(
            f"{place} is on a file system that is mounted with noexec; programs cannot "
            "run there"
        )
    if place.account_problem is None:
        return None
    if place.use is Use.VOLUME and not host.backups_enabled:
        return Finding(
            Severity.WARNING,
            f"{place} {place.account_problem}. No backup can be made by hand.",
        )
    hint = _VOLUME_HINT if place.use is Use.VOLUME else ""
    return _error(f"{place} {place.account_problem}{hint}")


def _replaceable(place: Place, _host: Host) -> Finding | None:
    if place.replaceable_at is None or place.use not in (Use.DATA, Use.PROGRAMS):
        return None
    severity = Severity.WARNING if place.is_installed else Severity.ERROR
    return Finding(
        severity,
        f"{place} could be replaced by others: {place.replaceable_at}; choose a place "
        "that only root can change.",
    )


def _judge_overlaps(places: dict[Use, Place]) -> Iterator[Finding]:
    data, programs = places[Use.DATA], places[Use.PROGRAMS]
    others = [places[u] for u in (Use.VOLUME, Use.KEY_FILE) if u in places]
    if programs.real.is_relative_to(data.real):
        yield _error(
            f"{programs} is within {data}, whose owner could replace the programs; "
            "keep them apart"
        )
    for place in (data, *others):
        if part := _part_of(place.real, programs.real, PROGRAM_PARTS):
            yield _error(
                f"{place} is within {part}, where the programs are replaced at each "
                "upgrade; choose another place"
            )
    for place in others:
        if part := _part_of(place.real, data.real, DATA_PARTS):
            yield _error(
                f"{place} is within {part}, which is removed when the Console is "
                "uninstalled; choose another place"
            )
    volume = places.get(Use.VOLUME)
    if volume and data.real.is_relative_to(volume.real):
        yield _apart(volume, data)


def _apart(volume: Place, data: Place) -> Finding:
    sentence = (
        f"{volume} holds DATA_FOLDER {data.given}; backups need a folder of their own, "
        "best on another disk"
    )
    if volume.is_installed and data.is_installed:
        return Finding(Severity.WARNING, f"{sentence}.")
    return _error(sentence)


def _part_of(
    path: PurePosixPath, whole: PurePosixPath, parts: Iterable[str]
) -> PurePosixPath | None:
    return next((whole / p for p in parts if path.is_relative_to(whole / p)), None)


def recognise_data(entries: Sequence[str], signs: Sequence[str], volume: str) -> bool:
    """Return whether a folder without a mark is the DATA_FOLDER of a Console.

    Args:
        entries: The names in the folder.
        signs: Those of DATA_SIGNS that are in it.
        volume: The name within it of the folder for backups; "" if that is elsewhere.

    """
    known = {*DATA_PARTS, MARK, LOST_AND_FOUND, volume}
    return bool(signs) and set(entries) <= known


#: Files that only a Console makes, below its DATA_FOLDER.
DATA_SIGNS = (
    "scripts/twistlock.cfg",
    "certificates/node.pem",
    "certificates/ca.pem",
    "secrets/invitation.json",
)


def _error(sentence: str) -> Finding:
    return Finding(Severity.ERROR, f"{sentence}.")


def _on_one_line(text: str) -> str:
    """Return *text* on one line, since a finding is one line."""
    return text if text.isprintable() else repr(text)


def _resolved(place: Place) -> str:
    return "" if place.real == place.given else f", which is {place.real},"


def _suggest_place(place: Place) -> PurePosixPath:
    return _EXAMPLES.get(place.use, DEFAULT)


_FOLDERS = (Use.DATA, Use.VOLUME, Use.PROGRAMS)
_EXAMPLES = {
    Use.VOLUME: PurePosixPath("/var/lib/twistlock-backup"),
    Use.PROGRAMS: PurePosixPath("/opt/twistlock"),
    Use.KEY_FILE: PurePosixPath("/etc/twistlock-backup.key"),
    Use.MONGOD: PurePosixPath("/usr/local/bin/mongod"),
}
_FILE_HINT = {
    Use.KEY_FILE: "copy it there, the same on every node",
    Use.MONGOD: "install MongoDB, or leave MONGOD_BINARY empty",
}
_VOLUME_HINT = "; mend that, or set DATA_RECOVERY_ENABLED=false"
