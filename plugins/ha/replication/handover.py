"""Prepares a planned switchover, so that the next primary has a majority at once.

A member that follows the old primary would wait up to a second and a half before
it looks for the new one, and until then no write reaches a majority. So, while the
old primary still serves, the third node is told to follow its successor. That needs
chaining allowed; the next primary forbids it again (see `membership_rules`).
"""

import logging
import time
from collections.abc import Callable

from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.events.cluster_status import address_of
from twistlock_console.node_api.client import NodeClient

FOLLOW_PATH = "/v1/ha/follow"
READY_SECONDS = 4.0
POLL_SECONDS = 0.02
#: Seen so often in a row, a source is settled; a trial of one takes ten milliseconds.
SETTLED = 4
log = logging.getLogger(__name__)


class Preparation:
    """Prepares over *replica_set*, our member's, and the peers' node APIs."""

    def __init__(
        self, replica_set: ReplicaSet, client_of: Callable[[str], NodeClient]
    ) -> None:
        self._replica_set = replica_set
        self._client_of = client_of

    def make(self, target: str, follower: str) -> bool:
        """Have *follower* follow *target*; False if it does not within seconds.

        The switchover then works all the same, and takes about a second longer.
        """
        try:
            self._allow_chaining()
            with self._client_of(follower) as client:
                client.post(FOLLOW_PATH, {"address": target}, timeout=READY_SECONDS + 1)
        except ConsoleError as error:
            log.warning("%s does not follow %s yet: %s", follower, target, error)
            return False
        return True

    def _allow_chaining(self) -> None:
        config = self._replica_set.config()
        settings = {**config["settings"], "chainingAllowed": True}
        self._replica_set.reconfigure({**config, "settings": settings})


def follow(replica_set: ReplicaSet, me: str, host: str) -> None:
    """Have our member, at *me*, read the oplog of *host*; return once it does so.

    A member turns down a source that is not ahead of it, and then looks for another
    only after a second. So it is asked once more, and not again: one that is asked to
    follow whom it follows already stops for a second, too. Raises Refused.
    """
    replica_set.follow(host)
    asked_again = False
    settled = 0
    deadline = boottime_ns() + int(READY_SECONDS * SECOND)
    while settled < SETTLED:
        if boottime_ns() > deadline:
            raise Refused(f"the database of {me} does not follow {host}")
        time.sleep(POLL_SECONDS)
        source = replica_set.status().source_of(me)
        settled = settled + 1 if source == address_of(host) else 0
        if not source and not asked_again:
            replica_set.follow(host)
            asked_again = True
