"""Audit records of changes, shared by pages and API."""

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
    """A value before and after a change, as JSON has it; None: it does not exist."""

    old: object = None
    new: object = None


@contextmanager
def audited(kind: str, action: str) -> Iterator[Change]:
    """Record the action done inside, or its failure, with user and address.

    Fill in the Change that the context gives, and the history shows the difference.

    Args:
        kind: type of the record, such as AuditType.USER.
        action: the action in the past tense: "deleted the user jane".
    """
    change = Change()
    try:
        yield change
    except ConsoleError as error:
        record_change(kind, f"failed: {action}: {error}", failure=True)
        raise
    record_change(kind, action, change)


def record_change(
    kind: str, action: str, change: Change | None = None, *, failure: bool = False
) -> None:
    """Record an action of the present user, or with *failure* a failed attempt."""
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
