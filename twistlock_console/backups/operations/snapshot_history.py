"""Extend MongoDB's retention of snapshots while a backup reads at one cluster time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import PyMongoError

from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings

PARAMETER = "minSnapshotHistoryWindowInSeconds"
DEFAULT_HISTORY_S = 300
#: Old data is kept on disk for so long, while a backup is running.
BACKUP_HISTORY_S = 24 * 3600
log = logging.getLogger(__name__)


@contextmanager
def long_history(settings: Settings) -> Iterator[None]:
    """Extend the snapshot retention of our member within the context."""
    _set(settings, BACKUP_HISTORY_S)
    try:
        yield
    finally:
        _set(settings, DEFAULT_HISTORY_S)


def _set(settings: Settings, seconds: int) -> None:
    credentials = credentials_for(settings, "cluster")
    with connect(settings, credentials, app_name="backup-history") as client:
        try:
            client.admin.command({"setParameter": 1, PARAMETER: seconds})
        except PyMongoError as error:
            # A backup that ends within five minutes does not need it.
            log.warning("setting %s failed: %s", PARAMETER, error)
