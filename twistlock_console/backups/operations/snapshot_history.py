"""Let MongoDB keep old data for as long as a backup reads at one cluster time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import PyMongoError

from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings

PARAMETER = "minSnapshotHistoryWindowInSeconds"
DEFAULT_HISTORY_S = 300
#: So long old data are kept on disk, at most for the time of one backup.
BACKUP_HISTORY_S = 24 * 3600
log = logging.getLogger(__name__)


@contextmanager
def long_history(settings: Settings) -> Iterator[None]:
    """Let our member keep old data, so that a backup may take long."""
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
            log.warning("%s stays as it is: %s", PARAMETER, error)
