"""Whether this node still belongs to its cluster; a health check tells when not."""

from plugins.ha.controller.controller import Keeper
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.errors import DatabaseError
from twistlock_console.events.cluster_status import address_of
from twistlock_console.system.serving_permit import FOREVER

REMOVED = (
    "this node was removed from the cluster and does not serve; to use the host again, "
    "uninstall the Console (twistlock.sh -u) and run the join command of the primary's "
    "page"
)


class Standing:
    """Learns it from peers, which refuse a removed node, and from our own member."""

    def __init__(self, keeper: Keeper, replica_set: ReplicaSet, address: str) -> None:
        self._keeper = keeper
        self._replica_set = replica_set
        self._address = address
        #: Why this node is outside; None while it belongs to the cluster.
        self.reason: str | None = None

    def check(self) -> str | None:
        """Return why this node is outside the cluster, or None; a health check."""
        seen = self._keeper.seen
        out = seen.resting_until >= FOREVER or self._is_left_out()
        self.reason = REMOVED if out else None
        return self.reason

    def _is_left_out(self) -> bool:
        """Whether our member has a configuration that does not name it."""
        try:
            members = self._replica_set.config()["members"]
        except DatabaseError:
            return False
        return self._address not in [address_of(member["host"]) for member in members]
