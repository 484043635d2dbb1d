"""The one piece of work on backups that a node does at a time."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twistlock_console.backups.format.progress import Progress
from twistlock_console.backups.jobs.task import Task
from twistlock_console.backups.jobs.worker_process import Child
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import UNFORESEEN
from twistlock_console.common.errors import ConsoleError, Refused

STARTING = Progress("starting", 0, 0)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a *task* ended: with a *result*, or with an *error*."""

    task: Task
    result: dict[str, Any]
    error: str
    seconds: float


class Jobs:
    """Has tasks done one at a time, within *surroundings*.

    *ended* hears of each, on the task's thread.
    """

    def __init__(
        self,
        ended: Callable[[Ended], object],
        surroundings: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._ended = ended
        self._surroundings = surroundings
        self._turn = threading.Lock()
        self._child: Child | None = None
        self._task: Task | None = None
        self._progress = STARTING
        self._phase_began = 0
        self._began = datetime.now(UTC)

    @property
    def run(self) -> str | None:
        """The run that is under way."""
        task = self._task
        return task.run if task else None

    def begin(self, task: Task, note: Callable[[], object]) -> None:
        """Begin *task* on a thread of its own, once *note* has noted that.

        Raises Refused while another is under way.
        """
        with self._turn:
            if (other := self._task) is not None:
                raise Refused(
                    f"another {other.verb} is under way ({other.what}); wait until it "
                    "has ended"
                )
            note()
            self._task, self._progress = task, STARTING
            self._began, self._phase_began = datetime.now(UTC), boottime_ns()
            self._child = Child(task, self._tell)
        threading.Thread(target=self._do, args=[task, self._child], daemon=True).start()

    def while_idle(self, work: Callable[[], object]) -> bool:
        """Do *work* unless a task is under way; says whether it was done.

        No task begins before *work* has ended, so *work* cannot begin one.
        """
        with self._turn:
            if self._task is not None:
                return False
            work()
            return True

    def cancel(self, reason: str) -> None:
        """End what is under way, if anything is."""
        if (child := self._child) is not None:
            child.kill(reason)

    def view(self) -> dict[str, Any] | None:
        """What is under way: phase, bytes, and the seconds that its phase still takes.

        None when nothing is.
        """
        task, told = self._task, self._progress
        if task is None:
            return None
        return {
            "run": task.run,
            "verb": task.verb,
            "what": task.what,
            "began": self._began.isoformat(timespec="seconds"),
            "phase": told.phase,
            "done": told.done,
            "total": told.total,
            "secondsLeft": _left(told, (boottime_ns() - self._phase_began) / SECOND),
        }

    def _tell(self, progress: Progress) -> None:
        if progress.phase != self._progress.phase:
            self._phase_began = boottime_ns()
        self._progress = progress

    def _do(self, task: Task, child: Child) -> None:
        began = boottime_ns()
        result: dict[str, Any] = {}
        error = ""
        try:
            with self._surroundings():
                result = child.run()
        except ConsoleError as failed:
            error = str(failed)
        except Exception:
            log.exception("the %s ended in an error nobody foresaw", task.verb)
            error = f"it failed: {UNFORESEEN}"
        try:
            seconds = (boottime_ns() - began) / SECOND
            self._ended(Ended(task, result, error, seconds))
        finally:
            with self._turn:
                self._task = self._child = None


def _left(told: Progress, seconds: float) -> float | None:
    """Seconds until the phase is over, at the pace that it has had."""
    if not told.done or seconds < 1:
        return None
    return round(seconds * max(told.total - told.done, 0) / told.done, 1)
