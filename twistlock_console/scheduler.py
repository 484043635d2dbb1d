"""Jobs that run every so often; never a fence, for its clock is the wall's."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)


class Scheduler:
    """Runs jobs on a small pool of threads; one run of a job at a time."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(4)},
            job_defaults={"coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        # A slow poll skips a run by design; that is no warning.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)

    def every(self, seconds: float, name: str, job: Callable[[], object]) -> None:
        """Run *job* now and then each *seconds*; its errors are logged."""

        def run() -> None:
            try:
                job()
            except Exception:
                log.exception("the job %s failed; it will run again", name)

        self._scheduler.add_job(
            run,
            "interval",
            seconds=seconds,
            id=name,
            next_run_time=datetime.now(UTC),
        )

    def start(self) -> None:
        """Begin to run jobs."""
        if not self._scheduler.running:
            self._scheduler.start()

    def stop(self) -> None:
        """Let no further job start; a job that runs is not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
