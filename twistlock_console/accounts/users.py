"""The users, as the database keeps them."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.accounts.roles import UserRole
from twistlock_console.errors import NotFound, Refused
from twistlock_console.words import FIELD, words_of

COLLECTION = "users"
SETTINGS = "settings"
INITIALIZED = "initialized"
ALREADY_INITIALIZED = "system already initialized"

Store = Database[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class User:
    """A user; a session that carries another *session_epoch* has ended."""

    username: str
    role: UserRole
    password_hash: str
    session_epoch: int
    last_modified: datetime

    @classmethod
    def from_document(cls, found: dict[str, Any]) -> Self:
        """Read a document of the collection."""
        return cls(
            username=found["_id"],
            role=UserRole(found["role"]),
            password_hash=found["passwordHash"],
            session_epoch=found["sessionEpoch"],
            last_modified=found["lastModified"],
        )


def is_initialized(database: Store) -> bool:
    """Tell whether the first administrator has signed up."""
    return database[SETTINGS].find_one({"_id": INITIALIZED}) is not None


def create_first(database: Store, username: str, password_hash: str) -> User:
    """Create the first administrator; raises Refused ever after, also in a race.

    The marker and the user are one transaction: neither exists without the other.
    """
    user = new_document(username, password_hash, UserRole.ADMIN)

    def both(session: ClientSession) -> None:
        marker = {"_id": INITIALIZED, "time": datetime.now(UTC)}
        database[SETTINGS].insert_one(marker, session=session)
        database[COLLECTION].insert_one(user, session=session)

    try:
        with database.client.start_session() as session:
            session.with_transaction(both)
    except DuplicateKeyError as error:
        raise Refused(ALREADY_INITIALIZED) from error
    return User.from_document(user)


def find(database: Store, username: str) -> User | None:
    """Give the user with exactly this name, if there is one."""
    found = database[COLLECTION].find_one({"_id": username})
    return User.from_document(found) if found else None


def set_password(database: Store, username: str, password_hash: str) -> User:
    """Store another password and end all of the user's sessions.

    Raises NotFound when there is no such user.
    """
    return _end_sessions(database, username, {"passwordHash": password_hash})


def end_sessions(database: Store, username: str) -> None:
    """End all of the user's sessions and tokens; raises NotFound if unknown."""
    _end_sessions(database, username, {})


def _end_sessions(database: Store, username: str, fields: dict[str, Any]) -> User:
    found = database[COLLECTION].find_one_and_update(
        {"_id": username},
        {
            "$set": {**fields, "lastModified": datetime.now(UTC)},
            "$inc": {"sessionEpoch": 1},
        },
        return_document=ReturnDocument.AFTER,
    )
    if found is None:
        raise NotFound(f"there is no user {username}")
    return User.from_document(found)


def new_document(username: str, password_hash: str, role: UserRole) -> dict[str, Any]:
    """Give the document of a new user.

    Its first session epoch is a random one: a session of somebody who had the same
    name before must not come alive again.
    """
    return {
        "_id": username,
        "passwordHash": password_hash,
        "role": role,
        "authType": "basic",
        "sessionEpoch": secrets.randbelow(2**40),
        "lastModified": datetime.now(UTC),
        FIELD: words_of(username),
    }
