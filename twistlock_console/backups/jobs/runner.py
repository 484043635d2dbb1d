"""Run backup jobs, one at a time, each in a worker process of its own."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

import twistlock_console
from twistlock_console.backups.jobs.responses import JobStatus
from twistlock_console.backups.storage.work import (
    JobProgress,
    ReportProgress,
    WorkResult,
)
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import UNEXPECTED
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.settings import Settings
from twistlock_console.system.processes import with_parent_death_signal

NICENESS = 15
ROOT = Path(twistlock_console.__file__).parents[1]
STARTING = JobProgress("starting", 0, 0)
log = logging.getLogger(__name__)


class JobKind(StrEnum):
    """The kinds of jobs."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Actor:
    """The user who requested a job, the address, and the API path or command."""

    username: str
    source_ip: str = "this host"
    api: str = "twistlock-console backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job with the id *run*; the fields after *by* are for some kinds only.

    *names* are those of the backups to create at Unix *time* under *epoch*, *file* is
    a backup in the volume, *upload* the path of a file that came over the API.
    """

    kind: JobKind
    run: str
    settings: Settings
    by: Actor
    names: tuple[str, ...] = ()
    time: int = 0
    epoch: int = 0
    passphrase: str = field(default="", repr=False)
    file: str = ""
    upload: str = ""
    thorough: bool = False

    @property
    def what(self) -> str:
        """Return the name of its backup, or the names, for messages."""
        return self.file or ", ".join(self.names)

    def as_json(self) -> bytes:
        """Return the job as JSON, for the worker process."""
        return _job_adapter().dump_json(self)

    @staticmethod
    def from_json(text: bytes) -> "Job":
        """Parse the job, in the worker process."""
        return _job_adapter().validate_json(text)


@cache
def _job_adapter() -> TypeAdapter[Job]:
    # Not at import: the schema of the settings takes time and memory.
    return TypeAdapter(Job)


def passphrase_text(passphrase: bytes | None) -> str:
    """Return a passphrase as base64; "" for None."""
    return b64encode(passphrase).decode() if passphrase else ""


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """A line of JSON from the worker process: one of the three is set."""

    progress: JobProgress | None = None
    result: WorkResult | None = None
    error: str | None = None

    def as_json(self) -> str:
        """Return the message as one line of JSON."""
        return _MESSAGE.dump_json(self).decode()


_MESSAGE = TypeAdapter(WorkerMessage)


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """The outcome of a *job*: a *result*, or an *error* that is not empty."""

    job: Job
    result: WorkResult | None
    error: str
    seconds: float


class JobRunner:
    """Runs one job at a time, within the context manager that *context* returns.

    *finished* is called after each job, on the job's thread.
    """

    def __init__(
        self,
        finished: Callable[[FinishedJob], object],
        context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._finished = finished
        self._context = context
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._job: Job | None = None
        self._progress = STARTING
        self._phase_began = 0
        self._began = datetime.now(UTC)

    @property
    def current_run(self) -> str | None:
        """Return the id of the running job."""
        job = self._job
        return job.run if job else None

    def start(self, job: Job, record: Callable[[], object]) -> None:
        """Call *record*, then start *job* on a thread of its own.

        Raises Refused while another job runs.
        """
        with self._lock:
            if (other := self._job) is not None:
                raise Refused(
                    f"another {other.kind} is running ({other.what}); wait until it "
                    "has ended"
                )
            record()
            self._job, self._progress = job, STARTING
            self._began, self._phase_began = datetime.now(UTC), boottime_ns()
            self._worker = WorkerProcess(job, self._update_progress)
        threading.Thread(
            target=self._run, args=[job, self._worker], daemon=True
        ).start()

    def run_if_idle(self, work: Callable[[], object]) -> bool:
        """Run *work* unless a job is running; return whether it ran.

        No job starts before *work* has ended, so *work* cannot start one.
        """
        with self._lock:
            if self._job is not None:
                return False
            work()
            return True

    def cancel(self, reason: str) -> None:
        """Kill the running job, if there is one; *reason* becomes its error."""
        if (worker := self._worker) is not None:
            worker.kill(reason)

    def status(self) -> JobStatus | None:
        """Return the running job: its phase, bytes, and seconds until the phase ends.

        None without a job.
        """
        job, progress = self._job, self._progress
        if job is None:
            return None
        seconds = (boottime_ns() - self._phase_began) / SECOND
        return JobStatus(
            run=job.run,
            verb=job.kind,
            what=job.what,
            began=self._began.isoformat(timespec="seconds"),
            phase=progress.phase,
            done=progress.done,
            total=progress.total,
            seconds_left=_seconds_left(progress, seconds),
        )

    def _update_progress(self, progress: JobProgress) -> None:
        if progress.phase != self._progress.phase:
            self._phase_began = boottime_ns()
        self._progress = progress

    def _run(self, job: Job, worker: "WorkerProcess") -> None:
        began = boottime_ns()
        result: WorkResult | None = None
        error = ""
        try:
            with self._context():
                result = worker.run()
        except ConsoleError as failed:
            error = str(failed)
        except Exception:
            log.exception("unhandled exception in the %s", job.kind)
            error = f"it failed: {UNEXPECTED}"
        try:
            seconds = (boottime_ns() - began) / SECOND
            self._finished(FinishedJob(job, result, error, seconds))
        finally:
            with self._lock:
                self._job = self._worker = None


def _seconds_left(progress: JobProgress, seconds: float) -> float | None:
    """Return the seconds until the phase ends, at its average speed; None at first."""
    if not progress.done or seconds < 1:
        return None
    left = max(progress.total - progress.done, 0)
    return round(seconds * left / progress.done, 1)


class WorkerProcess:
    """A process that does one *job*; it dies with the thread that calls *run*."""

    def __init__(self, job: Job, report: ReportProgress) -> None:
        self._job = job
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = ""

    @property
    def pid(self) -> int | None:
        """Return the process id, once there is one."""
        return self._process.pid if self._process else None

    def run(self) -> WorkResult:
        """Start the process, wait for its result and return it; raises ConsoleError."""
        process = self._process = subprocess.Popen(
            with_parent_death_signal(
                _nice([sys.executable, "-m", f"{__package__}.worker"])
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,
        )
        with process:
            if self._killed:
                process.kill()  # it was cancelled before it started
            last = self._communicate(process)
        return self._result(last, process.returncode)

    def kill(self, reason: str) -> None:
        """Kill the process; `sweep` removes the files that it leaves."""
        self._killed = reason
        if self._process is not None:
            self._process.kill()

    def _communicate(self, process: "subprocess.Popen[bytes]") -> WorkerMessage:
        """Send the job, report its progress, and return the last message."""
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            process.stdin.write(self._job.as_json())
            process.stdin.close()
        except BrokenPipeError:
            log.debug("the worker ended before it had read its job")
        last = WorkerMessage()
        for line in process.stdout:
            last = _MESSAGE.validate_json(line)
            if last.progress:
                self._report(last.progress)
        return last

    def _result(self, last: WorkerMessage, code: int) -> WorkResult:
        if last.result is not None:
            return last.result
        if last.error is not None:
            raise ConsoleError(last.error)
        raise ConsoleError(
            self._killed or f"its process ended with exit code {code}; see the log"
        )


def _python_path() -> str:
    """Return the PYTHONPATH of the worker: this checkout, and the node's own path."""
    before = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(filter(None, (str(ROOT), before)))


def _nice(argv: list[str]) -> list[str]:
    """Return *argv* as a command of low priority for processor and disks."""
    nice, ionice = shutil.which("nice"), shutil.which("ionice")
    if ionice:
        argv = [ionice, "-t", "-c", "3", *argv]
    return [nice, "-n", str(NICENESS), *argv] if nice else argv
