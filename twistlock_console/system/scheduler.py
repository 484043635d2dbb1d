"""Run periodic jobs. Not for fencing: the scheduler uses the wall clock."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from twistlock_console.common.clock import SECOND, boottime_ns

MIN_CLOCK_STEP_S = 1.0
log = logging.getLogger(__name__)


class Interval(IntervalTrigger):  # type: ignore[misc]  # APScheduler has no types
    """An interval trigger that coalesces missed runs into one.

    APScheduler lists each of them before it takes the last: after a step of a year,
    for minutes, in gigabytes, and with every other job waiting.
    """

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return when to run after *previous_fire_time*: never in the past."""
        due: datetime | None = super().get_next_fire_time(previous_fire_time, now)
        return max(due, now) if due and previous_fire_time else due


class Scheduler:
    """Runs jobs on a small pool of threads; one run of a job at a time.

    APScheduler plans on the wall clock: after a step back of an hour no job would run
    for that long. So a thread watches for clock steps, and plans again after one.
    """

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(4)},
            job_defaults={"coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        # A slow poll skips a run by design; that is no warning.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._stopped = threading.Event()

    def every(self, seconds: float, name: str, job: Callable[[], object]) -> None:
        """Run *job* now and then every *seconds*; its errors are logged."""

        def run() -> None:
            try:
                job()
            except Exception:
                log.exception("the job %s failed; it will run again", name)

        self._scheduler.add_job(
            run,
            Interval(seconds=seconds, timezone=UTC),
            id=name,
            next_run_time=datetime.now(UTC),
        )

    def start(self) -> None:
        """Start to run jobs."""
        if not self._scheduler.running:
            self._scheduler.start()
            self._stopped.clear()
            threading.Thread(
                target=self._watch_clock, name="clock-steps", daemon=True
            ).start()

    def stop(self) -> None:
        """Start no further job; do not wait for a running one."""
        self._stopped.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _watch_clock(self) -> None:
        offset = _wall_offset()
        while not self._stopped.wait(MIN_CLOCK_STEP_S):
            step = _wall_offset() - offset
            if abs(step) < MIN_CLOCK_STEP_S:
                continue
            log.warning("the wall clock was stepped by %.0f s", step)
            offset += step
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))


def _wall_offset() -> float:
    """Return the seconds from the boot-time clock to the wall clock."""
    return time.time() - boottime_ns() / SECOND
