"""Whose keys belong to the cluster, and whose did; in the database.

A node is known by its key, which outlives the renewal of its certificate. A node
that was removed keeps a valid certificate; this register is what shuts it out.
"""

import logging

from pymongo.errors import PyMongoError

from plugins.ha.replication.collections import Stores
from twistlock_console.pki.certificates import pin_of

log = logging.getLogger(__name__)


class NodeRegister:
    """The register, through *stores*; writing raises pymongo's errors."""

    def __init__(self, stores: Stores) -> None:
        self._nodes = stores.written("ha_nodes")
        self._shown = stores.shown("ha_nodes")
        self._removed: frozenset[str] = frozenset()
        self._admitted: dict[str, str] = {}

    def admit(self, address: str, fingerprint: str) -> None:
        """The node at *address* has this key now; one that had another is out."""
        self._nodes.update_one(
            {"_id": fingerprint},
            {"$set": {"address": address, "removed": False}},
            upsert=True,
        )
        self._nodes.update_many(
            {"address": address, "_id": {"$ne": fingerprint}},
            {"$set": {"removed": True}},
        )

    def ensure(self, address: str, fingerprint: str) -> None:
        """Admit this node unless the last refresh found it admitted or removed."""
        if fingerprint not in self._removed.union(self._admitted):
            self.admit(address, fingerprint)

    def remove(self, address: str) -> None:
        """The node at *address* is out, with the key it has now."""
        self._nodes.update_many({"address": address}, {"$set": {"removed": True}})

    def refresh(self) -> None:
        """Read again who is in and out; keeps the last answer if there is none."""
        try:
            found = list(self._shown.find())
        except PyMongoError as error:
            log.debug("the register of nodes cannot be read: %s", error)
            return
        self._removed = frozenset(str(node["_id"]) for node in found if node["removed"])
        self._admitted = {
            str(node["_id"]): str(node["address"])
            for node in found
            if not node["removed"]
        }

    def pins(self) -> dict[str, str]:
        """The pins of the nodes of this cluster, by address; as of the last refresh."""
        return {address: pin_of(key) for key, address in self._admitted.items()}

    def is_removed(self, fingerprint: str) -> bool:
        """Whether the node with this key was removed; as of the last refresh."""
        return fingerprint in self._removed
