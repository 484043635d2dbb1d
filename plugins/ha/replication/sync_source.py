"""Control the sync source of members around a change of the primary.

A member that replicates from the old primary would wait up to 1.5 s before it turns to
the new one, and until then no write reaches a majority.

* Before a planned switchover the third node switches to the next primary, while the old
  one still serves. That needs chained replication; the next primary forbids it again
  (see `membership.rules`).
* After a failover our member drops its connections to the silent node: it may wait for
  its oplog, or for its answer to a progress report.
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
#: Polls in a row with the same source until it counts as settled; a member tries one
#: for ten milliseconds.
STABLE_POLLS = 4
#: Consecutive attempts: mongod may reconnect before it chooses another source.
MAX_DISCONNECTS = 8
log = logging.getLogger(__name__)


class SwitchoverPreparation:
    """Prepares a switchover, through our member and the node APIs of peers.

    *client_of* returns a client of the node API at an address.
    """

    def __init__(
        self, replica_set: ReplicaSet, client_of: Callable[[str], NodeClient]
    ) -> None:
        self._replica_set = replica_set
        self._client_of = client_of

    def run(self, target: str, secondary: str) -> bool:
        """Make *secondary* replicate from *target*; return whether it does.

        If it does not, the switchover works all the same and takes a second longer.
        """
        try:
            self._allow_chaining()
            with self._client_of(secondary) as client:
                client.post(
                    SYNC_FROM_PATH, {"address": target}, timeout=SYNC_TIMEOUT_S + 1
                )
        except ConsoleError as error:
            log.warning(
                "%s does not replicate from %s yet: %s", secondary, target, error
            )
            return False
        return True

    def _allow_chaining(self) -> None:
        config = self._replica_set.config()
        settings: SetSettings = {**config["settings"], "chainingAllowed": True}
        self._replica_set.reconfigure({**config, "settings": settings})


def set_sync_source(replica_set: ReplicaSet, self_address: str, host: str) -> None:
    """Make our member, at *self_address*, replicate from *host*; return once it does.

    A member refuses a source that is not ahead of it, and then chooses another only
    after a second. So the request is repeated once, and no more: a request for the
    present source makes it pause for a second too.

    Raises:
        Refused: It did not within SYNC_TIMEOUT_S.
    """
    replica_set.sync_from(host)
    is_retried = False
    stable_polls = 0
    deadline = boottime_ns() + int(SYNC_TIMEOUT_S * SECOND)
    while stable_polls < STABLE_POLLS:
        if boottime_ns() > deadline:
            raise Refused(
                f"the database of {self_address} does not replicate from {host}"
            )
        time.sleep(POLL_INTERVAL_S)
        source = replica_set.status().sync_source_of(self_address)
        stable_polls = stable_polls + 1 if source == address_of(host) else 0
        if not source and not is_retried:
            replica_set.sync_from(host)
            is_retried = True


class PeerDisconnector:
    """Disconnects our member from silent peers, so that it stops waiting for them.

    *pid_of* returns the process id of our mongod; *port* is that of all databases.
    """

    def __init__(
        self, replica_set: ReplicaSet, pid_of: Callable[[], int | None], port: int
    ) -> None:
        self._replica_set = replica_set
        self._pid_of = pid_of
        self._port = port
        self._attempts: dict[str, int] = {}

    def disconnect(self, silent: Iterable[str]) -> None:
        """Disconnect the *silent* peers; call it several times a second."""
        self._attempts = {
            address: self._attempts.get(address, 0) + 1 for address in silent
        }
        for address, attempts in self._attempts.items():
            if attempts == 1:
                log.info("disconnecting our database from %s, which is silent", address)
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
            log.debug("cutting the connections to %s failed: %s", address, error)
