"""The indexes that the collections of the Console need."""

from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from twistlock_console.accounts import login, users
from twistlock_console.alerts.store import QUEUE
from twistlock_console.defenders import (
    deployment,
    enrolled,
    enrolment,
    event_quota,
    event_store,
    register,
)
from twistlock_console.revocation import store
from twistlock_console.web.lists.query import indexes_of
from twistlock_console.web.lists.registry import LISTS

#: By collection, beside those of the lists. An index with `expireAfterSeconds` removes
#: what has had its time.
INDEXES: dict[str, list[IndexModel]] = {
    login.FAILURES: [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)],
    login.KNOWN_ORIGINS: [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)],
    store.COLLECTION: store.INDEXES,
    users.COLLECTION: users.INDEXES,
    QUEUE: [IndexModel([("channel", ASCENDING), ("created", ASCENDING)])],
    event_store.COLLECTION: event_store.INDEXES,
    event_quota.COLLECTION: event_quota.INDEXES,
    register.COLLECTION: register.INDEXES,
    enrolled.COLLECTION: enrolled.INDEXES,
    enrolled.FOLLOWERS: enrolment.INDEXES,
    deployment.COLLECTION: deployment.INDEXES,
}


def ensure_indexes(database: Database[dict[str, Any]]) -> None:
    """Create the indexes that are missing; for the node that became primary."""
    for collection, indexes in INDEXES.items():
        database[collection].create_indexes(indexes)
    for listable in LISTS:
        if indexes := indexes_of(listable):
            database[listable.collection].create_indexes(indexes)
    event_store.drop_obsolete_indexes(database)
