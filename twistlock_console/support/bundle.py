"""What support needs of one node: the parts, each collected on its own, no secrets.

A part that cannot be collected says why in its place, for that is what is looked for.
"""

import json
import platform
import re
from collections.abc import Callable, Mapping
from importlib.metadata import distributions
from typing import Any
from urllib.parse import urlsplit

from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.logs import reader
from twistlock_console.settings import Settings
from twistlock_console.settings.export import values_of

HIDDEN = "(a secret)"
_SECRET = re.compile(
    r"password|passwd|secret|token|hash|private|credential|keyfile|encrypted|plain$",
    re.IGNORECASE,
)
Part = Callable[[], object]


class Support:
    """The parts of this node; plugins add theirs, and the *peers* to ask as well."""

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

    def collect(self) -> dict[str, Any]:
        """Collect every part; plain JSON."""
        parts = {name: _collected(part) for name, part in self.parts.items()}
        return {"parts": parts, "peers": _collected(self.peers)}


def _collected(part: Part) -> object:
    try:
        return json.loads(json.dumps(without_secrets(part()), default=str))
    except (ConsoleError, PyMongoError, OSError) as error:
        return {"err": str(error)}


def without_secrets(value: object) -> object:
    """Give *value* without what is named like a secret, and without paths of URLs."""
    if isinstance(value, Mapping):
        return {str(name): _part(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(part) for part in value]
    return value


def _part(name: str, part: object) -> object:
    if name == "url" and isinstance(part, str) and part:
        # Some webhooks carry their secret in the path.
        return f"{urlsplit(part).scheme}://{urlsplit(part).hostname}/{HIDDEN}"
    if part and not isinstance(part, bool | Mapping) and _SECRET.search(name):
        return HIDDEN
    return without_secrets(part)


def versions() -> dict[str, Any]:
    """This release, and what it runs on."""
    return {
        "console": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {each.name: each.version for each in distributions()},
    }


def stored_settings(settings: Settings) -> dict[str, Any]:
    """The settings in the database, as our own member has them."""
    credentials = credentials_for(settings, "console")
    with connect(settings, credentials, app_name="support") as client:
        found = client["twistlock"]["settings"].find(limit=100)
        return {str(each.pop("_id")): each for each in found}


def log_text(settings: Settings) -> str:
    """The latest lines of the log."""
    lines = reader.latest(settings.folders, reader.MOST_LINES)
    return "\n".join(f"{line.time} {line.level} {line.log}".strip() for line in lines)
