"""The register of Defenders: who they are, and since when they are here or away.

`connected` is true while a Defender is connected, and for a little while after a
failover: the Console that took over first gives everybody time to come back, then
marks those as away who did not. `left` is the time of the service clock at which one
left, `link.server` the process that holds, or held, its connection.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from twistlock_console.common import search_terms
from twistlock_console.names import name_key
from twistlock_console.protocol import Facts

COLLECTION = "defenders"
DUPLICATE_KEY = 11000
#: The name as it is compared: DNS knows no case.
NAME_KEY = "nameKey"
INDEXES = [IndexModel([(NAME_KEY, ASCENDING)])]


@dataclass(frozen=True, slots=True)
class Server:
    """The process that serves Defenders: its own id, its epoch, its node's address."""

    id: str
    epoch: int
    node: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A Defender that connected, with what its certificate and its hello say."""

    name: str
    connection: int
    address: str
    version: str
    policy: str
    facts: Facts
    serial: str
    expires: datetime


def arrived(server: Server, arrival: Arrival, now: datetime) -> UpdateOne:
    """Note an arrival. Who was connected to an earlier Console has not been away."""
    was_here = {"$eq": ["$connected", True]}
    same_epoch = {"$eq": ["$returned.epoch", server.epoch]}
    returned = {"epoch": server.epoch, "time": now}
    plain = {
        "version": arrival.version,
        "policy": arrival.policy,
        "certificate": {"serial": arrival.serial, "expires": arrival.expires},
        "link": {
            **asdict(server),
            "server": server.id,
            "id": arrival.connection,
            "since": now,
            "address": arrival.address,
        },
        **_facts(arrival.name, arrival.facts),
    }
    changes = {
        **{name: {"$literal": value} for name, value in plain.items()},
        "lastModified": {"$cond": [was_here, "$lastModified", now]},
        "returned": {"$cond": [same_epoch, "$returned", returned]},
        "connected": True,
    }
    away = {"$unset": ["left", "alerted"]}
    return UpdateOne(_not_newer(server, arrival.name), [{"$set": changes}, away], True)


def named(name: str) -> dict[str, Any]:
    """Return the query for the Defender of this name, in whatever case."""
    return {"$or": [{"_id": name}, {NAME_KEY: name_key(name)}]}


def add_name_keys(database: Database[dict[str, Any]]) -> None:
    """Store the compared form of the names that a release before registered."""
    # They are ASCII, of which this is the same.
    change = [{"$set": {NAME_KEY: {"$toLower": "$_id"}}}]
    database[COLLECTION].update_many({NAME_KEY: None}, change)


def left(
    server: Server, name: str, connection: int, now: datetime, at: float
) -> UpdateOne:
    """Note that the Defender left; *at* is the service clock's time."""
    mine = {"_id": name, "link.server": server.id, "link.id": connection}
    away = {"connected": False, "lastModified": now, "left": at}
    return UpdateOne(mine, {"$set": away})


def described(name: str, facts: Facts) -> UpdateOne:
    """Note what a host is now."""
    return UpdateOne({"_id": name}, {"$set": _facts(name, facts)})


def enforces(name: str, policy: str) -> UpdateOne:
    """Note the hash of the rule that the Defender was sent."""
    return UpdateOne({"_id": name}, {"$set": {"policy": policy}})


def dropped(name: str, count: int) -> UpdateOne:
    """Note how many events of a Defender were dropped over its quota, in all."""
    return UpdateOne({"_id": name}, {"$max": {"droppedEvents": count}})


def read_dropped(database: Database[dict[str, Any]]) -> dict[str, int]:
    """Return how many events were dropped, by Defender, where any were."""
    found = database[COLLECTION].find(
        {"droppedEvents": {"$gt": 0}}, {"droppedEvents": True}
    )
    return {str(each["_id"]): int(each["droppedEvents"]) for each in found}


def write(database: Database[dict[str, Any]], changes: list[UpdateOne]) -> None:
    """Make *changes* in their order; what a later Console wrote is left alone."""
    try:
        database[COLLECTION].bulk_write(changes, ordered=False)
    except BulkWriteError as error:
        failed = error.details["writeErrors"]
        if error.details["writeConcernErrors"] or any(
            each["code"] != DUPLICATE_KEY for each in failed
        ):
            raise


def mark_away(
    database: Database[dict[str, Any]], server: Server, opened: datetime, at: float
) -> int:
    """Mark who has not come back since *opened*, the service clock's *at*."""
    changed = database[COLLECTION].update_many(
        {"connected": True, "link.server": {"$ne": server.id}},
        {"$set": {"connected": False, "lastModified": opened, "left": at}},
    )
    return changed.modified_count


def mark_alerted(
    database: Database[dict[str, Any]], before: float, now: datetime
) -> list[str]:
    """Mark who left *before* and was not alerted of; gives their names."""
    away = {"connected": False, "left": {"$lte": before}, "alerted": {"$exists": False}}
    names = [str(d["_id"]) for d in database[COLLECTION].find(away, {}).limit(1000)]
    if names:
        found = {"_id": {"$in": names}, "connected": False}
        database[COLLECTION].update_many(found, {"$set": {"alerted": now}})
    return names


def remove_absent(database: Database[dict[str, Any]], before: float) -> list[str]:
    """Remove who left *before*; gives their names."""
    away = {"connected": False, "left": {"$lte": before}}
    names = [str(d["_id"]) for d in database[COLLECTION].find(away, {}).limit(1000)]
    if names:
        database[COLLECTION].delete_many({"_id": {"$in": names}, **away})
    return names


def _facts(name: str, facts: Facts) -> dict[str, Any]:
    return {
        NAME_KEY: name_key(name),
        search_terms.FIELD: search_terms.words_of(name, facts.fqdn, facts.os),
        "fqdn": facts.fqdn,
        "os": facts.os,
        "packages": facts.packages,
        "systemInfo": {
            "cpuCount": facts.cpu_count,
            "memoryGB": facts.memory_gb,
            "freeDiskSpaceGB": facts.free_disk_space_gb,
            "totalDiskSpaceGB": facts.total_disk_space_gb,
            "kernelVersion": facts.kernel,
        },
    }


def _not_newer(server: Server, name: str) -> dict[str, Any]:
    # With a newer epoch in it the document does not match, the insertion that follows
    # meets a duplicate key, and nothing is changed.
    return {"_id": name, "link.epoch": {"$not": {"$gt": server.epoch}}}


def present_time() -> datetime:
    """Give the time of day, as it is shown to people."""
    return datetime.now(UTC)


def count_connected(database: Database[dict[str, Any]]) -> dict[bool, int]:
    """Count the Defenders by whether they are connected."""
    found = database[COLLECTION]
    away = found.count_documents({"connected": False})  # few, and from an index
    return {True: max(0, found.estimated_document_count() - away), False: away}
