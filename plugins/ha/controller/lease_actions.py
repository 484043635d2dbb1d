"""Lease actions: each asks the database once and says how the observation changes."""

import logging
import secrets
from collections.abc import Callable

from plugins.ha.consensus import transitions
from plugins.ha.consensus.lease import LeaseDocument
from plugins.ha.consensus.observation import Observation, Update
from plugins.ha.replication.lease_store import LeaseStore
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import DatabaseError

log = logging.getLogger(__name__)


class LeaseWork:
    """Reads and writes the lease in *store*, for the node at *me*.

    *measure* is called with the seconds of each write that a majority acknowledged.
    """

    def __init__(
        self,
        me: str,
        ttl: int,
        store: LeaseStore,
        measure: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._me = me
        self._ttl = ttl
        self._store = store
        self._measure = measure

    def read(self) -> Update:
        """Look at the lease in our own member."""
        try:
            document = self._store.read(self._patience)
        except DatabaseError as error:
            log.debug("%s", error)
            return transitions.lease_answered
        now = boottime_ns()

        def update(seen: Observation) -> Observation:
            sighted = transitions.lease_sighted(seen, document, now)
            return transitions.lease_answered(sighted)

        return update

    def take(self, expected: LeaseDocument) -> Update:
        """Take the lease over from what *expected* says."""
        taken = expected.taken_by(self._me, self._ttl, secrets.token_hex(8))
        return self._write(expected, taken)

    def renew(self, expected: LeaseDocument) -> Update:
        """Renew the lease that we hold as *expected*."""
        return self._write(expected, expected.renewed())

    def release(self, expected: LeaseDocument) -> Update:
        """Write that the lease is free; if that fails, it runs out by itself."""
        try:
            self._store.replace(expected, expected.given_back(), self._patience)
        except DatabaseError as error:
            log.info("the lease could not be released and will run out: %s", error)
        return lambda seen: seen

    def _write(self, expected: LeaseDocument, wanted: LeaseDocument) -> Update:
        sent_at = boottime_ns()
        try:
            stored = self._store.replace(expected, wanted, self._patience)
        except DatabaseError as error:
            log.info("%s", error)
            stored = False
        if not stored:
            # It may have been stored all the same: look what is there now.
            return self.read()
        now = boottime_ns()
        self._measure((now - sent_at) / SECOND)

        def update(seen: Observation) -> Observation:
            held = transitions.lease_held(seen, wanted, sent_at, now)
            return transitions.lease_answered(held)

        return update

    @property
    def _patience(self) -> float:
        """How long one request may take, in seconds: half a ttl."""
        return self._ttl / SECOND / 2
