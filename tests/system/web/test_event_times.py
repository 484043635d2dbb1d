"""Rules of times of findings: lists use the time of receipt, not a host's clock."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from flask import Flask
from pymongo.database import Database

from tests.web.web_visitor import Visitor, basic
from twistlock_console import stored_formats
from twistlock_console.defenders.event_store import (
    COMPLIANCE,
    encode_documents,
    store_compliance,
)
from twistlock_console.defenders.event_times import (
    TOLERANCE,
    clock_ahead_seconds,
    time_of_receipt,
    time_on_host,
)
from twistlock_console.protocol import ComplianceEvent, Event, FileEvent, ProcessEvent
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.lists.registry import ensure_indexes

NOW = datetime.now(UTC).replace(microsecond=0)
LATE = NOW - timedelta(days=9)
FAR = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)
LISTS = {
    "process": "/audits/runtime/host",
    "file": "/audits/runtime/file-integrity",
    "trouble": "/audits/runtime/trouble",
}
NAMES = ("time", "received")
Store = Database[dict[str, Any]]


@pytest.fixture
def database(app: Flask) -> Store:
    """Return the application's database with indexes and no documents."""
    found = storage_of(app).database()
    ensure_indexes(found)
    return found


def _event(kind: str, number: int, time: datetime) -> Event:
    if kind == "process":
        return ProcessEvent(
            *(number, time, "r", "alert", 1, "/bin/nc", "nc", "nc", "root", "alerted")
        )
    return FileEvent(number, time, "r", "alert", f"/etc/{number}", "modified")


def _store(
    database: Store, kind: str, number: int, time: datetime, received: datetime
) -> None:
    """Store an event with another time of receipt."""
    stored: list[dict[str, Any]] = [
        bson.decode(each.raw, bson.CodecOptions(tz_aware=True))
        for each in encode_documents("web-1", [_event(kind, number, time)])
    ]
    found = {**stored[0], "received": received, "kind": kind}
    database["defender_events"].insert_one(found)


def _listed(admin: Visitor, path: str) -> list[dict[str, Any]]:
    answer = admin.get(f"/api/v1{path}", Authorization=basic())
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.get_json()
    return found


@pytest.mark.parametrize("kind", ["process", "file"])
@pytest.mark.parametrize("query", ["", *(f"sort={n}&reverse=true" for n in NAMES)])
def test_a_clock_that_is_ahead_does_not_change_the_order(
    admin: Visitor, database: Store, kind: str, query: str
) -> None:
    """Sixty events dated 9998 are sorted by their receipt like all others."""
    for number in range(60):
        _store(database, kind, number, FAR, NOW - timedelta(days=2))
    for number in range(100, 110):
        received = NOW - timedelta(minutes=number)
        _store(database, kind, number, received - timedelta(seconds=3), received)

    first = _listed(admin, f"{LISTS[kind]}?{query}")

    received = [each["received"] for each in first]
    assert received == sorted(received, reverse=True)
    assert [each["clockAheadSeconds"] is None for each in first[:11]] == [True] * 10 + [
        False
    ]
    assert all(each["time"] <= each["received"] for each in first)
    assert first[-1]["time"] == first[-1]["received"]
    assert first[-1]["clockAheadSeconds"] > 10**11


def test_a_time_range_means_the_time_of_receipt(
    admin: Visitor, database: Store
) -> None:
    """It selects events received within it, whatever the host's clock said."""
    noon = (NOW - timedelta(days=3)).replace(hour=12, minute=0, second=0)
    _store(database, "process", 1, FAR, noon)
    _store(database, "process", 2, datetime(1971, 1, 1, tzinfo=UTC), noon)
    _store(database, "process", 3, noon, noon + timedelta(days=1))
    path = LISTS["process"]

    between = f"from={noon:%Y-%m-%d}T11:00:00Z&to={noon:%Y-%m-%d}T13:00:00Z"
    inside = _listed(admin, f"{path}?{between}")
    far = _listed(admin, f"{path}?from=9990-01-01T00:00:00Z")

    assert sorted(each["pid"] for each in inside) == [1, 1]
    assert {each["clockAheadSeconds"] is None for each in inside} == {True, False}
    assert far == []


def test_page_and_file_show_both_times(admin: Visitor, database: Store) -> None:
    """Both times are shown; a clock that is ahead is marked; the chart uses receipt."""
    late = NOW - timedelta(hours=5)
    for number, kind in enumerate(("process", "file", "trouble")):
        _store(database, kind, number, FAR, NOW - timedelta(hours=2))
        _store(database, kind, 10 + number, late, NOW - timedelta(hours=1))
    pages = ("host", "file-integrity", "trouble")

    texts = [admin.get(f"/monitor/events/{page}?plot=true").text for page in pages]
    files = [admin.get(f"/monitor/events/{page}/download").text for page in pages]

    for text in texts:
        assert "The host's clock is ahead" in text
        assert "9998" not in text
        assert f"{late:%Y-%m-%d %H:%M:%S} UTC" in text
        assert f"{NOW - timedelta(hours=1):%Y-%m-%d %H:%M:%S} UTC" in text
        assert text.count('class="bar"') == 2
        assert ": 2 events, at most 1 in one bar" in text
    for file in files:
        rows = list(csv.DictReader(io.StringIO(file)))
        assert [row["clockAheadSeconds"] == "" for row in rows] == [True, False]
        assert "9998" not in file


def test_compliance_is_sorted_by_receipt(admin: Visitor, database: Store) -> None:
    """This includes results that an earlier release stored without that time."""
    run = {"rule": "r", "results": [], "failed": 0, "severe": 0, "checks": 0}
    ahead = {"time": FAR, "received": NOW - timedelta(days=3)}
    database[COMPLIANCE].insert_many(
        [
            {"_id": "ahead", "number": 1, **run, **ahead},
            {"_id": "right", "number": 1, **run, "time": NOW, "received": NOW},
            {"_id": "older", "number": 1, **run, "time": NOW - timedelta(days=1)},
            {"_id": "older-ahead", "number": 1, **run, "time": FAR},
        ]
    )
    before = datetime.now(UTC)

    stored_formats.upgrade_if_needed(database)
    listed = _listed(admin, "/compliance/hosts?sort=time&reverse=true")
    page = admin.get("/monitor/compliance/host?hostname=ahead").text

    names = [each["hostname"] for each in listed]
    assert names == ["older-ahead", "right", "older", "ahead"]
    assert [each["clockAheadSeconds"] is None for each in listed] == [
        False, True, True, False,
    ]  # fmt: skip
    assert datetime.fromisoformat(listed[0]["time"]) >= before - timedelta(seconds=5)
    assert "the host's clock is ahead by" in page.replace("&#39;", "'")
    assert "9998" not in page


def test_a_run_of_checks_is_stored_with_its_receipt(database: Store) -> None:
    """The Console stores its own time beside the time of the host."""
    store_compliance(database, "web-1", [ComplianceEvent(1, FAR, "r", ())])

    [found] = database[COMPLIANCE].find()
    assert abs(found["received"] - datetime.now(UTC)) < timedelta(seconds=30)


def test_obsolete_indexes_are_dropped(database: Store) -> None:
    """Each write would have to update them without use."""
    events = database["defender_events"]
    events.create_index([("kind", 1), ("time", 1), ("_id", 1)])

    ensure_indexes(database)

    names = set(events.index_information())
    assert "kind_1_received_1__id_1" in names
    assert not any("time_1" in name for name in names)


@pytest.mark.parametrize(
    ("time", "received", "shown", "ahead"),
    [
        pytest.param(NOW, NOW, NOW, None, id="same"),
        pytest.param(LATE, NOW, LATE, None, id="late"),
        pytest.param(NOW + TOLERANCE, NOW, NOW + TOLERANCE, None, id="tolerated"),
        pytest.param(NOW + timedelta(seconds=61), NOW, NOW, 61, id="ahead"),
        pytest.param(NOW, None, NOW, None, id="no-receipt"),
        pytest.param(None, NOW, None, None, id="no-time"),
    ],
)  # fmt: skip
def test_a_time_is_judged_by_its_receipt(
    time: datetime | None, received: datetime | None, shown: datetime, ahead: int | None
) -> None:
    """An event is not shown in a period before its receipt."""
    document = {"time": time, "received": received}

    assert time_on_host(document) == shown
    assert clock_ahead_seconds(document) == ahead
    assert time_of_receipt(document) == (received or time)
