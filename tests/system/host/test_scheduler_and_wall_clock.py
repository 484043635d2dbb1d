"""Jobs run at their interval, whatever the wall clock does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.fake_clock import FakeClock, find_library

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
        cwd=Path(__file__).parents[3],
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
