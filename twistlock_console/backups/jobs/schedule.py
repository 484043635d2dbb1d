"""Decide which backups the Console makes by itself now. Pure.

The records are in the database, so that a new primary neither skips nor repeats a day;
the times are those of the wall clocks of the nodes that wrote them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from twistlock_console.backups.format.manifest import BackupKind

PERIODS = {
    BackupKind.DAILY: timedelta(days=1),
    BackupKind.WEEKLY: timedelta(days=7),
    BackupKind.MONTHLY: timedelta(days=30),
}
FIRST_AFTER = timedelta(hours=1)
#: After a failure; a backup that was cut short starts again sooner.
RETRY_AFTER = timedelta(minutes=15)
RESUMED_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Past:
    """One kind of backup so far: when it last *succeeded*, when it *failed*.

    *interrupted* says that the failure was the end of the node that made it.
    """

    succeeded: datetime | None = None
    failed: datetime | None = None
    interrupted: bool = False


NEVER = Past()


def due(
    since: datetime, past: Mapping[BackupKind, Past], now: datetime
) -> tuple[BackupKind, ...]:
    """Return the backups that are due *now*, in a Console that exists *since*."""
    return tuple(kind for kind in BackupKind if _is_due(kind, since, past, now))


def _is_due(
    kind: BackupKind, since: datetime, past: Mapping[BackupKind, Past], now: datetime
) -> bool:
    seen = past.get(kind, NEVER)
    period = PERIODS[kind]
    last = seen.succeeded
    # A success further ahead than a period was recorded under a wrong clock.
    if last is None or last > now + period:
        wanted = min(since, now) + FIRST_AFTER
    else:
        wanted = last + period
    if now < wanted:
        return False
    return seen.failed is None or not _waits(seen.failed, now, seen.interrupted)


def _waits(failed: datetime, now: datetime, interrupted: bool) -> bool:
    pause = RESUMED_AFTER if interrupted else RETRY_AFTER
    return failed <= now < failed + pause
