"""What backups are called: ``{name}-{version}-{unix time}.tar.gz``. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from twistlock_console.common.errors import Refused
from twistlock_console.names import name_key

ENDING = ".tar.gz"
#: Written beside a backup when it has been verified, as ``sha256sum`` writes it.
SEAL = ".sha256"
LONGEST_FILE_NAME = 255

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_STEM = (
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,63})-(?P<version>[0-9][0-9A-Za-z.+]{0,31})"
    r"-(?P<time>[0-9]{1,12})"
)
_FILE = re.compile(_STEM + r"\.tar\.gz")
#: A name that a browser or a person changed: "nightly-26.11.0-1795478400 (1).tar.gz".
_ALTERED = re.compile(r"(?:.*[^A-Za-z0-9_.+-])?" + _STEM + r"(?![0-9]).*", re.DOTALL)


class Kind(StrEnum):
    """The backups that the Console makes by itself; each is the name of its files."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class BackupName:
    """What a file name says: its given *name*, the *version*, and the Unix *time*."""

    name: str
    version: str
    time: int

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.name}-{self.version}-{self.time}{ENDING}"

    @property
    def made(self) -> datetime:
        """When it was made."""
        return datetime.fromtimestamp(self.time, UTC)

    @property
    def is_system(self) -> bool:
        """Whether the Console made it by itself."""
        return self.name in Kind.__members__.values()

    @classmethod
    def parse(cls, file: str) -> Self | None:
        """Read a file name; None if it is not that of a backup."""
        found = _FILE.fullmatch(file)
        if found is None:
            return None
        return cls(found["name"], found["version"], int(found["time"]))

    @classmethod
    def of(cls, file: str) -> Self:
        """Read a file name; raises Refused if it is not that of a backup."""
        if (found := cls.parse(file)) is None:
            raise Refused(
                f"{file[:100]!r} is not the name of a backup; it would look like "
                "before-upgrade-26.11.0-1795478400.tar.gz"
            )
        return found

    @classmethod
    def of_content(cls, file: str, name: str, version: str, time: int) -> Self:
        """Name a backup by what it holds; *file* is what it is called elsewhere.

        Only the given name is taken from *file*, if one can be found in it, for a
        backup may have been renamed since. Raises Refused where no name results.
        """
        found = _ALTERED.fullmatch(file[:LONGEST_FILE_NAME])
        return cls.of(cls(found["name"] if found else name, version, time).file)


def check_name(name: str) -> str:
    """Give *name* if a person may give it to a backup; raises Refused."""
    if not _NAME.fullmatch(name):
        raise Refused(
            "give the backup a name of up to 64 letters, digits, - and _, which "
            "begins with a letter or a digit"
        )
    if name_key(name) in Kind.__members__.values():
        raise Refused(
            f"{name} is what the Console calls its own backups; choose another"
        )
    return name
