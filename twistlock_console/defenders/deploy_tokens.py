"""Deploy tokens: with one, any number of hosts may enrol a Defender, for a day.

Only their hashes are stored. One command goes to many hosts, so that a token is not
bound to one; whoever may deploy can revoke it, and sees how many hosts have used it.
A token enrols new names only (`enrolled`), and ends with the account that made it. No
backup holds tokens.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database

from twistlock_console.accounts import users
from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind

COLLECTION = "deploy_tokens"
HOURS = 24
SHAPE = re.compile(r"deploy-[A-Za-z0-9_-]{43}")
SHOWN = 12
ANEW = "copy the command anew from Manage > Defenders > Deploy"
INDEXES = [IndexModel([("expires", ASCENDING)], expireAfterSeconds=86_400)]
Store = Database[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DeployToken:
    """A token by the first digits of its hash, and how many have enrolled with it."""

    id: str
    expires: datetime
    used: int


def new_token(database: Store, by: str = "") -> tuple[str, datetime]:
    """Make a token for the account *by*, "" for root; return it and when it ends."""
    token = f"deploy-{secrets.token_urlsafe(32)}"
    expires = datetime.now(UTC) + timedelta(hours=HOURS)
    made = {"_id": _hashed(token), "expires": expires, "used": 0, "by": by}
    database[COLLECTION].insert_one(made)
    return token, expires


def check_token(database: Store, token: str, *, use: bool = False) -> None:
    """Raise Refused unless *token* is good now; with *use* it counts a host."""
    if not SHAPE.fullmatch(token):
        raise Refused(f"The deploy token is damaged; {ANEW}, as a whole.")
    key = _hashed(token)
    gone = Refused(f"The deploy token was revoked, is not known, or has ended; {ANEW}.")
    good = {"_id": key, "expires": {"$gt": datetime.now(UTC)}}
    found = database[COLLECTION].find_one(good)
    if found is None or store.is_revoked(database, Kind.DEPLOY_TOKEN, key):
        raise gone
    by = str(found.get("by", ""))
    if not users.stands_behind(database, by, Areas.DEFENDER_SCRIPTS):
        raise gone
    if use:
        database[COLLECTION].update_one(good, {"$inc": {"used": 1}})


def tokens(database: Store) -> list[DeployToken]:
    """Return the tokens that can still be used, the latest first."""
    alive = {"expires": {"$gt": datetime.now(UTC)}}
    found = list(database[COLLECTION].find(alive).sort("expires", DESCENDING).limit(50))
    revoked = store.revoked(database, Kind.DEPLOY_TOKEN)
    return [
        DeployToken(d["_id"][:SHOWN], d["expires"], d["used"])
        for d in found
        if d["_id"] not in revoked
    ]


def revoke_token(database: Store, token_id: str) -> None:
    """Revoke the token; raises Refused when there is none such."""
    found = None
    if re.fullmatch(f"[0-9a-f]{{{SHOWN}}}", token_id):
        begins = {"_id": {"$regex": f"^{token_id}"}}
        found = database[COLLECTION].find_one(begins)
    if found is None or store.is_revoked(database, Kind.DEPLOY_TOKEN, found["_id"]):
        raise Refused(f"there is no deploy token {token_id!r}")
    key, expires = found["_id"], found["expires"]
    store.revoke(database, Kind.DEPLOY_TOKEN, key, expires=expires)
    # For a release before, which would be put back if an upgrade failed.
    now = {"$set": {"expires": datetime.now(UTC)}}
    database[COLLECTION].update_one({"_id": key}, now)


def token_id(database: Store, token: str) -> str | None:
    """Return how pages and history call the token; None if we never made it."""
    key = _hashed(token)
    return key[:SHOWN] if database[COLLECTION].find_one({"_id": key}, {}) else None


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
