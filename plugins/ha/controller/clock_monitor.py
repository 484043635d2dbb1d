"""Watches our member's clock, and starts the member anew after it was set back."""

import logging

from plugins.ha.consensus import transitions
from plugins.ha.consensus.clock_skew import REASON, SECOND, Clock, may_restart
from plugins.ha.controller.controller import Keeper
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.mongod import Mongod

REST = 3 * SECOND
log = logging.getLogger(__name__)


class ClockWatch:
    """Asks the member of *replica_set* for the time; *check* is a health check."""

    def __init__(self, replica_set: ReplicaSet, keeper: Keeper, mongod: Mongod) -> None:
        self._mongod = mongod
        self._replica_set = replica_set
        self._keeper = keeper
        self._clock = Clock()
        self._pid: int | None = None

    def check(self) -> str | None:
        """Look again, about once a second; the answer is a health check's."""
        if self._mongod.pid != self._pid:
            # A new one waits for nothing yet.
            self._pid, self._clock = self._mongod.pid, Clock()
        self._read()
        now = boottime_ns()
        if now >= self._clock.until:
            return None
        # Who stood for election now might find nobody to make a majority with.
        until, reason = now + REST, f"resting: {REASON}"
        self._keeper.post(lambda seen: transitions.resting(seen, until, reason))
        if may_restart(self._keeper.seen, self._clock, now):
            log.warning("starting our database anew: %s", REASON)
            self._clock = Clock()
            self._mongod.restart()
        return REASON

    def _read(self) -> None:
        sent = boottime_ns()
        try:
            told = self._replica_set.clock()
        except DatabaseError as error:
            log.debug("no time from our database: %s", error)
            return
        self._clock = self._clock.read(told, sent, boottime_ns())
