"""The trail of what administrators did: logins, and changes of settings."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pymongo.database import Database

COLLECTION = "audits_mgmt"


class AuditType(StrEnum):
    """What kind of act was done."""

    LOGIN = "login"
    PROFILE = "profile"
    SETTINGS = "settings"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: who did it, from where, through which API path, and how it ended."""

    type: AuditType
    username: str
    source_ip: str
    api: str
    status: str
    failure: bool = False
    diff: str = ""


def record(database: Database[dict[str, Any]], entry: Entry) -> None:
    """Store *entry* with the present time."""
    database[COLLECTION].insert_one(
        {
            "time": datetime.now(UTC),
            "type": entry.type,
            "username": entry.username,
            "sourceIP": entry.source_ip,
            "api": entry.api,
            "diff": entry.diff,
            "status": entry.status,
            "failure": entry.failure,
        }
    )


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Show what changed: lines that begin with a space, a minus or a plus."""
    before, after = (
        json.dumps(value, indent=2, sort_keys=True, default=str).splitlines()
        for value in (old, new)
    )
    lines = difflib.unified_diff(before, after, n=1, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@")))
