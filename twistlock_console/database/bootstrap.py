"""Bootstrap a database member: secrets, a replica set of one member, and users.

Every step is idempotent: it may be repeated after a crash.
"""

import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar

from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from twistlock_console.common.atomic_files import ensure_secret
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import (
    Client,
    Document,
    connect,
    credentials_for,
    root_credentials,
)
from twistlock_console.database.mongod import Mongod
from twistlock_console.database.options import KEYFILE, REPLICA_SET
from twistlock_console.settings import Folders, Settings

SECRETS = (KEYFILE, "console.password", "cluster.password", "session.key")
WRITABLE_TIMEOUT_S = 30.0
STABLE_TIMEOUT_S = 15.0
POLL_INTERVAL_S = 0.02
NOT_YET_INITIATED = 94
ALREADY_INITIATED = 23
USER_EXISTS = 51003

_WRITER = {"role": "readWrite", "db": "twistlock"}
ROLES: dict[str, list[dict[str, str]]] = {
    "console": [_WRITER],
    "cluster": [
        _WRITER,
        {"role": "clusterAdmin", "db": "admin"},
        {"role": "clusterMonitor", "db": "admin"},
    ],
}
log = logging.getLogger(__name__)
T = TypeVar("T")


def prepare_secrets(folders: Folders) -> None:
    """Create the keyfile, the passwords and the web key where they are missing.

    Raises:
        IdentityError: a secret cannot be written, or exists and is unusable.

    """
    for name in SECRETS:
        ensure_secret(folders.secrets / name)


def wait_until_answering(
    settings: Settings,
    seconds: float,
    mongod: Mongod | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until the local member answers ``hello``, for at most *seconds*.

    Args:
        settings: the settings of this node.
        seconds: the timeout.
        mongod: the process whose last exit reason goes into the error.
        is_cancelled: ends the wait early when it returns True.

    Raises:
        DatabaseError: the member did not answer in time, or the wait was cancelled.

    """
    deadline = boottime_ns() + round(seconds * SECOND)
    while boottime_ns() < deadline and not is_cancelled():
        if is_answering(settings):
            return
        time.sleep(POLL_INTERVAL_S)
    why = (mongod and mongod.reason) or f"see {settings.folders.log / 'mongod.log'}"
    raise DatabaseError(f"the database did not answer within {seconds:g} s: {why}")


def is_answering(settings: Settings) -> bool:
    """Return whether the local member answers ``hello``."""
    # A plain connection first: pymongo would check again only every half second.
    return _accepts_connections(settings) and _answers_hello(settings)


def initiate_set(
    settings: Settings,
    set_settings: Mapping[str, int] = MappingProxyType({}),
    *,
    may_create: bool = True,
    may_rehost: bool = True,
) -> bool:
    """Initiate a replica set of the local member, and wait until it is writable.

    Args:
        settings: the settings of this node.
        set_settings: replica set settings that differ from ours.
        may_create: a member without a configuration gets one. Not where this node
            belonged to a larger set: it was emptied, and the others have the data.
        may_rehost: a set of one that knows this node by an earlier address gets the
            present one. Not in a cluster: there, a set of one without this node is
            what the others became when they removed it.

    Returns:
        False for a member of a larger set, and for one that belonged to one: that is
        left as it is, and not waited for.

    Raises:
        DatabaseError: the member cannot be set up.

    """

    def initiate(client: Client) -> bool:
        if not may_create and _read_configuration(client) is None:
            return False
        config = _ensure_configuration(client, settings, set_settings)
        if len(config["members"]) > 1:
            return False
        if config["members"][0]["host"] != _host(settings):
            if not may_rehost:
                return False
            _rehost(client, config, settings)
        _wait_until_writable(client)
        return True

    return _run_as_root(settings, initiate)


def create_users(settings: Settings) -> None:
    """Create or update the users "console" and "cluster" with the stored passwords.

    The member must be writable.

    Raises:
        DatabaseError: the database refused, or did not answer.
        IdentityError: a password file cannot be used.

    """
    passwords = {name: credentials_for(settings, name).password for name in ROLES}
    _run_as_root(settings, lambda client: _create_users(client, passwords))


def _run_as_root(settings: Settings, work: Callable[[Client], T]) -> T:
    """Run *work*, which must be idempotent, with a client of all rights.

    Retry when the connection breaks: a member that has just started closes all
    connections when its state changes, for example to REMOVED.
    """
    root = root_credentials(settings)
    deadline = None
    while True:
        try:
            with connect(settings, root, app_name="bootstrap") as client:
                return work(client)
        except PyMongoError as error:
            now = boottime_ns()
            deadline = deadline or now + round(STABLE_TIMEOUT_S * SECOND)
            if not isinstance(error, AutoReconnect) or now > deadline:
                reason = describe_error(error)
                raise DatabaseError(
                    f"the database cannot be set up: {reason}"
                ) from error
            log.debug("the bootstrap of the database is retried: %s", error)
        time.sleep(POLL_INTERVAL_S)


def _create_users(client: Client, passwords: Mapping[str, str]) -> None:
    for name, password in passwords.items():
        user: Document = {"pwd": password, "roles": ROLES[name]}
        try:
            client.admin.command("createUser", name, **user)
        except OperationFailure as error:
            if error.code != USER_EXISTS:
                raise
            client.admin.command("updateUser", name, **user)


def _ensure_configuration(
    client: Client, settings: Settings, set_settings: Mapping[str, int]
) -> Document:
    """Return the member's configuration; initiate the replica set if it has none.

    A member that is still loading its configuration reports none and refuses to be
    initiated; hence the loop.
    """
    deadline = boottime_ns() + round(STABLE_TIMEOUT_S * SECOND)
    while (config := _read_configuration(client)) is None:
        if boottime_ns() > deadline:
            raise DatabaseError(
                "the database did not report its configuration within "
                f"{STABLE_TIMEOUT_S:g} s"
            )
        _initiate(client, settings, set_settings)
        time.sleep(POLL_INTERVAL_S)
    return config


def _read_configuration(client: Client) -> Document | None:
    try:
        config: Document = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code == NOT_YET_INITIATED:
            return None
        raise
    return config


def _initiate(
    client: Client, settings: Settings, set_settings: Mapping[str, int]
) -> None:
    member = {"_id": 0, "host": _host(settings), "priority": 1, "votes": 1}
    timing = {
        "electionTimeoutMillis": 3000,
        "heartbeatIntervalMillis": 500,
        "heartbeatTimeoutSecs": 1,
        "catchUpTimeoutMillis": 0,
        "chainingAllowed": False,
        **set_settings,
    }
    config = {"_id": REPLICA_SET, "members": [member], "settings": timing}
    try:
        client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != ALREADY_INITIATED:
            raise
        return
    log.info("made the replica set %s with %s alone", REPLICA_SET, member["host"])


def _rehost(client: Client, config: Document, settings: Settings) -> None:
    """Set the present address of the only member; forced, as it cannot be primary."""
    before = config["members"][0]["host"]
    config["members"][0]["host"] = _host(settings)
    config["version"] += 1
    client.admin.command("replSetReconfig", config, force=True)
    log.warning("this node's database moved from %s to %s", before, _host(settings))


def _wait_until_writable(client: Client) -> None:
    deadline = boottime_ns() + round(WRITABLE_TIMEOUT_S * SECOND)
    while not client.admin.command("hello").get("isWritablePrimary"):
        if boottime_ns() > deadline:
            raise DatabaseError(
                f"the database did not become writable within {WRITABLE_TIMEOUT_S:g} s"
            )
        time.sleep(POLL_INTERVAL_S)


def _host(settings: Settings) -> str:
    return f"{settings.node_address}:{settings.database_port}"


def _accepts_connections(settings: Settings) -> bool:
    address = (settings.node_address, settings.database_port)
    with suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


def _answers_hello(settings: Settings) -> bool:
    with connect(settings, None, app_name="start", timeout_ms=1000) as client:
        try:
            client.admin.command("hello")
        except PyMongoError as error:
            log.debug("mongod does not answer yet: %s", error)
            return False
    return True
