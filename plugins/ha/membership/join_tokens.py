"""Join tokens: each lets one host ask to join, for half an hour; in the database.

Only their hashes are stored. A token is bound to the first host that uses it.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import DESCENDING, ReturnDocument

from plugins.ha.replication.collections import Collections
from plugins.ha.rights import HIGH_AVAILABILITY
from twistlock_console.accounts import users
from twistlock_console.common.errors import Refused
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind

MINUTES = 30
KEPT_AFTER_ITS_END = timedelta(days=1)
SHAPE = re.compile(r"join-[A-Za-z0-9_-]{43}")
# What an account's token looks like: three parts, each in base64.
ACCOUNT_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
ANEW = "copy the join command anew from Manage > System > High Availability"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """One token, by the first digits of its hash; *host* is who used it."""

    token_id: str
    expires: datetime
    host: str | None
    revoked: bool


class JoinTokens:
    """The join tokens, through *collections*; pymongo's errors pass through."""

    def __init__(self, collections: Collections) -> None:
        self._database = collections.database
        self._tokens = collections.written("ha_join_tokens")
        self._shown = collections.shown("ha_join_tokens")

    def new(self, by: str = "") -> tuple[str, datetime]:
        """Make a token for one host, for the account *by*; return when it ends, too."""
        now = datetime.now(UTC)
        self._tokens.delete_many({"expires": {"$lt": now - KEPT_AFTER_ITS_END}})
        token = f"join-{secrets.token_urlsafe(32)}"
        expires = now + timedelta(minutes=MINUTES)
        made = {"_id": hashed(token), "expires": expires, "by": by}
        self._tokens.insert_one(made)
        return token, expires

    def check(self, token: str, host: str) -> None:
        """Bind *token* to *host*, unless it is; raises Refused if it is no good."""
        _check_shape(token)
        key = hashed(token)
        found = self._tokens.find_one({"_id": key})
        if found is None:
            raise Refused(f"The join token is not known here; {ANEW}.")
        if self._is_revoked(found) or not users.stands_behind(
            self._database, str(found.get("by", "")), HIGH_AVAILABILITY
        ):
            raise Refused(f"The join token was revoked; {ANEW}.")
        if found["expires"] < datetime.now(UTC):
            raise Refused(f"The join token has expired; {ANEW}.")
        if "host" not in found:
            found = self._bind(key, host)
        if found["host"] != host:
            raise Refused(
                f"The join token was used by another host, and each is for one; {ANEW}."
            )

    def _bind(self, key: str, host: str) -> dict[str, Any]:
        bound = self._tokens.find_one_and_update(
            {"_id": key, "host": {"$exists": False}},
            {"$set": {"host": host}},
            return_document=ReturnDocument.AFTER,
        )
        return bound or self._tokens.find_one({"_id": key}) or {"host": None}

    def list(self) -> tuple[JoinToken, ...]:
        """The tokens that can still be used, the latest first."""
        alive = {"expires": {"$gt": datetime.now(UTC)}, "revoked": {"$ne": True}}
        return tuple(
            _token(stored)
            for stored in self._shown.find(alive).sort("expires", DESCENDING)
        )

    def revoke(self, token_id: str) -> str:
        """Revoke the token and return its hash; raises Refused if it is not known."""
        named = {"_id": {"$regex": f"^{re.escape(token_id)}"}}
        # A shorter one might name another token.
        found = self._tokens.find_one(named) if len(token_id) >= TOKEN_ID else None
        if found is None:
            raise Refused(f"There is no join token {token_id}.")
        self._revoke(found)
        return str(found["_id"])

    def revoke_for(self, host: str) -> None:
        """Revoke the tokens that *host* has used."""
        for found in list(self._tokens.find({"host": host})):
            self._revoke(found)

    def _revoke(self, stored: dict[str, Any]) -> None:
        key, expires = str(stored["_id"]), stored["expires"]
        store.revoke(self._database, Kind.JOIN_TOKEN, key, expires=expires)
        # For the lists, and for a release before.
        self._tokens.update_one({"_id": key}, {"$set": {"revoked": True}})

    def _is_revoked(self, stored: dict[str, Any]) -> bool:
        if stored.get("revoked"):
            return True
        return store.is_revoked(self._database, Kind.JOIN_TOKEN, str(stored["_id"]))


TOKEN_ID = 12


def hashed(token: str) -> str:
    """What is stored in the place of *token*."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_shape(token: str) -> None:
    if SHAPE.fullmatch(token):
        return
    if ACCOUNT_TOKEN.fullmatch(token):
        raise Refused(
            "This is the token of an account, and no host joins with it; use the "
            "command from Manage > System > High Availability as it is."
        )
    raise Refused(f"The join token is damaged; {ANEW}, as a whole.")


def _token(stored: dict[str, Any]) -> JoinToken:
    return JoinToken(
        token_id=str(stored["_id"])[:TOKEN_ID],
        expires=stored["expires"],
        host=stored.get("host"),
        revoked=bool(stored.get("revoked")),
    )
