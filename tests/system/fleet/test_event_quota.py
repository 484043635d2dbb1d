"""The quota of stored events: what fits, what is dropped, and how that is counted."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from tests.fleet.defender_client import NOON, FleetClient, trouble, until
from twistlock_console.defenders.control import (
    DefenderSettings,
    write_defender_settings,
)
from twistlock_console.defenders.event_quota import (
    MEGABYTE,
    DroppedEvents,
    EventQuota,
    read_usage,
    save_usage,
)
from twistlock_console.defenders.event_store import store_events
from twistlock_console.protocol import ProcessEvent
from twistlock_console.servers.supervisor.child_listener import ChildListener

Documents = Database[dict[str, Any]]
EVENTS = [trouble(number) for number in range(11, 15)]


class Day:
    """The present time, as the test sets it."""

    now = NOON

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


@pytest.mark.parametrize(
    ("used", "sizes", "fitting"),
    [
        pytest.param(0, [10, 10, 10, 10], 4, id="all"),
        pytest.param(MEGABYTE - 40, [10, 10, 10, 10], 4, id="just-all"),
        pytest.param(MEGABYTE - 39, [10, 10, 10, 10], 3, id="not-the-last"),
        pytest.param(MEGABYTE, [10, 10, 10, 10], 0, id="none"),
        pytest.param(MEGABYTE + 5, [10, 10, 10, 10], 0, id="none-after-less-quota"),
        pytest.param(MEGABYTE - 25, [10, 100, 10, 10], 1, id="none-after-a-large-one"),
    ],
)
def test_what_fits_is_stored_and_the_rest_is_dropped(
    used: int, sizes: list[int], fitting: int
) -> None:
    """In their order: what comes after a dropped event is dropped, too."""
    quota = EventQuota(1, Day())
    quota.charge("d", used)

    count, dropped = quota.split("d", EVENTS, sizes)

    numbers = tuple(each.number for each in EVENTS[fitting:])
    assert count == fitting
    assert dropped == (
        DroppedEvents("d", "2026-11-24", numbers, 1) if numbers else None
    )


def test_each_day_begins_at_nothing_for_each_defender() -> None:
    """Days are those of UTC."""
    day = Day()
    quota = EventQuota(1, day)
    quota.charge("a", MEGABYTE)
    assert quota.split("b", EVENTS, [1] * 4) == (4, None)
    assert quota.split("a", EVENTS, [1] * 4)[0] == 0
    day.now += timedelta(hours=12)

    assert quota.split("a", EVENTS, [1] * 4) == (4, None)


def test_usage_is_saved_in_steps_and_loaded_again() -> None:
    """Not with each event, and not of another day."""
    day = Day()
    quota = EventQuota(99, day)
    quota.charge("a", MEGABYTE - 1)
    assert quota.take_unsaved() == {}
    quota.charge("a", 1)
    quota.charge("b", 5)
    assert quota.take_unsaved() == {"a": MEGABYTE}
    assert quota.take_unsaved() == {}

    other = EventQuota(9, day)
    other.load("2026-11-23", {"a": 1})
    other.load("2026-11-24", {"a": MEGABYTE})
    other.charge("a", 2)
    assert (other.used("a"), other.take_unsaved()) == (MEGABYTE + 2, {})


def test_of_a_small_quota_smaller_steps_are_saved() -> None:
    """Else a failover would give all of it again."""
    quota = EventQuota(1, Day())
    quota.charge("a", 62_500)

    assert quota.take_unsaved() == {"a": 62_500}


def test_what_was_dropped_is_counted_once() -> None:
    """Though it was sent again after a lost acknowledgement."""
    quota = EventQuota(1, Day())
    quota.dropped["d"] = 5
    for numbers in ((3, 4), (3, 4), (4, 6)):
        quota.count_dropped(DroppedEvents("d", quota.day, numbers, 1))

    assert quota.take_unreported() == [("d", 8)]
    assert quota.take_unreported() == []


def test_dropped_events_are_one_event_a_day(database: Documents) -> None:
    """Stored like the others, and the same when it is stored again."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    for numbers in ((3, 4), (3, 4), (4, 6)):
        store_events(database, [], [DroppedEvents("d$1", day, numbers, 7)])

    [found] = database["defender_events"].find()
    assert found["_id"] == f"d$1/quota/{day}"
    assert (found["kind"], found["defender"]) == ("dropped", "d$1")
    assert (found["count"], found["first"], found["last"]) == (3, 3, 6)
    assert "The quota of 7 MB a day was reached" in found["sentence"]


def test_the_higher_usage_of_a_day_stays(database: Documents) -> None:
    """Whichever process saved it."""
    save_usage(database, "2026-11-23", {"a": 9, "b": 9})
    save_usage(database, "2026-11-24", {"a": 5})
    save_usage(database, "2026-11-24", {"a": 4})

    assert read_usage(database, "2026-11-24") == {"a": 5}
    assert read_usage(database, "2026-11-23") == {"b": 9}


def flood(first: int, count: int = 250) -> list[ProcessEvent]:
    """Events of about 2 KB."""
    text = "x" * 950
    return [
        ProcessEvent(n, NOON, "r", "alert", 1, f"/{text}", "nc", text, "u", "alerted")
        for n in range(first, first + count)
    ]


@pytest.fixture
def small_quota(fleet: FleetClient, database: Documents) -> Iterator[None]:
    """Set a quota of 1 MB; the usual one is in force again when the test ends."""
    write_defender_settings(database, DefenderSettings(event_quota_megabytes=1))
    yield
    write_defender_settings(database, DefenderSettings())
    numbers = itertools.count()

    def all_stored() -> bool:
        name = f"check-{next(numbers)}"
        defender = fleet.dial(name).greet()
        for first in (1, 251, 501):
            defender.report(*flood(first))
        stored = {"defender": name, "kind": "process"}
        return database["defender_events"].count_documents(stored) == 750

    until(all_stored)


@pytest.mark.usefixtures("small_quota")
def test_a_defender_over_its_quota_is_acknowledged_and_counted(
    fleet: FleetClient, database: Documents, server: ChildListener
) -> None:
    """Its outbox goes on, others lose nothing, and a failover changes nothing."""
    defender, other = fleet.dial("flooder").greet(), fleet.dial("modest").greet()

    def dropped() -> dict[str, Any] | None:
        """Send more until some are dropped."""
        nonlocal first
        assert defender.report(*flood(first)) == first + 249
        first += 250
        found: dict[str, Any] | None = events.find_one({"kind": "dropped"})
        return found

    first, events = 1, database["defender_events"]
    note = until(dropped)
    stored = events.count_documents({"kind": "process", "defender": "flooder"})
    assert stored + note["count"] == first - 1
    assert (note["first"], note["last"]) == (stored + 1, first - 1)
    shown = {"_id": "flooder", "droppedEvents": note["count"]}
    until(lambda: database["defenders"].find_one(shown))
    assert other.report(trouble(1)) == 1

    server.close()
    server.open()
    again = fleet.dial("flooder").greet()
    assert again.report(*flood(first)) == first + 249
    assert events.find_one({"kind": "dropped"})["count"] >= note["count"] + 249
    more = {"_id": "flooder", "droppedEvents": {"$gt": note["count"]}}
    until(lambda: database["defenders"].find_one(more))
