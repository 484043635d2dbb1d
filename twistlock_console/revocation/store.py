"""Store revocations of all kinds of credentials in one collection.

MongoDB replicates the collection, and a restore adds the backup's revocations and
deletes none: a revocation survives a failover, a restart and the restore of an older
backup (docs/decisions/0015-a-restore-revives-nothing.md).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

COLLECTION = "revocations"
#: A revocation is deleted when the credential has expired.
INDEXES = [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)]
#: Added to each expiry, because the clocks of the nodes may differ.
EXPIRY_MARGIN = timedelta(days=1)
Store = Database[dict[str, object]]


class RevocationKind(StrEnum):
    """The kinds of credentials; the comment says what identifies one."""

    CERTIFICATE = "certificate"  # of a Defender: the serial number, hex
    NODE_KEY = "nodeKey"  # of a node: the fingerprint of its key
    DEPLOY_TOKEN = "deployToken"  # noqa: S105 - its hash
    JOIN_TOKEN = "joinToken"  # noqa: S105 - its hash
    SESSION = "session"  # of pages, or of an API token and its renewals: its id
    ACCOUNT = "account"  # one that was deleted: the username


def revoke(
    database: Store,
    kind: RevocationKind,
    name: str,
    *,
    owner: str = "",
    expires: datetime | None = None,
    session: ClientSession | None = None,
) -> None:
    """Revoke the credential *name*; return when a majority has stored it.

    Args:
        database: the database of the cluster.
        kind: the kind of credential.
        name: the identity of the credential within its kind.
        owner: the Defender, user or node that owns the credential.
        expires: when the credential expires; None if it never does.
        session: the transaction that the change belongs to, if any.

    """
    change = _change(kind, name, owner, expires)
    database[COLLECTION].update_one(
        {"_id": _id(kind, name)}, change, upsert=True, session=session
    )


def revoke_all(
    database: Store,
    kind: RevocationKind,
    proofs: Iterable[tuple[str, datetime]],
    *,
    owner: str,
) -> None:
    """Revoke all *proofs* of *owner*, each a name and its expiry."""
    changes = [
        UpdateOne({"_id": _id(kind, name)}, _change(kind, name, owner, end), True)
        for name, end in proofs
    ]
    if changes:
        database[COLLECTION].bulk_write(changes)


def lift(database: Store, kind: RevocationKind, name: str) -> None:
    """Lift the revocation of the credential *name*, as an administrator decided."""
    lifted = {"$set": {"lifted": datetime.now(UTC)}}
    database[COLLECTION].update_one({"_id": _id(kind, name)}, lifted)


def is_revoked(database: Store, kind: RevocationKind, name: str) -> bool:
    """Return whether the credential *name* is revoked."""
    found = {"_id": _id(kind, name), **IN_FORCE}
    return database[COLLECTION].find_one(found, {}) is not None


def revocation_time(
    database: Store, kind: RevocationKind, name: str
) -> datetime | None:
    """Return when the credential *name* was last revoked, even if that was lifted."""
    found = database[COLLECTION].find_one({"_id": _id(kind, name)}, {"time": True})
    time = found["time"] if found else None
    return time if isinstance(time, datetime) else None


def read_revoked(database: Store, kind: RevocationKind) -> frozenset[str]:
    """Return the names of all revoked credentials of *kind*."""
    found = database[COLLECTION].find(revocations_query(kind), {"name": True})
    return frozenset(str(each["name"]) for each in found)


def revocations_query(kind: RevocationKind) -> dict[str, object]:
    """Return the query for all revocations of *kind* that are in force."""
    # From the index of all ids: those of a kind begin alike, and ";" follows ":".
    return {"_id": {"$gt": f"{kind}:", "$lt": f"{kind};"}, **IN_FORCE}


#: The document of a lifted revocation remains, so that no backup revokes again.
IN_FORCE: dict[str, object] = {"lifted": None}


def _id(kind: RevocationKind, name: str) -> str:
    return f"{kind}:{name}"


def _change(
    kind: RevocationKind, name: str, owner: str, expires: datetime | None
) -> dict[str, object]:
    fields = {"kind": kind, "name": name, "owner": owner, "time": datetime.now(UTC)}
    if expires is None:
        return {"$set": fields, "$unset": {"lifted": "", "expires": ""}}
    return {
        "$set": {**fields, "expires": expires + EXPIRY_MARGIN},
        "$unset": {"lifted": ""},
    }
