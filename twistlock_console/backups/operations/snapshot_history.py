"""How long MongoDB can look back, while a backup reads at one moment of the past."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import PyMongoError

from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings

PARAMETER = "minSnapshotHistoryWindowInSeconds"
USUAL_SECONDS = 300
#: What changes meanwhile is kept for so long; on a disk, at most for one backup.
LONG_SECONDS = 24 * 3600
log = logging.getLogger(__name__)


@contextmanager
def long_history(settings: Settings) -> Iterator[None]:
    """Let our member keep what changes, so that a backup may take long."""
    _set(settings, LONG_SECONDS)
    try:
        yield
    finally:
        _set(settings, USUAL_SECONDS)


def _set(settings: Settings, seconds: int) -> None:
    credentials = credentials_for(settings, "cluster")
    with connect(settings, credentials, app_name="backup-history") as client:
        try:
            client.admin.command({"setParameter": 1, PARAMETER: seconds})
        except PyMongoError as error:
            # A backup that ends within five minutes does not need it.
            log.warning("%s stays as it is: %s", PARAMETER, error)
