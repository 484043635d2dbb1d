"""Defenders that are away: by the service clock, over failovers, and silent ones."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from tests.fleet.defender_client import NOON
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.defenders import register
from twistlock_console.defenders.control import read_defender_settings
from twistlock_console.defenders.event_quota import EventQuota
from twistlock_console.defenders.register import (
    ConnectedDefender,
    ServiceClock,
    ServingProcess,
)
from twistlock_console.pki.tls import Identity, Usage
from twistlock_console.protocol import DefenderHello, Facts
from twistlock_console.servers.defenders import periodic_tasks
from twistlock_console.servers.defenders.backpressure import ReadLimiter
from twistlock_console.servers.defenders.connection import DefenderConnection
from twistlock_console.servers.defenders.connections import ConnectionRegistry
from twistlock_console.servers.defenders.database import (
    DatabaseExecutor,
    GroupCommit,
    RegisterWriter,
)
from twistlock_console.servers.defenders.periodic_tasks import PeriodicTasks
from twistlock_console.settings import Settings

Documents = Database[dict[str, Any]]
OLD = ServingProcess("old process", 7, "10.0.0.1")
NEW = ServingProcess("new process", 8, "10.0.0.2")
HOUR = 3600


def arrive(database: Documents, server: ServingProcess, *names: str) -> None:
    """Note that these Defenders connected to *server*."""
    later = NOON + timedelta(days=1000)
    facts = Facts(fqdn="host.example", cpu_count=2)
    one = ConnectedDefender("", 1, "10.1.0.1", "26.11.1", "", facts, "1f", later)
    arrivals = [replace(one, name=name) for name in names]
    register.write(
        database, [register.connected_update(server, a, NOON) for a in arrivals]
    )


def entry(database: Documents, name: str) -> dict[str, Any]:
    """What the register says of a Defender."""
    found: dict[str, Any] | None = database["defenders"].find_one({"_id": name})
    assert found is not None
    return found


def test_a_defender_that_did_not_reconnect_after_a_failover_is_offline(
    database: Documents,
) -> None:
    """Since the next Console opened; who came back has not been away."""
    arrive(database, OLD, "back", "gone")
    arrive(database, NEW, "back")
    opened = NOON + timedelta(minutes=5)

    assert register.mark_disconnected(database, NEW, opened, 1000.0) == 1

    gone, back = entry(database, "gone"), entry(database, "back")
    told = (gone["connected"], gone["lastModified"], gone["left"])
    assert told == (False, opened, 1000.0)
    assert (back["connected"], back["lastModified"]) == (True, NOON)


def test_absence_is_reported_once_then_ends_the_entry(database: Documents) -> None:
    """After 6 hours and after a day of a Console's service, if nobody changed that."""
    limits = read_defender_settings(database)
    assert (limits.alert_hours, limits.disconnect_period_days) == (6, 1)
    arrive(database, OLD, "away", "here")
    left = register.disconnected_update(OLD, "away", 1, NOON, at=100.0)
    register.write(database, [left])

    told = [register.mark_alerted(database, at, NOON) for at in (99.0, 100.0, 101.0)]
    gone = [register.remove_absent(database, at) for at in (99.0, 100.0, 101.0)]

    assert (told, gone) == ([[], ["away"], []], [[], ["away"], []])
    assert [each["_id"] for each in database["defenders"].find()] == ["here"]


def test_a_defender_that_returned_may_be_reported_again(database: Documents) -> None:
    """An absence ends with the next connection, its alert too."""
    arrive(database, OLD, "away")
    for _ in range(2):
        left = register.disconnected_update(OLD, "away", 1, NOON, at=100.0)
        register.write(database, [left])

        assert register.mark_alerted(database, 200.0, NOON) == ["away"]

        arrive(database, OLD, "away")
        assert "left" not in entry(database, "away")


def test_the_clock_goes_on_where_the_last_console_left_it(database: Documents) -> None:
    """Two Consoles one after the other: what lies between them does not count."""
    first = ServiceClock()
    served = first.tick(database)
    database["defender_clock"].update_one({"_id": "console"}, {"$inc": {"seconds": 50}})
    second = ServiceClock()

    assert 50 <= second.tick(database) < 50 + served + 5
    assert second.now() >= 50


class Connection:
    """As much of a Defender's connection as the registry asks of one."""

    def __init__(self, name: str, heard: float, *, storing: bool = False) -> None:
        expires = datetime.now(UTC) + timedelta(days=1)
        self.identity = Identity(Usage.DEFENDER, name, 1, expires)
        self.heard = heard
        self.storing = object() if storing else None
        self.unread = False
        self.policy = ""
        self.number = 0
        self.remote_address = ("10.1.0.1", 50_000)
        self.closed: list[tuple[int, str]] = []

    async def close(self, code: int, reason: str) -> None:
        """Note why."""
        self.closed.append((code, reason))


def registry_of(*connections: Connection) -> ConnectionRegistry:
    """A registry in which these are connected; their policies are not pushed."""
    registry = ConnectionRegistry(
        NEW, cast(RegisterWriter, _NoWriter()), ServiceClock()
    )
    for each in connections:
        hello = DefenderHello(each.identity.common_name, "26.11.1")
        registry.add(cast(DefenderConnection, each), hello)
    return registry


class _NoWriter:
    def put(self, *_: object) -> None:
        """Write nothing."""


def test_silent_ones_are_sent_away() -> None:
    """But not who waits for us: its events are being stored, and it is not read."""
    silent, waiting = Connection("silent", 10.0), Connection("wait", 10.0, storing=True)
    lively = Connection("lively", 20.0)

    async def look() -> None:
        await registry_of(silent, waiting, lively).check_all(silent_since=15.0)
        await asyncio.sleep(0)

    asyncio.run(look())

    assert silent.closed == [(1008, "no message arrived for too long")]
    assert waiting.closed == lively.closed == []


@pytest.mark.parametrize(("settled", "away"), [(60.0, True), (10_000.0, False)])
def test_a_new_console_gives_everybody_time(
    settings: Settings,
    database: Documents,
    monkeypatch: pytest.MonkeyPatch,
    settled: float,
    away: bool,
) -> None:
    """Nobody counts as away before the Console has served for a minute."""
    arrive(database, OLD, "gone")
    monkeypatch.setattr(periodic_tasks, "RECONNECT_GRACE_S", settled)
    opened = boottime_ns() - 100 * SECOND
    executor = DatabaseExecutor(settings)

    async def sweep() -> None:
        tasks = tasks_of(executor, ReadLimiter())
        tasks._opened_ns = opened  # a hundred seconds need not pass
        await tasks._sweep()

    asyncio.run(sweep())
    executor.close()

    assert entry(database, "gone")["connected"] is not away


def test_a_paused_connection_gets_keepalives(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pings lie unread: it would take us for gone, and come again with all else."""
    told: list[object] = []

    def broadcast(connections: list[object], _frame: object) -> None:
        told.extend(connections)
        raise asyncio.CancelledError

    monkeypatch.setattr(periodic_tasks, "KEEPALIVE_INTERVAL_S", 0.01)
    monkeypatch.setattr(periodic_tasks, "broadcast", broadcast)
    read_limiter, paused = ReadLimiter(limit=12), MagicMock()
    paused.held, paused.incomplete = 13, 0
    read_limiter.update(paused)
    executor = DatabaseExecutor(settings)

    async def send_keepalives() -> None:
        tasks = tasks_of(executor, read_limiter)
        await tasks.send_keepalives()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(send_keepalives())
    executor.close()

    assert told == [paused]


def tasks_of(executor: DatabaseExecutor, read_limiter: ReadLimiter) -> PeriodicTasks:
    """Return the tasks of a server that stores nothing."""
    quota = EventQuota(1)
    return PeriodicTasks(
        registry_of(), GroupCommit(_never, quota), quota, executor, read_limiter
    )


async def _never(*_what: object) -> list[int]:
    raise AssertionError("nothing is stored here")


def test_what_could_not_be_written_does_not_overtake() -> None:
    """A departure noted while the write before it failed comes behind the arrival."""
    written: list[list[str]] = []

    async def write(changes: list[UpdateOne]) -> None:
        if not written:
            written.append([])
            register_writer.put("d", "left", second_left)
            raise AutoReconnect("the primary is gone")
        written.append([names[id(change)] for change in changes])
        raise asyncio.CancelledError

    register_writer = RegisterWriter(write)
    first_left, link, second_left = (UpdateOne({}, {"$set": {}}) for _ in range(3))
    names = {id(link): "link", id(second_left): "left"}
    register_writer.put("d", "left", first_left)
    register_writer.put("d", "link", link)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(register_writer.run())

    assert written[1] == ["link", "left"]
