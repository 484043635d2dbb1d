"""Whether this node still belongs to its cluster; a health check tells when not."""

from typing import TYPE_CHECKING

from plugins.ha.replication.status import address_of
from twistlock_console.common.errors import DatabaseError
from twistlock_console.node.node import Node
from twistlock_console.system.serving_permit import FOREVER

if TYPE_CHECKING:
    from plugins.ha.runtime import HighAvailability

REMOVED = (
    "this node was removed from the cluster and does not serve; to use the host again, "
    "uninstall the Console (twistlock.sh -u) and run the join command of the primary's "
    "page"
)


class Standing:
    """Learns it from peers, which refuse a removed node, and from our own member."""

    def __init__(self, room: "HighAvailability") -> None:
        self._room = room
        #: Why this node is outside; None while it belongs to the cluster.
        self.reason: str | None = None

    def check(self, node: Node) -> str | None:
        """Look again; the answer is a health check's."""
        del node
        seen = self._room.keeper.seen
        out = seen.resting_until >= FOREVER or self._is_left_out()
        self.reason = REMOVED if out else None
        return self.reason

    def _is_left_out(self) -> bool:
        """Whether our member has a configuration that does not name it."""
        try:
            members = self._room.replica_set.config()["members"]
        except DatabaseError:
            return False
        me = self._room.settings.node_address
        return me not in [address_of(member["host"]) for member in members]
