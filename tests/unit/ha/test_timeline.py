"""The timeline of a failover, and the Defenders that reconnected after it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from plugins.ha.messages import RoleChangeResponse
from plugins.ha.reporting.role_history import RECONNECT_WINDOW_NS, ReconnectRecorder
from plugins.ha.web.timeline import (
    Marker,
    PhaseBar,
    draw_failover,
    sort_phases,
    timelines,
)
from tests.ha.messages import role_change
from twistlock_console.defenders.register import ReconnectStats

OPENED = datetime(2026, 11, 1, 12, tzinfo=UTC)
PHASES = {"noticed": 0.7, "elected": 0.1, "writable": 0.0, "lease": 1.0, "ports": 0.2}


def failover(to: str = "primary", **changes: Any) -> RoleChangeResponse:
    """A record of the history."""
    shown = {"time": OPENED.isoformat(), "phases": PHASES, **changes}
    return role_change("10.0.0.1", to, **shown)


def test_phases_follow_one_another() -> None:
    """Each begins where the one before ended; none is too thin to be seen."""
    line = draw_failover(failover())

    assert line.title == "10.0.0.1 took over in 2.00 s (2026-11-01 12:00:00 UTC)"
    assert line.phases[:3] == (
        PhaseBar(
            "noticed", 0.0, 315.0, "noticed that the primary is lost after 0.70 s"
        ),
        PhaseBar("elected", 315.0, 45.0, "elected after 0.10 s"),
        PhaseBar("writable", 360.0, 1.0, "database writable after 0.00 s"),
    )
    assert line.markers == ()


def test_phases_are_put_in_order() -> None:
    """They come from JSON, sorted by name."""
    mixed = {"ports": 1.0, "elected": 2.0, "unheard-of": 3.0, "noticed": 4.0}

    assert list(sort_phases(mixed)) == ["noticed", "elected", "ports", "unheard-of"]


def test_the_return_of_the_defenders_is_marked() -> None:
    """The line is as long as it takes until the last one is back."""
    back = {
        "first": (OPENED - timedelta(seconds=0.1)).isoformat(),
        "last": (OPENED + timedelta(seconds=2)).isoformat(),
        "count": 30,
    }
    line = draw_failover(failover(defenders=back))

    assert line.markers == (
        Marker(450.0, "first of 30 Defenders back after 2.00 s"),
        Marker(900.0, "last of 30 Defenders back after 4.00 s"),
    )


def test_only_failovers_that_took_time_are_drawn() -> None:
    """Three of them; the rest is in the table."""
    nobody = {"first": None, "last": None, "count": 0}
    history = [failover(to="standby"), failover(phases={}), *[failover()] * 4]

    assert len(timelines([*history, failover(defenders=nobody)])) == 3


class FakeHistory:
    """Takes note, when it can."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, int]] = []
        self.can = True

    def record_reconnects(self, epoch: int, returns: ReconnectStats) -> bool:
        """Note it, or say that it cannot."""
        if self.can:
            self.noted.append((epoch, returns.count))
        return self.can


class FakeDefenders:
    """A database whose Defenders came back one after the other."""

    def __init__(self) -> None:
        self.counts: Iterator[int | Exception] = iter(())

    def __getitem__(self, _name: str) -> "FakeDefenders":
        return self

    def aggregate(self, _stages: object) -> list[dict[str, Any]]:
        """How many are back now."""
        count = next(self.counts)
        if isinstance(count, Exception):
            raise count
        return [{"first": OPENED, "last": OPENED, "count": count}] if count else []


@pytest.fixture
def defenders() -> FakeDefenders:
    """Nobody is back yet."""
    return FakeDefenders()


@pytest.fixture
def history() -> FakeHistory:
    """Nothing is noted yet."""
    return FakeHistory()


def test_who_is_back_is_noted_when_it_changes(
    defenders: FakeDefenders, history: FakeHistory
) -> None:
    """For ten minutes after a failover; a database that is silent is asked again."""
    defenders.counts = iter([0, 1, 1, PyMongoError("silent"), 2, 3])
    returning = ReconnectRecorder(defenders, history)  # type: ignore[arg-type]
    for _ in range(5):
        returning.update(7, now=0)
    returning.update(7, now=RECONNECT_WINDOW_NS + 1)
    returning.update(8, now=RECONNECT_WINDOW_NS + 2)

    assert history.noted == [(7, 1), (7, 2), (8, 3)]


def test_what_could_not_be_noted_is_noted_later(
    defenders: FakeDefenders, history: FakeHistory
) -> None:
    """The record of the failover may not be in the database yet."""
    defenders.counts = iter([1, 1])
    returning = ReconnectRecorder(defenders, history)  # type: ignore[arg-type]
    history.can = False
    returning.update(7, now=0)
    history.can = True
    returning.update(7, now=1)

    assert history.noted == [(7, 1)]
