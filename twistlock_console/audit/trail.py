"""The trail of what was done: logins, and every change that somebody made."""

import difflib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pymongo.database import Database

from twistlock_console import plugins
from twistlock_console.common.redaction import redact
from twistlock_console.common.search_terms import FIELD, index_terms

COLLECTION = "audits_mgmt"
#: A longer difference is cut: one entry must not fill a page of the history.
MAX_DIFFERENCE_CHARACTERS = 32_768
MAX_LINE_CHARACTERS = 1024
MAX_USERNAMES = 1000
USERNAMES_PIPELINE: list[dict[str, object]] = [
    {"$sort": {"username": 1}},
    {"$group": {"_id": "$username"}},
    {"$limit": MAX_USERNAMES},
    {"$sort": {"_id": 1}},
]


class AuditType(StrEnum):
    """The kinds of entries."""

    LOGIN = "login"
    PROFILE = "profile"
    SETTINGS = "settings"
    USER = "user"
    RULE = "rule"
    DEFENDER = "defender"
    CLUSTER = "cluster"
    BACKUP = "backup"


def audit_kinds() -> tuple[str, ...]:
    """Return every type of entry: those of the core, then those of plugins."""
    added = (kind for plugin in plugins.installed() for kind in plugin.audit_kinds)
    return (*AuditType, *added)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act: who did it, from where, through which API path, and how it ended."""

    type: str
    username: str
    source_ip: str
    api: str
    status: str
    failure: bool = False
    diff: str = ""


def record(database: Database[dict[str, object]], entry: AuditEntry) -> None:
    """Store *entry* with the present time."""
    database[COLLECTION].insert_one(
        {
            "time": datetime.now(UTC),
            "type": entry.type,
            "username": _one_line(entry.username),
            "sourceIP": entry.source_ip,
            "api": _one_line(entry.api),
            "diff": entry.diff,
            "status": _one_line(entry.status),
            "failure": entry.failure,
            FIELD: index_terms(entry.username, entry.source_ip, entry.status),
        }
    )


def read_usernames(database: Database[dict[str, object]]) -> list[str]:
    """Return the names in the trail in their order, MOST_USERNAMES at most.

    Failed logins bring any number of names; the database walks an index from name to
    name and stops.
    """
    found = database[COLLECTION].aggregate(USERNAMES_PIPELINE)
    return [str(each["_id"]) for each in found]


def diff(old: object, new: object) -> str:
    """Show what changed: lines that begin with a space, a minus or a plus.

    Either may be None: a thing that was made, or removed. Fields whose names speak
    of secrets are told as set or changed, never with their values.
    """
    shown = redact(old), redact(new, old)
    before, after = ([] if value is None else _as_lines(value) for value in shown)
    lines = difflib.unified_diff(before, after, n=1, lineterm="")
    kept = [line for line in lines if not line.startswith(("---", "+++", "@"))]
    return _truncate("\n".join(kept))


def _one_line(text: str) -> str:
    """Return *text* so that it is one entry wherever it is shown or sent."""
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_LINE_CHARACTERS]


def _as_lines(value: object) -> list[str]:
    text = json.dumps(value, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    return text.splitlines()


def _truncate(text: str) -> str:
    if len(text) <= MAX_DIFFERENCE_CHARACTERS:
        return text
    return (
        text[:MAX_DIFFERENCE_CHARACTERS].rpartition("\n")[0] + "\n (cut: it is longer)"
    )
