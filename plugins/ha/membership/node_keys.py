"""The keys of the nodes that belong to the cluster, and of those that were removed.

A node is known by its key, which outlives the renewal of its certificate. A node that
was removed keeps a valid certificate; its key is revoked like any other proof, and the
node API of the others refuses it.

The revoked keys are kept in memory, and in a file, so that a node that starts refuses
them from its first answer on, before its database can be read.
"""

import json
import logging
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from plugins.ha.replication.collections import Collections
from twistlock_console.common.atomic_files import write_whole
from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.certificates import pin_of
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind

NODES = "ha_nodes"
log = logging.getLogger(__name__)


class NodeRegister:
    """The register, through *collections*; writing raises pymongo's errors.

    *file* holds the keys that were revoked when this node last read them.
    """

    def __init__(self, collections: Collections, file: Path) -> None:
        self._database = collections.database
        self._nodes = collections.written(NODES)
        self._shown = collections.shown(NODES)
        self._file = file
        self._stored = _read(file)
        self._removed: frozenset[str] | None = None
        self._admitted: dict[str, str] = {}

    def admit(self, address: str, fingerprint: str) -> None:
        """Let the node at *address* have this key; revoke another that it had.

        A key that was revoked counts again: an administrator applied it.
        """
        store.lift(self._database, Kind.NODE_KEY, fingerprint)
        self._nodes.update_one(
            {"_id": fingerprint},
            {"$set": {"address": address, "removed": False}},
            upsert=True,
        )
        self._revoke({"address": address, "_id": {"$ne": fingerprint}})

    def ensure(self, address: str, fingerprint: str) -> None:
        """Admit this node unless the last refresh found it admitted or removed."""
        if self._removed is None:
            return
        if fingerprint not in self._removed.union(self._admitted):
            self.admit(address, fingerprint)

    def remove(self, address: str) -> None:
        """Revoke the key of the node at *address*."""
        self._revoke({"address": address})

    def has(self, address: str) -> bool:
        """Return whether a node at *address* has a key that counts."""
        return self._nodes.find_one({"address": address, "removed": False}) is not None

    def _revoke(self, which: dict[str, Any]) -> None:
        for node in list(self._nodes.find({**which, "removed": {"$ne": True}})):
            key, address = str(node["_id"]), str(node["address"])
            store.revoke(self._database, Kind.NODE_KEY, key, owner=address)
            # What a release before knows the removed ones by.
            self._nodes.update_one({"_id": key}, {"$set": {"removed": True}})

    def refresh(self) -> None:
        """Read again who is in and out; keeps the last answer if there is none."""
        revoked = {"$match": store.revoked_of(Kind.NODE_KEY)}
        both = [{"$unionWith": {"coll": store.COLLECTION, "pipeline": [revoked]}}]
        try:
            found = list(self._shown.aggregate(both))
        except PyMongoError as error:
            log.debug("the register of nodes cannot be read: %s", error)
            return
        nodes = [each for each in found if "kind" not in each]
        removed = {str(node["_id"]) for node in nodes if node["removed"]}
        removed |= {str(each["name"]) for each in found if "kind" in each}
        self._admitted = {
            str(node["_id"]): str(node["address"])
            for node in nodes
            if str(node["_id"]) not in removed
        }
        self._removed = frozenset(removed)
        self._store(self._removed)

    def _store(self, removed: frozenset[str]) -> None:
        if removed == self._stored:
            return
        try:
            text = json.dumps(sorted(removed)).encode()
            write_whole(self._file, text, mode=0o600)
        except IdentityError as error:
            log.warning("the keys of removed nodes are not stored here: %s", error)
            return
        self._stored = removed

    def pins(self) -> dict[str, str]:
        """The pins of the nodes of this cluster, by address; as of the last refresh."""
        return {address: pin_of(key) for key, address in self._admitted.items()}

    def is_removed(self, fingerprint: str) -> bool:
        """Return whether the node with this key is removed, as of the last refresh."""
        return self._removed is not None and fingerprint in self._removed

    def was_removed(self, fingerprint: str) -> bool:
        """Return whether it was when this node stopped, and nothing is read since.

        It may have been admitted again: so it is no reason to tell it to give up.
        """
        return self._removed is None and fingerprint in self._stored


def _read(file: Path) -> frozenset[str]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()
