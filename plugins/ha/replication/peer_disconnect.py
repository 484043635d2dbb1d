"""Has our member stop waiting for a node that went silent in the middle.

It may read the oplog of that node, or report to it what it has stored, and goes on
waiting for seconds although it knows the new primary. Until it turns to that one, no
write is stored by a majority.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.severing import sever

#: So often in a row: what is ended may be begun once more before the member turns.
TIMES = 8
log = logging.getLogger(__name__)


class Detachment:
    """Detaches the member of *replica_set*, whose process *pid_of* tells, from nodes.

    *port* is that of the nodes' databases.
    """

    def __init__(
        self, replica_set: ReplicaSet, pid_of: Callable[[], int | None], port: int
    ) -> None:
        self._replica_set = replica_set
        self._pid_of = pid_of
        self._port = port
        self._times: dict[str, int] = {}

    def keep(self, silent: Iterable[str]) -> None:
        """Have it wait for none of the *silent*; call it several times a second."""
        self._times = {address: self._times.get(address, 0) + 1 for address in silent}
        for address, times in self._times.items():
            if times == 1:
                log.info("our database waits no longer for %s", address)
            if times <= TIMES:
                self._detach(address)

    def _detach(self, address: str) -> None:
        with suppress(DatabaseError):
            self._replica_set.drop_connections(f"{address}:{self._port}")
        pid = self._pid_of()
        if pid is None:
            return
        try:
            sever(pid, address, self._port)
        except OSError as error:
            log.debug("connections to %s cannot be cut: %s", address, error)
