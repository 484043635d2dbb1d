"""Record the audit trail: logins and all changes by users."""

import difflib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pymongo.database import Database

from twistlock_console import plugins
from twistlock_console.common.one_line import one_line
from twistlock_console.common.redaction import redact
from twistlock_console.common.search_terms import FIELD, index_terms

COLLECTION = "audits_mgmt"
#: A longer difference is truncated: one entry must not fill a page of the history.
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
    """The types of audit entries of the core."""

    LOGIN = "login"
    PROFILE = "profile"
    SETTINGS = "settings"
    USER = "user"
    RULE = "rule"
    DEFENDER = "defender"
    CLUSTER = "cluster"
    BACKUP = "backup"


def audit_kinds() -> tuple[str, ...]:
    """Return all types of entries: those of the core, then those of plugins."""
    added = (kind for plugin in plugins.installed() for kind in plugin.audit_kinds)
    return (*AuditType, *added)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An audit entry: user, source address, API path, and the result as *status*."""

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
            "username": one_line(entry.username, MAX_LINE_CHARACTERS),
            "sourceIP": entry.source_ip,
            "api": one_line(entry.api, MAX_LINE_CHARACTERS),
            "diff": entry.diff,
            "status": one_line(entry.status, MAX_LINE_CHARACTERS),
            "failure": entry.failure,
            FIELD: index_terms(entry.username, entry.source_ip, entry.status),
        }
    )


def read_usernames(database: Database[dict[str, object]]) -> list[str]:
    """Return the usernames in the trail in their order, MAX_USERNAMES at most.

    Failed logins add any number of names; the database reads an index from name to
    name and stops at the limit.
    """
    found = database[COLLECTION].aggregate(USERNAMES_PIPELINE)
    return [str(each["_id"]) for each in found]


def diff(old: object, new: object) -> str:
    """Return the changes as lines that begin with a space, a minus or a plus.

    *old* is None for a new thing, *new* is None for a deleted one. Secrets are shown as
    set or changed, never with their values.
    """
    shown = redact(old), redact(new, old)
    before, after = ([] if value is None else _as_lines(value) for value in shown)
    lines = difflib.unified_diff(before, after, n=1, lineterm="")
    kept = [line for line in lines if not line.startswith(("---", "+++", "@"))]
    return _truncate("\n".join(kept))


def _as_lines(value: object) -> list[str]:
    text = json.dumps(value, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    return text.splitlines()


def _truncate(text: str) -> str:
    if len(text) <= MAX_DIFFERENCE_CHARACTERS:
        return text
    return (
        text[:MAX_DIFFERENCE_CHARACTERS].rpartition("\n")[0] + "\n (cut: it is longer)"
    )
