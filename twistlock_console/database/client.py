"""Create database clients: credentials, TLS, timeouts and write concern.

A client has threads and sockets: make it after a fork, never before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from pymongo import MongoClient
from pymongo.database import Database

from twistlock_console.common.atomic_files import read_text_secret
from twistlock_console.database.options import KEYFILE, REPLICA_SET
from twistlock_console.pki.identity_files import CLUSTER_BUNDLE, CLUSTER_TRUST
from twistlock_console.settings import Settings

CONNECT_TIMEOUT_MS = 1000
#: Options of MongoClient, by name.
Options = dict[str, Any]
#: A client of the whole set polls for the primary at the shortest interval that pymongo
#: allows. It needs no second connection per member to measure round trips.
WHOLE_SET_OPTIONS: Options = {
    "heartbeatFrequencyMS": 500,
    "serverMonitoringMode": "poll",
}

#: A document as MongoDB returns it, or a command or pipeline stage as it takes it.
Document = dict[str, Any]
Client = MongoClient[Document]
Db = Database[Document]
# By identity: to pymongo, clients of the same members are equal.
_clients: WeakValueDictionary[int, Client] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class DatabaseCredentials:
    """A username and its password; *source* is the database that stores the user."""

    username: str
    password: str = field(repr=False)
    source: str = "admin"


def credentials_for(settings: Settings, username: str) -> DatabaseCredentials:
    """Return the credentials of the user "console" or "cluster".

    Raises:
        IdentityError: the password file cannot be used.

    """
    path = settings.folders.secrets / f"{username}.password"
    return DatabaseCredentials(username, read_text_secret(path))


def root_credentials(settings: Settings) -> DatabaseCredentials:
    """Return the credentials that members use among themselves; they may do anything.

    Raises:
        IdentityError: the keyfile cannot be used.

    """
    text = read_text_secret(settings.folders.secrets / KEYFILE)
    return DatabaseCredentials("__system", "".join(text.split()), source="local")


def connect(  # noqa: PLR0913 - all but two are named at every call
    settings: Settings,
    credentials: DatabaseCredentials | None,
    *,
    app_name: str,
    timeout_ms: int = 5000,
    whole_set: bool = False,
    is_awaiting: bool = False,
    retry_reads: bool = True,
    seeds: Sequence[str] = (),
) -> Client:
    """Return a client of the local member or of the whole replica set.

    The client connects when first used. A write returns when a majority has journaled
    it, and reads see only such writes.

    Args:
        settings: the settings of this node.
        credentials: the user to log in as; None for commands that need no login.
        app_name: the name that MongoDB logs for the connection.
        timeout_ms: the timeout of each call, all retries included.
        whole_set: find the primary and send commands there.
        is_awaiting: commands wait on the server, so *timeout_ms* bounds the socket
            alone.
        retry_reads: pymongo repeats a refused read without a pause until the timeout.
            A member that was removed, or that copies its data, refuses every read: a
            client that polls must switch this off, or it keeps a processor busy.
        seeds: further members, as "address:port", to discover the set from.

    """
    here = f"{settings.node_address}:{settings.database_port}"
    certificates = settings.folders.certificates
    client: Client = MongoClient(
        [here, *seeds] if whole_set else [here],
        appname=app_name,
        tz_aware=True,
        tls=True,
        tlsCAFile=str(certificates / CLUSTER_TRUST),
        tlsCertificateKeyFile=str(certificates / CLUSTER_BUNDLE),
        # A command that waits on the server must not carry a time limit: MongoDB
        # would fail the wait instead of ending it. The socket's limit bounds it.
        timeoutMS=None if is_awaiting else timeout_ms,
        socketTimeoutMS=timeout_ms,
        serverSelectionTimeoutMS=timeout_ms,
        connectTimeoutMS=min(CONNECT_TIMEOUT_MS, timeout_ms),
        w="majority",
        journal=True,
        readConcernLevel="majority",
        retryWrites=True,
        retryReads=retry_reads,
        **_topology_options(whole_set),
        **_login_options(credentials),
    )
    _clients[id(client)] = client
    return client


def reload_certificate(settings: Settings) -> None:
    """Load the node's renewed certificate into every client of this process.

    Existing connections continue with the old one. pymongo offers this by a private
    attribute alone; a test fails when that disappears.
    """
    bundle = settings.folders.certificates / CLUSTER_BUNDLE
    for client in list(_clients.values()):
        context: Any = client.options.pool_options._ssl_context
        context.load_cert_chain(bundle)


def _topology_options(whole_set: bool) -> Options:
    if whole_set:
        return {"replicaSet": REPLICA_SET, **WHOLE_SET_OPTIONS}
    # pymongo's defaults: changes are pushed, and the member is polled every ten
    # seconds.
    return {"directConnection": True}


def _login_options(credentials: DatabaseCredentials | None) -> Options:
    if credentials is None:
        return {}
    return {
        "username": credentials.username,
        "password": credentials.password,
        "authSource": credentials.source,
        "authMechanism": "SCRAM-SHA-256",
    }
