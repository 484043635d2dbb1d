"""Enforce the quota of stored events: bytes per Defender and day (UTC).

Events above the quota are acknowledged and dropped, so that the Defender's outbox does
not fill. One event of the kind *dropped* per Defender and day counts them; it is stored
before the acknowledgement.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter
from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.database import Database

from twistlock_console.protocol import Event

#: `_id` is the Defender's name. Stored so that a failover does not reset the usage.
COLLECTION = "defender_event_usage"
INDEXES = [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)]
MEGABYTE = 1_000_000
SAVES_PER_QUOTA = 16
"""The usage is saved when it grew by this part of the quota, or by 1 MB."""
Documents = Database[dict[str, object]]
_usage: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, int])


@dataclass(frozen=True, slots=True)
class DroppedEvents:
    """The numbers of a Defender's events that the quota did not allow."""

    defender: str
    day: str
    numbers: tuple[int, ...]
    quota_megabytes: int

    def as_update(self, now: datetime) -> UpdateOne:
        """Return the idempotent update of the event that counts them.

        A Defender's numbers rise, so repeated events are not counted again.
        """
        last = {"$ifNull": ["$last", 0]}
        fresh = {
            "$filter": {
                "input": list(self.numbers),
                "cond": {"$gt": ["$$this", last]},
            }
        }
        sentence = (
            f"The quota of {self.quota_megabytes} MB a day was reached; further events "
            f"of {self.day} (UTC) were not stored."
        )
        members = {
            "defender": {"$literal": self.defender},
            "kind": "dropped",
            "time": now,
            "received": now,
            "rule": "",
            "effect": "alert",
            "sentence": {"$literal": sentence},
            "count": {"$add": [{"$ifNull": ["$count", 0]}, {"$size": fresh}]},
            "first": {"$ifNull": ["$first", self.numbers[0]]},
            "last": {"$max": ["$last", self.numbers[-1]]},
        }
        which = {"_id": f"{self.defender}/quota/{self.day}"}
        return UpdateOne(which, [{"$set": members}], upsert=True)


class EventQuota:
    """Counts in memory the bytes that each Defender stored today.

    *dropped* counts the dropped events of each Defender in all.
    """

    def __init__(
        self, megabytes: int, today: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.megabytes = megabytes
        self._today = today
        self._day = ""
        self._used: dict[str, int] = {}
        self._saved: dict[str, int] = {}
        self._last_dropped: dict[str, int] = {}
        self._unreported: set[str] = set()
        self.dropped: Counter[str] = Counter()

    @property
    def day(self) -> str:
        """Return the present day; a new day resets the counts."""
        day = f"{self._today():%Y-%m-%d}"
        if day != self._day:
            self._day, self._used, self._saved = day, {}, {}
        return day

    def load(self, day: str, used: Mapping[str, int]) -> None:
        """Load the saved usage of *day*."""
        if day == self.day:
            for defender, size in used.items():
                self._used[defender] = max(size, self._used.get(defender, 0))
            self._saved.update(used)

    def split(
        self, defender: str, events: Sequence[Event], sizes: Sequence[int]
    ) -> tuple[int, DroppedEvents | None]:
        """Return how many of *events* may be stored, and the others as dropped."""
        day = self.day
        left = self.megabytes * MEGABYTE - self.used(defender)
        if sum(sizes) <= left:
            return len(events), None
        fitting = 0
        for size in sizes:
            left -= size
            if left < 0:
                break
            fitting += 1
        numbers = tuple(event.number for event in events[fitting:])
        return fitting, DroppedEvents(defender, day, numbers, self.megabytes)

    def used(self, defender: str) -> int:
        """Return the bytes that *defender* has stored today."""
        return self._used.get(defender, 0) if self.day else 0

    def charge(self, defender: str, size: int) -> None:
        """Add *size* stored bytes to the usage of *defender*."""
        self._used[defender] = self.used(defender) + size

    def count_dropped(self, dropped: DroppedEvents) -> None:
        """Count stored *dropped* events; count repeated ones once."""
        last = self._last_dropped.get(dropped.defender, 0)
        fresh = sum(number > last for number in dropped.numbers)
        self._last_dropped[dropped.defender] = max(last, dropped.numbers[-1])
        self.dropped[dropped.defender] += fresh
        self._unreported.add(dropped.defender)

    def take_unreported(self) -> list[tuple[str, int]]:
        """Return Defenders with newly dropped events, each with its total, once."""
        defenders, self._unreported = self._unreported, set()
        return [(defender, self.dropped[defender]) for defender in sorted(defenders)]

    def take_unsaved(self) -> dict[str, int]:
        """Return the usage to save now, and consider it saved."""
        step = min(MEGABYTE, self.megabytes * MEGABYTE // SAVES_PER_QUOTA)
        unsaved = {
            defender: size
            for defender, size in (self._used.items() if self.day else ())
            if size - self._saved.get(defender, 0) >= step
        }
        self._saved.update(unsaved)
        return unsaved


def read_usage(database: Documents, day: str) -> dict[str, int]:
    """Return the saved usage of *day* in bytes, by Defender."""
    found = database[COLLECTION].find({"day": day})
    return _usage.validate_python({each["_id"]: each["bytes"] for each in found})


def save_usage(database: Documents, day: str, used: Mapping[str, int]) -> None:
    """Save the usage of *day*; keep a higher saved number."""
    expires = datetime.now(UTC) + timedelta(days=2)
    same_day = {"$eq": ["$day", day]}
    database[COLLECTION].bulk_write(
        [
            UpdateOne(
                {"_id": defender},
                [
                    {
                        "$set": {
                            "bytes": {
                                "$cond": [same_day, {"$max": ["$bytes", size]}, size]
                            },
                            "day": day,
                            "expires": expires,
                        }
                    }
                ],
                upsert=True,
            )
            for defender, size in used.items()
        ],
        ordered=False,
    )


def dropped_updates(dropped: Iterable[DroppedEvents]) -> list[UpdateOne]:
    """Return the updates that count *dropped*."""
    now = datetime.now(UTC)
    return [each.as_update(now) for each in dropped]
