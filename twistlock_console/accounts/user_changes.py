"""Changes that an administrator makes to users; one administrator is always left.

What could take the last one away is a transaction that also writes to one common
document: of two at the same time the database lets one through, and the other, tried
again, sees what the first has left.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from twistlock_console.accounts.roles import UserRole
from twistlock_console.accounts.users import (
    COLLECTION,
    SETTINGS,
    Store,
    User,
    find,
    new_document,
    stored_name,
)
from twistlock_console.common.errors import NotFound, Refused
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind

#: What every such transaction writes to.
COMMON = {"_id": "administrators"}
LAST = (
    "{} is the last administrator; give another user the role Administrator before "
    "you take it from this one"
)

Step = Callable[[ClientSession], None]


def add(database: Store, username: str, password_hash: str, role: UserRole) -> User:
    """Store a new user; raises Refused if the name is taken, in whatever case."""
    if taken := find(database, username):
        raise Refused(f"there is a user {taken.username} already")
    document = new_document(username, password_hash, role)
    try:
        database[COLLECTION].insert_one(document)
    except DuplicateKeyError:
        raise Refused(f"there is a user {username} already") from None
    # Only now: cut short before, no backup brings the deleted account back.
    store.lift(database, Kind.ACCOUNT, username)
    return User.from_document(document)


def replace(
    database: Store, username: str, role: UserRole, password_hash: str | None
) -> tuple[User, User]:
    """Give the user this role and, unless it is None, this password.

    Another password ends the user's sessions. Gives the user before and after;
    raises NotFound, or Refused for the last administrator.
    """
    username = stored_name(database, username)
    fields: dict[str, Any] = {"role": role, "lastModified": datetime.now(UTC)}
    change: dict[str, Any] = {"$set": fields}
    if password_hash is not None:
        fields["passwordHash"] = password_hash
        change["$inc"] = {"sessionEpoch": 1}

    def step(session: ClientSession) -> None:
        database[COLLECTION].update_one({"_id": username}, change, session=session)

    old = _one_left(database, username, step, stays=role is UserRole.ADMIN)
    found = database[COLLECTION].find_one({"_id": username})
    return old, User.from_document(found) if found else old


def remove(database: Store, username: str) -> User:
    """Delete the user, whose sessions end with that; gives what there was.

    No restore brings the account back; `add` does. Raises NotFound, or Refused for the
    last administrator.
    """
    username = stored_name(database, username)

    def step(session: ClientSession) -> None:
        database[COLLECTION].delete_one({"_id": username}, session=session)
        store.revoke(database, Kind.ACCOUNT, username, session=session)

    return _one_left(database, username, step, stays=False)


def _one_left(database: Store, username: str, step: Step, *, stays: bool) -> User:
    """Do *step* if an administrator is left after it; gives the user before it."""
    users = database[COLLECTION]

    def all_or_nothing(session: ClientSession) -> User:
        database[SETTINGS].update_one(
            COMMON, {"$inc": {"changes": 1}}, upsert=True, session=session
        )
        found = users.find_one({"_id": username}, session=session)
        if found is None:
            raise NotFound(f"there is no user {username}")
        others = {"role": UserRole.ADMIN, "_id": {"$ne": username}}
        leaves = found["role"] == UserRole.ADMIN and not stays
        if leaves and users.find_one(others, session=session) is None:
            raise Refused(LAST.format(username))
        step(session)
        return User.from_document(found)

    with database.client.start_session() as session:
        return session.with_transaction(all_or_nothing)
