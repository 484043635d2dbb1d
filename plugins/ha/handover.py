"""Prepares a planned switchover, so that the next primary has a majority at once.

A member that follows the old primary would wait up to a second and a half before
it looks for the new one, and until then no write reaches a majority. So, while the
old primary still serves, the third node is told to follow its successor. That needs
chaining allowed; the next primary forbids it again (see `membership_rules`).
"""

import logging
import time
from collections.abc import Callable

from plugins.ha.replica_set import ReplicaSet
from plugins.ha.status import ClusterStatus
from twistlock_console.clock import SECOND, boottime_ns
from twistlock_console.errors import ConsoleError
from twistlock_console.node_client import NodeClient

FOLLOW_PATH = "/v1/ha/follow"
READY_SECONDS = 3.0
ASK_AGAIN_SECONDS = 0.6
POLL_SECONDS = 0.02
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
            return self._insist(target, follower)
        except ConsoleError as error:
            log.warning("%s does not follow %s yet: %s", follower, target, error)
            return False

    def _allow_chaining(self) -> None:
        config = self._replica_set.config()
        settings = {**config["settings"], "chainingAllowed": True}
        self._replica_set.reconfigure({**config, "settings": settings})

    def _insist(self, target: str, follower: str) -> bool:
        """Ask until it is so: a member turns down a source that is an entry behind."""
        deadline = boottime_ns() + int(READY_SECONDS * SECOND)
        with self._client_of(follower) as client:
            while boottime_ns() < deadline:
                client.post(FOLLOW_PATH, {"address": target})
                if self._wait(target, follower):
                    return True
        log.warning("%s does not follow %s yet", follower, target)
        return False

    def _wait(self, target: str, follower: str) -> bool:
        deadline = boottime_ns() + int(ASK_AGAIN_SECONDS * SECOND)
        while boottime_ns() < deadline:
            if _follows(self._replica_set.status(), target, follower):
                return True
            time.sleep(POLL_SECONDS)
        return False


def _follows(status: ClusterStatus, target: str, follower: str) -> bool:
    return any(
        member.address == follower and member.sync_source == target
        for member in status.members
    )
