"""Changes, done and recorded the same way from a page and from the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import request

from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry
from twistlock_console.common.errors import ConsoleError
from twistlock_console.web.common.database import database
from twistlock_console.web.security.sessions import current_username


@dataclass(slots=True)
class Change:
    """A thing before and after, as mappings or lists that JSON knows; None: absent."""

    old: object = None
    new: object = None


@contextmanager
def audited(kind: str, action: str) -> Iterator[Change]:
    """Record what is done inside, by whom and from where: done, or refused and why.

    *action* says it in the past: "deleted the user jane". Fill in the change that is
    given, and the history shows its difference.
    """
    change = Change()
    try:
        yield change
    except ConsoleError as error:
        record_change(kind, f"tried in vain: {action}; {error}", failure=True)
        raise
    record_change(kind, action, change)


def record_change(
    kind: str, action: str, change: Change | None = None, *, failure: bool = False
) -> None:
    """Record what the present user did, or with *failure* tried to do."""
    shown = trail.diff(change.old, change.new) if change else ""
    trail.record(
        database(),
        AuditEntry(
            type=kind,
            username=current_username(),
            source_ip=request.remote_addr or "unknown",
            api=request.path,
            status=action,
            failure=failure,
            diff=shown,
        ),
    )
