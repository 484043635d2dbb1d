"""The database, as a request sees it, and the indexes that its collections need."""

import os
from collections.abc import Callable
from threading import Lock
from typing import Any, cast

from bson.codec_options import CodecOptions
from flask import Flask, current_app
from pymongo import ASCENDING, IndexModel, MongoClient
from pymongo.database import Database

from twistlock_console.accounts import (
    known_origins,
    login_failures,
    session_revocations,
    users,
)
from twistlock_console.alerts.store import QUEUE
from twistlock_console.defenders import (
    certificate_renewal,
    certificate_revocations,
    deploy_tokens,
    event_store,
)
from twistlock_console.web.lists.query import indexes_of
from twistlock_console.web.lists.registry import LISTS

DATABASE = "twistlock"
Client = MongoClient[dict[str, Any]]

#: By collection, beside those of the lists. An index with `expireAfterSeconds` removes
#: what has had its time.
INDEXES: dict[str, list[IndexModel]] = {
    login_failures.COLLECTION: [
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)
    ],
    known_origins.COLLECTION: [
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)
    ],
    session_revocations.COLLECTION: [
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)
    ],
    users.COLLECTION: users.INDEXES,
    QUEUE: [IndexModel([("channel", ASCENDING), ("created", ASCENDING)])],
    event_store.COLLECTION: event_store.INDEXES,
    certificate_revocations.COLLECTION: certificate_revocations.INDEXES,
    certificate_renewal.COLLECTION: certificate_renewal.INDEXES,
    deploy_tokens.COLLECTION: deploy_tokens.INDEXES,
}


def ensure_indexes(database: Database[dict[str, Any]]) -> None:
    """Create the indexes that are missing; for the node that became primary."""
    for collection, indexes in INDEXES.items():
        database[collection].create_indexes(indexes)
    for listable in LISTS:
        if indexes := indexes_of(listable):
            database[listable.collection].create_indexes(indexes)


class Storage:
    """Makes the database client when a process first needs it.

    The application is built before its server forks, and a client's threads and
    sockets do not survive a fork: each process has its own.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._pid = 0
        self._lock = Lock()

    def database(self) -> Database[dict[str, Any]]:
        """Give the Console's database; times in it know their zone."""
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client = self._connect()
                self._pid = os.getpid()
            client = self._client
        options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
        return client.get_database(DATABASE, codec_options=options)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def database() -> Database[dict[str, Any]]:
    """Give the database of the application that answers this request."""
    return storage_of(current_app).database()


def storage_of(app: Flask) -> Storage:
    """Give the application's one Storage."""
    return cast(Storage, app.extensions["storage"])
