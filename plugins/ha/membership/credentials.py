"""Manage the credentials of nodes, all revocable: join tokens, and the nodes' own keys.

A join token lets one host ask to join, for half an hour. Only its hash is stored, and
it is bound to the first host that uses it.

A node is identified by its key, which outlives the renewal of its certificate. A node
that was removed keeps a valid certificate; its key is revoked like any other
credential, and the node API of the others refuses it. The revoked keys are kept in
memory and in a file, so that a node that starts refuses them from its first answer on,
before its database can be read.
"""

import hashlib
import json
import logging
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import PyMongoError

from plugins.ha.declarations import HIGH_AVAILABILITY
from plugins.ha.messages import OpenTokenResponse
from plugins.ha.replication.collections import Collections, Document
from twistlock_console.accounts import users
from twistlock_console.common.atomic_files import write_whole
from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.common.json_members import load_json
from twistlock_console.pki.certificates import pin_of
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind

TOKEN_LIFETIME_MIN = 30
EXPIRED_TOKEN_RETENTION = timedelta(days=1)
TOKEN_PATTERN = re.compile(r"join-[A-Za-z0-9_-]{43}")
#: The token of an account has three parts, each in base64.
ACCOUNT_TOKEN_PATTERN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
COPY_COMMAND = "copy a new join command from Manage > System > High Availability"
TOKEN_ID_CHARS = 12
COLLECTION = "ha_nodes"
log = logging.getLogger(__name__)


class JoinTokens:
    """Stores the join tokens, through *collections*; raises pymongo's errors."""

    def __init__(self, collections: Collections) -> None:
        self._database = collections.database
        self._tokens = collections.primary("ha_join_tokens")
        self._local = collections.local("ha_join_tokens")

    def create(self, by: str = "") -> tuple[str, datetime]:
        """Create a token for one host; return it and its expiry.

        *by* is the account that creates it; the token is valid only as long as that
        account may manage high availability.
        """
        now = datetime.now(UTC)
        self._tokens.delete_many({"expires": {"$lt": now - EXPIRED_TOKEN_RETENTION}})
        token = f"join-{secrets.token_urlsafe(32)}"
        expires = now + timedelta(minutes=TOKEN_LIFETIME_MIN)
        made = {"_id": hash_token(token), "expires": expires, "by": by}
        self._tokens.insert_one(made)
        return token, expires

    def check(self, token: str, host: str) -> None:
        """Check *token*, and bind it to *host* at its first use.

        Raises:
            Refused: It is unknown, damaged, expired, revoked, or bound to another host.
        """
        _check_pattern(token)
        key = hash_token(token)
        found = self._tokens.find_one({"_id": key})
        if found is None:
            raise Refused(f"The join token is not known here; {COPY_COMMAND}.")
        made = found["expires"] - timedelta(minutes=TOKEN_LIFETIME_MIN)
        if self._is_revoked(found) or not users.may_owner_still_change(
            self._database, str(found.get("by", "")), HIGH_AVAILABILITY, made
        ):
            raise Refused(f"The join token was revoked; {COPY_COMMAND}.")
        if found["expires"] < datetime.now(UTC):
            raise Refused(f"The join token has expired; {COPY_COMMAND}.")
        if "host" not in found:
            found = self._bind(key, host)
        if found["host"] != host:
            raise Refused(
                "The join token was used by another host, and each is for one; "
                f"{COPY_COMMAND}."
            )

    def _bind(self, key: str, host: str) -> Document:
        bound = self._tokens.find_one_and_update(
            {"_id": key, "host": {"$exists": False}},
            {"$set": {"host": host}},
            return_document=ReturnDocument.AFTER,
        )
        return bound or self._tokens.find_one({"_id": key}) or {"host": None}

    def list(self) -> tuple[OpenTokenResponse, ...]:
        """List the valid tokens, the newest first."""
        alive = {"expires": {"$gt": datetime.now(UTC)}, "revoked": {"$ne": True}}
        return tuple(
            _open_token(stored)
            for stored in self._local.find(alive).sort("expires", DESCENDING)
        )

    def revoke(self, token_id: str) -> str:
        """Revoke the token with the id *token_id*; return its hash.

        Raises:
            Refused: It is unknown.
        """
        named = {"_id": {"$regex": f"^{re.escape(token_id)}"}}
        # A shorter id might match another token.
        found = (
            self._tokens.find_one(named) if len(token_id) >= TOKEN_ID_CHARS else None
        )
        if found is None:
            raise Refused(f"There is no join token {token_id}.")
        self._revoke(found)
        return str(found["_id"])

    def revoke_for(self, host: str) -> None:
        """Revoke the tokens that are bound to *host*."""
        for found in list(self._tokens.find({"host": host})):
            self._revoke(found)

    def _revoke(self, stored: Document) -> None:
        key, expires = str(stored["_id"]), stored["expires"]
        store.revoke(self._database, RevocationKind.JOIN_TOKEN, key, expires=expires)
        # For the lists, and for the release before this one.
        self._tokens.update_one({"_id": key}, {"$set": {"revoked": True}})

    def _is_revoked(self, stored: Document) -> bool:
        if stored.get("revoked"):
            return True
        return store.is_revoked(
            self._database, RevocationKind.JOIN_TOKEN, str(stored["_id"])
        )


def hash_token(token: str) -> str:
    """Return the hash that is stored instead of *token*."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_pattern(token: str) -> None:
    if TOKEN_PATTERN.fullmatch(token):
        return
    if ACCOUNT_TOKEN_PATTERN.fullmatch(token):
        raise Refused(
            "This is the token of an account, which cannot join a host; use the "
            "command from Manage > System > High Availability as it is."
        )
    raise Refused(f"The join token is damaged; {COPY_COMMAND}, as a whole.")


def _open_token(stored: Document) -> OpenTokenResponse:
    return OpenTokenResponse(
        id=str(stored["_id"])[:TOKEN_ID_CHARS],
        expires_at=stored["expires"],
        host=stored.get("host"),
    )


class NodeKeyRegistry:
    """Stores which node keys are admitted and which are revoked.

    Writing raises pymongo's errors. Reading uses the last `refresh`, so any thread may
    ask at any time. *file* keeps the revoked keys of the last refresh.
    """

    def __init__(self, collections: Collections, file: Path) -> None:
        self._database = collections.database
        self._nodes = collections.primary(COLLECTION)
        self._local = collections.local(COLLECTION)
        self._file = file
        self._saved = _load_removed(file)
        self._removed: frozenset[str] | None = None
        self._admitted: dict[str, str] = {}

    def admit(self, address: str, fingerprint: str) -> None:
        """Admit this key for the node at *address*; revoke its other keys.

        A revoked key is admitted again, because an administrator applied it.
        """
        store.lift(self._database, RevocationKind.NODE_KEY, fingerprint)
        self._nodes.update_one(
            {"_id": fingerprint},
            {"$set": {"address": address, "removed": False}},
            upsert=True,
        )
        self._revoke({"address": address, "_id": {"$ne": fingerprint}})

    def ensure_admitted(self, address: str, fingerprint: str) -> None:
        """Admit this key unless the last refresh found it admitted or removed."""
        if self._removed is None:
            return
        if fingerprint not in self._removed.union(self._admitted):
            self.admit(address, fingerprint)

    def remove(self, address: str) -> None:
        """Revoke the keys of the node at *address*."""
        self._revoke({"address": address})

    def has(self, address: str) -> bool:
        """Return whether the node at *address* has an admitted key."""
        return self._nodes.find_one({"address": address, "removed": False}) is not None

    def _revoke(self, which: Document) -> None:
        for node in list(self._nodes.find({**which, "removed": {"$ne": True}})):
            key, address = str(node["_id"]), str(node["address"])
            store.revoke(self._database, RevocationKind.NODE_KEY, key, owner=address)
            # For the release before this one.
            self._nodes.update_one({"_id": key}, {"$set": {"removed": True}})

    def refresh(self) -> None:
        """Read the keys again; keep the last ones if the database does not answer."""
        revoked = {"$match": store.revocations_query(RevocationKind.NODE_KEY)}
        both = [{"$unionWith": {"coll": store.COLLECTION, "pipeline": [revoked]}}]
        try:
            found = list(self._local.aggregate(both))
        except PyMongoError as error:
            log.debug("reading the keys of nodes failed: %s", error)
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
        self._save_removed(self._removed)

    def _save_removed(self, removed: frozenset[str]) -> None:
        if removed == self._saved:
            return
        try:
            text = json.dumps(sorted(removed)).encode()
            write_whole(self._file, text, mode=0o600)
        except IdentityError as error:
            log.warning(
                "storing the keys of removed nodes on this host failed: %s", error
            )
            return
        self._saved = removed

    def pins(self) -> dict[str, str]:
        """Return the pins of the nodes' keys by address, as of the last refresh."""
        return {address: pin_of(key) for key, address in self._admitted.items()}

    def is_removed(self, fingerprint: str) -> bool:
        """Return whether this key is revoked, as of the last refresh."""
        return self._removed is not None and fingerprint in self._removed

    def was_removed_before_start(self, fingerprint: str) -> bool:
        """Return whether this key was revoked when this node stopped.

        False after the first refresh. The key may have been admitted again, so the
        answer to the node must not say that it was removed.
        """
        return self._removed is None and fingerprint in self._saved


def _load_removed(file: Path) -> frozenset[str]:
    try:
        found = load_json(file.read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()
