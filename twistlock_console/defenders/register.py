"""The register of Defenders: who they are, and since when they are here or away.

`connected` is true while a Defender is connected, and for a little while after a
failover: the Console that took over first gives everybody time to come back, then
marks those as away who did not. `left` is the time of the service clock at which one
left, `link.server` the process that holds, or held, its connection.

The service clock counts the seconds for which a Console has served, all nodes and
epochs together. It measures the absence of a Defender: it stands still while no Console
serves, so that an outage of ours counts against no Defender, and no host's clock
matters.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter
from pymongo import ASCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from twistlock_console.common import search_terms
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.names import name_key
from twistlock_console.protocol import Facts

COLLECTION = "defenders"
CLOCK = "defender_clock"
DUPLICATE_KEY = 11000
#: The name as it is compared: DNS knows no case.
NAME_KEY = "nameKey"
INDEXES = [IndexModel([(NAME_KEY, ASCENDING)])]
Documents = Database[dict[str, object]]
_counts: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, int])
_seconds: TypeAdapter[float] = TypeAdapter(float)


@dataclass(frozen=True, slots=True)
class ServingProcess:
    """The process that serves Defenders: its own id, its epoch, its node's address."""

    id: str
    epoch: int
    node: str


@dataclass(frozen=True, slots=True)
class ConnectedDefender:
    """A Defender that connected, with what its certificate and its hello say."""

    name: str
    connection: int
    address: str
    version: str
    policy: str
    facts: Facts
    serial: str
    expires: datetime


def connected_update(
    server: ServingProcess, arrival: ConnectedDefender, now: datetime
) -> UpdateOne:
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
    away = {"$unset": ["disconnected_update", "alerted"]}
    return UpdateOne(_not_newer(server, arrival.name), [{"$set": changes}, away], True)


def name_query(name: str) -> dict[str, object]:
    """Return the query for the Defender of this name, in whatever case."""
    return {"$or": [{"_id": name}, {NAME_KEY: name_key(name)}]}


def add_name_keys(database: Documents) -> None:
    """Store the compared form of the names that a release before registered."""
    # They are ASCII, of which this is the same.
    change = [{"$set": {NAME_KEY: {"$toLower": "$_id"}}}]
    database[COLLECTION].update_many({NAME_KEY: None}, change)


def disconnected_update(
    server: ServingProcess, name: str, connection: int, now: datetime, at: float
) -> UpdateOne:
    """Note that the Defender left; *at* is the service clock's time."""
    mine = {"_id": name, "link.server": server.id, "link.id": connection}
    away = {"connected": False, "lastModified": now, "disconnected_update": at}
    return UpdateOne(mine, {"$set": away})


def facts_update(name: str, facts: Facts) -> UpdateOne:
    """Note what a host is now."""
    return UpdateOne({"_id": name}, {"$set": _facts(name, facts)})


def policy_update(name: str, policy: str) -> UpdateOne:
    """Note the hash of the rule that the Defender was sent."""
    return UpdateOne({"_id": name}, {"$set": {"policy": policy}})


def dropped_update(name: str, count: int) -> UpdateOne:
    """Note how many events of a Defender were dropped over its quota, in all."""
    return UpdateOne({"_id": name}, {"$max": {"droppedEvents": count}})


def read_dropped(database: Documents) -> dict[str, int]:
    """Return how many events were dropped, by Defender, where any were."""
    found = database[COLLECTION].find(
        {"droppedEvents": {"$gt": 0}}, {"droppedEvents": True}
    )
    return _counts.validate_python({d["_id"]: d["droppedEvents"] for d in found})


def write(database: Documents, changes: list[UpdateOne]) -> None:
    """Make *changes* in their order; what a later Console wrote is left alone."""
    try:
        database[COLLECTION].bulk_write(changes, ordered=False)
    except BulkWriteError as error:
        failed = error.details["writeErrors"]
        if error.details["writeConcernErrors"] or any(
            each["code"] != DUPLICATE_KEY for each in failed
        ):
            raise


def mark_disconnected(
    database: Documents, server: ServingProcess, opened: datetime, at: float
) -> int:
    """Mark who has not come back since *opened*, the service clock's *at*."""
    changed = database[COLLECTION].update_many(
        {"connected": True, "link.server": {"$ne": server.id}},
        {
            "$set": {
                "connected": False,
                "lastModified": opened,
                "disconnected_update": at,
            }
        },
    )
    return changed.modified_count


def mark_alerted(database: Documents, before: float, now: datetime) -> list[str]:
    """Mark who left *before* and was not alerted of; gives their names."""
    away = {
        "connected": False,
        "disconnected_update": {"$lte": before},
        "alerted": {"$exists": False},
    }
    names = [str(d["_id"]) for d in database[COLLECTION].find(away, {}).limit(1000)]
    if names:
        found = {"_id": {"$in": names}, "connected": False}
        database[COLLECTION].update_many(found, {"$set": {"alerted": now}})
    return names


def remove_absent(database: Documents, before: float) -> list[str]:
    """Remove who left *before*; gives their names."""
    away = {"connected": False, "disconnected_update": {"$lte": before}}
    names = [str(d["_id"]) for d in database[COLLECTION].find(away, {}).limit(1000)]
    if names:
        database[COLLECTION].delete_many({"_id": {"$in": names}, **away})
    return names


def _facts(name: str, facts: Facts) -> dict[str, object]:
    return {
        NAME_KEY: name_key(name),
        search_terms.FIELD: search_terms.index_terms(name, facts.fqdn, facts.os),
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


def _not_newer(server: ServingProcess, name: str) -> dict[str, object]:
    # With a newer epoch in it the document does not match, the insertion that follows
    # meets a duplicate key, and nothing is changed.
    return {"_id": name, "link.epoch": {"$not": {"$gt": server.epoch}}}


def utc_now() -> datetime:
    """Give the time of day, as it is shown to people."""
    return datetime.now(UTC)


def count_connected(database: Documents) -> dict[bool, int]:
    """Count the Defenders by whether they are connected."""
    found = database[COLLECTION]
    away = found.count_documents({"connected": False})  # few, and from an index
    return {True: max(0, found.estimated_document_count() - away), False: away}


class ServiceClock:
    """Counts the seconds of service; the process that serves Defenders calls *tick*."""

    def __init__(self) -> None:
        self._ticked = boottime_ns()
        self._total = 0.0

    def tick(self, database: Documents) -> float:
        """Add the time since the last tick, and give the seconds in all."""
        now = boottime_ns()
        found = database[CLOCK].find_one_and_update(
            {"_id": "console"},
            {"$inc": {"seconds": (now - self._ticked) / SECOND}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        self._ticked = now
        self._total = _seconds.validate_python((found or {})["seconds"])
        return self._total

    def now(self) -> float:
        """Give the seconds in all, without asking the database."""
        return self._total + (boottime_ns() - self._ticked) / SECOND


@dataclass(frozen=True, slots=True)
class ReconnectStats:
    """The first and the last arrival under an epoch, and how many there were."""

    first: datetime | None
    last: datetime | None
    count: int


_reconnects: TypeAdapter[ReconnectStats] = TypeAdapter(ReconnectStats)


def reconnect_stats(database: Documents, epoch: int) -> ReconnectStats:
    """Summarise when the Defenders first connected under *epoch*."""
    found = list(
        database[COLLECTION].aggregate(
            [
                {"$match": {"returned.epoch": epoch}},
                {
                    "$group": {
                        "_id": None,
                        "first": {"$min": "$returned.time"},
                        "last": {"$max": "$returned.time"},
                        "count": {"$sum": 1},
                    }
                },
            ]
        )
    )
    if not found:
        return ReconnectStats(None, None, 0)
    return _reconnects.validate_python(found[0])
