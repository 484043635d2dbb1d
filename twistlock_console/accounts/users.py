"""Store users, and change them on behalf of an administrator.

At least one administrator always remains. A change that could remove the last one is a
transaction that also writes to one common document: of two concurrent changes the
database commits one, and the other, when retried, sees the result of the first.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel
from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.accounts.rights import Area, UserRole, may
from twistlock_console.common.errors import NotFound, Refused
from twistlock_console.common.search_terms import FIELD, index_terms
from twistlock_console.names import name_key
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind

COLLECTION = "users"
SETTINGS = "settings"
INITIALIZED = "initialized"
ALREADY_INITIALIZED = "system already initialized"
#: The field with the compared form of the name. If an earlier release stored `Admin`
#: beside `admin`, one of them has a key that matches no name, and is found by its exact
#: name alone.
NAME_KEY = "nameKey"
INDEXES = [IndexModel([(NAME_KEY, ASCENDING)], unique=True, sparse=True)]
Store = Database[dict[str, object]]
#: The document that every such transaction writes to.
ADMINISTRATORS = {"_id": "administrators"}
LAST_ADMINISTRATOR = (
    "{} is the last administrator; give another user the role Administrator before "
    "you take it from this one"
)
Step = Callable[[ClientSession], None]


@dataclass(frozen=True, slots=True)
class User:
    """A user; sessions with another *session_epoch* are invalid."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel)
    username: Annotated[str, Field(alias="_id")]
    role: UserRole
    password_hash: str
    session_epoch: int
    last_modified: datetime

    @staticmethod
    def from_document(found: Mapping[str, object]) -> "User":
        """Parse a document of the collection."""
        return _stored_user.validate_python(found)


_stored_user = TypeAdapter(User)


def is_initialized(database: Store) -> bool:
    """Return whether the first administrator has signed up."""
    return database[SETTINGS].find_one({"_id": INITIALIZED}) is not None


def mark_initialized(database: Store) -> None:
    """Record that users exist: no first administrator may sign up any more."""
    marker = {"$setOnInsert": {"time": datetime.now(UTC)}}
    database[SETTINGS].update_one({"_id": INITIALIZED}, marker, upsert=True)


def create_first(database: Store, username: str, password_hash: str) -> User:
    """Create the first administrator; safe against concurrent calls.

    Marker and user are written in one transaction: neither exists without the other.

    Raises:
        Refused: the first administrator exists already.

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
    """Return the user of this name, whatever its case; None if there is none."""
    either = {"$or": [{"_id": username}, {NAME_KEY: name_key(username)}]}
    found = {each["_id"]: each for each in database[COLLECTION].find(either)}
    document = found.get(username) or next(iter(found.values()), None)
    return User.from_document(document) if document else None


def stored_name(database: Store, username: str) -> str:
    """Return the user's name as it is stored. Raises NotFound."""
    if (user := find(database, username)) is not None:
        return user.username
    if store.is_revoked(database, RevocationKind.ACCOUNT, username):
        raise NotFound(
            f"there is no user {username}: the account was deleted; add it again under "
            "Manage > Authentication > Users"
        )
    raise NotFound(f"there is no user {username}")


def may_owner_still_change(
    database: Store, username: str, area: Area, made: datetime
) -> bool:
    """Return whether the owner of a token exists and may still change *area*.

    An account that was deleted after the token was *made*, and added again, is another
    account. Tokens that root created on a host's command line have the username "".
    """
    if not username:
        return True
    deleted = store.revocation_time(database, RevocationKind.ACCOUNT, username)
    if deleted is not None and deleted >= made:
        return False
    user = find(database, username)
    return user is not None and may(user.role, area, change=True)


def add_name_keys(database: Store) -> None:
    """Store the compared form of names that an earlier release stored without it."""
    users = database[COLLECTION]
    names = [str(each["_id"]) for each in users.find({NAME_KEY: None}, {})]
    for name in sorted(names, key=lambda name: (name != name_key(name), name)):
        key = name_key(name)
        if users.find_one({NAME_KEY: key}) is not None:
            key = f"only as written: {name}"
        users.update_one({"_id": name}, {"$set": {NAME_KEY: key}})


def set_password(database: Store, username: str, password_hash: str) -> User:
    """Store another password; end all sessions of the user. Raises NotFound."""
    name = stored_name(database, username)
    return _end_sessions(database, name, {"passwordHash": password_hash})


def replace_hash(database: Store, user: User, password_hash: str) -> User:
    """Store another hash of the same password, unless the password was changed.

    Sessions remain valid.
    """
    unchanged = {"_id": user.username, "passwordHash": user.password_hash}
    change = {"$set": {"passwordHash": password_hash}}
    if database[COLLECTION].update_one(unchanged, change).matched_count:
        return replace(user, password_hash=password_hash)
    return user


def end_sessions(database: Store, username: str) -> None:
    """End all sessions and tokens of the user. Raises NotFound."""
    _end_sessions(database, username, {})


def _end_sessions(database: Store, username: str, fields: dict[str, object]) -> User:
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


def new_document(
    username: str, password_hash: str, role: UserRole
) -> dict[str, object]:
    """Return the document of a new user.

    Its first session epoch is random: sessions of an earlier account with the same name
    must not become valid again.
    """
    return {
        "_id": username,
        NAME_KEY: name_key(username),
        "passwordHash": password_hash,
        "role": role,
        "authType": "basic",
        "sessionEpoch": secrets.randbelow(2**40),
        "lastModified": datetime.now(UTC),
        FIELD: index_terms(username),
    }


def add(database: Store, username: str, password_hash: str, role: UserRole) -> User:
    """Store a new user. Raises Refused if the name is taken, whatever its case."""
    if taken := find(database, username):
        raise Refused(f"there is a user {taken.username} already")
    document = new_document(username, password_hash, role)
    try:
        database[COLLECTION].insert_one(document)
    except DuplicateKeyError:
        raise Refused(f"there is a user {username} already") from None
    # Last: if this is interrupted earlier, no restore revives the deleted account.
    store.lift(database, RevocationKind.ACCOUNT, username)
    return User.from_document(document)


def change(
    database: Store, username: str, role: UserRole, password_hash: str | None
) -> tuple[User, User]:
    """Set the user's role and, unless it is None, the password hash.

    Another password ends the user's sessions.

    Returns:
        The user before and after the change.

    Raises:
        NotFound: there is no such user.
        Refused: the user is the last administrator.

    """
    username = stored_name(database, username)
    fields: dict[str, object] = {"role": role, "lastModified": datetime.now(UTC)}
    change: dict[str, object] = {"$set": fields}
    if password_hash is not None:
        fields["passwordHash"] = password_hash
        change["$inc"] = {"sessionEpoch": 1}

    def step(session: ClientSession) -> None:
        database[COLLECTION].update_one({"_id": username}, change, session=session)

    old = _keep_an_administrator(database, username, step, stays=role is UserRole.ADMIN)
    found = database[COLLECTION].find_one({"_id": username})
    return old, User.from_document(found) if found else old


def remove(database: Store, username: str) -> User:
    """Delete the user, which ends its sessions; return the deleted user.

    No restore brings the account back; `add` does.

    Raises:
        NotFound: there is no such user.
        Refused: the user is the last administrator.

    """
    username = stored_name(database, username)

    def step(session: ClientSession) -> None:
        database[COLLECTION].delete_one({"_id": username}, session=session)
        store.revoke(database, RevocationKind.ACCOUNT, username, session=session)

    return _keep_an_administrator(database, username, step, stays=False)


def _keep_an_administrator(
    database: Store, username: str, step: Step, *, stays: bool
) -> User:
    """Run *step* in a transaction if an administrator remains; return the old user."""
    users = database[COLLECTION]

    def all_or_nothing(session: ClientSession) -> User:
        database[SETTINGS].update_one(
            ADMINISTRATORS, {"$inc": {"changes": 1}}, upsert=True, session=session
        )
        found = users.find_one({"_id": username}, session=session)
        if found is None:
            raise NotFound(f"there is no user {username}")
        others = {"role": UserRole.ADMIN, "_id": {"$ne": username}}
        leaves = found["role"] == UserRole.ADMIN and not stays
        if leaves and users.find_one(others, session=session) is None:
            raise Refused(LAST_ADMINISTRATOR.format(username))
        step(session)
        return User.from_document(found)

    with database.client.start_session() as session:
        return session.with_transaction(all_or_nothing)
