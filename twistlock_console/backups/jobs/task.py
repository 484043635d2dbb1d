"""What the node has its worker process do."""

from base64 import b64encode
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import TypeAdapter

from twistlock_console.settings import Settings


class Verb(StrEnum):
    """The kinds of work."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Who:
    """Who wants something, from where, and through which path."""

    username: str
    source_ip: str = "this host"
    api: str = "twistlock-console backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done, called *run*; the other fields are for some verbs only.

    *names* are those of the backups to make at Unix *time* under *epoch*, *file* is
    the backup that is meant, *upload* a file that came over the API.
    """

    verb: Verb
    run: str
    settings: Settings
    by: Who
    names: tuple[str, ...] = ()
    time: int = 0
    epoch: int = 0
    passphrase: str = field(default="", repr=False)
    file: str = ""
    upload: str = ""
    thorough: bool = False

    @property
    def what(self) -> str:
        """The backups that it is about."""
        return self.file or ", ".join(self.names)

    def as_json(self) -> bytes:
        """Write it for the worker."""
        return _TASK.dump_json(self)

    @staticmethod
    def from_json(text: bytes) -> "Task":
        """Read it, in the worker."""
        return _TASK.validate_json(text)


_TASK = TypeAdapter(Task)


def as_text(passphrase: bytes | None) -> str:
    """Write a passphrase so that JSON can hold it."""
    return b64encode(passphrase).decode() if passphrase else ""
