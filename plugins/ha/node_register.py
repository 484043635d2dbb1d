"""Whose keys belong to the cluster, and whose did; in the database.

A node is known by its key, which outlives the renewal of its certificate. A node
that was removed keeps a valid certificate; this register is what shuts it out.
"""

import logging
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

log = logging.getLogger(__name__)


class NodeRegister:
    """The register: written to the set over *whole_set*, read from *local*.

    Writing raises pymongo's errors.
    """

    def __init__(
        self,
        whole_set: MongoClient[dict[str, Any]],
        local: MongoClient[dict[str, Any]],
    ) -> None:
        self._nodes = whole_set["twistlock"]["ha_nodes"]
        self._local = local["twistlock"]["ha_nodes"].with_options(
            read_concern=ReadConcern("local"),
            read_preference=ReadPreference.NEAREST,
        )
        self._removed: frozenset[str] = frozenset()
        self._admitted: frozenset[str] = frozenset()

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
        if fingerprint not in self._admitted | self._removed:
            self.admit(address, fingerprint)

    def remove(self, address: str) -> None:
        """The node at *address* is out, with the key it has now."""
        self._nodes.update_many({"address": address}, {"$set": {"removed": True}})

    def refresh(self) -> None:
        """Read again who was removed; keeps the last answer if there is none."""
        try:
            found = list(self._local.find())
        except PyMongoError as error:
            log.debug("the register of nodes cannot be read: %s", error)
            return
        removed = {str(node["_id"]) for node in found if node["removed"]}
        self._removed = frozenset(removed)
        self._admitted = frozenset(str(node["_id"]) for node in found) - removed

    def is_removed(self, fingerprint: str) -> bool:
        """Whether the node with this key was removed; as of the last refresh."""
        return fingerprint in self._removed
