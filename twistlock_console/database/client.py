"""Clients of our database: who logs in, over what, and what counts as written.

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
#: How often a client of the whole set looks for the primary: the shortest that pymongo
#: allows. It then has no use for the second connection on which pymongo times members.
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
    """Who logs in; *source* is the database that knows the user."""

    username: str
    password: str = field(repr=False)
    source: str = "admin"


def credentials_for(settings: Settings, username: str) -> DatabaseCredentials:
    """Return the credentials of the user "console" or "cluster".

    Raises IdentityError if the password's file cannot be used.
    """
    path = settings.folders.secrets / f"{username}.password"
    return DatabaseCredentials(username, read_text_secret(path))


def root_credentials(settings: Settings) -> DatabaseCredentials:
    """Return the credentials that members use among themselves; they may do anything.

    Raises IdentityError if the keyfile cannot be used.
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
    """Return a client of the local member, or with *whole_set* of the primary.

    *seeds* are more members, as "address:port", to find the set by. Each call takes
    at most *timeout_ms* in all. Writes return when a majority has them journaled,
    and reads see only such writes. Connects when first used.

    pymongo repeats a read without a pause until its time is over, and a member that
    was removed, or copies its data, refuses every one: who asks all the time switches
    *retry_reads* off, or keeps a processor busy.
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
    """Have this process's clients show the node's present certificate from now on.

    Connections that stand go on. pymongo has no way for it but a private attribute;
    a test tells when that goes.
    """
    bundle = settings.folders.certificates / CLUSTER_BUNDLE
    for client in list(_clients.values()):
        context: Any = client.options.pool_options._ssl_context
        context.load_cert_chain(bundle)


def _topology_options(whole_set: bool) -> Options:
    if whole_set:
        return {"replicaSet": REPLICA_SET, **WHOLE_SET_OPTIONS}
    # Told of a change at once, and looking every ten seconds, as pymongo does itself.
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
