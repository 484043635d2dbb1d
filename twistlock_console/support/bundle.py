"""Collect the support data of one node: parts without secrets, each on its own.

A part that cannot be collected is replaced by the error, which helps support as well.
"""

import json
import platform
from collections.abc import Callable
from importlib.metadata import distributions

from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError
from twistlock_console.common.redaction import redact
from twistlock_console.database.client import Document, connect, credentials_for
from twistlock_console.logs import reader
from twistlock_console.settings import Settings
from twistlock_console.settings.keys import values_of

Part = Callable[[], object]


class Support:
    """Collects the parts of this node; plugins add parts, and addresses of *peers*."""

    def __init__(self, settings: Settings, status: Part) -> None:
        self.peers: Callable[[], list[str]] = list
        self.parts: dict[str, Part] = {
            "status": status,
            "versions": versions,
            "settings": lambda: {
                "twistlock.cfg": values_of(settings),
                "stored": stored_settings(settings),
            },
            "log": lambda: log_text(settings),
        }

    def collect(self) -> dict[str, object]:
        """Return every part, as plain JSON values."""
        parts = {name: _collect_part(part) for name, part in self.parts.items()}
        return {"parts": parts, "peers": _collect_part(self.peers)}


def _collect_part(part: Part) -> object:
    try:
        return json.loads(json.dumps(redact(part()), default=str))
    except (ConsoleError, PyMongoError, OSError) as error:
        return {"err": describe_error(error)}


def versions() -> dict[str, object]:
    """Return the versions of this release, Python, the system and the packages."""
    return {
        "console": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {each.name: each.version for each in distributions()},
    }


def stored_settings(settings: Settings) -> dict[str, Document]:
    """Return the settings in the database, from our own member."""
    credentials = credentials_for(settings, "console")
    with connect(settings, credentials, app_name="support") as client:
        found = client["twistlock"]["settings"].find(limit=100)
        return {str(each.pop("_id")): each for each in found}


def log_text(settings: Settings) -> str:
    """Return the latest lines of the log."""
    lines = reader.read_latest_lines(settings.folders, reader.MAX_LINES)
    return "\n".join(f"{line.time} {line.level} {line.log}".strip() for line in lines)
