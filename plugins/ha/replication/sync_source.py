"""Direct which node a member reads the oplog from, around a change of the primary.

A member that follows the old primary would wait up to a second and a half before
it looks for the new one, and until then no write reaches a majority.

* Before a planned switchover the third node is told to follow the next primary, while
  the old one still serves. That needs chaining allowed; the next primary forbids it
  again (see `membership.rules`).
* After a failover our member stops waiting for the node that went silent in the
  middle, also where it only reports to it what it has stored.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from plugins.ha.replication.member_state import SetSettings
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, DatabaseError, Refused
from twistlock_console.database.mongod_sockets import shut_down_connections_to
from twistlock_console.events.cluster_status import address_of
from twistlock_console.node_api.client import NodeClient

SYNC_FROM_PATH = "/v1/ha/follow"
SYNC_TIMEOUT_S = 4.0
POLL_INTERVAL_S = 0.02
#: Seen so often in a row, a source is settled; a trial of one takes ten milliseconds.
STABLE_POLLS = 4
#: So often in a row: what is ended may be begun once more before the member turns.
MAX_DISCONNECTS = 8
log = logging.getLogger(__name__)


class SwitchoverPreparation:
    """Prepares over *replica_set*, our member's, and the peers' node APIs."""

    def __init__(
        self, replica_set: ReplicaSet, client_of: Callable[[str], NodeClient]
    ) -> None:
        self._replica_set = replica_set
        self._client_of = client_of

    def run(self, target: str, secondary: str) -> bool:
        """Have *follower* follow *target*; False if it does not within seconds.

        The switchover then works all the same, and takes about a second longer.
        """
        try:
            self._allow_chaining()
            with self._client_of(secondary) as client:
                client.post(
                    SYNC_FROM_PATH, {"address": target}, timeout=SYNC_TIMEOUT_S + 1
                )
        except ConsoleError as error:
            log.warning("%s does not follow %s yet: %s", secondary, target, error)
            return False
        return True

    def _allow_chaining(self) -> None:
        config = self._replica_set.config()
        settings: SetSettings = {**config["settings"], "chainingAllowed": True}
        self._replica_set.reconfigure({**config, "settings": settings})


def set_sync_source(replica_set: ReplicaSet, self_address: str, host: str) -> None:
    """Have our member, at *me*, read the oplog of *host*; return once it does so.

    A member turns down a source that is not ahead of it, and then looks for another
    only after a second. So it is asked once more, and not again: one that is asked to
    follow whom it follows already stops for a second, too. Raises Refused.
    """
    replica_set.sync_from(host)
    is_retried = False
    stable_polls = 0
    deadline = boottime_ns() + int(SYNC_TIMEOUT_S * SECOND)
    while stable_polls < STABLE_POLLS:
        if boottime_ns() > deadline:
            raise Refused(f"the database of {self_address} does not follow {host}")
        time.sleep(POLL_INTERVAL_S)
        source = replica_set.status().sync_source_of(self_address)
        stable_polls = stable_polls + 1 if source == address_of(host) else 0
        if not source and not is_retried:
            replica_set.sync_from(host)
            is_retried = True


class PeerDisconnector:
    """Detaches the member of *replica_set*, whose process *pid_of* tells, from nodes.

    *port* is that of the nodes' databases.
    """

    def __init__(
        self, replica_set: ReplicaSet, pid_of: Callable[[], int | None], port: int
    ) -> None:
        self._replica_set = replica_set
        self._pid_of = pid_of
        self._port = port
        self._attempts: dict[str, int] = {}

    def disconnect(self, silent: Iterable[str]) -> None:
        """Have it wait for none of the *silent*; call it several times a second."""
        self._attempts = {
            address: self._attempts.get(address, 0) + 1 for address in silent
        }
        for address, attempts in self._attempts.items():
            if attempts == 1:
                log.info("our database waits no longer for %s", address)
            if attempts <= MAX_DISCONNECTS:
                self._disconnect(address)

    def _disconnect(self, address: str) -> None:
        with suppress(DatabaseError):
            self._replica_set.drop_connections(f"{address}:{self._port}")
        pid = self._pid_of()
        if pid is None:
            return
        try:
            shut_down_connections_to(pid, address, self._port)
        except OSError as error:
            log.debug("connections to %s cannot be cut: %s", address, error)
