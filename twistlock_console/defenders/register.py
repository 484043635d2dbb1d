"""Store the register of Defenders: their facts, and since when they are connected.

`connected` is true while a Defender is connected, and for a short time after a
failover: the new Console first waits for all Defenders to reconnect, then marks the
others as offline. `left` is the service clock's time of the disconnection,
`link.server` the process that holds, or held, the connection.

The service clock counts the seconds for which any Console has served, over all nodes
and epochs. It measures how long a Defender is offline: it stops while no Console
serves, so that an outage of the Console counts against no Defender, and no host's clock
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
#: The field with the compared form of the name: DNS ignores case.
NAME_KEY = "nameKey"
INDEXES = [IndexModel([(NAME_KEY, ASCENDING)])]
Documents = Database[dict[str, object]]
_counts: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, int])
_seconds: TypeAdapter[float] = TypeAdapter(float)


@dataclass(frozen=True, slots=True)
class ServingProcess:
    """The process that serves Defenders: its id, its epoch, its node's address."""

    id: str
    epoch: int
    node: str


@dataclass(frozen=True, slots=True)
class ConnectedDefender:
    """A Defender that connected, with the data of its certificate and hello."""

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
    """Return the update for a connected Defender.

    A Defender that was connected to the Console before a failover was never offline.
    """
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


def name_query(name: str) -> dict[str, object]:
    """Return the query for the Defender of this name, whatever its case."""
    return {"$or": [{"_id": name}, {NAME_KEY: name_key(name)}]}


def add_name_keys(database: Documents) -> None:
    """Store the compared form of names that an earlier release registered."""
    # The names are ASCII, for which $toLower equals name_key.
    change = [{"$set": {NAME_KEY: {"$toLower": "$_id"}}}]
    database[COLLECTION].update_many({NAME_KEY: None}, change)


def disconnected_update(
    server: ServingProcess, name: str, connection: int, now: datetime, at: float
) -> UpdateOne:
    """Return the update for a disconnected Defender; *at* is of the service clock."""
    mine = {"_id": name, "link.server": server.id, "link.id": connection}
    away = {"connected": False, "lastModified": now, "left": at}
    return UpdateOne(mine, {"$set": away})


def facts_update(name: str, facts: Facts) -> UpdateOne:
    """Return the update of the facts of a host."""
    return UpdateOne({"_id": name}, {"$set": _facts(name, facts)})


def policy_update(name: str, policy: str) -> UpdateOne:
    """Return the update of the hash of the rule that the Defender received."""
    return UpdateOne({"_id": name}, {"$set": {"policy": policy}})


def dropped_update(name: str, count: int) -> UpdateOne:
    """Return the update of the total of events that the quota dropped."""
    return UpdateOne({"_id": name}, {"$max": {"droppedEvents": count}})


def read_dropped(database: Documents) -> dict[str, int]:
    """Return the totals of dropped events, by Defender, where there are any."""
    found = database[COLLECTION].find(
        {"droppedEvents": {"$gt": 0}}, {"droppedEvents": True}
    )
    return _counts.validate_python({d["_id"]: d["droppedEvents"] for d in found})


def write(database: Documents, changes: list[UpdateOne]) -> None:
    """Write *changes*; ignore those that a Console of a later epoch supersedes."""
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
    """Mark Defenders as offline that did not reconnect since *opened*; count them.

    *at* is the time of the service clock at *opened*.
    """
    changed = database[COLLECTION].update_many(
        {"connected": True, "link.server": {"$ne": server.id}},
        {
            "$set": {
                "connected": False,
                "lastModified": opened,
                "left": at,
            }
        },
    )
    return changed.modified_count


def mark_alerted(database: Documents, before: float, now: datetime) -> list[str]:
    """Mark Defenders as alerted that disconnected *before*; return their names."""
    away = {
        "connected": False,
        "left": {"$lte": before},
        "alerted": {"$exists": False},
    }
    names = [str(d["_id"]) for d in database[COLLECTION].find(away, {}).limit(1000)]
    if names:
        found = {"_id": {"$in": names}, "connected": False}
        database[COLLECTION].update_many(found, {"$set": {"alerted": now}})
    return names


def remove_absent(database: Documents, before: float) -> list[str]:
    """Remove Defenders that disconnected *before*; return their names."""
    away = {"connected": False, "left": {"$lte": before}}
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
    # A document with a newer epoch does not match; the upsert then fails with a
    # duplicate key and changes nothing (fencing).
    return {"_id": name, "link.epoch": {"$not": {"$gt": server.epoch}}}


def utc_now() -> datetime:
    """Return the wall-clock time, for display alone."""
    return datetime.now(UTC)


def count_connected(database: Documents) -> dict[bool, int]:
    """Count the Defenders by whether they are connected."""
    found = database[COLLECTION]
    away = found.count_documents({"connected": False})  # few, and from an index
    return {True: max(0, found.estimated_document_count() - away), False: away}


class ServiceClock:
    """Counts the seconds of service; the process that serves Defenders calls `tick`."""

    def __init__(self) -> None:
        self._ticked = boottime_ns()
        self._total = 0.0

    def tick(self, database: Documents) -> float:
        """Add the time since the last tick; return the total seconds."""
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
        """Return the total seconds without a query."""
        return self._total + (boottime_ns() - self._ticked) / SECOND


@dataclass(frozen=True, slots=True)
class ReconnectStats:
    """The first and last reconnection under an epoch, and their number."""

    first: datetime | None
    last: datetime | None
    count: int


_reconnects: TypeAdapter[ReconnectStats] = TypeAdapter(ReconnectStats)


def reconnect_stats(database: Documents, epoch: int) -> ReconnectStats:
    """Return when the Defenders first connected under *epoch*."""
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
