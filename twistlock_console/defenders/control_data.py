"""What the Defenders' server must know within a second, read with one question.

It asks twice a second for as long as it serves, whoever is connected.
"""

from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from twistlock_console.defenders import command_queue as orders
from twistlock_console.defenders.settings import (
    DEFENDER,
    SETTINGS,
    DefenderSettings,
)
from twistlock_console.policies import host
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind

MOST_ORDERS = 1000


@dataclass(frozen=True, slots=True)
class News:
    """The policy's version, all revoked serials (hex), orders as (Defender, order).

    *event_quota_megabytes* is what a Defender may store of events in a day.
    """

    policy_version: int
    revoked: frozenset[str]
    orders: tuple[tuple[str, str], ...]
    event_quota_megabytes: int


def take_news(database: Database[dict[str, Any]]) -> News:
    """Read the news, and take the orders: nobody else carries them out."""
    found = list(database[host.COLLECTION].aggregate(_QUESTION))
    stored = next((d for d in found if d["_id"] == DEFENDER), {})
    taken = [each for each in found if "order" in each]
    if taken:
        orders.forget_orders(database, (each["_id"] for each in taken))
    return News(
        policy_version=next((int(d["version"]) for d in found if "version" in d), 0),
        revoked=frozenset(str(d["serial"]) for d in found if "serial" in d),
        orders=tuple((str(d["defender"]), str(d["order"])) for d in taken),
        event_quota_megabytes=DefenderSettings.from_document(
            stored
        ).event_quota_megabytes,
    )


def _with(collection: str, *stages: dict[str, Any]) -> dict[str, Any]:
    return {"$unionWith": {"coll": collection, "pipeline": list(stages)}}


_QUESTION: list[dict[str, Any]] = [
    {"$match": {"_id": host.HOST_RUNTIME}},
    {"$project": {"version": 1}},
    _with(
        store.COLLECTION,
        {"$match": store.revoked_of(Kind.CERTIFICATE)},
        {"$project": {"serial": "$name"}},
    ),
    _with(SETTINGS, {"$match": {"_id": DEFENDER}}),
    _with(orders.COLLECTION, {"$sort": {"_id": 1}}, {"$limit": MOST_ORDERS}),
]
