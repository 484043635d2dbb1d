"""The phases of a failover, from the new primary's record."""

from datetime import UTC, datetime, timedelta
from typing import Any

from demo.watcher import TimeSpan, failover_from, record_of
from demo.writer import WritesResumed

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000
SPAN = TimeSpan(BEGAN, BEGAN + timedelta(seconds=2))
RESUMED = WritesResumed("127.0.0.11", "127.0.0.12", 5 * SECOND, 7 * SECOND, 0)


def record(seconds: float, **changes: Any) -> dict[str, Any]:
    """A record of 127.0.0.12 becoming primary, so long after the failover began."""
    return {
        "address": "127.0.0.12",
        "to": "primary",
        "time": (BEGAN + timedelta(seconds=seconds)).isoformat(),
        "reason": "127.0.0.11 is silent",
        "phases": {"noticed": 1.2, "elected": 0.02, "lease": 0.7, "ports": 0.08},
        **changes,
    }


def test_the_phases_add_up_to_the_outage() -> None:
    """What was not recorded lies before the first phase and after the last."""
    failover = failover_from(RESUMED, record(1.8), SPAN)

    assert dict(failover.phases) == {
        "noticed": 1.0,
        "elected": 0.02,
        "lease": 0.7,
        "ports": 0.08,
        "firstWrite": 0.2,
    }
    assert failover.seconds == 2.0


def test_a_failover_without_a_record_has_no_phases() -> None:
    """The outage is measured by the user; only its parts need the record."""
    failover = failover_from(RESUMED, None, SPAN)

    assert (failover.seconds, dict(failover.phases)) == (2.0, {})


def test_only_the_record_of_this_failover_counts() -> None:
    """Earlier failovers, other nodes and the end of a role are other stories."""
    right = record(1.5)
    others = [
        record(-60),
        record(1.6, to="standby"),
        record(1.7, address="127.0.0.13"),
    ]

    assert record_of([*others, right], "127.0.0.12", SPAN) == right
    assert record_of(others, "127.0.0.12", SPAN) is None
