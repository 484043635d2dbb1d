"""Notes when the Defenders came back after a takeover, with its record."""

from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from plugins.ha.reporting.role_history import History
from twistlock_console.common.clock import SECOND
from twistlock_console.defenders.reconnect_stats import returned

#: Who comes later than this was not sent away by the takeover.
WATCHED = 600 * SECOND


class Returning:
    """Follows the arrivals in *database* under each epoch, for ten minutes."""

    def __init__(self, database: Database[dict[str, Any]], history: History) -> None:
        self._database = database
        self._history = history
        self._epoch = 0
        self._since = 0
        self._count = 0

    def look(self, epoch: int, now: int) -> None:
        """Note who is back under *epoch*, which this node serves under."""
        if epoch != self._epoch:
            self._epoch, self._since, self._count = epoch, now, 0
        if now > self._since + WATCHED:
            return
        try:
            returns = returned(self._database, epoch)
        except PyMongoError:
            return
        if returns.count != self._count and self._history.note_returns(epoch, returns):
            self._count = returns.count
