"""The sentence that tells of a takeover: who, from whom, when and why.

Pure: from the history's records, newest first, as the API gives them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

REASSURANCE = "You stay logged in, and what was saved is kept"


def latest_takeover(history: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Give the record of the latest change of role to primary."""
    return next((record for record in history if record["to"] == "primary"), None)


def told(history: Sequence[dict[str, Any]]) -> str | None:
    """Say what the latest takeover was; None when there was none before it."""
    taken = [record for record in history if record["to"] == "primary"][:2]
    if len(taken) < 2:
        return None
    new, old = taken
    at = f"{datetime.fromisoformat(new['time']):%H:%M:%S UTC on %Y-%m-%d}"
    same = new["address"] == old["address"]
    what = "serves again since" if same else f"took over from {old['address']} at"
    return f"{new['address']} {what} {at}: {new['reason']}. {REASSURANCE}"
