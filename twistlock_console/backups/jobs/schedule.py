"""Decide which scheduled backups are due. Pure.

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
FIRST_BACKUP_DELAY = timedelta(hours=1)
#: After a failure; an interrupted backup starts again sooner.
RETRY_DELAY = timedelta(minutes=15)
RESUME_DELAY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class BackupHistory:
    """The history of one kind of backup: when it last *succeeded*, and *failed*.

    *interrupted* if it failed because its node ended.
    """

    succeeded: datetime | None = None
    failed: datetime | None = None
    interrupted: bool = False


NO_HISTORY = BackupHistory()


def due(
    since: datetime, past: Mapping[BackupKind, BackupHistory], now: datetime
) -> tuple[BackupKind, ...]:
    """Return the kinds of backups that are due *now*; the schedule started *since*."""
    return tuple(kind for kind in BackupKind if _is_due(kind, since, past, now))


def _is_due(
    kind: BackupKind,
    since: datetime,
    past: Mapping[BackupKind, BackupHistory],
    now: datetime,
) -> bool:
    seen = past.get(kind, NO_HISTORY)
    period = PERIODS[kind]
    last = seen.succeeded
    # A success further ahead than a period was recorded under a wrong clock.
    if last is None or last > now + period:
        wanted = min(since, now) + FIRST_BACKUP_DELAY
    else:
        wanted = last + period
    if now < wanted:
        return False
    return seen.failed is None or not _waits(seen.failed, now, seen.interrupted)


def _waits(failed: datetime, now: datetime, interrupted: bool) -> bool:
    pause = RESUME_DELAY if interrupted else RETRY_DELAY
    return failed <= now < failed + pause
