"""Jobs go on whatever happens to the wall clock."""

from datetime import UTC, datetime, timedelta

import pytest

from twistlock_console.system.scheduler import Interval


@pytest.mark.parametrize(
    ("late", "next_in"),
    [(0.0, 0.2), (0.1, 0.2), (0.2, 0.2), (0.3, 0.3), (31_536_000.0, 31_536_000.0)],
)
def test_runs_that_were_missed_count_as_one(late: float, next_in: float) -> None:
    """However late a run is, the next is not due before now."""
    ran = datetime(2026, 1, 1, tzinfo=UTC)
    interval = Interval(seconds=0.2, timezone=UTC)

    due = interval.get_next_fire_time(ran, ran + timedelta(seconds=late))

    assert due == ran + timedelta(seconds=next_in)
