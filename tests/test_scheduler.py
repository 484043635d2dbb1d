"""Jobs go on whatever happens to the wall clock."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.hosts.fake_clock import FakeClock, find_library
from twistlock_console.system.scheduler import Interval

JOBS = """
import threading, time
from twistlock_console.system.scheduler import Scheduler

scheduler = Scheduler()
scheduler.every(0.2, "count", lambda: print("ran", flush=True))
scheduler.start()
threading.Event().wait(30)
"""


@pytest.mark.needs("faketime")
@pytest.mark.parametrize(
    ("before", "after", "step"),
    [("+3600", "+0", "-3600"), ("+0", "+31536000", "31536000")],
    ids=["an hour back", "a year on"],
)
def test_jobs_go_on_after_a_step_of_the_wall_clock(
    tmp_path: Path, before: str, after: str, step: str
) -> None:
    """A clock that was wrong is set right, and the jobs run as before."""
    assert find_library() is not None
    clock = FakeClock(tmp_path / "clock")
    clock.set(before)
    jobs = subprocess.Popen(
        [sys.executable, "-c", JOBS],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **clock.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert jobs.stdout is not None
    assert jobs.stderr is not None
    for _ in range(5):
        assert jobs.stdout.readline() == "ran\n"

    clock.set(after)

    assert f"the wall clock was stepped by {step} s" in jobs.stderr.readline()
    for _ in range(5):
        assert jobs.stdout.readline() == "ran\n"
    jobs.kill()
    jobs.communicate()


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
